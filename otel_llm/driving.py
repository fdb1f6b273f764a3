"""Running a function of any kind inside of something: a plain one, a coroutine, a generator, an async generator.

A generator is inside only while its own code runs, never across a yield. But the block of an `asynccontextmanager` is.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import _AsyncGeneratorContextManager  # pyright: ignore[reportPrivateUsage]
from types import AsyncGeneratorType, CodeType, CoroutineType, GeneratorType, TracebackType
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from otel_llm.guard import guard
from otel_llm.late import later as afterwards


class Scope(Protocol):
    """What a function runs inside of. Nothing of it raises."""

    def inside(self) -> Context:
        """The context in there."""
        ...

    def end(self, error: BaseException | None = None, result: Any = None) -> None:
        """The function returned `result`, for a generator the last of its items, or raised `error`."""
        ...


def at_once(_result: Any, _scope: Scope) -> bool:
    """It is not for later."""
    return False


def drive(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    begin: Callable[[], Scope],
    later: Callable[[Any, Scope], bool] = at_once,
) -> Any:
    """Call `function` inside of what `begin` opens, when its own code begins to run; return what it returns.

    What a plain function returns may be a coroutine or a generator: then the scope ends with that. Of any other result
    `later(result, scope)` says whether it took the scope over, to end it.
    """
    if _is_lazy(function):
        return _driven(function(*args, **kwargs), begin, later)
    scope = begin()
    with telling(scope.end), within(scope.inside()):
        result = function(*args, **kwargs)
    if not isinstance(result, _LAZY):
        return _returned(result, scope, later)

    def go_on() -> Scope:
        dropped.detach()
        return scope

    lazy = _driven(result, go_on, later)
    # Who drops it before its first step runs none of its code.
    dropped = weakref.finalize(lazy, afterwards, scope.end)
    return lazy


def _is_lazy(function: Callable[..., Any]) -> bool:
    """Whether none of its own code runs when it is called."""
    kind = inspect.unwrap(function)
    code = getattr(kind, "__code__", None)
    if isinstance(code, CodeType):
        return bool(code.co_flags & _LAZY_FLAGS)
    return any(is_lazy(kind) for is_lazy in _LAZY_FUNCTIONS)


_LAZY_FLAGS = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_LAZY_FUNCTIONS = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
_LAZY = (CoroutineType, GeneratorType, AsyncGeneratorType)


def _returned(result: Any, scope: Scope, later: Callable[[Any, Scope], bool]) -> Any:
    taken = False
    with guard:
        taken = later(result, scope)
    if not taken:
        scope.end(None, result)
    return result


def _driven(lazy: Any, begin: Callable[[], Scope], later: Callable[[Any, Scope], bool]) -> Any:
    if inspect.iscoroutine(lazy):
        return _coroutine(lazy, begin, later)
    if inspect.isasyncgen(lazy):
        return _async_generator(lazy, begin)
    if inspect.isgenerator(lazy):
        return _generator(lazy, begin)
    if lazy.__class__ is _AsyncGeneratorContextManager:
        return _Block.around(lazy, begin)
    return lazy


async def _coroutine(
    coroutine: Coroutine[Any, Any, Any], begin: Callable[[], Scope], later: Callable[[Any, Scope], bool]
) -> Any:
    scope = begin()
    with telling(scope.end), within(scope.inside()):
        result = await coroutine
    return _returned(result, scope, later)


def _generator(generator: Generator[Any, Any, Any], begin: Callable[[], Scope]) -> Generator[Any, Any, Any]:
    scope = begin()
    step: Callable[[], Any] = functools.partial(next, generator)
    item: Any = None
    with telling(scope.end):
        while True:
            with within(scope.inside()):
                try:
                    item = step()
                except StopIteration as end:
                    returned = end.value
                    break
            try:
                step = functools.partial(generator.send, (yield item))
            except GeneratorExit:
                with within(scope.inside()):
                    generator.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - handed to the generator that it is meant for
                step = functools.partial(generator.throw, thrown)
    scope.end(None, item)
    return returned


async def _async_generator(generator: AsyncGenerator[Any, Any], begin: Callable[[], Scope]) -> AsyncGenerator[Any, Any]:
    scope = begin()
    step: Callable[[], Any] = functools.partial(anext, generator)
    item: Any = None
    with telling(scope.end):
        while True:
            with within(scope.inside()):
                try:
                    item = await step()
                except StopAsyncIteration:
                    break
            try:
                step = functools.partial(generator.asend, (yield item))
            except GeneratorExit:
                with within(scope.inside()):
                    await generator.aclose()
                raise
            except BaseException as thrown:  # noqa: BLE001 - handed to the generator that it is meant for
                step = functools.partial(generator.athrow, thrown)
    scope.end(None, item)


class _Block(_AsyncGeneratorContextManager[Any]):
    """An asynchronous context manager that was not entered yet. What stands in its block is inside, too."""

    _begin: Callable[[], Scope]
    _entered: Any = None

    @classmethod
    def around(cls, manager: Any, begin: Callable[[], Scope]) -> Any:
        manager.__class__, manager._begin = cls, begin
        return manager

    async def __aenter__(self) -> Any:
        self._scope, self._outer = self._begin(), otel_context.get_current()
        self._inside = self._scope.inside()
        otel_context.attach(self._inside)
        with telling(self._leave):
            try:
                # Not by way of super(): its code may count the frames up to the caller's, for a name.
                self._entered = await anext(self.gen)
            except StopAsyncIteration:
                raise RuntimeError("generator didn't yield") from None
        return self._entered

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with telling(self._leave):
            swallowed = await super().__aexit__(kind, error, trace)
        self._leave(None if swallowed else error)
        return swallowed

    def _leave(self, error: BaseException | None) -> None:
        if otel_context.get_current() is self._inside:
            otel_context.attach(self._outer)
        self._scope.end(error, self._entered)


class telling:  # noqa: N801 - reads as a verb where it is used
    """Tells `end` of the error that is raised in there."""

    __slots__ = ("_end",)

    def __init__(self, end: Callable[[BaseException], None]) -> None:
        self._end = end

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._end(error)


class within:  # noqa: N801 - reads as a verb where it is used
    """A context is current in there. Re-attaching what was there, and not a token, cannot fail in another context."""

    __slots__ = ("_context", "_outer")

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._outer = otel_context.get_current()
        otel_context.attach(self._context)

    def __exit__(self, *_: object) -> None:
        otel_context.attach(self._outer)
