"""SDKs that send by httpx's own clients, or by another method that gets an httpx request and gives its response."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from otel_llm.engine.recording import current_recording
from otel_llm.providers import port_of
from otel_llm.spec import Patch, Paths
from otel_llm.transports.sent import Look, Provider, Sent, reader


def patches(look: Look, paths: Paths, provider: Provider | str, module: str, *names: str) -> tuple[Patch, ...]:
    """The patches of httpx's own clients, for an SDK that uses them as they are, once its `module` is imported.

    `names` are those that the module has for httpx: who does not use the SDK has nothing of it in his requests' way.
    """
    read, clients = reader(look, paths, provider), ("Client", "AsyncClient")
    return tuple(Patch(module, f"{name}.{client}.send", read) for name in names for client in clients)


def user_agent(has: str) -> Callable[[Any], bool]:
    """Tells the requests of the SDK whose user agent has this in it."""
    return lambda request: has in request.headers.get("user-agent", "")


def sent_by(claims: Callable[[Any], bool] = lambda _request: True) -> Look:
    """What is sent. `claims(request)` says whether the SDK sends it, where the method is not only the SDK's."""

    def look(_instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent | None:
        sent: Any = kwargs["request"] if "request" in kwargs else args[0]
        if not claims(sent) or current_recording() is not None:
            return None
        url = urlsplit(str(sent.url))
        return Sent(
            sent.method,
            f"{url.scheme}://{url.netloc}{url.path}",
            partial(_body, sent),
            url.hostname,
            port_of(url),
            stream=bool(kwargs.get("stream")),
            with_body=partial(_with_body, sent, args, kwargs),
            transport=lambda response: response,
        )

    return look


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
