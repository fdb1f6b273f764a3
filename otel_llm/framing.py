"""Cutting the body of a response into events while its bytes come by: one class per media type."""

from __future__ import annotations

import base64
import json
import re
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from otel_llm.guard import guard

SERVER_SENT_EVENTS = "text/event-stream"
JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonl", "application/stream+json")
AMAZON_EVENTS = "application/vnd.amazon.eventstream"

DONE = b"[DONE]"
"""How the streams of OpenAI, and of those who speak as it does, end."""

# Id and model are in one of the first events: Azure begins with its content filter's verdict.
HEAD = 3
# A body that is no stream is kept until it is whole; not beyond this many bytes.
_LARGEST_DOCUMENT = 64 * 1024 * 1024

Take = Callable[[bytes], bool]
"""Takes one event, whole; whether it is to be kept from the caller."""


class Framing(Protocol):
    """How a body is cut into events."""

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the body; what of it the caller gets now. Nothing that fails in there is raised."""
        ...

    def rest(self) -> bytes:
        """The body is over; what of it the caller did not get yet."""
        ...


class ServerSentEvents:
    """Events end with an empty line. Where some may be hidden, the caller gets whole events only, without the `marks`.

    After the first ones, whole events in which nothing is found that is `wanted` are not even cut.
    """

    def __init__(
        self,
        take: Take,
        wanted: re.Pattern[bytes] | None = None,
        *,
        hides: bool = False,
        marks: tuple[bytes, ...] = (),
    ) -> None:
        self._take = take
        self._search = wanted.search if wanted is not None else None
        self._hides = hides
        self._marks = marks if hides else ()
        self._mark = b""
        """The one of them that this server writes, once it has."""
        self._tail = b""
        self._first = HEAD if wanted is not None else sys.maxsize
        self._quick = False
        """The next piece may be whole events that do not matter."""

    def feed(self, data: bytes) -> bytes:
        """Take whole events, keep what is left."""
        # This is what happens for every piece of a stream: as few calls as can be, and none that could fail.
        if (
            self._quick
            and data.__class__ is bytes
            and data[-2:] == b"\n\n"
            and data[-8:-2] != DONE
            and self._search is not None
            and self._search(data) is None
        ):
            if self._mark:
                return data.replace(self._mark, b"")
            return self._without_marks(data) if self._marks else data
        with guard:
            return self._cut(data)
        return data

    def _cut(self, data: bytes) -> bytes:
        whole = self._tail + data
        end = b"\r\n\r\n" if b"\r\n" in whole else b"\r\r" if b"\r\r" in whole else b"\n\n"
        *events, self._tail = whole.split(end)
        given = b"".join([self._given(event, end) for event in events])
        self._quick = self._first <= 0 and not self._tail
        return given if self._hides else data

    def rest(self) -> bytes:
        """The last event may come without its empty line."""
        tail, self._tail = self._tail, b""
        given = self._given(tail, b"") if tail.strip() else tail
        return given if self._hides else b""

    def _given(self, event: bytes, end: bytes) -> bytes:
        hidden = False
        self._first -= 1
        with guard:
            hidden = self._take(event)
        return b"" if hidden or not self._hides else self._without_marks(event) + end

    def _without_marks(self, data: bytes) -> bytes:
        for mark in self._marks:
            if mark in data:
                self._mark, self._marks = mark, (mark,)  # a server writes it in one way
                return data.replace(mark, b"")
        return data


def payload(event: bytes) -> bytes:
    """The data of one server-sent event; of an event that comes bare, the event."""
    if event.startswith(b"{"):
        return event
    return b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))


def amazon_event(kind: bytes, frame: bytes, *, failure: bool) -> bytes:
    """What one frame says, as JSON: an event of the model's own, one of Bedrock's by its name, or an error."""
    if failure:
        return b'{"type":"error","error":{"type":"%b"}}' % kind
    return base64.b64decode(json.loads(frame)["bytes"]) if kind == b"chunk" else b'{"%b":%b}' % (kind, frame)


# A header is the length of its name, the name, 7 for a text, its length in two bytes, the text.
_KIND = re.compile(rb":(event|exception)-type\x07..([A-Za-z]+)", re.DOTALL)


class AmazonEvents:
    """As Bedrock streams: binary frames around its events, or around base64 of the model's.

    A frame is total length, headers length, checksum (4 bytes each), headers, payload, checksum.
    """

    def __init__(self, take: Take) -> None:
        self._take = take
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """Take whole frames, keep what is left."""
        with guard:
            self._tail = self._cut(self._tail + data)
        return data

    def _cut(self, buffer: bytes) -> bytes:
        while len(buffer) >= 16:
            total, headers = struct.unpack_from(">II", buffer)
            if len(buffer) < total or total < 16:
                break
            head, frame, buffer = buffer[12 : 12 + headers], buffer[12 + headers : total - 4], buffer[total:]
            with guard:
                kind = _KIND.search(head)
                if kind:
                    self._take(amazon_event(kind[2], frame, failure=kind[1] == b"exception"))
        return buffer

    def rest(self) -> bytes:
        """Half a frame says nothing."""
        return b""


class Lines:
    """An event per line."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """Take whole lines, keep what is left."""
        with guard:
            *lines, self._tail = (self._tail + data).split(b"\n")
            for line in lines:
                self._line(line)
        return data

    def rest(self) -> bytes:
        """The last line may come without its end."""
        tail, self._tail = self._tail, b""
        self._line(tail)
        return b""

    def _line(self, line: bytes) -> None:
        with guard:
            if line.strip():
                self._take(line.strip())


class Document:
    """A body that is one JSON document."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take = take
        self._so_far = b""

    def feed(self, data: bytes) -> bytes:
        """Take the document as soon as it is whole: the caller may close before the end of the connection."""
        with guard:
            if len(self._so_far) < _LARGEST_DOCUMENT and (self._so_far or data.lstrip().startswith(b"{")):
                self._so_far += data
                if self._so_far.rstrip().endswith(b"}"):
                    with suppress(json.JSONDecodeError):
                        self._take(json.loads(self._so_far))
        return data

    def rest(self) -> bytes:
        """Nothing is ever kept."""
        return b""
