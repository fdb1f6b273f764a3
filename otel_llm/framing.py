"""Cutting the body of a response into events while its bytes come by: one class per media type."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from otel_llm.guard import guard

SERVER_SENT_EVENTS = "text/event-stream"
JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonl", "application/stream+json")
AMAZON_EVENTS = "application/vnd.amazon.eventstream"

# A body that is no stream is kept until it is whole; not beyond this many bytes.
_LARGEST_DOCUMENT = 64 * 1024 * 1024

Take = Callable[[bytes], bool]
"""Takes one event, whole; whether it is to be kept from the caller."""


class Framing(Protocol):
    """How a body is cut into events."""

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the body; what of it the caller gets now."""
        ...

    def rest(self) -> bytes:
        """The body is over; what of it the caller did not get yet."""
        ...


class ServerSentEvents:
    """Events end with an empty line. Where some may be hidden, the caller gets whole events only, without the `marks`.

    Whole events of which `matters` says no are not even cut.
    """

    def __init__(
        self, take: Take, matters: Callable[[bytes], bool], *, hides: bool, marks: tuple[bytes, ...] = ()
    ) -> None:
        self._take = take
        self._matters = matters
        self._hides = hides
        self._marks = marks if hides else ()
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """Take whole events, keep what is left."""
        if not self._tail and data.endswith(b"\n\n") and not self._matters(data):
            return self._without_marks(data)
        whole = self._tail + data
        end = b"\r\n\r\n" if b"\r\n" in whole else b"\r\r" if b"\r\r" in whole else b"\n\n"
        *events, self._tail = whole.split(end)
        given = b"".join([self._given(event, end) for event in events])
        return given if self._hides else data

    def rest(self) -> bytes:
        """The last event may come without its empty line."""
        tail, self._tail = self._tail, b""
        given = self._given(tail, b"") if tail.strip() else tail
        return given if self._hides else b""

    def _given(self, event: bytes, end: bytes) -> bytes:
        hidden = False
        with guard:
            hidden = self._take(event)
        return b"" if hidden or not self._hides else self._without_marks(event) + end

    def _without_marks(self, data: bytes) -> bytes:
        for mark in self._marks:
            data = data.replace(mark, b"")
        return data


def payload(event: bytes) -> bytes:
    """The data of one server-sent event; of an event that comes bare, the event."""
    if event.startswith(b"{"):
        return event
    return b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))


class AmazonEvents:
    """As Bedrock streams: binary frames around base64 of the model's events.

    A frame is total length, headers length, checksum (4 bytes each), headers, payload, checksum.
    """

    def __init__(self, take: Take) -> None:
        self._take = take
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """Take whole frames, keep what is left."""
        buffer = self._tail + data
        while len(buffer) >= 16:
            total, headers = struct.unpack_from(">II", buffer)
            if len(buffer) < total or total < 16:
                break
            head, frame, buffer = buffer[12 : 12 + headers], buffer[12 + headers : total - 4], buffer[total:]
            with guard:
                inner = json.loads(frame).get("bytes")
                if inner:
                    self._take(base64.b64decode(inner))
                elif b":exception-type" in head:
                    self._take(b'{"type": "error", "error": %b}' % frame)
        self._tail = buffer
        return data

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
        if len(self._so_far) < _LARGEST_DOCUMENT:
            self._so_far += data
            if self._so_far.rstrip().endswith(b"}"):
                with suppress(json.JSONDecodeError):
                    self._take(json.loads(self._so_far))
        return data

    def rest(self) -> bytes:
        """Nothing is ever kept."""
        return b""
