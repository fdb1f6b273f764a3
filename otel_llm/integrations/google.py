"""google-genai: the Gemini API, and Vertex.

All requests pass one method of its client, whatever does the transport: httpx, aiohttp or requests. What that returns
is the SDK's own, and gives the chunks of a stream parsed.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast
from urllib.parse import urlsplit

from otel_llm.dialects.gemini import background, decisions, embed, generate, goes_on, interactions, prediction
from otel_llm.integrations import retries, sent
from otel_llm.providers import port_of, provider_of
from otel_llm.spec import Follower, Integration, Late, Patch, Request

_INTERACTIONS = "google.genai._gaos"
"""The package of a generated SDK inside of this one."""
_VERBS = {
    "generateContent": generate,
    "streamGenerateContent": generate,
    "embedContent": embed,
    "batchEmbedContents": embed,
}


def _read(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
    sent: Any = kwargs["http_request"] if "http_request" in kwargs else args[0]
    data: Any = sent.data
    if not isinstance(data, dict):
        return None
    url = urlsplit(str(sent.url))
    resource, _, verb = url.path.rpartition(":")
    body = {**cast("dict[str, Any]", data), "model": _model(resource)}
    dialect = prediction(body) if verb == "predict" else _VERBS.get(verb)
    if dialect is None:
        return None
    return Request(
        dialect=dialect,
        provider="gcp.vertex_ai" if client.vertexai else "gcp.gemini",
        body=body,
        stream=verb == "streamGenerateContent",
        server_address=url.hostname,
        server_port=port_of(url),
        follow=_follow,
        answer=lambda response: response.json,
    )


def _provider(host: str | None, port: int | None) -> str:
    return provider_of(host, port, "gcp.gemini")


_read_generated = sent.reader({"/interactions": interactions, "/decisions": decisions}, _provider)
_asks = sent.asker(
    {
        "GET .*/interactions/(?P<id>[^/]+)": background,
        "POST .*/interactions/(?P<id>[^/]+)/cancel": background,
    },
    _provider,
)


def _read_interaction(sdk: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | Late | None:
    request = _read_generated(sdk, args, kwargs)
    if request is None:
        return _asks(sdk, args, kwargs)
    if request.dialect is interactions and goes_on(request.body):
        request.dialect = background
    return request


def _model(resource: str) -> str:
    """`gemini-x` of `.../models/gemini-x`; `tunedModels/x` and `endpoints/1` as they are."""
    _, named, model = resource.rpartition("/models/")
    return model if named else "/".join(resource.split("/")[-2:])


def _follow(response: Any, reader: Follower) -> Any:
    # Weakly, or only the garbage collector would find out that a stream was dropped. (If asynchronous, it has to:
    # there the SDK itself ties the knot.)
    kind = cast("Any", type(response))
    itself = weakref.proxy(response)

    def segments() -> Iterator[Any]:
        return reader.follow(kind.segments(itself))

    def async_segments() -> AsyncIterator[Any]:
        return reader.afollow(kind.async_segments(itself))

    response.segments, response.async_segments = segments, async_segments
    return response


google = Integration(
    name="google_genai",
    distribution="google-genai",
    oldest="1.10.0",
    newest_major=3,
    surfaces="generate_content, chats, interactions and agents, also in the background, decisions, embeddings, Imagen; "
    "Gemini API and Vertex",
    patches=(
        *(Patch("google.genai._api_client", f"BaseApiClient.{name}", _read) for name in ("_request", "_async_request")),
        *(
            Patch(f"{_INTERACTIONS}.basesdk", name, _read_interaction)
            for name in ("BaseSDK.do_request", "AsyncBaseSDK.do_request_async")
        ),
    ),
    hooks=(retries.tenacity("google"), retries.speakeasy(_INTERACTIONS)),
)
