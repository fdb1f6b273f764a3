"""The frames of frameworks with callbacks: a workflow, an agent, a step, a tool, a retrieval, a call to a model.

A frame is reported by two events, which may come from different threads, tasks and contexts; the second may never come.
One table knows what is open, so that a frame finds the one around it by its key, wherever it runs.
"""

from __future__ import annotations

import inspect
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from otel_llm.call import AttributeValue, Call
from otel_llm.driving import drive
from otel_llm.engine.recording import Layer, Recording, current_agent, with_agent, with_layer
from otel_llm.guard import guard
from otel_llm.interaction import end_span
from otel_llm.spec import Activity, Step
from otel_llm_semconv import attributes as A

_FRAME = otel_context.create_key("otel_llm.frame")
_DOING = otel_context.create_key("otel_llm.doing")


class _Inside(Context):
    """The context inside a frame. Once the frame is over, whoever still holds it is in the one around it.

    An async framework reports the end of a run in a copy of the context that it began in: there is nothing to detach.
    """

    after: Context | None = None

    def get(self, key: str, default: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().get(key, default) if self.after is None else self.after.get(key, default)

    def copy(self) -> dict[str, Any]:
        return super().copy() if self.after is None else self.after.copy()


class _Frame:
    __slots__ = ("around", "before", "call", "error", "handled", "inside", "layer", "operation", "span")

    def __init__(self, around: Context, before: Context, operation: str | None) -> None:
        self.around = around
        """What the frame belongs to."""
        self.before = before
        """Where it began: what is current again after it."""
        self.operation = operation
        self.inside = _Inside()
        self.span: Span | None = None
        self.call: Call | None = None
        self.layer: Layer | None = None
        self.handled = sys.exception()
        """What was being handled when it began, so nothing of its own."""
        self.error: BaseException | None = None


class Frames:
    """The open frames of one framework, whose code is in `packages`.

    Nothing of it raises. Of more than `limit` frames, the oldest is ended.
    """

    def __init__(self, tracer: Tracer, packages: Collection[str] = (), limit: int = 10_000) -> None:
        self._tracer = tracer
        self._packages = packages
        self._limit = limit
        self._open: OrderedDict[Hashable, _Frame] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._open

    def operation(self, key: Hashable) -> str | None:
        """The operation that the frame of `key` is, or is a step of; None when it is not open or of none."""
        frame = self._open.get(key)
        return frame.operation if frame is not None else None

    def agent(self, key: Hashable) -> str | None:
        """The name of the agent that the frame of `key` is in; None when it is not open or in none."""
        frame = self._open.get(key)
        return current_agent(frame.inside) if frame is not None else None

    def start(
        self,
        key: Hashable,
        parent: Hashable,
        operation: str | None = None,
        name: str | None = None,
        attributes: Mapping[str, AttributeValue | None] | None = None,
        *,
        attach: bool = True,
    ) -> None:
        """Open a frame beneath that of `parent`, or beneath what is current when that is not open.

        Its span is `{operation} {name}`, a step's is `{name}`; with neither it has none, and only passes on where it
        is. Attributes that are None are left out. Without `attach` only those are inside that name it as their parent.
        """
        with guard:
            frame = self._frame(parent, operation or self.operation(parent))
            inside = otel_context.set_value(_FRAME, key, frame.around)
            if operation or name:
                with guard:
                    activity = Activity(operation, name, attributes or {})
                    frame.span, inside = _begun(self._tracer, activity, inside)
            # A root that the caller steps through does not hold the caller's code, only the frames beneath.
            attach = attach and (parent in self._open or not _stepped_through(self._packages))
            self._enter(key, frame, inside, attach=attach)

    def start_call(self, key: Hashable, parent: Hashable, call: Call) -> None:
        """Open the frame of a call to a model. If no SDK's call beneath is recorded, `call` is, at the end."""
        with guard:
            call.layer = "framework"
            call.started_ns = time.time_ns()
            frame = self._frame(parent, None)
            frame.call, frame.layer = call, Layer()
            self._enter(key, frame, with_layer(frame.layer, frame.around), attach=True)

    def fail(self, key: Hashable, error: BaseException | None = None) -> None:
        """The frame of `key` ends with `error`, or with what is being handled or raised, if that came up in there."""
        frame, raised = self._open.get(key), sys.exception()
        if frame is not None:
            frame.error = (raised if raised is not frame.handled else None) or error or frame.error

    def end(
        self,
        key: Hashable,
        error: BaseException | None = None,
        attributes: Mapping[str, AttributeValue | None] | None = None,
        read: Callable[[Call], None] | None = None,
    ) -> None:
        """Close the frame of `key`, if it is open, from wherever.

        `read` fills the call to a model that nobody beneath has reported; without it, and without an error, there was
        no call after all.
        """
        with guard:
            with self._lock:
                frame = self._open.pop(key, None)
            if frame is not None:
                if frame.span is not None and attributes:
                    frame.span.set_attributes(_known(attributes))
                self._close(frame, error or frame.error, read)

    def step(self, step: Step) -> Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]:
        """The wrapper of a method that is one activity while it runs."""

        def call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            activity = None
            with guard:
                activity = step.read(instance, args, kwargs)
            if activity is None:
                return wrapped(*args, **kwargs)
            return drive(wrapped, args, kwargs, lambda: _Doing(self._tracer, activity, step), step.later)

        return call

    def _frame(self, parent: Hashable, operation: str | None) -> _Frame:
        before = otel_context.get_current()
        above = self._open.get(parent)
        # What is current may know more than the frame above, a span of the user's own for example.
        around = before if above is None or before.get(_FRAME) == parent else above.inside
        return _Frame(around, before, operation)

    def _enter(self, key: Hashable, frame: _Frame, inside: Context, *, attach: bool) -> None:
        frame.inside = _Inside(inside)
        if attach:
            otel_context.attach(frame.inside)
        with self._lock:
            self._open[key] = frame
            oldest = self._open.popitem(last=False)[1] if len(self._open) > self._limit else None
        if oldest is not None:
            self._close(oldest, None, _unread)

    def _close(self, frame: _Frame, error: BaseException | None, read: Callable[[Call], None] | None) -> None:
        frame.inside.after = _live(frame.before)
        if otel_context.get_current() is frame.inside:
            otel_context.attach(frame.inside.after)
        if frame.call is not None and frame.layer is not None:
            if not frame.layer.reported and (read is not None or error is not None):
                self._record(frame.call, frame.around, error, read)
            frame.layer.sign()
        if frame.span is not None:
            end_span(frame.span, error)

    def _record(
        self,
        call: Call,
        around: Context,
        error: BaseException | None,
        read: Callable[[Call], None] | None,
    ) -> None:
        call.duration_ns = time.time_ns() - call.started_ns
        if read is not None:
            with guard:
                read(call)
        recording = Recording(self._tracer, call, context=around)
        if error is None:
            recording.finish()
            return
        if call.usage is not None:
            call.usage_source = "partial"
        recording.fail(error)


