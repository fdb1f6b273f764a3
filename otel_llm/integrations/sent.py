"""SDKs with one method that gets an httpx request and gives its response: the URL says which dialect is spoken."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

from otel_llm.engine.recording import current_recording
from otel_llm.integrations.stainless import asked, asking_for, route
from otel_llm.providers import port_of
from otel_llm.spec import Batch, Dialect, Late, Patch, Request


def patches(
    methods: Sequence[tuple[str, str]],
    routes: Mapping[str, Dialect],
    provider: Callable[[str | None, int | None], str],
    late: Mapping[str, Dialect | Batch] | None = None,
) -> tuple[Patch, ...]:
    """The patches of `methods` (module, attribute) whose argument `request` is an httpx request.

    `routes` are ends of URL paths; `provider(host, port)` is its name; `late` as in `stainless.patches`.
    """
    read, ask = reader(routes, provider), asker(late or {}, provider)

    def read_or_ask(instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | Late | None:
        return ask(instance, args, kwargs) or read(instance, args, kwargs)

    return tuple(Patch(module, attribute, read_or_ask if late else read) for module, attribute in methods)


def client_patches(
    read: Callable[[Any, tuple[Any, ...], dict[str, Any]], Request | None], module: str, *names: str
) -> tuple[Patch, ...]:
    """The patches of httpx's own clients, for an SDK that uses them as they are, once its `module` is imported.

    `names` are those that the module has for httpx: who does not use the SDK has nothing of it in his requests' way.
    """
    return tuple(Patch(module, f"{name}.{client}.send", read) for name in names for client in ("Client", "AsyncClient"))


def reader(
    routes: Mapping[str, Dialect],
    provider: Callable[[str | None, int | None], str],
    claims: Callable[[Any], bool] = lambda _request: True,
) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Request | None]:
    """Reads what is sent. `claims(request)` says whether the SDK sends it, where the method is not only the SDK's."""

    def read(_instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
        sent: Any = kwargs["request"] if "request" in kwargs else args[0]
        if sent.method != "POST" or not claims(sent) or current_recording() is not None:
            return None
        url = urlsplit(str(sent.url))
        dialect = route(routes, f"{url.scheme}://{url.netloc}{url.path}")
        if dialect is None:
            return None
        body = _body(sent)
        if not isinstance(body, dict):
            return None
        body = cast("dict[str, Any]", body)
        return Request(
            dialect=dialect,
            provider=provider(url.hostname, url.port),
            body=body,
            # Some stream every response, to read it whole.
            stream=bool(kwargs.get("stream")) and body.get("stream") is not False,
            server_address=url.hostname,
            server_port=port_of(url),
            with_body=lambda body: _with_body(sent, args, kwargs, body),
            transport=lambda response: response,
        )

    return read


def asker(
    late: Mapping[str, Dialect | Batch], provider: Callable[[str | None, int | None], str]
) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Late | None]:
    """Reads what only asks for something earlier. `late` as in `stainless.patches`."""
    asking = asking_for(late)

    def read(_instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Late | None:
        sent: Any = kwargs["request"] if "request" in kwargs else args[0]
        url = urlsplit(str(sent.url))
        if (found := asked(asking, sent.method, url.path)) is None:
            return None
        server = url.hostname, port_of(url)
        name, stream = provider(url.hostname, url.port), bool(kwargs.get("stream"))
        return Late(*found, name, stream, *server, lambda result: result)

    return read


def _body(sent: Any) -> Any:
    form: Any = getattr(getattr(sent, "stream", None), "fields", None)
    if form is None:
        return json.loads(sent.content)
    # Files stay unread.
    values = ((field.name, getattr(field, "value", None)) for field in form)
    return {name: value for name, value in values if isinstance(value, str)}


def _with_body(
    sent: Any, args: tuple[Any, ...], kwargs: dict[str, Any], body: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    headers = sent.headers.copy()
    del headers["content-length"]
    changed = type(sent)(sent.method, sent.url, headers=headers, json=body, extensions=sent.extensions)
    if "request" in kwargs:
        return args, {**kwargs, "request": changed}
    return (changed, *args[1:]), kwargs
