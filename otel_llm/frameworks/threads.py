"""Threads and thread pools: what they run belongs to the interaction that started it, or submitted it.

`contextvars` follow tasks, but neither threads nor jobs of an executor. Only OpenTelemetry's context goes along, for as
long as the job or the thread runs. What a thread begins long after its interaction ended is no part of it any more:
`otel_llm.interaction` decides that, for tasks as well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from otel_llm.driving import within
from otel_llm.guard import guard
from otel_llm.spec import Hook, Integration

_OWN = "otel-llm"


def in_context(job: Callable[..., Any]) -> Callable[..., Any]:
    """`job`, which runs in the context that is current now, wherever it does."""
    return partial(_run, otel_context.get_current(), job)


def _run(context: Context, job: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with within(context):
        return job(*args, **kwargs)


def _submit(wrapped: Any, _pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        job, *rest = args
        args = (in_context(job), *rest)
    return wrapped(*args, **kwargs)


def _start(wrapped: Any, thread: threading.Thread, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        # Ours serve the whole process.
        if thread.ident is None and otel_context.get_current() and not thread.name.startswith(_OWN):
            # On the instance, because subclasses have a `run` of their own.
            thread.run = partial(_run_thread, thread, vars(thread).get("run"), in_context(thread.run))
    return wrapped(*args, **kwargs)


def _run_thread(thread: threading.Thread, own: Any, run: Callable[[], None]) -> None:
    with guard:
        if own is None:
            del thread.run
        else:
            thread.run = own
    run()


threads = Integration(
    name="threads",
    distribution="Python",
    oldest="3.11",
    newest_major=3,
    surfaces="threads, timers, jobs of ThreadPoolExecutor, and what asyncio runs in executors",
    patches=(),
    hooks=(
        Hook("threading", "Thread.start", _start),
        Hook("concurrent.futures.thread", "ThreadPoolExecutor.submit", _submit),
    ),
)
