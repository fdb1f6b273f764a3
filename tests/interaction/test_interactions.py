"""Interactions: who caused what, nested, across tasks and threads, with the bill on the root span."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import openai
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm import distro
from otel_llm.frameworks import ThreadsInstrumentor
from otel_llm.pricing.book import PriceBook
from otel_llm_semconv import attributes as A
from tests.conftest import Spans

pytestmark = pytest.mark.usefixtures("instrumented", "no_fault")

Ask = Callable[..., Any]


@pytest.fixture
def ask(provider: OfflineProvider) -> Ask:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="offline")

    def asked(text: str = "hello", model: str = "gpt-4o-mini") -> Any:
        return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])

    return asked


def named(spans: Spans, name: str) -> ReadableSpan:
    (found,) = [span for span in spans() if span.name == name]
    return found


def said(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(name)


def test_those_around_wait_for_a_price_as_well(ask: Ask, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_yet(_book: Any, _call: Any) -> None:
        """As on a machine that has not seen the model before."""

    monkeypatch.setattr(PriceBook, "price_at_hand", not_yet)
    with otel_llm.interaction("outer") as outer, otel_llm.interaction("inner") as inner:
        ask("one")
        assert (inner.calls, outer.calls) == (1, 1), "only money comes later"
    assert [said(named(spans, name), A.OTEL_LLM_INTERACTION_CALLS) for name in ("inner", "outer")] == [1, 1]


def test_identity_is_on_every_span_and_the_bill_on_the_root(ask: Ask, spans: Spans, provider: OfflineProvider) -> None:
    with otel_llm.interaction(
        "support.answer", user_id="ada", session_id="s-1", feature="support", tenant="acme", tags={"plan": "pro"}
    ) as it:
        ask("one [[offline: 429 once]]")
        with trace.get_tracer("app").start_as_current_span("step"):
            ask("two")
        spans()  # the first price of a process comes late
        assert it.calls == 2
    found = spans()
    assert len(found) == 4
    for span in found:
        assert said(span, A.OTEL_LLM_INTERACTION_ID) == it.id
        assert said(span, A.OTEL_LLM_INTERACTION_NAME) == "support.answer"
        assert said(span, A.USER_ID) == "ada"
        assert said(span, A.SESSION_ID) == "s-1"
        assert said(span, A.OTEL_LLM_FEATURE) == "support"
        assert said(span, A.OTEL_LLM_TENANT) == "acme"
        assert said(span, A.OTEL_LLM_TAG_PREFIX + "plan") == "pro"
    root = named(spans, "support.answer")
    nano = sum(entry.cost_nano or 0 for entry in provider.bill)
    assert it.nano_usd == nano
    assert said(root, A.OTEL_LLM_INTERACTION_COST_AMOUNT) == nano / 1e9
    assert said(root, A.OTEL_LLM_INTERACTION_CALLS) == 2
    assert said(root, A.OTEL_LLM_INTERACTION_ATTEMPTS) == 3
    assert said(root, A.OTEL_LLM_INTERACTION_COST_COVERAGE) == 1.0
    assert said(root, A.GEN_AI_USAGE_INPUT_TOKENS) is None


def test_an_unpriced_call_shows_in_the_coverage(ask: Ask, spans: Spans) -> None:
    with otel_llm.interaction("mixed"):
        ask()
        ask(model="acme-preview-1")
    assert said(named(spans, "mixed"), A.OTEL_LLM_INTERACTION_COST_COVERAGE) == 0.5


def test_a_nested_interaction_is_on_the_outer_bill(ask: Ask, spans: Spans) -> None:
    with otel_llm.interaction("outer", user_id="ada", feature="one") as outer:
        ask()
        with otel_llm.interaction("inner", feature="two") as inner:
            ask()
            assert otel_llm.current_interaction() is inner
        assert otel_llm.current_interaction() is outer
    assert otel_llm.current_interaction() is None
    spans()
    assert (outer.calls, inner.calls) == (2, 1)
    assert outer.nano_usd == 2 * inner.nano_usd > 0
    root = named(spans, "inner")
    assert said(root, A.OTEL_LLM_INTERACTION_PARENT_ID) == outer.id
    assert (said(root, A.USER_ID), said(root, A.OTEL_LLM_FEATURE)) == ("ada", "two")


def test_a_lone_call_is_an_interaction_of_its_own(ask: Ask, calls: Spans) -> None:
    ask()
    ask()
    first, second = calls()
    assert said(first, A.OTEL_LLM_INTERACTION_ID) == format(first.get_span_context().trace_id, "032x")  # pyright: ignore[reportOptionalMemberAccess]
    assert said(first, A.OTEL_LLM_INTERACTION_ID) != said(second, A.OTEL_LLM_INTERACTION_ID)
    assert said(first, A.OTEL_LLM_INTERACTION_CALLS) == 1


def test_a_server_span_is_an_interaction_and_nothing_leaks_into_the_next(ask: Ask, spans: Spans) -> None:
    tracer = trace.get_tracer("server")
    ids: list[Any] = []
    leaked: Any = None
    for user in ("ada", "grace"):
        # A server that never detaches: the next request begins in the context of the one before.
        span = tracer.start_span("GET /chat", kind=SpanKind.SERVER, attributes={A.HTTP_ROUTE: "/chat"})
        otel_context.attach(trace.set_span_in_context(span))
        otel_llm.attribute(user_id=user)
        ask()
        leaked = otel_llm.current_interaction()
        ids.append((leaked and leaked.id, user))
        span.end()
    otel_context.attach(otel_context.Context())
    assert leaked is not None
    made = [span for span in spans() if said(span, A.GEN_AI_PROVIDER_NAME)]
    assert [(said(span, A.OTEL_LLM_INTERACTION_ID), said(span, A.USER_ID)) for span in made] == ids
    assert len({id_ for id_, _ in ids}) == 2
    assert {said(span, A.OTEL_LLM_ENDPOINT) for span in made} == {"/chat"}


def of_another_provider() -> AbstractContextManager[trace.Span]:
    """A span that no processor of ours has seen."""
    return TracerProvider().get_tracer("others").start_as_current_span("between")


def not_recorded() -> AbstractContextManager[trace.Span]:
    """A span that is only passed on."""
    return trace.use_span(trace.NonRecordingSpan(trace.get_current_span().get_span_context()))


@pytest.mark.parametrize("between", [not_recorded, of_another_provider])
def test_a_call_beneath_a_span_that_knows_nothing_is_the_requests(
    between: Callable[[], AbstractContextManager[trace.Span]], ask: Ask, spans: Spans
) -> None:
    tracer = trace.get_tracer("server")
    for user in ("ada", "grace"):
        with tracer.start_as_current_span("POST /chat", kind=SpanKind.SERVER), between():
            otel_llm.attribute(user_id=user)
            ask()
            assert (it := otel_llm.current_interaction()) is not None
            assert it.calls == 1
            with otel_llm.interaction("inner"), between():
                ask()
        with between():
            assert otel_llm.current_interaction() is None
    made = [span for span in spans() if said(span, A.GEN_AI_PROVIDER_NAME)]
    assert [said(span, A.USER_ID) for span in made] == ["ada", "ada", "grace", "grace"]
    assert [said(span, A.OTEL_LLM_INTERACTION_NAME) for span in made] == ["POST /chat", "inner"] * 2
    roots = [span for span in spans() if span.name == "POST /chat"]
    assert [said(span, A.OTEL_LLM_INTERACTION_CALLS) for span in roots] == [2, 2]


def test_what_becomes_known_later_is_said(ask: Ask, spans: Spans) -> None:
    with otel_llm.interaction("login") as it:
        otel_llm.attribute(user_id="ada", tags={"plan": "free"})
        ask()
        it.outcome("resolved", success=True)
    assert said(named(spans, "chat gpt-4o-mini"), A.USER_ID) == "ada"
    root = named(spans, "login")
    assert (said(root, A.USER_ID), said(root, A.OTEL_LLM_TAG_PREFIX + "plan")) == ("ada", "free")
    assert said(root, A.OTEL_LLM_INTERACTION_OUTCOME) == "resolved"
    assert said(root, A.OTEL_LLM_INTERACTION_SUCCESS) is True
    otel_llm.outcome("refunded", success=False, interaction_id=it.id)
    it.outcome("closed")
    late = [span for span in spans() if span.name == "outcome"]
    assert [said(span, A.OTEL_LLM_INTERACTION_OUTCOME) for span in late] == ["refunded", "closed"]
    assert {said(span, A.OTEL_LLM_INTERACTION_ID) for span in late} == {it.id}


def test_outside_of_an_interaction_nothing_happens(spans: Spans) -> None:
    otel_llm.attribute(user_id="nobody")
    otel_llm.outcome("nothing")
    assert otel_llm.current_interaction() is None
    assert spans() == []


def test_an_error_passes_and_is_on_the_root(spans: Spans) -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, otel_llm.interaction("broken"):
        raise error
    assert caught.value is error
    root = named(spans, "broken")
    assert said(root, A.ERROR_TYPE) == "ValueError"
    assert root.status.description is None


def test_decorators_keep_what_functions_are(ask: Ask, spans: Spans) -> None:
    @otel_llm.interaction("plain")
    def plain(x: int, *, y: int = 2) -> int:
        """Mine."""
        ask()
        return x + y

    class Owner:
        @otel_llm.interaction("method")
        def method(self) -> Any:
            return self

    owner = Owner()
    assert plain(1, y=4) == 5
    assert owner.method() is owner
    assert (plain.__name__, plain.__doc__) == ("plain", "Mine.")
    assert list(inspect.signature(plain).parameters) == ["x", "y"]
    with pytest.raises(TypeError):
        plain()  # pyright: ignore[reportCallIssue]
    roots = sorted((span for span in spans() if span.parent is None), key=lambda span: span.start_time or 0)
    assert [span.name for span in roots] == ["plain", "method", "plain"]


async def test_decorated_coroutines(ask: Ask, spans: Spans) -> None:
    @otel_llm.interaction("coroutine", user_id="ada")
    async def coroutine() -> str:
        await asyncio.sleep(0)
        await asyncio.to_thread(ask)
        return "done"

    assert inspect.iscoroutinefunction(coroutine)
    assert await asyncio.gather(coroutine(), coroutine()) == ["done", "done"]
    roots = [span for span in spans() if span.name == "coroutine"]
    assert [said(root, A.OTEL_LLM_INTERACTION_CALLS) for root in roots] == [1, 1]


def test_decorated_generators_are_inside_only_while_they_run(ask: Ask, spans: Spans) -> None:
    @otel_llm.interaction("generator")
    def generator() -> Generator[Any, Any, str]:
        assert otel_llm.current_interaction() is not None
        ask()
        got = yield 1
        try:
            yield got
        except KeyError:
            yield "thrown"
        return "end"

    assert inspect.isgeneratorfunction(generator)
    steps: Any = generator()
    assert spans() == []
    assert next(steps) == 1
    assert otel_llm.current_interaction() is None
    ask("not mine")
    assert steps.send("sent") == "sent"
    assert steps.throw(KeyError) == "thrown"
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == "end"
    root = named(spans, "generator")
    assert said(root, A.OTEL_LLM_INTERACTION_CALLS) == 1

    cleaned: list[bool] = []

    @otel_llm.interaction("closed")
    def closed() -> Iterator[int]:
        try:
            yield 1
        finally:
            cleaned.append(otel_llm.current_interaction() is not None)

    half: Any = closed()
    next(half)
    half.close()
    dropped: Any = closed()
    next(dropped)
    del dropped
    gc.collect()
    assert cleaned == [True, True]
    assert [span.name for span in spans()].count("closed") == 2


async def test_decorated_async_generators(ask: Ask, spans: Spans) -> None:
    @otel_llm.interaction("stream")
    async def stream() -> AsyncIterator[int]:
        await asyncio.to_thread(ask)
        yield 1
        await asyncio.sleep(0)
        yield 2

    assert inspect.isasyncgenfunction(stream)
    got: list[int] = []
    async for item in stream():
        assert otel_llm.current_interaction() is None
        got.append(item)
    assert got == [1, 2]
    assert said(named(spans, "stream"), A.OTEL_LLM_INTERACTION_CALLS) == 1
    half: Any = stream()
    await anext(half)
    await half.aclose()
    assert [span.name for span in spans()].count("stream") == 2


async def test_concurrent_requests_never_mix(provider: OfflineProvider, calls: Spans) -> None:
    client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="offline")

    async def step(text: str) -> None:
        await client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": text}])

    async def serve(user: str) -> None:
        with otel_llm.interaction("serve", user_id=user):
            async with asyncio.TaskGroup() as tasks:
                for number in range(3):
                    tasks.create_task(step(f"{user} {number}"))

    await asyncio.gather(*(serve(f"user-{number}") for number in range(20)))
    made = calls()
    assert len(made) == 60
    by_user: dict[str, set[str]] = {}
    for span in made:
        by_user.setdefault(said(span, A.USER_ID), set()).add(said(span, A.OTEL_LLM_INTERACTION_ID))
    assert len(by_user) == 20
    assert all(len(ids) == 1 for ids in by_user.values())


@pytest.fixture
def pooled() -> Iterator[None]:
    """Thread pools are instrumented during the test."""
    instrumentor = ThreadsInstrumentor()
    instrumentor.instrument()
    yield
    instrumentor.uninstrument()


@pytest.mark.usefixtures("pooled")
def test_jobs_of_a_thread_pool_belong_to_who_submitted_them(ask: Ask, calls: Spans) -> None:
    with ThreadPoolExecutor(1) as pool:
        for user in ("ada", "grace"):
            with otel_llm.interaction("fan-out", user_id=user) as it:
                list(pool.map(ask, ["one", "two"]))
            assert {said(span, A.OTEL_LLM_INTERACTION_ID) for span in calls()[-2:]} == {it.id}
        pool.submit(ask, "nobody's").result()
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 // 0).result()
    assert [said(span, A.USER_ID) for span in calls()] == ["ada", "ada", "grace", "grace", None]


@pytest.mark.usefixtures("pooled")
async def test_what_asyncio_runs_in_an_executor_belongs(ask: Ask, calls: Spans) -> None:
    with otel_llm.interaction("async", user_id="ada"):
        await asyncio.get_running_loop().run_in_executor(None, ask)
    assert [said(span, A.USER_ID) for span in calls()] == ["ada"]


def test_without_the_instrumentor_pools_are_as_they_were() -> None:
    assert type(ThreadPoolExecutor.submit) is type(ThreadPoolExecutor.shutdown)


def test_ten_thousand_interactions_leave_nothing_behind(spans: Spans, recorder: Any) -> None:
    def many(count: int) -> None:
        for number in range(count):
            with otel_llm.interaction("loop", user_id=str(number)):
                pass
        recorder.clear()
        gc.collect()

    many(100)
    before = len(gc.get_objects())
    many(10_000)
    assert len(gc.get_objects()) - before < 500


def test_identity_is_there_when_a_span_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, Any, Any]] = []

    class Watch(SpanProcessor):
        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            started.append((span.name, said(span, A.USER_ID), said(span, A.OTEL_LLM_FEATURE)))

    pipeline = TracerProvider(shutdown_on_exit=False)
    pipeline.add_span_processor(Watch())
    monkeypatch.setattr(distro, "_ledgers", list)
    distro.attach(pipeline)
    tracer = pipeline.get_tracer("app")
    with otel_llm.interaction("answer", user_id="ada"):
        tracer.start_span("first").end()
        otel_llm.attribute(feature="support")
        with otel_llm.interaction("part", user_id="grace"):
            tracer.start_span("second").end()
        tracer.start_span("third").end()
    tracer.start_span("outside").end()
    assert started == [
        ("first", "ada", "answer"),  # the name, as long as nobody says better
        ("second", "grace", "support"),
        ("third", "ada", "support"),
        ("outside", None, None),
    ]
