"""Running a function of any kind inside of something: a plain one, a coroutine, a generator, an async generator.

A generator is inside only while its own code runs, never across a yield.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry.context import Context


class Scope(Protocol):
    """What a function runs inside of. Nothing of it raises."""

    def inside(self) -> Context:
        """The context in there."""
        ...

    def end(self, error: BaseException | None = None, result: Any = None) -> None:
        """The function returned `result`, or raised `error`."""
        ...


def drive(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], begin: Callable[[], Scope]
) -> Any:
    """Call `function` inside of what `begin` opens, when its own code begins to run; return what it returns.

    What a plain function returns may be a coroutine or a generator: then the scope ends with that.
    """
    kind = inspect.unwrap(function)
    if any(is_lazy(kind) for is_lazy in _LAZY_FUNCTIONS):
        return _driven(function(*args, **kwargs), begin)
    scope = begin()
    try:
        with within(scope.inside()):
            result = function(*args, **kwargs)
    except BaseException as error:
        scope.end(error)
        raise
    if any(is_lazy(result) for is_lazy in _LAZY):
        return _driven(result, lambda: scope)
    scope.end(None, result)
    return result


_LAZY_FUNCTIONS = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
_LAZY = (inspect.iscoroutine, inspect.isgenerator, inspect.isasyncgen)


def _driven(lazy: Any, begin: Callable[[], Scope]) -> Any:
    if inspect.iscoroutine(lazy):
        return _coroutine(lazy, begin)
    if inspect.isasyncgen(lazy):
        return _async_generator(lazy, begin)
    if inspect.isgenerator(lazy):
        return _generator(lazy, begin)
    return lazy


async def _coroutine(coroutine: Coroutine[Any, Any, Any], begin: Callable[[], Scope]) -> Any:
    scope = begin()
    try:
        with within(scope.inside()):
            result = await coroutine
    except BaseException as error:
        scope.end(error)
        raise
    scope.end(None, result)
    return result


def _generator(generator: Generator[Any, Any, Any], begin: Callable[[], Scope]) -> Generator[Any, Any, Any]:
    scope = begin()
    failure: BaseException | None = None
    step: Callable[[], Any] = functools.partial(next, generator)
    try:
        while True:
            with within(scope.inside()):
                try:
                    item = step()
                except StopIteration as end:
                    return end.value
            try:
                step = functools.partial(generator.send, (yield item))
            except GeneratorExit:
                with within(scope.inside()):
                    generator.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - handed to the generator that it is meant for
                step = functools.partial(generator.throw, thrown)
    except BaseException as error:
        failure = error
        raise
    finally:
        scope.end(failure)


async def _async_generator(generator: AsyncGenerator[Any, Any], begin: Callable[[], Scope]) -> AsyncGenerator[Any, Any]:
    scope = begin()
    failure: BaseException | None = None
    step: Callable[[], Any] = functools.partial(anext, generator)
    try:
        while True:
            with within(scope.inside()):
                try:
                    item = await step()
                except StopAsyncIteration:
                    return
            try:
                step = functools.partial(generator.asend, (yield item))
            except GeneratorExit:
                with within(scope.inside()):
                    await generator.aclose()
                raise
            except BaseException as thrown:  # noqa: BLE001 - handed to the generator that it is meant for
                step = functools.partial(generator.athrow, thrown)
    except BaseException as error:
        failure = error
        raise
    finally:
        scope.end(failure)


@contextmanager
def within(context: Context) -> Generator[None]:
    """`context` is current in there. Re-attaching what was there, and not a token, cannot fail in another context."""
    outer = otel_context.get_current()
    otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.attach(outer)
