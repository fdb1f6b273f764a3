"""google-genai: all requests pass one method of its client, whatever does the transport: httpx, aiohttp or requests.

What that returns is the SDK's own, and gives the chunks of a stream parsed.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from io import BytesIO
from typing import Any, cast
from urllib.parse import urlsplit

from otel_llm.engine.proxy import Proxy
from otel_llm.guard import guard
from otel_llm.providers import port_of
from otel_llm.spec import Conversation, Follower, Hook, Patch, Paths, Socket, Speaks
from otel_llm.transports.sent import Sent, reader

_API = "google.genai._api_client"


def patches(paths: Paths) -> tuple[Patch, ...]:
    """Its requests, and what downloads a file."""
    read, read_download = (reader(look, paths, _provider) for look in (_sent, _sent_for_a_file))
    return (
        Patch(_API, "BaseApiClient._request", read),
        Patch(_API, "BaseApiClient._async_request", read),
        Patch(_API, "BaseApiClient.download_file", read_download),
        Patch(_API, "BaseApiClient.async_download_file", read_download),
    )


def sockets(conversation: Conversation) -> tuple[Hook | Socket, ...]:
    """Its conversations."""
    live = "google.genai.live"
    return (
        Hook(live, "AsyncLive.connect", _connect),
        Socket(live, "AsyncSession._receive", conversation, _server, lambda session: {"model": _talking.get(session)}),
    )


def _sent(_client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent:
    sent: Any = kwargs["http_request"] if "http_request" in kwargs else args[0]
    url = urlsplit(str(sent.url))
    return Sent(
        sent.method.upper(),
        url.path,
        lambda: sent.data,
        url.hostname,
        port_of(url),
        follow=_follow,
        answer=lambda response: response.json,
    )


def _sent_for_a_file(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent:
    url = urlsplit(str(client._http_options.base_url))
    path: str = args[0] if args else kwargs["path"]
    lines = partial(_lines, kwargs.get("destination"))
    return Sent("GET", f"/{path}", lambda: None, url.hostname, port_of(url), answer=lines)


def _lines(destination: Any, data: Any) -> Iterable[bytes]:
    """What was downloaded. What was written to is not ours to read."""
    if destination is not None and not isinstance(destination, (str, os.PathLike)):
        return
    path = cast("str | os.PathLike[str] | None", destination)
    with BytesIO(data) if path is None else open(path, "rb") as lines:  # noqa: PTH123 - as the SDK does
        yield from lines


def _provider(client: Any, _sent: Sent, _speaks: Speaks) -> str:
    return _service(client)


def _service(client: Any) -> str:
    return "gcp.vertex_ai" if client.vertexai else "gcp.gemini"


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
