"""Reading along while the caller reads a response: the body's bytes pass through a tap on their way.

The SDK's own objects stay what they are: only the byte stream inside the HTTP response (httpx and httpx2 alike) is
replaced by a proxy of it. That covers `Stream`, stream helpers and raw responses in one way, however they are read,
and whoever closes, drops or cuts them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Protocol, Self, TypeVar
from weakref import WeakSet

from otel_llm.call import StreamOutcome
from otel_llm.engine.pending import is_over
from otel_llm.engine.proxy import Proxy
from otel_llm.engine.recording import Recording
from otel_llm.estimate import estimate, wanted, words
from otel_llm.framing import (
    AMAZON_EVENTS,
    DONE,
    HEAD,
    JSON_LINES,
    SERVER_SENT_EVENTS,
    AmazonEvents,
    Document,
    Framing,
    Lines,
    ServerSentEvents,
    payload,
)
from otel_llm.guard import guard
from otel_llm.late import at_the_end, later
from otel_llm.spec import Dialect, Follower

T = TypeVar("T")


_open: WeakSet[_Reader] = WeakSet()


def _itself(item: Any) -> Any:
    return item


class BodyReader(Protocol):
    """Who wants to know how the reading of a body ended: it is read inside of its context."""

    def __enter__(self) -> Any: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object, /) -> None: ...
    def closed(self) -> None:
        """The caller, or the SDK for it, closed the response."""
        ...


def tap(response: Any, recording: Recording, dialect: Dialect) -> None:
    """Read `response`, an httpx response: at once if its body is there, else along with whoever reads it. May raise."""
    headers = response.headers
    kind = headers.get("content-type", "").split(";")[0].strip().lower()
    if recording.call.stream and kind not in (AMAZON_EVENTS, *JSON_LINES, "application/json"):
        kind = SERVER_SENT_EVENTS  # SDKs take it for that, whatever the server calls it
    reader = _Reader(recording, dialect, streamed=kind in (SERVER_SENT_EVENTS, AMAZON_EVENTS, *JSON_LINES))
    hides = kind == SERVER_SENT_EVENTS and recording.asked is not None
    framing: Framing
    if kind == SERVER_SENT_EVENTS:
        framing = ServerSentEvents(reader.event, reader.wanted, hides=hides, marks=dialect.usage_marks)
    elif kind == AMAZON_EVENTS:
        framing = AmazonEvents(reader.event)
    elif kind in JSON_LINES:
        framing = Lines(reader.event)
    else:
        framing = Document(reader.document)
    attach(response, reader, framing, hides=hides)


def attach(response: Any, reader: BodyReader, framing: Framing, *, hides: bool = False) -> None:
    """Feed the body of an httpx response to `framing`, and tell `reader` how the reading of it ended. May raise."""
    if response.is_closed:
        with reader:
            framing.feed(response.content)
            framing.rest()
        return
    headers, decoder = response.headers, None
    coding = headers.get("content-encoding", "identity")
    if coding != "identity":
        # A response of the same kind decodes our copy of the body as it will decode the caller's.
        decoder = type(response)(200, headers=[("content-encoding", coding)])._get_content_decoder()
        if hides:
            # An event can be kept only from the decoded body, so that is what the caller gets.
            del headers["content-encoding"]
    response.stream = _Tap(response.stream, reader, framing, decoder, hides)


def follower(recording: Recording, dialect: Dialect) -> Follower:
    """Reads along with a body that is no httpx response."""
    return _Reader(recording, dialect, streamed=recording.call.stream)


class _Reader:
    """What is read of one body, and how its reading ended. As a context manager it sees the reading fail."""

    __slots__ = (
        "__weakref__",
        "_events",
        "_words",
        "body",
        "dialect",
        "ended",
        "over",
        "recording",
        "streamed",
        "wanted",
    )

    def __init__(self, recording: Recording, dialect: Dialect, *, streamed: bool) -> None:
        self.recording = recording
        self.dialect = dialect
        self.streamed = streamed
        self.body: dict[str, Any] = {}
        self.over = False
        """The last event of the stream has come: what follows is the end of the connection."""
        self.ended = False
        self._events = 0
        self._words: list[str] | None = [] if wanted() else None
        """The text of the stream, where estimates are asked for."""
        whole = self._words is not None or recording.capture is not None
        self.wanted = None if whole else dialect.wanted
        """Finds what matters in the raw bytes of an event; None where all may matter."""
        _open.add(self)

    def event(self, raw: bytes) -> bool:
        """Take one event, whole; whether it came only because we asked for the usage, and so is not the caller's."""
        dialect = self.dialect
        self._events += 1
        if self._events == 1:
            self.recording.call.time_to_first_chunk = self.recording.elapsed_ns() / 1e9
        elif self.wanted is not None and self._events > HEAD and not (self.wanted.search(raw) or raw.endswith(DONE)):
            return False
        data = payload(raw)
        if data == DONE:
            self.last()
        if not data.startswith(b"{") or dialect.fold is None:
            return False
        chunk = json.loads(data)
        self._fold(chunk, dialect.fold)
        return dialect.usage_only is not None and dialect.usage_only(chunk)

    def _fold(self, chunk: Any, fold: Callable[[dict[str, Any], Any], None]) -> None:
        if self._words is not None:
            self._words += words(chunk)
        if self.recording.capture is not None:
            self.recording.capture.event(chunk)
        fold(self.body, chunk)
        if "over" in self.body:
            self.last()
        if self.body.get("error") is not None:
            self.end("failed")  # older SDKs raise, and leave the response open

    def follow(self, chunks: Iterator[T], chunk: Callable[[T], Any] = _itself) -> Iterator[T]:
        """The same chunks, read on their way."""
        with self:
            for item in chunks:
                with guard:
                    self._take(chunk(item))
                yield item

    async def afollow(self, chunks: AsyncIterator[T], chunk: Callable[[T], Any] = _itself) -> AsyncIterator[T]:
        """The same chunks, read on their way."""
        with self:
            async for item in chunks:
                with guard:
                    self._take(chunk(item))
                yield item

    def along(self, chunks: Any, chunk: Callable[[Any], Any] = _itself) -> Any:
        """The same chunks, asynchronous or not, read on their way."""
        return self.afollow(chunks, chunk) if hasattr(chunks, "__aiter__") else self.follow(chunks, chunk)

    def pieces(self) -> Callable[[bytes], None]:
        """For `follow`, where the body is bytes, cut anywhere: takes their server-sent events, or the document."""
        framing = ServerSentEvents(self.event, self.wanted) if self.streamed else Document(self.whole)

        def feed(piece: bytes) -> None:
            framing.feed(piece)

        return feed

    def _take(self, chunk: Any) -> None:
        if isinstance(chunk, bytes):
            self.event(chunk)
            return
        if self.recording.call.time_to_first_chunk is None:
            self.recording.call.time_to_first_chunk = self.recording.elapsed_ns() / 1e9
        if self.dialect.fold is not None and chunk is not None:
            self._fold(chunk, self.dialect.fold)

    def know(self, body: dict[str, Any]) -> None:
        """Take what is known before any of it is read."""
        self.body = body

    @contextmanager
    def part(self) -> Generator[None]:
        """Something of the body is read in there; if that fails, the reading of it has ended."""
        with ExitStack() as failing:
            failing.push(self)
            yield
            failing.pop_all()

    def last(self) -> None:
        """All has been said. Some read no further, and keep the stream."""
        self.over = True
        self.end("completed")

    def document(self, body: Any) -> None:
        """Take the whole body."""
        self.body, self.over = body, True

    def whole(self, body: Any) -> None:
        """Take the whole body; nothing follows."""
        self.body = body
        self.last()

    def end(self, outcome: StreamOutcome, error: BaseException | None = None) -> None:
        """The body ended, one way or another. Later ends say nothing new."""
        if self.ended:
            return
        self.ended = True
        _open.discard(self)
        recording, call = self.recording, self.recording.call
        call.duration_ns = call.duration_ns or recording.elapsed_ns()
        if self.body:
            with guard:
                self.dialect.response(call, self.body)
                if recording.capture is not None:
                    recording.capture.answer(None if self.streamed else self.body, call.finish_reasons)
        with guard:
            if not is_over(recording, self.dialect, self.body):
                return
        if self.body.get("error") is not None:
            outcome = "failed"
            call.error_type = call.error_type or "error"
        elif self.over:
            outcome = "completed"
        if outcome == "completed":
            recording.usage_accepted()
        elif call.usage is not None:
            call.usage_source = "partial"
        if self._words and (call.usage is None or call.usage.output_tokens is None):
            later(partial(estimate, call, recording.request and recording.request.body, "".join(self._words)))
            later(partial(self._conclude, outcome, error))
        else:
            self._conclude(outcome, error)

    def _conclude(self, outcome: StreamOutcome, error: BaseException | None) -> None:
        if outcome == "failed" and error is not None:
            self.recording.fail(error)
        else:
            self.recording.finish(outcome if self.streamed or outcome != "completed" else None)

    def closed(self) -> None:
        """The caller, or the SDK for it, closed the response."""
        error = sys.exc_info()[1]
        if isinstance(error, GeneratorExit):
            # Somebody dropped the stream half-way, and a generator over it is being finalized.
            self.abandoned()
        elif isinstance(error, Exception) and type(error).__module__.partition(".")[0] in (
            *_READERS,
            self.recording.package,
        ):
            self.end("failed", error)
        else:
            self.end("aborted")

    def abandoned(self) -> None:
        """Nobody will read on. A finalizer may say so, anywhere and any time, so the end comes from our own thread."""
        if not self.ended:
            self.recording.call.duration_ns = self.recording.elapsed_ns()
            later(partial(self.end, "abandoned"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.end("completed")
        elif isinstance(error, Exception):
            self.end("failed", error)
        elif not isinstance(error, GeneratorExit):
            self.end("aborted")

    def __del__(self) -> None:
        self.abandoned()


# Whose exceptions mean that the body could not be read; any other is the caller's own, while it was reading.
_READERS = frozenset(
    {
        *("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "aiohttp", "grpc"),
        *("json", "pydantic", "pydantic_core"),
    }
)


@at_the_end
def _end_open_streams() -> None:
    """A stream that is still open when the process ends was abandoned, and what was seen of it counts."""
    for reader in list(_open):
        with guard:
            reader.end("abandoned")


def _after_fork_in_child() -> None:
    for reader in list(_open):
        reader.ended = True  # the parent's to end
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class _Tap(Proxy):
    """The byte stream of a response, reading along."""

    def __init__(self, stream: Any, reader: BodyReader, framing: Framing, decoder: Any, hides: bool) -> None:
        super().__init__(stream)
        self._self_reader = reader
        self._self_framing = framing
        self._self_decoder = decoder
        self._self_hides = hides

    def _self_taking(self) -> Callable[[bytes], bytes]:
        # What happens for every piece of a stream, found once: a proxy's attributes are slow to find.
        feed, decoder, hides = self._self_framing.feed, self._self_decoder, self._self_hides

        def decode_and_feed(data: bytes) -> bytes:
            if hides:
                return feed(_joined(decoder.decode(data)))  # raises what it would have raised for the caller
            with guard:
                feed(_joined(decoder.decode(data)))
            return data

        return feed if decoder is None else decode_and_feed

    def _self_rest(self) -> bytes:
        decoder, framing = self._self_decoder, self._self_framing
        if not self._self_hides:
            with guard:
                framing.feed(b"" if decoder is None else _joined(decoder.flush()))
                framing.rest()
            return b""
        tail = b"" if decoder is None else _joined(decoder.flush())
        with guard:
            return framing.feed(tail) + framing.rest()
        return tail

    def __iter__(self) -> Iterator[bytes]:
        take = self._self_taking()
        with self._self_reader:
            for data in self.__wrapped__:
                given = take(data)
                if given:
                    yield given
            rest = self._self_rest()
            if rest:
                yield rest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        take = self._self_taking()
        with self._self_reader:
            async for data in self.__wrapped__:
                given = take(data)
                if given:
                    yield given
            rest = self._self_rest()
            if rest:
                yield rest

    def close(self) -> None:
        """Whoever closes the body ends the reading of it."""
        self._self_reader.closed()
        self.__wrapped__.close()

    async def aclose(self) -> None:
        """Whoever closes the body ends the reading of it."""
        self._self_reader.closed()
        await self.__wrapped__.aclose()


def _joined(decoded: bytes | Iterable[bytes]) -> bytes:
    """What a decoder gave: httpx's gives bytes, httpx2's gives pieces."""
    return decoded if isinstance(decoded, bytes) else b"".join(decoded)
