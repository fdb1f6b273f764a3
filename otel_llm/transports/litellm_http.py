"""litellm's own HTTP clients."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from otel_llm.engine.recording import current_recording
from otel_llm.providers import port_of, provider_named
from otel_llm.spec import Hook, Patch, Paths
from otel_llm.transports.retries import retry
from otel_llm.transports.sent import Arguments, Provider, Sent, reader

_HTTP = "litellm.llms.custom_httpx.http_handler"
_TELL_UNASKED = ("groq", "mistral_ai", "together", "fireworks", "cerebras", "x_ai", "deepseek", "openrouter")
"""They tell the usage of every stream, and may not know the question."""
RETRIES: Hook = retry(_HTTP, "AsyncHTTPHandler.single_connection_post_request")
"""Attempts of a call."""


def patches(paths: Paths, provider: Provider) -> tuple[Patch, ...]:
    """What they post."""
    read = reader(_sent, paths, provider)
    return (Patch(_HTTP, "HTTPHandler.post", read), Patch(_HTTP, "AsyncHTTPHandler.post", read))


def _sent(_handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent | None:
    url = urlsplit(str(args[0] if args else kwargs["url"]))
    field = next((name for name in ("data", "json") if kwargs.get(name) is not None), None)
    if field is None:
        return None
    body: Any = kwargs[field]
    said = provider_named(getattr(kwargs.get("logging_obj"), "custom_llm_provider", None) or "") or None
    signed = isinstance(body, bytes)
    return Sent(
        "POST",
        url.path,
        lambda: json.loads(body) if isinstance(body, (str, bytes)) else body,
        url.hostname,
        port_of(url),
        stream=bool(kwargs.get("stream")),
        provider=said,
        with_body=None if signed or said in _TELL_UNASKED else partial(_with_body, args, kwargs, field),
        transport=_answered,
    )


def _with_body(args: tuple[Any, ...], kwargs: dict[str, Any], field: str, body: Mapping[str, Any]) -> Arguments:
    return args, {**kwargs, field: body if isinstance(kwargs[field], dict) else json.dumps(body)}


def _answered(response: Any) -> Any:
    recording = current_recording()
    if recording is not None:
        recording.call.response_id = response.headers.get("x-amzn-requestid")  # Converse has none in the body
    return response
