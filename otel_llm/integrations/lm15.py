"""lm15: what dspy, from 3.4 on, sends with a HTTP client of its own. What it sends with litellm is recorded there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from otel_llm.dialects import gemini
from otel_llm.dialects.openai_chat import chat
from otel_llm.framing import Document
from otel_llm.integrations.litellm import MAKERS, spoken
from otel_llm.providers import port_of, provider_of
from otel_llm.spec import Follower, Integration, Patch, Request

_TRANSPORTS = "dspy._vendor.lm15.transports"
_MAKERS = MAKERS | {chat: "openai", gemini.generate: "gcp.gemini"}
_REFUSED = 400


def _read(_transport: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
    sent: Any = kwargs["request"] if "request" in kwargs else args[0]
    url = urlsplit(str(sent.url))
    known = spoken(url.path, sent.body) if sent.method == "POST" else None
    if known is None:
        return None
    dialect, body = known
    stream = bool(body.get("stream")) or ":stream" in url.path
    return Request(
        dialect=dialect,
        provider=provider_of(url.hostname, url.port, _MAKERS.get(dialect, "lm15")),
        body=body,
        stream=stream,
        server_address=url.hostname,
        server_port=port_of(url),
        transport=_refusal,
        follow=_stream if stream else _document,
        lazy=True,
    )


def _refusal(response: Any) -> Any:
    return SimpleNamespace(status_code=response.status) if response.status >= _REFUSED else None


def _stream(response: Any, reader: Follower) -> Any:
    response._chunks = reader.along(response._chunks, reader.server_sent())
    return response


def _document(response: Any, reader: Follower) -> Any:
    document = Document(reader.whole)

    def feed(piece: bytes) -> None:
        document.feed(piece)

    response._chunks = reader.along(response._chunks, feed)
    return response


lm15 = Integration(
    name="lm15",
    distribution="dspy",
    oldest="3.4.0",
    newest_major=3,
    surfaces="what dspy sends itself: chat and responses, streams",
    patches=(
        Patch(f"{_TRANSPORTS}._sync", "StdlibTransport.stream", _read),
        Patch(f"{_TRANSPORTS}._async", "StdlibAsyncTransport._do_stream", _read),
    ),
)
