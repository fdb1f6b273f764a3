"""Putting a table to work: wrapping the methods it names, as soon as their modules are imported, and back again."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import wrapt
from opentelemetry import trace
from opentelemetry.trace import Tracer, TracerProvider

from otel_llm.engine.frames import Frames
from otel_llm.engine.pending import is_over
from otel_llm.engine.recording import Recording, begin
from otel_llm.engine.results import look
from otel_llm.engine.session import listening
from otel_llm.engine.tap import follower, tap
from otel_llm.guard import guard
from otel_llm.spec import Arrival, Hook, Integration, Late, Patch, Report, Socket, Step

Wrapper = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]

_Target = Patch | Hook | Socket | Step | Report | Arrival
_REFUSED = 400
_Wrapped: Any = wrapt.FunctionWrapper


class Patches:
    """One integration at work. Each target is wrapped on its own: a missing one is skipped, the others still count."""

    def __init__(self, integration: Integration, tracer_provider: TracerProvider | None = None) -> None:
        self.integration = integration
        self.missing: list[str] = []
        """Targets that this version of the SDK does not have."""
        self._tracer = trace.get_tracer(f"otel_llm.{integration.name}", our_version(), tracer_provider)
        self._frames = Frames(self._tracer, integration.packages)
        self._undo: list[Callable[[], None]] = []
        self._removed = False

    def apply(self) -> None:
        """Wrap all targets: now where their module is imported, else when it will be.

        With OTEL_SDK_DISABLED=true nothing is touched: there is nowhere for a span to go.
        """
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return
        for target in (*self.integration.patches, *self.integration.hooks):
            self._when_imported(target)

    def remove(self) -> None:
        """Put every method back as it was. Calls that are under way end as usual."""
        self._removed = True
        while self._undo:
            self._undo.pop()()

    def _when_imported(self, target: _Target) -> None:
        def wrap(module: Any) -> None:
            with guard:
                if self._removed:
                    return
                if not isinstance(target, Arrival):
                    self._wrap(module, target)
                elif (undo := target.arrived(module, self._frames)) is not None:
                    self._undo.append(undo)

        if target.module in sys.modules:
            wrap(sys.modules[target.module])
        else:
            wrapt.register_post_import_hook(wrap, target.module)

    def _wrap(self, module: Any, target: Patch | Hook | Socket | Step | Report) -> None:
        *path, name = target.attribute.split(".")
        owner = module
        for step in path:
            owner = getattr(owner, step, None)
        original = _found(owner, name)
        if original is None:
            self.missing.append(f"{target.module}.{target.attribute}")
            return
        if isinstance(target, Hook):
            wrapper: Wrapper = target.wrapper
        elif isinstance(target, Step):
            wrapper = self._frames.step(target)
        elif isinstance(target, Report):
            wrapper = partial(target.wrapper, self._frames)
        elif isinstance(target, Socket):
            wrapper = listening(self._tracer, target, original)
        elif inspect.iscoroutinefunction(inspect.unwrap(original)):
            wrapper = _awaiting(self._tracer, target)
        else:
            wrapper = _calling(self._tracer, target)
        for place in (owner, *_captured(owner, name, original)):
            found = _found(place, name)
            setattr(place, name, wrapt.FunctionWrapper(found, wrapper, enabled=lambda: not self._removed))
            self._undo.append(partial(_unwrap, place, name))


def _found(owner: Any, name: str) -> Any:
    return inspect.getattr_static(owner, name, None) if isinstance(owner, type) else getattr(owner, name, None)


def _captured(owner: Any, name: str, original: Any) -> list[Any]:
    """Subclasses on which somebody wrapped the inherited method before us: their wrapper will never ask for ours."""
    if not isinstance(owner, type):
        return []
    # One that inherits by two ways occurs twice.
    kinds = dict.fromkeys(_subclasses(owner))
    return [kind for kind in kinds if inspect.unwrap(kind.__dict__.get(name)) is inspect.unwrap(original)]


def _subclasses(kind: Any) -> Iterator[Any]:
    for inner in kind.__subclasses__():
        yield inner
        yield from _subclasses(inner)


def _unwrap(owner: Any, name: str) -> None:
    """Take the wrappers off that are out of use. One that somebody wrapped in turn stays, and does nothing."""
    found = _found(owner, name)
    while isinstance(found, _Wrapped) and callable(found._self_enabled) and not found._self_enabled():
        found = found.__wrapped__
    setattr(owner, name, found)


def _begin(
    tracer: Tracer, patch: Patch, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Recording | Late | None:
    # Also where instrumentation is suppressed, as Logfire does to have spans of its own only: exporters ask no model.
    with guard:
        request = patch.read(instance, args, kwargs)
        if isinstance(request, Late):
            return request
        if request is not None:
            recording = begin(tracer, request)
            recording.package = patch.module.partition(".")[0]
            return recording
    return None


def _calling(tracer: Tracer, patch: Patch) -> Wrapper:
    def call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        recording = _begin(tracer, patch, instance, args, kwargs)
        if recording is None:
            return wrapped(*args, **kwargs)
        if isinstance(recording, Late):
            return _look(tracer, recording, wrapped(*args, **kwargs))
        with recording:
            args_, kwargs_ = recording.arguments(args, kwargs)
            result = wrapped(*args_, **kwargs_)
            refusal = recording.refusal(result)
            if refusal is None:
                return _settle(recording, result)
            with guard:
                refusal.close()
        # The server minded our question for usage: this is the request as the caller made it.
        with recording:
            return _settle(recording, wrapped(*args, **kwargs))

    return call


def _awaiting(tracer: Tracer, patch: Patch) -> Wrapper:
    async def call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        recording = _begin(tracer, patch, instance, args, kwargs)
        if recording is None:
            return await wrapped(*args, **kwargs)
        if isinstance(recording, Late):
            return _look(tracer, recording, await wrapped(*args, **kwargs))
        with recording:
            args_, kwargs_ = recording.arguments(args, kwargs)
            result = await wrapped(*args_, **kwargs_)
            refusal = recording.refusal(result)
            if refusal is None:
                return _settle(recording, result)
            with guard:
                await refusal.aclose()
        with recording:
            return _settle(recording, await wrapped(*args, **kwargs))

    return call


def _settle(recording: Recording, result: Any) -> Any:
    """The SDK returned `result`: read it, or read along with whoever will. Returns what the caller gets."""
    request = recording.request
    if request is None:
        return result
    with guard:
        response = request.transport(result)
        if response is not None:
            if response.status_code >= _REFUSED:
                recording.refused(response.status_code)
                return result
            tap(response, recording, request.dialect)
            return result
        if request.follow is not None and (request.stream or request.lazy):
            return request.follow(result, follower(recording, request.dialect))
        body = request.answer(result)
        recording.read(request.dialect, body)
        if not is_over(recording, request.dialect, body):
            return result
    recording.finish("completed" if request.stream else None)
    return result


def _look(tracer: Tracer, late: Late, result: Any) -> Any:
    with guard:
        look(tracer, late, result)
    return result


@cache
def our_version() -> str:
    """The installed version of otel-llm."""
    try:
        return version("otel-llm")
    except PackageNotFoundError:
        return "0"
