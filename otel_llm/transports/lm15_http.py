"""lm15's own HTTP clients."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from otel_llm.providers import port_of
from otel_llm.spec import Follower, Patch, Paths
from otel_llm.transports.sent import Provider, Sent, reader

_TRANSPORTS = "dspy._vendor.lm15.transports"
_REFUSED = 400


def patches(paths: Paths, provider: Provider) -> tuple[Patch, ...]:
    """What they send."""
    read = reader(_sent, paths, provider)
    return (
        Patch(f"{_TRANSPORTS}._sync", "StdlibTransport.stream", read),
        Patch(f"{_TRANSPORTS}._async", "StdlibAsyncTransport._do_stream", read),
    )


def _sent(_transport: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent:
    sent: Any = kwargs["request"] if "request" in kwargs else args[0]
    url = urlsplit(str(sent.url))
    return Sent(
        sent.method,
        url.path,
        lambda: json.loads(sent.body),
        url.hostname,
        port_of(url),
        transport=_refusal,
        follow=_follow,
        lazy=True,
    )


def _refusal(response: Any) -> Any:
    return SimpleNamespace(status_code=response.status) if response.status >= _REFUSED else None


def _follow(response: Any, follower: Follower) -> Any:
    response._chunks = follower.along(response._chunks, follower.pieces())
    return response
