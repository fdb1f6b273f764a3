"""Calls that go on without their request: in the background, until another request is told how they ended."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from typing import Any

from otel_llm.call import Call
from otel_llm.engine.counted import is_first
from otel_llm.engine.recording import Recording
from otel_llm.guard import guard
from otel_llm.late import at_the_end
from otel_llm.spec import Dialect, Late

# Seconds in which who is told of the end, by a webhook, asks for it.
_JUST_NOW = 60
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


def counts(teller: Call | Late, id_: str, ended: float, *, known: bool, just_begun: bool = False) -> bool:
    """Whether the call that has this id counts now that it has ended; `known` if this process knew it before.

    It is counted once, and waits no longer.
    """
    with _lock:
        _open.pop(id_, None)
    # One that ended long ago was counted where it ended.
    return is_first(teller, id_, just_begun=just_begun) and (known or time.time() - ended <= _JUST_NOW)


def is_over(recording: Recording, dialect: Dialect, body: Any) -> bool:
    """Whether the call has ended with this body, and counts now. One that goes on is kept until it has."""
    told = dialect.background(body) if body else None
    if told is None and recording.waits_for is None:
        return True
    id_, ended = told or (recording.waits_for or "", None)
    if ended is not None:
        just_begun = recording.waits_for is None
        known = just_begun or id_ in _open or seen(id_)
        return counts(recording.call, id_, ended, known=known, just_begun=just_begun)
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
