"""A step whose result does the work later, and so ends it."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace

from otel_llm.driving import Scope, at_once, within
from otel_llm.engine.frames import Frames
from otel_llm.frameworks import activities
from otel_llm.spec import Step
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import said, tree

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]
tracer = trace.get_tracer("app")


class Stream:
    """What a framework returns."""

    scope: Scope | None = None


def plain() -> Stream:
    return Stream()


async def coroutine() -> Stream:
    return Stream()


def take(result: Any, scope: Scope) -> bool:
    result.scope = scope
    return True


def step(later: Callable[[Any, Scope], bool]) -> Any:
    told = Step("app", "run", lambda _run, _args, _kwargs: activities.agent("support"), later=later)
    return Frames(tracer).step(told)


@pytest.mark.parametrize("run", [plain, coroutine])
async def test_the_result_ends_it(run: Callable[[], Any], spans: Spans) -> None:
    result = step(take)(run, None, (), {})
    if inspect.isawaitable(result):
        result = await result
    assert not spans()
    with within(result.scope.inside()):
        tracer.start_span("piece").end()
    result.scope.end(ValueError("late"))
    result.scope.end()
    assert tree(spans()) == "invoke_agent support INTERNAL\n  piece INTERNAL"
    assert said(spans()[-1], A.ERROR_TYPE) == "ValueError"


@pytest.mark.parametrize("run", [plain, coroutine])
async def test_or_it_ends_at_once(run: Callable[[], Any], spans: Spans) -> None:
    result = step(at_once)(run, None, (), {})
    if inspect.isawaitable(result):
        result = await result
    assert isinstance(result, Stream)
    assert tree(spans()) == "invoke_agent support INTERNAL"


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_a_generator_that_is_dropped_ends_it(spans: Spans, steps: int) -> None:
    def run() -> Any:
        return (tracer.start_span("piece").end() for _ in range(2))

    generator = step(at_once)(run, None, (), {})
    for _ in range(steps):
        next(generator)
    del generator
    gc.collect()
    assert tree(spans()) == "\n".join(["invoke_agent support INTERNAL", *["  piece INTERNAL"] * steps])
