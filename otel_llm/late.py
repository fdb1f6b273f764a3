"""A thread of our own, for what must not happen in the user's: loading prices, and ending streams in a finalizer."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otel_llm.guard import guard

# SimpleQueue.put is reentrant: a finalizer may call it while this very thread is inside put.
_jobs: SimpleQueue[Callable[[], object]] = SimpleQueue()
_thread: threading.Thread | None = None
_start = threading.Lock()
_steps = 0
"""Beginnings and ends of jobs so far: odd while one is running."""


def later(job: Callable[[], object]) -> None:
    """Run `job` soon, in order, in the finisher's thread. Never blocks, never raises."""
    _jobs.put(job)
    if _thread is None or not _thread.is_alive():
        with guard:
            _ensure_thread()


def drain(timeout: float = 30.0) -> bool:
    """Wait until all jobs are done, with those that they brought along; False if `timeout` seconds were not enough."""
    if _thread is None and _jobs.empty():
        return True
    end = time.monotonic() + timeout
    while True:
        before, done = _steps, threading.Event()
        later(done.set)
        if not done.wait(end - time.monotonic()):
            return False
        if before % 2 == 0 and _steps <= before + 2:
            return True  # no job was running, and none has run but our own


def flush() -> None:
    """Have everything that ended kept now: the process is about to end past every `atexit`."""
    with guard:
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            drain()
            provider.force_flush()


def _ensure_thread() -> None:
    global _thread
    with _start:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_run, name="otel-llm-finisher", daemon=True)
            _thread.start()


def _run() -> None:
    global _steps
    while True:
        job = _jobs.get()
        _steps += 1
        with guard:
            job()
        _steps += 1


def _after_fork_in_child() -> None:
    # The parent finishes its own calls; its thread does not exist here.
    global _thread, _start, _jobs, _steps
    _thread, _start, _steps = None, threading.Lock(), 0
    _jobs = SimpleQueue[Callable[[], object]]()


_last: list[Callable[[], None]] = []


def at_the_end(act: Callable[[], None]) -> Callable[[], None]:
    """Have `act` called when the process ends, before the last jobs are done. As a decorator."""
    _last.append(act)
    return act


def _end() -> None:
    for act in _last:
        with guard:
            act()
    drain()


def end_before_others() -> None:
    """What was set up by now, providers of OpenTelemetry for example, shuts down after our end."""
    atexit.unregister(_end)
    atexit.register(_end)


end_before_others()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
