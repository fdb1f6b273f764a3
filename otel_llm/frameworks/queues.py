"""Task queues: a job belongs to the interaction that enqueued it, in whichever process a worker runs it.

A job that nobody's interaction enqueued is one of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from otel_llm.call import AttributeValue
from otel_llm.driving import drive
from otel_llm.engine.propagation import CARRIER, carried, resumed
from otel_llm.guard import guard
from otel_llm.interaction import INTERACTION, end_span, interaction_of
from otel_llm.late import flush
from otel_llm.spec import Arrival, Hook, Integration
from otel_llm_semconv import attributes as A

_tracer = trace.get_tracer("otel_llm.queues")


class _Job:
    """A job that a worker runs, on its span: the scope of what it does."""

    def __init__(self, system: str, name: str, queue: str | None, carrier: Mapping[str, Any]) -> None:
        attributes: dict[str, AttributeValue] = {
            A.MESSAGING_SYSTEM: system,
            A.MESSAGING_OPERATION_NAME: "process",
            A.MESSAGING_OPERATION_TYPE: "process",
        }
        if queue:
            attributes[A.MESSAGING_DESTINATION_NAME] = queue
        context = resumed(carrier)
        self._span = _tracer.start_span(name, context, SpanKind.CONSUMER, attributes)
        inside = trace.set_span_in_context(self._span, context)
        self._inside = otel_context.set_value(INTERACTION, interaction_of(self._span, context), inside)
        self.outer = otel_context.get_current()

    def inside(self) -> Context:
        return self._inside

    def end(self, error: BaseException | None = None, result: Any = None) -> None:
        with guard:
            end_span(self._span, error)


# Celery tells of all that is needed by its signals.


def _celery_is_traced() -> bool:
    """Whether OpenTelemetry's instrumentation of Celery does all this."""
    theirs = sys.modules.get("opentelemetry.instrumentation.celery")
    return theirs is not None and theirs.CeleryInstrumentor().is_instrumented_by_opentelemetry


def _celery(signals: Any, _frames: Any) -> Any:
    def publish(headers: Any = None, **_: Any) -> None:
        with guard:
            if headers is not None and not _celery_is_traced():
                headers.update(carried())

    def begin(task: Any = None, **_: Any) -> None:
        with guard:
            if not _celery_is_traced():
                request: Any = task.request
                came: dict[str, Any] = {name: request.get(name) for name in _CARRIED if request.get(name) is not None}
                # What is applied in place was never sent.
                carrier = carried() if request.is_eager else came
                delivery: dict[str, Any] = request.delivery_info or {}
                job = _Job("celery", task.name, delivery.get("routing_key"), carrier)
                request.otel_llm = job
                otel_context.attach(job.inside())

    def end(task: Any = None, state: Any = None, retval: Any = None, **_: Any) -> None:
        with guard:
            known: dict[str, Any] = task.request.__dict__
            job = known.pop("otel_llm", None)
            if isinstance(job, _Job):
                otel_context.attach(job.outer)
                job.end(retval if state == "FAILURE" else None)

    listeners = ((signals.before_task_publish, publish), (signals.task_prerun, begin), (signals.task_postrun, end))
    for signal, listener in listeners:
        signal.connect(listener, weak=False)

    def undo() -> None:
        for signal, listener in listeners:
            signal.disconnect(listener)

    return undo


_CARRIED = ("traceparent", "tracestate", "baggage", CARRIER)

# RQ keeps what goes along in the metadata of the job.


def _rq_create(wrapped: Any, _job_class: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    job = wrapped(*args, **kwargs)
    with guard:
        if carrier := carried():
            job.meta = {**job.meta, CARRIER: carrier}
    return job


def _rq_perform(wrapped: Any, job: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    work = partial(wrapped, *args, **kwargs)
    with guard:
        scope = _Job("rq", job.func_name, job.origin, job.meta.get(CARRIER, {}))
        work = partial(drive, wrapped, args, kwargs, lambda: scope)
    try:
        return work()
    finally:
        flush()  # its worker forks for each job, and the child ends by os._exit


QUEUES = (
    Integration(
        "celery",
        "celery",
        "5.3.0",
        5,
        "tasks, retries, workflows; where OpenTelemetry's instrumentation of Celery is active, that one does it",
        hooks=(Arrival("celery.signals", _celery),),
    ),
    Integration(
        "rq",
        "rq",
        "1.16.0",
        3,
        "jobs",
        hooks=(Hook("rq.job", "Job.create", _rq_create), Hook("rq.job", "Job.perform", _rq_perform)),
    ),
)
"""Every task queue that is instrumented."""
