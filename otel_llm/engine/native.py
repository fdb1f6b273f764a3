"""Frameworks that trace themselves: their spans are used as they are, with three differences.

The span of a call to a model is made only if no SDK's call beneath it is recorded: a call is one span. No other span
has tokens: they are the call's. And what was asked and answered stays out, unless that is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind, Tracer

from otel_llm.call import AttributeValue
from otel_llm.content import modes
from otel_llm.engine.proxy import Proxy
from otel_llm.engine.recording import Layer, current_agent
from otel_llm.guard import guard
from otel_llm_semconv import attributes as A

_TOKENS = A.GEN_AI_USAGE_INPUT_TOKENS.removesuffix("input_tokens")
_CONTENT = frozenset(
    (
        *(A.GEN_AI_INPUT_MESSAGES, A.GEN_AI_OUTPUT_MESSAGES, A.GEN_AI_SYSTEM_INSTRUCTIONS, A.GEN_AI_TOOL_DEFINITIONS),
        *(A.GEN_AI_TOOL_CALL_ARGUMENTS, A.GEN_AI_TOOL_CALL_RESULT),
    )
)
_MOST_EVENTS = 128


@dataclass(frozen=True, slots=True)
class Native:
    """What a framework's own spans are called."""

    calls: tuple[str, ...]
    """Names of the spans of calls to a model: what comes before the model's name."""
    plumbing: tuple[str, ...] = ()
    """Names of spans that tell nothing: what they are around stays where it is."""
    content: tuple[str, ...] = ()
    """Attributes with content, besides those of the conventions."""


def follow(tracer: Tracer, native: Native) -> Callable[[], None]:
    """Have `tracer`, the framework's own, make its spans so from now on. Returns what takes that back."""
    mine: Any = tracer
    if "start_span" in vars(mine):
        return lambda: None  # the SDK may hand out one tracer several times
    its_own = tracer.start_span

    def start_span(name: str, context: Context | None = None, *args: Any, **kwargs: Any) -> Span:
        with guard:
            operation = name.partition(" ")[0]
            if name in native.plumbing or operation in native.calls:
                return _Untold(native, context, partial(its_own, name, context, *args, **kwargs))
            if not args:
                kwargs["kind"] = SpanKind.INTERNAL  # it runs here, whatever some say
                kwargs["attributes"] = {**_about(name, context), **(kwargs.get("attributes") or {})}
        span = its_own(name, context, *args, **kwargs)
        with guard:
            return cast("Span", _Told(span, native))
        return span

    def start_as_current_span(name: str, *args: Any, end_on_exit: bool = True, **kwargs: Any) -> Any:
        how = {key: kwargs[key] for key in ("record_exception", "set_status_on_exception") if key in kwargs}
        return trace.use_span(start_span(name, *args, **kwargs), end_on_exit, **how)

    mine.start_span, mine.start_as_current_span = start_span, start_as_current_span

    def leave() -> None:
        del mine.start_span, mine.start_as_current_span

    return leave


def _about(name: str, context: Context | None) -> dict[str, AttributeValue]:
    """What a span's name says of it, from its start: samplers and counters see that."""
    operation, _, subject = name.partition(" ")
    agent = subject if operation == "invoke_agent" else current_agent(context)
    subjects = {"invoke_workflow": A.GEN_AI_WORKFLOW_NAME, "execute_tool": A.GEN_AI_TOOL_NAME}
    if operation not in ("invoke_agent", *subjects):
        return {}
    found: dict[str, AttributeValue | None] = {A.GEN_AI_OPERATION_NAME: operation}
    if operation != "invoke_workflow":
        found[A.GEN_AI_AGENT_NAME] = agent
    if operation in subjects:
        found[subjects[operation]] = subject
    return {key: value for key, value in found.items() if value}


class _Told(Proxy):
    """A span of the framework's, of which only is kept what may be."""

    def __init__(self, span: Span, native: Native, *, tokens: bool = False) -> None:
        super().__init__(span)
        self._self_native, self._self_tokens = native, tokens

    def set_attribute(self, key: str, value: Any) -> None:
        if self._may_be(key):
            self.__wrapped__.set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        self.__wrapped__.set_attributes({key: value for key, value in attributes.items() if self._may_be(key)})

    def add_event(self, name: str, *args: Any, **kwargs: Any) -> None:
        if name == "exception" or any(modes()):
            self.__wrapped__.add_event(name, *args, **kwargs)

    def _may_be(self, key: str) -> bool:
        if key.startswith(_TOKENS):
            return self._self_tokens
        return (key not in _CONTENT and key not in self._self_native.content) or any(modes())


class _Untold(Span):
    """A span that is not made yet: whatever begins inside of it is beneath the one around it."""

    def __init__(self, native: Native, context: Context | None, make: Callable[..., Span]) -> None:
        self.layer = Layer(context)
        self.start_time, self.end_time = time.time_ns(), None
        self._around = trace.get_current_span(context)
        self._make = partial(make, start_time=self.start_time)
        self._native = native
        self._known: dict[str, Any] = {}
        self._happened: list[Callable[[Span], None]] = []

    def get_span_context(self) -> SpanContext:
        return self._around.get_span_context()

    def is_recording(self) -> bool:
        return self.end_time is None

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        self._known.update(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        self._known[key] = value

    def add_event(self, name: str, *args: Any, **kwargs: Any) -> None:
        self._happen("add_event", name, *args, **kwargs)

    def update_name(self, name: str) -> None:
        self._happen("update_name", name)

    def set_status(self, *args: Any, **kwargs: Any) -> None:
        self._happen("set_status", *args, **kwargs)

    def record_exception(self, *args: Any, **kwargs: Any) -> None:
        self._happen("record_exception", *args, **kwargs)

    def end(self, end_time: int | None = None) -> None:
        if self.end_time is not None:
            return
        self.end_time = end_time or time.time_ns()
        with guard:
            # Without tokens it was no call: a callback answered, or nothing was asked.
            if not self.layer.reported and any(key.startswith(_TOKENS) for key in self._known):
                self.layer.sign()
                span = cast("Span", _Told(self._make(), self._native, tokens=True))
                span.set_attributes(self._known)
                for tell in self._happened:
                    tell(span)
                span.end(self.end_time)

    def _happen(self, what: str, *args: Any, **kwargs: Any) -> None:
        if len(self._happened) < _MOST_EVENTS:
            self._happened.append(lambda span: getattr(span, what)(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        # What others know of the span around it: its interaction, its agent.
        return getattr(object.__getattribute__(self, "_around"), name)
