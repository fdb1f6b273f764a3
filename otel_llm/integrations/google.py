"""google-genai: the Gemini API, and Vertex.

All requests pass one method of its client, whatever does the transport: httpx, aiohttp or requests. What that returns
is the SDK's own, and gives the chunks of a stream parsed.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from io import BytesIO
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from otel_llm.dialects.gemini import (
    background,
    batched_embed,
    decisions,
    embed,
    generate,
    goes_on,
    interactions,
    prediction,
    videos,
)
from otel_llm.dialects.gemini_live import conversation
from otel_llm.dialects.reading import get, items, text
from otel_llm.engine.proxy import Proxy
from otel_llm.guard import guard
from otel_llm.integrations import retries, sent
from otel_llm.providers import port_of, provider_of
from otel_llm.spec import Batch, Dialect, Follower, Hook, Integration, Late, Patch, Request, Socket

_INTERACTIONS = "google.genai._gaos"
"""The package of a generated SDK inside of this one."""
_VERBS = {
    "generateContent": generate,
    "streamGenerateContent": generate,
    "embedContent": embed,
    "batchEmbedContents": embed,
    "predictLongRunning": videos,
}


_LATER = re.compile(r"/(?:(?P<batch>batches/[^/:]+)|(?P<operation>models/[^/:]+/operations/[^/:]+))$")


def _batched(line: Any) -> tuple[Dialect, Any] | None:
    answer, model = get(line, "response"), (text(get(line, "model")) or "").removeprefix("models/")
    if not isinstance(answer, dict):
        return None
    answer = cast("dict[str, Any]", answer)
    if "embedding" in answer:
        return batched_embed, answer | {"model": model}
    return generate, {"modelVersion": model} | answer


_BATCH = Batch(re.compile(rb'\s*\{\s*"'), _batched)


def _inlined(response: Any) -> Iterable[Any]:
    """The results in the batch itself."""
    told = get(response.json, "metadata")
    for name in ("inlinedResponses", "inlinedEmbedContentResponses"):
        yield from ({"model": get(told, "model"), **line} for line in items(told, "output", name, "inlinedResponses"))


def _downloaded(destination: Any, data: Any) -> Iterable[Any]:
    """Those in a file, unless the first line shows that it is another one. What was written to is not ours to read."""
    if destination is not None and not isinstance(destination, (str, os.PathLike)):
        return
    path = cast("str | os.PathLike[str] | None", destination)
    with BytesIO(data) if path is None else open(path, "rb") as lines:  # noqa: PTH123 - as the SDK does
        for line in lines:
            if not _BATCH.begins.match(line):
                return
            yield line


def _read_download(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Late:
    url = urlsplit(str(client._http_options.base_url))
    path: str = (args[0] if args else kwargs["path"]).partition(":")[0]
    lines = partial(_downloaded, kwargs.get("destination"))
    return Late(path, _BATCH, "gcp.gemini", False, url.hostname, port_of(url), lines=lines)


def _read(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | Late | None:
    sent: Any = kwargs["http_request"] if "http_request" in kwargs else args[0]
    url = urlsplit(str(sent.url))
    data: Any = sent.data
    if sent.method.upper() == "GET":
        asked = _LATER.search(url.path)
        return asked and _late(client, url, asked["batch"], asked["operation"])
    if not isinstance(data, dict):
        return None
    resource, _, verb = url.path.rpartition(":")
    body = {**cast("dict[str, Any]", data), "model": _model(resource)}
    if verb == "fetchPredictOperation":
        return _late(client, url, None, text(body.get("operationName")))
    dialect = prediction(body) if verb == "predict" else _VERBS.get(verb)
    if dialect is None:
        return None
    return Request(
        dialect=dialect,
        provider=_service(client),
        body=body,
        stream=verb == "streamGenerateContent",
        server_address=url.hostname,
        server_port=port_of(url),
        follow=_follow,
        answer=_json,
    )


def _service(client: Any) -> str:
    return "gcp.vertex_ai" if client.vertexai else "gcp.gemini"


def _json(response: Any) -> Any:
    return response.json


def _late(client: Any, url: SplitResult, batch: str | None, operation: str | None) -> Late:
    tells, id_ = (videos, operation or "") if batch is None else (_BATCH, batch)
    server = url.hostname, port_of(url)
    return Late(id_, tells, _service(client), False, *server, lines=_inlined, answer=_json)


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


_talking: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""The model of each session of the Live API, which only the one who connects knows."""


class _Connecting(Proxy):
    """A connection to be."""

    def __init__(self, manager: Any, model: str) -> None:
        super().__init__(manager)
        self._self_model = model

    async def __aenter__(self) -> Any:
        session = await self.__wrapped__.__aenter__()
        with guard:
            _talking[session] = self._self_model
        return session

    async def __aexit__(self, *error: object) -> Any:
        return await self.__wrapped__.__aexit__(*error)


def _connect(wrapped: Any, _live: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    manager = wrapped(*args, **kwargs)
    return _Connecting(manager, kwargs["model"].rpartition("models/")[2]) if "model" in kwargs else manager


def _server(session: Any) -> tuple[str, str | None, int | None]:
    url = urlsplit(f"//{session._ws.request.headers['Host']}")
    return _service(session._api_client), url.hostname, url.port or 443


google = Integration(
    name="google_genai",
    distribution="google-genai",
    oldest="1.7.0",
    newest_major=3,
    surfaces="generate_content, chats, interactions and agents, also in the background, decisions, embeddings, Imagen, "
    "Veo, batches, Live; Gemini API and Vertex",
    patches=(
        *(Patch("google.genai._api_client", f"BaseApiClient.{name}", _read) for name in ("_request", "_async_request")),
        *(
            Patch("google.genai._api_client", f"BaseApiClient.{name}", _read_download)
            for name in ("download_file", "async_download_file")
        ),
        *(
            Patch(f"{_INTERACTIONS}.basesdk", name, _read_interaction)
            for name in ("BaseSDK.do_request", "AsyncBaseSDK.do_request_async")
        ),
    ),
    hooks=(
        retries.tenacity("google"),
        retries.speakeasy(_INTERACTIONS),
        Hook("google.genai.live", "AsyncLive.connect", _connect),
        Socket(
            "google.genai.live",
            "AsyncSession._receive",
            conversation,
            _server,
            lambda session: {"model": _talking.get(session)},
        ),
    ),
)
