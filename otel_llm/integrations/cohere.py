"""cohere: version 2 and 1 of its API, also on AWS and Oracle's cloud, where the SDK rewrites what it sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from otel_llm.dialects.cohere import chat, classify, embeddings, generate, parse, rerank, summarize
from otel_llm.dialects.openai_media import transcriptions
from otel_llm.engine.recording import current_recording
from otel_llm.integrations.retries import retry
from otel_llm.integrations.sent import client_patches, reader
from otel_llm.providers import port_of, provider_of
from otel_llm.spec import Integration, Patch, Request

_HTTP = "cohere.core.http_client"
_ROUTES = {
    **{
        f"/{version}/{name}": dialect
        for version in ("v1", "v2")
        for name, dialect in (("chat", chat), ("embed", embeddings), ("rerank", rerank))
    },
    "/v1/generate": generate,
    "/v1/summarize": summarize,
    "/v1/classify": classify,
    "/v2/parse": parse,
    "/v2/audio/transcriptions": transcriptions,
}
_CLOUDS = {"cohere.aws_client": "aws.bedrock", "cohere.oci_client": "oci"}


def _server(httpx_client: Any, host: str | None, port: int | None) -> dict[str, Any]:
    """Whom a request goes to, in the fields of a `Request`."""
    for hook in httpx_client.event_hooks["request"]:
        if hook.__module__ in _CLOUDS:
            return {"provider": _CLOUDS[hook.__module__], "server_address": None, "server_port": None}
    return {"provider": provider_of(host, port, "cohere"), "server_address": host, "server_port": port}


def _read(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
    path: str = args[0] if args else kwargs["path"]
    dialect = _ROUTES.get(f"/{path}")
    if dialect is None or kwargs["method"] != "POST":
        return None
    if current_recording() is not None:
        return None  # it tries again by calling itself
    sent: dict[str, Any] = kwargs.get("json") or kwargs.get("data") or {}
    url = urlsplit(str(client.get_base_url(kwargs.get("base_url"))))
    return Request(
        dialect=dialect,
        body={name: value for name, value in sent.items() if value is not kwargs.get("omit")},
        transport=lambda response: response,
        **_server(client.httpx_client, url.hostname, port_of(url)),
    )


_sent = reader(_ROUTES, lambda _host, _port: "cohere", lambda sent: sent.headers.get("x-fern-sdk-name") == "cohere")


def _read_stream(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
    request = _sent(client, args, kwargs) if kwargs.get("stream") else None
    if request is None:
        return None
    return replace(request, **_server(client, request.server_address, request.server_port))


cohere = Integration(
    name="cohere",
    distribution="cohere",
    oldest="5.16.0",
    newest_major=7,
    surfaces="chat, embed, rerank, generate, summarize, classify, parse, transcriptions; version 2 and 1; "
    "AWS and OCI clients",
    patches=(
        Patch(_HTTP, "HttpClient.request", _read),
        Patch(_HTTP, "AsyncHttpClient.request", _read),
        *client_patches(_read_stream, _HTTP, "httpx"),
    ),
    hooks=(
        retry(_HTTP, "_retry_timeout", response="response"),
        retry(_HTTP, "_retry_timeout_from_retries"),
    ),
)
