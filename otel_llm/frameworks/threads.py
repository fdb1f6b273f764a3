"""Thread pools: a job belongs to the interaction that submitted it.

`contextvars` follow tasks, but not jobs of an executor. Only OpenTelemetry's context goes along, for as long as the job
runs. Threads that are started by hand are left alone: one that outlives its request would bill everything to it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from otel_llm.driving import within
from otel_llm.guard import guard
from otel_llm.spec import Hook, Integration


def _submit(wrapped: Any, _pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        job, *rest = args
        inside = partial(_run, otel_context.get_current(), job)
        args = (inside, *rest)
    return wrapped(*args, **kwargs)


def _run(context: Context, job: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with within(context):
        return job(*args, **kwargs)


threads = Integration(
    name="threads",
    distribution="Python",
    oldest="3.11",
    newest_major=3,
    surfaces="jobs of ThreadPoolExecutor, and what asyncio runs in executors",
    patches=(),
    hooks=(Hook("concurrent.futures.thread", "ThreadPoolExecutor.submit", _submit),),
)
