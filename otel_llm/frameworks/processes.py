"""Child processes: what they run belongs to the interaction that started it.

What `multiprocessing` and process pools run is handed what to resume; any other program finds it in its environment,
where `opentelemetry-instrument` reads it (`TRACEPARENT`, as OpenTelemetry has it, and `OTEL_LLM_INTERACTION`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from opentelemetry.context import Context

from otel_llm.driving import within
from otel_llm.engine.propagation import carried, environment, resumed
from otel_llm.frameworks.threads import in_context
from otel_llm.guard import guard
from otel_llm.spec import Hook, Integration

_ENV = 10
"""Position of `env` among the arguments of Popen."""
_POOL = ("apply_async", "map", "map_async", "starmap", "starmap_async", "imap", "imap_unordered")


def _run(carrier: Mapping[str, str], job: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    context = Context()
    with guard:
        context = resumed(carrier, process=True)
    with within(context):
        return job(*args, **kwargs)


def _start(wrapped: Any, process: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    known: dict[str, Any] = process.__dict__
    own = known.get("run")
    with guard:
        if carrier := carried():
            # It goes to the child with the instance; subclasses have a `run` of their own.
            process.run = partial(_run, carrier, process.run)
    try:
        return wrapped(*args, **kwargs)
    finally:
        with guard:
            known.pop("run", None)
            if own is not None:
                known["run"] = own


def _submit(wrapped: Any, pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        # Without an interaction, too: a forked worker was born in that of somebody else.
        in_threads = isinstance(pool, getattr(sys.modules.get("multiprocessing.pool"), "ThreadPool", ()))
        within_it: Any = in_context if in_threads else partial(partial, _run, carried())
        if args:
            args = (within_it(args[0]), *args[1:])
        elif "func" in kwargs:
            kwargs = {**kwargs, "func": within_it(kwargs["func"])}
    return wrapped(*args, **kwargs)


def _popen(wrapped: Any, _process: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        given = args[_ENV] if len(args) > _ENV else kwargs.get("env")
        told = environment()
        if told and (given is None or isinstance(given, Mapping)):
            theirs = cast("Mapping[Any, Any]", os.environ if given is None else given)
            # Who was given a trace of its own keeps it.
            if given is None or not {"TRACEPARENT", b"TRACEPARENT"} & theirs.keys():
                env: dict[Any, Any] = {**theirs, **told}
                if len(args) > _ENV:
                    args = (*args[:_ENV], env, *args[_ENV + 1 :])
                else:
                    kwargs = {**kwargs, "env": env}
    return wrapped(*args, **kwargs)


processes = Integration(
    name="processes",
    distribution="Python",
    oldest="3.11",
    newest_major=3,
    surfaces="multiprocessing, process pools, subprocess",
    patches=(),
    hooks=(
        Hook("multiprocessing.process", "BaseProcess.start", _start),
        Hook("concurrent.futures.process", "ProcessPoolExecutor.submit", _submit),
        *(Hook("multiprocessing.pool", f"Pool.{method}", _submit) for method in _POOL),
        Hook("subprocess", "Popen.__init__", _popen),
    ),
)
