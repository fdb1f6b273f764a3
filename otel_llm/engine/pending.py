"""Calls that go on without their request: in the background, until another request is told how they ended."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any

from otel_llm.call import Call
from otel_llm.engine.counted import is_first
from otel_llm.engine.recording import Recording
from otel_llm.guard import guard
from otel_llm.late import at_the_end
from otel_llm.spec import Dialect, Late

_MOST_OPEN = 1_000
_MOST_SEEN = 100_000
_open: OrderedDict[str, Recording] = OrderedDict()
_seen: OrderedDict[str, None] = OrderedDict()
_lock = threading.Lock()


def pending(id_: str) -> Recording | None:
    """The call that waits under this id."""
    return _open.get(id_)


def seen(id_: str) -> bool:
    """Whether this process has seen it before; from now on it has."""
    with _lock:
        before = id_ in _seen
        _seen[id_] = None
        while len(_seen) > _MOST_SEEN:
            _seen.popitem(last=False)
        return before


def count_once(teller: Call | Late, id_: str) -> bool:
    """Whether the call that has this id is counted for the first time. It waits no longer."""
    with _lock:
        _open.pop(id_, None)
    return is_first(teller, id_)


def is_over(recording: Recording, dialect: Dialect, body: Any) -> bool:
    """Whether the call has ended with this body, and counts now. One that goes on is kept until it has."""
    told = dialect.background(body) if body else None
    if told is None and recording.waits_for is None:
        return True
    id_, ended = told or (recording.waits_for or "", None)
    if ended is not None:
        return count_once(recording.call, id_)
    recording.waits_for = id_
    recording.request = None  # nobody needs the prompt any more
    recording.call.duration_ns = 0
    with _lock:
        _open[id_] = recording
        oldest = _open.popitem(last=False)[1] if len(_open) > _MOST_OPEN else None
    if oldest is not None:
        oldest.finish("abandoned")
    return False


@at_the_end
def _end_all() -> None:
    while _open:
        with guard:
            _open.popitem()[1].finish("abandoned")


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    _open.clear()  # the parent's to end


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
