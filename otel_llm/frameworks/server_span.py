"""The server span of one web request, from its first line to its last byte: for ASGI, for WSGI and for aiohttp."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from otel_llm.call import AttributeValue
from otel_llm.engine.proxy import Proxy
from otel_llm.frameworks.identity import identity_of
from otel_llm.guard import guard
from otel_llm.interaction import CALLER, INTERACTION, Interaction, end_span, fail_span, interaction_of
from otel_llm_semconv import attributes as A

SCOPE = "otel_llm.web"
_METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
_AUTHORITY = re.compile(r"(.+?)(?::(\d+))?")
_NO_FAULT = ("StopIteration", "WebSocketDisconnect")
_tracer = trace.get_tracer(SCOPE)


def in_interaction(it: Interaction | None, context: Context | None = None) -> Context:
    """`context` with the interaction in it: beneath a span that is not sampled, only the context knows it."""
    return otel_context.set_value(INTERACTION, it, context)


@contextmanager
def sent_by(identity: dict[str, AttributeValue]) -> Generator[None]:
    """The root span that begins in there says whose the request is."""
    caller = [identity]
    outer = CALLER.get()
    CALLER.set(caller)
    try:
        yield
    finally:
        # Copies of this context may live on.
        caller.clear()
        CALLER.set(outer)


def asgi_headers(scope: Any) -> dict[str, str]:
    """The headers of a request, names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def wsgi_headers(environ: Any) -> dict[str, str]:
    """The headers of a request, names in lower case."""
    return {name[5:].replace("_", "-").lower(): environ[name] for name in environ if name.startswith("HTTP_")}


def path_of(environ: Any) -> str:
    """The path of a WSGI request."""
    return environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")


class Request:
    """A request on its span. As a context manager it is current while the app works on it."""

    def __init__(self, method: str, path: str, scheme: str, headers: Mapping[str, str]) -> None:
        known = method in _METHODS
        attributes: dict[str, AttributeValue] = {
            A.HTTP_REQUEST_METHOD: method if known else "_OTHER",
            A.URL_PATH: path,
            A.URL_SCHEME: scheme,
        }
        if authority := _AUTHORITY.fullmatch(headers.get("host", "")):
            attributes[A.SERVER_ADDRESS] = authority[1]
            if authority[2]:
                attributes[A.SERVER_PORT] = int(authority[2])
        # A fresh context: servers may run this request in the one that the request before it left behind.
        parent = propagate.extract(headers, Context())
        with sent_by(identity_of(headers, path)):
            self.span = _tracer.start_span(method if known else "HTTP", parent, SpanKind.SERVER, attributes)
        self.status = 0
        inside = trace.set_span_in_context(self.span, parent)
        self._inner = self._outer = in_interaction(interaction_of(self.span, parent), inside)
        self._ended = False

    def __enter__(self) -> None:
        self._outer = otel_context.get_current()
        otel_context.attach(self._inner)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_: TracebackType | None
    ) -> None:
        # What a streaming response left attached is there again when it goes on.
        self._inner = otel_context.get_current()
        otel_context.attach(self._outer)
        if error is not None:
            self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """The last byte was sent, or `error` came before it. Once; later ones do nothing."""
        ended, self._ended = self._ended, True
        with guard:
            if ended or not self.span.is_recording():
                return
            if self.status:
                self.span.set_attribute(A.HTTP_RESPONSE_STATUS_CODE, self.status)
            failure = error if type(error).__name__ not in _NO_FAULT else None
            if self.status >= 500 and failure is None:
                fail_span(self.span, str(self.status))
            end_span(self.span, failure)


async def serve_asgi(app: Any, scope: Any, receive: Any, send: Any) -> None:
    """Run `app` inside of a request. The request ends with the body's last byte, before background tasks."""
    request: Request | None = None
    with guard:
        scheme = scope.get("scheme", "http")
        request = Request(scope.get("method", "GET"), scope["path"], scheme, asgi_headers(scope))
    if request is None:
        return await app(scope, receive, send)

    async def sending(message: Any) -> None:
        await send(message)
        with guard:
            request.status = message.get("status", request.status)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                # Frameworks answer 500 while they handle the exception.
                request.end(sys.exception() if request.status >= 500 else None)

    with request:
        await app(scope, receive, sending)
    return request.end()


async def accompany_asgi(app: Any, identity: dict[str, AttributeValue], *args: Any, **kwargs: Any) -> None:
    """Run `app`, whose span somebody else makes."""
    with sent_by(identity):
        await app(*args, **kwargs)


async def serve_aiohttp(handle: Any, incoming: Any, *args: Any, **kwargs: Any) -> Any:
    """Run aiohttp's own `handle`, from its request to the last byte of its response, inside of a request."""
    request: Request | None = None
    with guard:
        headers = {name.lower(): value for name, value in incoming.headers.items()}
        request = Request(incoming.method, incoming.path, incoming.scheme, headers)
    if request is None:
        return await handle(incoming, *args, **kwargs)
    with request:
        answered = await handle(incoming, *args, **kwargs)
    with guard:
        request.status = answered[0].status
    request.end()
    return answered


def serve_wsgi(app: Any, environ: Any, start_response: Any) -> Any:
    """Run `app` inside of a request. The request ends with the body: exhausted, or closed."""
    request: Request | None = None
    with guard:
        scheme = environ["wsgi.url_scheme"]
        request = Request(environ["REQUEST_METHOD"], path_of(environ), scheme, wsgi_headers(environ))
    if request is None:
        return app(environ, start_response)

    def starting(status: str, *rest: Any, **named: Any) -> Any:
        with guard:
            request.status = int(status.split(" ", 1)[0])
        return start_response(status, *rest, **named)

    with request:
        return _Body(app(environ, starting), request)


class _Body(Proxy):
    """The body of a WSGI response: each step of it happens inside of its request."""

    def __init__(self, body: Any, request: Request) -> None:
        super().__init__(body)
        self._self_request = request
        self._self_chunks: Iterator[Any] = iter(())

    def __iter__(self) -> Any:
        with self._self_request:
            self._self_chunks = iter(self.__wrapped__)
        return self

    def __next__(self) -> Any:
        with self._self_request:
            return next(self._self_chunks)

    def close(self) -> None:
        """Close the body, and end the request."""
        with self._self_request:
            if hasattr(self.__wrapped__, "close"):
                self.__wrapped__.close()
        self._self_request.end()
