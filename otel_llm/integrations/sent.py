"""SDKs with one method that gets an httpx request and gives its response: the URL says which dialect is spoken."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from otel_llm.engine.recording import current_recording
from otel_llm.integrations.stainless import route
from otel_llm.spec import Dialect, Patch, Request


def patches(
    methods: Sequence[tuple[str, str]],
    routes: Mapping[str, Dialect],
    provider: Callable[[str | None, int | None], str],
    claims: Callable[[Any], bool] = lambda _request: True,
) -> tuple[Patch, ...]:
    """The patches of `methods` (module, attribute) whose argument `request` is an httpx request.

    `routes` are ends of URL paths; `provider(host, port)` is its name; `claims(request)` says whether a request is of
    this SDK, where the method is not only the SDK's own.
    """

    def read(_instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
        sent: Any = kwargs["request"] if "request" in kwargs else args[0]
        if sent.method != "POST" or not claims(sent) or current_recording() is not None:
            return None
        dialect = route(routes, str(sent.url.copy_with(fragment=None)))
        if dialect is None:
            return None
        body = json.loads(sent.content)
        if not isinstance(body, dict):
            return None
        host, port = sent.url.host, sent.url.port
        return Request(
            dialect=dialect,
            provider=provider(host, port),
            body=cast("dict[str, Any]", body),
            stream=bool(kwargs.get("stream")),
            server_address=host,
            server_port=port or {"http": 80, "https": 443}.get(sent.url.scheme),
            transport=lambda response: response,
        )

    return tuple(Patch(module, attribute, read) for module, attribute in methods)
