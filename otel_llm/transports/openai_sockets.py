"""The connections of openai's SDK, over which responses, voices and translations are had."""

from __future__ import annotations

from typing import Any

from otel_llm.dialects.reading import get
from otel_llm.providers import provider_of
from otel_llm.spec import Conversation, Socket

_CONNECTIONS = (
    ("realtime.realtime", "RealtimeConnection"),
    ("beta.realtime.realtime", "RealtimeConnection"),
    ("responses.responses", "ResponsesConnection"),
    ("beta.responses.responses", "ResponsesConnection"),
    ("live.live", "LiveConnection"),
    ("live.sideband", "SidebandConnection"),
    ("live.forks", "ForksConnection"),
)


def sockets(conversation: Conversation) -> tuple[Socket, ...]:
    """All of them, in all versions."""
    return tuple(
        Socket(f"openai.resources.{module}", f"{prefix}{name}.recv_bytes", conversation, _server)
        for module, name in _CONNECTIONS
        for prefix in ("", "Async")
    )


def _server(connection: Any) -> tuple[str, str | None, int | None]:
    host, _, port = get(connection, "_connection", "request", "headers")["Host"].partition(":")
    return provider_of(host, None, "openai"), host, int(port or 443)