class _Doing:
    """An activity that a function runs inside of."""

    def __init__(self, tracer: Tracer, activity: Activity, step: Step) -> None:
        self._step = step
        self._span: Span | None = None
        self._inside = otel_context.get_current()
        with guard:
            self._span, self._inside = _begun(tracer, activity, self._inside)

    def inside(self) -> Context:
        return self._inside

    def end(self, error: BaseException | None = None, result: Any = None) -> None:
        with guard:
            span, self._span = self._span, None
            if span is None:
                return
            if error is None and result is not None:
                with guard:
                    more = _known(self._step.ended(result))
                    span.set_attributes(more)
                    if A.ERROR_TYPE in more:
                        span.set_status(StatusCode.ERROR)
            end_span(span, error)


def unless_begun(activity: Activity) -> Activity | None:
    """None if it has begun already: a method of a framework may call another one that does the same, or itself."""
    return None if otel_context.get_value(_DOING) == activity.title else activity


def _begun(tracer: Tracer, activity: Activity, around: Context) -> tuple[Span, Context]:
    """The span of what begins in there, and the context inside of it."""
    found = _known(activity.attributes)
    if activity.operation:
        found[A.GEN_AI_OPERATION_NAME] = activity.operation
    if activity.operation == "execute_tool" and (agent := current_agent(around)):
        found[A.GEN_AI_AGENT_NAME] = agent
    kind = SpanKind.CLIENT if activity.operation == "retrieval" else SpanKind.INTERNAL
    span = tracer.start_span(activity.title, context=around, kind=kind, attributes=found)
    inside = Context({**trace.set_span_in_context(span, around), _DOING: activity.title})
    return span, with_agent(activity.name, inside) if activity.operation == "invoke_agent" else inside


def _stepped_through(packages: Collection[str]) -> bool:
    """Whether a generator of these packages began what is being reported, and other code steps through it.

    Between the steps that other code runs, in the same context.
    """
    frame, outermost = sys._getframe(), None  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in packages:
            outermost = frame
        elif outermost is not None:
            break
        frame = frame.f_back
    flags = outermost.f_code.co_flags if outermost is not None else 0
    return bool(flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR))


def _live(context: Context) -> Context:
    while isinstance(context, _Inside) and context.after is not None:
        context = context.after
    return context


def _known(attributes: Mapping[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    return {name: value for name, value in attributes.items() if value is not None}


def _unread(_: Call) -> None:
    """Of a call whose end got lost, nothing more is known."""
