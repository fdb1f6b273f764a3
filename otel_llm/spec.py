"""The shapes of a table: what an integration declares, and nothing of how it runs.

A `Dialect` reads one wire format. A `Patch` says which method speaks it. An `Integration` is the frozen table of
one SDK. The engine (`otel_llm.engine`) does the rest.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar

from otel_llm.call import AttributeValue, Call
from otel_llm.driving import Scope, at_once

T = TypeVar("T")


def nothing(_: Any) -> None:
    """There is none."""
    return


def nothing_more(_: Any) -> Mapping[str, AttributeValue | None]:
    """There is nothing more to tell."""
    return {}


def nothing_known(_: Any) -> dict[str, Any]:
    """Nothing is known yet."""
    return {}


def _itself(result: Any) -> Any:
    return result


class Follower(Protocol):
    """Reads along with what is no httpx response: iterators of chunks, or of what `chunk` makes one of."""

    def know(self, body: dict[str, Any]) -> None:
        """What is known of the response before any of it is read."""
        ...

    def follow(self, chunks: Iterator[T], chunk: Callable[[T], Any] = _itself) -> Iterator[T]:
        """The same chunks, read on their way. A chunk that is bytes is the JSON of one event."""
        ...

    def afollow(self, chunks: AsyncIterator[T], chunk: Callable[[T], Any] = _itself) -> AsyncIterator[T]:
        """The same chunks, read on their way."""
        ...

    def along(self, chunks: Any, chunk: Callable[[Any], Any] = _itself) -> Any:
        """`follow` or `afollow`, as the chunks are."""
        ...

    def pieces(self) -> Callable[[bytes], None]:
        """The `chunk` of bytes that are cut anywhere: of a stream's server-sent events, or of one document."""
        ...

    def part(self) -> AbstractContextManager[None]:
        """Something of the body is read in there; if that fails, the reading of it has ended."""
        ...

    def whole(self, body: Any) -> None:
        """The body, read to its end."""
        ...

    def closed(self) -> None:
        """The caller, or the SDK for it, closed the stream."""
        ...


@dataclass(frozen=True, slots=True)
class Content:
    """How the messages of one wire format become those of the semantic conventions, where that is asked for."""

    request: Callable[[Mapping[str, Any]], dict[str, list[dict[str, Any]]]]
    """By attribute, from the request body: input messages, system instructions, tool definitions."""
    response: Callable[[Any], list[dict[str, Any]]]
    """The output messages, from a response body or what `fold` made of a stream."""
    fold: Callable[[dict[str, Any], Any], None]
    """Fold one event of a stream."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one wire format is read. Pure functions; a body or chunk is a dict, or an SDK's object with the same names.

    They may raise anything on odd input: the engine's guard keeps that from the caller.
    """

    name: str
    operation: str
    """`gen_ai.operation.name` of its calls."""
    request: Callable[[Call, Mapping[str, Any]], None]
    """Fill the call from the request body, before it is sent."""
    response: Callable[[Call, Any], None]
    """Fill the call from a response body."""
    fold: Callable[[dict[str, Any], Any], None] | None = None
    """Fold one chunk of a stream into a response-shaped dict, which `response` then reads."""
    ask_usage: Callable[[Mapping[str, Any]], dict[str, Any] | None] = nothing
    """The request body changed so that the stream reports its usage; None when there is nothing to change."""
    usage_only: Callable[[Any], bool] | None = None
    """Whether a chunk is there only because `ask_usage` asked for it, and so is not the caller's."""
    usage_marks: tuple[bytes, ...] = ()
    """What `ask_usage` puts into the other events, as raw bytes in every spelling: not the caller's either."""
    wanted: re.Pattern[bytes] | None = None
    """Finds the events of a stream that matter to `fold`, on their raw bytes; the others are not even parsed."""
    background: Callable[[Any], tuple[str, float | None] | None] = nothing
    """Of a response made in the background: the id to ask for it by, and when it ended: seconds since the epoch,
    0 where that is not told; None while it goes on."""
    content: Content | None = None
    """None where there are no messages, or where they must never be captured: embeddings."""


@dataclass(frozen=True, slots=True)
class Batch:
    """How the results of a batch are read: a body with a line for each call."""

    begins: re.Pattern[bytes]
    """What such a body begins with, where others have the same path."""
    answer: Callable[[Any], tuple[Dialect, Any] | None]
    """The response in a line, and its dialect; None if it cost nothing."""
    inside: Callable[[Any], tuple[str, list[Any]]] | None = None
    """Of a body that is one document: the id of the results, by which others may get them too, and their lines."""
    name: Callable[[Any], str | None] = nothing
    """What a line is called within its batch, where lines do not always come in the same order."""


Speaks = Dialect | Batch | Callable[[Mapping[str, Any]], Dialect]
"""What is spoken at a path: a dialect, or what finds it by the request body."""
Paths = Mapping[str, Speaks]
"""Ends of URL paths: `/responses`, `GET /responses/{id}`; see `otel_llm.transports.sent.Routes`."""


