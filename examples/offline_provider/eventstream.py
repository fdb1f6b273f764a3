"""How events are framed on the wire: server-sent events, JSON lines, and the AWS binary event stream of Bedrock."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from examples.offline_provider.model import Json


class Framing(NamedTuple):
    """One way to put events into a response body."""

    content_type: str
    frame: Callable[[str | None, str], bytes]
    """One event, from its name and its payload as JSON text."""
    failure: Callable[[str | None, str], bytes] | None = None
    """The event that reports a failure in mid-stream, where it is framed in another way."""


def sse(name: str | None, payload: str) -> bytes:
    """One server-sent event."""
    return (f"event: {name}\ndata: {payload}\n\n" if name else f"data: {payload}\n\n").encode()


def aws_chunk(_name: str | None, payload: str) -> bytes:
    """One `chunk` event of Bedrock, with the payload as its bytes."""
    wrapped: Json = {"bytes": base64.b64encode(payload.encode()).decode(), "p": "abcd"}
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return _message(headers, json.dumps(wrapped).encode())


def aws_event(name: str | None, payload: str) -> bytes:
    """One event of Bedrock's own, with its name."""
    headers = {":event-type": str(name), ":content-type": "application/json", ":message-type": "event"}
    return _message(headers, payload.encode())


def aws_exception(_name: str | None, _payload: str) -> bytes:
    """A failure in mid-stream, as Bedrock reports it."""
    kind = "modelStreamErrorException"
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return _message(headers, json.dumps({"message": "scripted failure in mid-stream"}).encode())


def json_line(_name: str | None, payload: str) -> bytes:
    """One line."""
    return payload.encode() + b"\n"


def _message(headers: dict[str, str], payload: bytes) -> bytes:
    head = b"".join(
        struct.pack(f">B{len(name)}sBH", len(name), name.encode(), 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack(">I", zlib.crc32(message))


SSE = Framing("text/event-stream; charset=utf-8", sse)
JSON_LINES = Framing("application/x-ndjson", json_line)
AWS_CHUNKS = Framing("application/vnd.amazon.eventstream", aws_chunk, aws_exception)
AWS_EVENTS = AWS_CHUNKS._replace(frame=aws_event)
