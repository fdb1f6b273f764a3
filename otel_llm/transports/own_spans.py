"""SDKs that trace themselves: beneath our span of a call they are silent, so that a call is one span."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from otel_llm.engine.proxy import Proxy
from otel_llm.engine.recording import current_recording
from otel_llm.spec import Hook


class _LentSpan(Proxy):
    """Our span: it can be made current and propagated, not changed or ended."""

    def is_recording(self) -> bool:
        return False

    def set_attribute(self, key: str, value: Any) -> None: ...
    def set_attributes(self, attributes: Any) -> None: ...
    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None: ...
    def update_name(self, name: str) -> None: ...
    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None: ...
    def record_exception(self, *args: Any, **kwargs: Any) -> None: ...
    def end(self, end_time: int | None = None) -> None: ...


class _LendingTracer(Proxy):
    """The SDK's tracer, which starts no span of its own, but lends ours."""

    def __init__(self, tracer: Any, span: Any) -> None:
        super().__init__(tracer)
        self._self_span = span

    def start_span(self, *_args: Any, **_kwargs: Any) -> _LentSpan:
        return _LentSpan(self._self_span)


def lent(module: str, attribute: str) -> Hook:
    """Of a function that starts a span by the tracer that is its first argument, and propagates it."""

    def wrapper(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        recording = current_recording()
        if recording is not None:
            args = (_LendingTracer(args[0], recording.span), *args[1:])
        return wrapped(*args, **kwargs)

    return Hook(module, attribute, wrapper)


def disabled(module: str, attribute: str, argument: str) -> Hook:
    """Of a function that does not trace if this argument of it is False."""

    def wrapper(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return wrapped(*args, **(kwargs if current_recording() is None else {**kwargs, argument: False}))

    return Hook(module, attribute, wrapper)


def none(module: str, attribute: str) -> Hook:
    """Of a tracer's `start_as_current_span`: whoever enters it enters nothing."""
    return Hook(module, attribute, lambda _wrapped, _instance, _args, _kwargs: nullcontext(trace.INVALID_SPAN))


def untold(module: str, attribute: str) -> Hook:
    """Of a function that tells a span something."""
    return Hook(module, attribute, lambda _wrapped, _instance, _args, _kwargs: None)
