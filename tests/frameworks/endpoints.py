"""What the endpoints of the small apps do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

from opentelemetry import trace

tracer = trace.get_tracer("app")
go_on = threading.Event()
"""Streams wait for it after their first piece."""


def work(name: str = "work") -> None:
    """A span, as a model call would be."""
    tracer.start_span(name).end()


def pieces() -> Iterator[bytes]:
    """A stream that works before, between and after its two pieces."""
    work("first")
    yield b"one "
    assert go_on.wait(10)
    work("second")
    yield b"two"
    work("third")


async def asynchronous_pieces() -> AsyncIterator[bytes]:
    """The same."""
    work("first")
    yield b"one "
    assert await asyncio.to_thread(go_on.wait, 10)
    work("second")
    yield b"two"
    work("third")
