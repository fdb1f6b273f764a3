"""Web requests as interactions: their server span, where nobody else makes it, and their route, as soon as it is known.

The route has to be on the span before the endpoint runs, because the model calls in there carry it. Where
OpenTelemetry's instrumentation of a framework, or the framework itself, makes the span, that one is completed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import Span
from opentelemetry.trace import SpanKind

from otel_llm.call import AttributeValue
from otel_llm.frameworks.identity import feature_of, identifies, identity_of
from otel_llm.frameworks.server_span import (
    SCOPE,
    accompany_asgi,
    asgi_headers,
    in_interaction,
    path_of,
    sent_by,
    serve_aiohttp,
    serve_asgi,
    serve_wsgi,
    wsgi_headers,
)
from otel_llm.guard import guard
from otel_llm.interaction import Interaction, current_interaction
from otel_llm.late import flush
from otel_llm.spec import Hook, Integration
from otel_llm_semconv import attributes as A

_MOUNTED = "otel_llm.mounted"
_INTRODUCED = "otel_llm.introduced"
_TRACED = re.compile(r"opentelemetry\.instrumentation\.|\bOpenTelemetryMiddleware\b")


def _served() -> Interaction | None:
    """The interaction of the web request that is being served, whoever made its span."""
    it = current_interaction()
    while it is not None and not (isinstance(it.root, Span) and it.root.kind is SpanKind.SERVER and it.is_open()):
        it = it.parent
    return it


def _is_traced(app: Any) -> bool:
    """Whether somebody else makes the span: around this app, or within it."""
    with guard:
        if type(app).__module__.startswith("django."):
            layers = sys.modules["django.conf"].settings.MIDDLEWARE
        else:
            layers = [repr(layer.cls) for layer in getattr(app, "user_middleware", ())]
            others: list[Any] = [type(app), *getattr(app, "middlewares", ())]
            layers += [f"{layer.__module__}." for layer in others]
        flagged = getattr(app, "_is_instrumented_by_opentelemetry", False)
        return flagged or _served() is not None or any(map(_TRACED.search, layers))
    return True


def _matched(route: str) -> None:
    """The framework matched the current request to `route`."""
    it = _served()
    if it is None or not isinstance(it.root, Span):
        return
    span = it.root
    ours = span.instrumentation_scope is not None and span.instrumentation_scope.name == SCOPE
    if not ours:
        route = str((span.attributes or {}).get(A.HTTP_ROUTE, route))
    span.set_attribute(A.HTTP_ROUTE, route)
    name = span.name if span.name.endswith(route) else f"{span.name.partition(' ')[0]} {route}"
    if ours:
        span.update_name(name)
    otel_context.attach(in_interaction(it))
    it.name = name
    it.know({A.OTEL_LLM_INTERACTION_NAME: name})
    feature = None if A.OTEL_LLM_FEATURE in it.attributes else feature_of(route)
    if feature is not None:
        it.know({A.OTEL_LLM_FEATURE: feature})


def _asgi(wrapped: Any, app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    scope: Any = args[0] if args else kwargs.get("scope")
    kind = scope["type"] if scope else None  # uvicorn asks for a TypeError of `app()`, to tell apps from factories
    if kind not in ("http", "websocket"):
        return wrapped(*args, **kwargs)
    if not _is_traced(app):
        scope[_INTRODUCED] = True
        return serve_asgi(wrapped, *args, **kwargs)
    caller = _introduced(scope, lambda: (asgi_headers(scope), scope["path"]))
    return accompany_asgi(wrapped, caller, *args, **kwargs) if caller else wrapped(*args, **kwargs)


def _wsgi(wrapped: Any, app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    environ = args[0] if args else kwargs["environ"]
    if not _is_traced(app):
        environ[_INTRODUCED] = True
        return serve_wsgi(wrapped, *args, **kwargs)
    with sent_by(_introduced(environ, lambda: (wsgi_headers(environ), path_of(environ)))):
        return wrapped(*args, **kwargs)


def _introduced(request: Any, read: Callable[[], tuple[dict[str, str], str]]) -> dict[str, AttributeValue]:
    """Who sent a request whose span somebody else makes: told to that span; returned where it is still to begin."""
    with guard:
        if identifies() and not request.get(_INTRODUCED):
            request[_INTRODUCED] = True
            identity = identity_of(*read())
            it = _served()
            if it is None:
                return identity
            it.know(identity)
    return {}


def _aiohttp(wrapped: Any, _protocol: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    handler = args[2] if len(args) > 2 else kwargs.get("request_handler")
    return (
        wrapped(*args, **kwargs)
        if _is_traced(getattr(handler, "__self__", None))
        else serve_aiohttp(wrapped, *args, **kwargs)
    )


async def _aiohttp_route(wrapped: Any, _router: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    match = await wrapped(*args, **kwargs)
    with guard:
        resource = match.route.resource
        if resource is not None:
            _matched(resource.canonical)
    return match


def _starlette_route(wrapped: Any, route: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        scope = args[0]
        # FastAPI knows better where a router was included.
        included = scope.get("fastapi", {}).get("effective_route_context")
        known = included if getattr(included, "original_route", None) is route else route
        prefix = scope.get(_MOUNTED, scope.get("app_root_path", scope.get("root_path", "")))
        _matched(prefix + known.path_format)
        if not hasattr(route, "endpoint"):
            scope[_MOUNTED] = prefix + route.path
    return wrapped(*args, **kwargs)


def _flask_route(wrapped: Any, app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        request = sys.modules["flask"].request
        if request.url_rule is not None:
            _matched(request.script_root + request.url_rule.rule)
    return wrapped(*args, **kwargs)


def _django_route(wrapped: Any, handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    match = wrapped(*args, **kwargs)
    with guard:
        _matched(f"/{match.route}")
    return match


async def _uvicorn_shutdown(wrapped: Any, server: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    await wrapped(*args, **kwargs)
    flush()  # it ends by the signal that stopped it


def _framework(name: str, oldest: str, newest_major: int, surfaces: str, *hooks: Hook) -> Integration:
    return Integration(name, name, oldest, newest_major, surfaces, (), hooks)


WEB_FRAMEWORKS: tuple[Integration, ...] = (
    _framework(
        "starlette",
        "0.27.0",
        1,
        "requests, streams, websockets, mounted apps",
        Hook("starlette.applications", "Starlette.__call__", _asgi),
        Hook("starlette.routing", "Route.handle", _starlette_route),
        Hook("starlette.routing", "WebSocketRoute.handle", _starlette_route),
        Hook("starlette.routing", "Mount.handle", _starlette_route),
    ),
    _framework("fastapi", "0.100.0", 0, "as starlette", Hook("fastapi.routing", "APIRoute.handle", _starlette_route)),
    _framework(
        "flask",
        "2.2.5",
        3,
        "requests, streams",
        Hook("flask.app", "Flask.wsgi_app", _wsgi),
        Hook("flask.app", "Flask.full_dispatch_request", _flask_route),
    ),
    _framework(
        "django",
        "4.2.0",
        5,
        "requests and streams, WSGI and ASGI",
        Hook("django.core.handlers.wsgi", "WSGIHandler.__call__", _wsgi),
        Hook("django.core.handlers.asgi", "ASGIHandler.__call__", _asgi),
        Hook("django.core.handlers.base", "BaseHandler.resolve_request", _django_route),
    ),
    _framework(
        "aiohttp",
        "3.9.0",
        3,
        "requests of web.Application, streams, websockets, applications within",
        Hook("aiohttp.web_protocol", "RequestHandler._handle_request", _aiohttp),
        Hook("aiohttp.web_urldispatcher", "UrlDispatcher.resolve", _aiohttp_route),
    ),
    _framework(
        "uvicorn",
        "0.23.0",
        0,
        "nothing is lost at SIGTERM",
        Hook("uvicorn.server", "Server.shutdown", _uvicorn_shutdown),
    ),
)
"""Every web framework that is instrumented."""
