"""Cohere's SDK, of the Fern generator: one method for what is no stream, and httpx's own for what is one.

For AWS and Oracle's cloud the SDK rewrites what it sends on its way.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from otel_llm.engine.recording import current_recording
from otel_llm.providers import port_of
from otel_llm.spec import Hook, Patch, Paths
from otel_llm.transports import httpx_send
from otel_llm.transports.retries import retry
from otel_llm.transports.sent import Sent, reader

_HTTP = "cohere.core.http_client"
_CLOUDS = {"cohere.aws_client": "aws.bedrock", "cohere.oci_client": "oci"}
_streamed = httpx_send.sent_by(lambda request: request.headers.get("x-fern-sdk-name") == "cohere")


def patches(paths: Paths, provider: str) -> tuple[Patch, ...]:
    """All of its requests."""
    read = reader(_sent, paths, provider)
    return (
        Patch(_HTTP, "HttpClient.request", read),
        Patch(_HTTP, "AsyncHttpClient.request", read),
        *httpx_send.patches(_sent_for_a_stream, paths, provider, _HTTP, "httpx"),
    )


def hooks() -> tuple[Hook, ...]:
    """Its retries: each version has one of the two."""
    return (
        retry(_HTTP, "_retry_timeout", response="response"),
        retry(_HTTP, "_retry_timeout_from_retries"),
    )


def _sent(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent | None:
    if current_recording() is not None:
        return None  # it tries again by calling itself
    path: str = args[0] if args else kwargs["path"]
    url = urlsplit(str(client.get_base_url(kwargs.get("base_url"))))
    sent = Sent(
        kwargs["method"],
        f"/{path}",
        partial(_body, kwargs),
        url.hostname,
        port_of(url),
        stream=False,
        transport=lambda response: response,
    )
    return _to_its_cloud(client.httpx_client, sent)


def _body(kwargs: dict[str, Any]) -> dict[str, Any]:
    sent: dict[str, Any] = kwargs.get("json") or kwargs.get("data") or {}
    return {name: value for name, value in sent.items() if value is not kwargs.get("omit")}


def _sent_for_a_stream(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent | None:
    sent = _streamed(client, args, kwargs) if kwargs.get("stream") else None
    return sent and _to_its_cloud(client, sent)


def _to_its_cloud(httpx_client: Any, sent: Sent) -> Sent:
    for hook in httpx_client.event_hooks["request"]:
        if hook.__module__ in _CLOUDS:
            return replace(sent, provider=_CLOUDS[hook.__module__], host=None, port=None)
    return sent