@dataclass(frozen=True, slots=True)
class Late:
    """A request that only asks what became of something earlier, as its integration reads it from the arguments."""

    id: str
    tells: Dialect | Batch
    provider: str
    stream: bool
    server_address: str | None
    server_port: int | None
    transport: Callable[[Any], Any] = nothing
    """The httpx response behind what the method returned; else None."""
    answer: Callable[[Any], Any] = _itself
    """The body in anything else; of a batch that is no one document its lines, as bytes or read already."""


@dataclass(slots=True)
class Request:
    """What a patched method is about to send, as its integration reads it from the arguments."""

    dialect: Dialect
    provider: str
    body: Mapping[str, Any]
    stream: bool = False
    server_address: str | None = None
    server_port: int | None = None
    with_body: Callable[[dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]] | None = None
    """The arguments again, with another body; None when the body cannot be changed."""
    transport: Callable[[Any], Any] = nothing
    """The httpx response behind what the method returned, when its body is for the caller to read; else None."""
    follow: Callable[[Any, Follower], Any] | None = None
    """Have a stream that is no httpx response read along with; what the caller gets then."""
    lazy: bool = False
    """A body that is no stream is the caller's to read, too: `follow` has it read along with."""
    answer: Callable[[Any], Any] = _itself
    """The body in what the method returned, for the dialect."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One method to wrap."""

    module: str
    attribute: str
    """Dotted path inside the module: `SyncAPIClient.request`."""
    read: Callable[[Any, tuple[Any, ...], dict[str, Any]], Request | Late | None]
    """`read(instance, args, kwargs)`: what is about to be sent; None when it is no model call."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A method to wrap with a wrapper of its own, `wrapt` style: for what is no call but bears on calls."""

    module: str
    attribute: str
    wrapper: Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a message of a conversation says of a call."""

    id: str
    dialect: Dialect
    body: dict[str, Any]
    over: bool
    """Whether the call ended with it; else it began."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """How the messages of a conversation over a socket are read."""

    turn: Callable[[dict[str, Any], Any], Turn | None]
    """`turn(known, message)`; what is `known` of the conversation so far is its to fill."""
    wanted: re.Pattern[bytes] | None = None
    """Finds the messages that matter, on their raw bytes; None where the SDK gives them parsed."""


@dataclass(frozen=True, slots=True)
class Socket:
    """The method of a connection that gives the next message, as bytes or parsed."""

    module: str
    attribute: str
    conversation: Conversation
    server: Callable[[Any], tuple[str, str | None, int | None]]
    """Provider name, host and port of a connection."""
    known: Callable[[Any], dict[str, Any]] = nothing_known
    """What is known of the conversation of a connection when it begins."""


class Activity(NamedTuple):
    """What a framework does in one frame: one span, `{operation} {name}`, a step's is `{name}`."""

    operation: str | None = None
    """`invoke_workflow`, `invoke_agent`, `execute_tool`, `retrieval`; None for a step of these."""
    name: str | None = None
    """A real name, of low cardinality."""
    attributes: Mapping[str, AttributeValue | None] = MappingProxyType({})
    """Further ones; None is left out."""

    @property
    def title(self) -> str:
        """The name of its span."""
        return " ".join(filter(None, (self.operation, self.name)))


@dataclass(frozen=True, slots=True)
class Step:
    """A method of a framework that is one activity while it runs: a function, a coroutine, or a generator of either."""

    module: str
    attribute: str
    read: Callable[[Any, tuple[Any, ...], dict[str, Any]], Activity | None]
    """`read(instance, args, kwargs)`: what it does; None when it is nothing to tell."""
    ended: Callable[[Any], Mapping[str, AttributeValue | None]] = nothing_more
    """Further attributes, from what the method returned, a generator at last. With an `error.type` it has failed."""
    later: Callable[[Any, Scope], bool] = at_once
    """`later(result, scope)`: whether a result of the framework's own kind runs inside of the scope from now on, and
    ends it."""


@dataclass(frozen=True, slots=True)
class Report:
    """A method by which a framework tells of its frames, with a wrapper of its own."""

    module: str
    attribute: str
    wrapper: Callable[[Any, Any, Any, tuple[Any, ...], dict[str, Any]], Any]
    """`wrapper(frames, wrapped, instance, args, kwargs)`; `frames` is the `Frames` of the framework."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is to be done when a module has been imported: a framework's own callbacks are registered there."""

    module: str
    arrived: Callable[[Any, Any], Callable[[], None] | None]
    """`arrived(module, frames)` returns what takes it back; `frames` is the `Frames` of the framework."""


@dataclass(frozen=True, slots=True)
class Integration:
    """The table of one SDK, or of one framework."""

    name: str
    """Our name of it; the entry point is `otel_llm_<name>`."""
    distribution: str
    """Its name on the package index."""
    oldest: str
    """Oldest version that the tests run."""
    newest_major: int
    """Newest major version that the tests run; newer ones are instrumented too, and `doctor` says untested."""
    surfaces: str
    """What of the SDK is recorded, for the support table."""
    patches: tuple[Patch, ...] = ()
    hooks: tuple[Hook | Socket | Step | Report | Arrival, ...] = ()
    packages: frozenset[str] = frozenset()
    """Of a framework with callbacks: the packages whose generators others step through."""
