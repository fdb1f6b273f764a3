"""What follows an interaction within a process, and what leaves the process."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import Any

import httpx
import openai
import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import ProcessesInstrumentor, ThreadsInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans

pytestmark = pytest.mark.usefixtures("no_fault")
tracer = trace.get_tracer("app")


@pytest.fixture(autouse=True)
def follows() -> Iterator[None]:
    """Threads and pools are instrumented during the test."""
    for kind in (ThreadsInstrumentor, ProcessesInstrumentor):
        kind().instrument()
    yield
    for kind in (ThreadsInstrumentor, ProcessesInstrumentor):
        kind().uninstrument()


def work(name: str = "work") -> None:
    tracer.start_span(name).end()


def said(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(name)


def users(spans: Spans, name: str = "work") -> list[Any]:
    return [said(span, A.USER_ID) for span in spans() if span.name == name]


# Threads


class Working(threading.Thread):
    """A thread with a `run` of its own."""

    def run(self) -> None:
        work()


def assigned() -> threading.Thread:
    thread = threading.Thread()
    thread.run = work
    return thread


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: threading.Thread(target=work), id="target"),
        pytest.param(Working, id="subclass"),
        pytest.param(assigned, id="assigned"),
        pytest.param(lambda: threading.Timer(0, work), id="timer"),
    ],
)
def test_a_thread_belongs_to_who_started_it(build: Callable[[], threading.Thread], spans: Spans) -> None:
    plain = vars(build()).keys()
    for user in ("ada", "grace", None):
        thread = build()
        if user is None:
            thread.start()
        else:
            with otel_llm.interaction("act", user_id=user):
                thread.start()
        thread.join()
        assert vars(thread).keys() <= plain
        with pytest.raises(RuntimeError, match="once"):
            thread.start()
    assert users(spans) == ["ada", "grace", None]


def test_an_exception_in_a_thread_is_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_value))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType, reportUnknownMemberType]
    error = ValueError("mine")

    def fail() -> None:
        raise error

    with otel_llm.interaction("act"):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert told == [error]


def test_a_thread_pool_of_multiprocessing(spans: Spans) -> None:
    with ThreadPool(1) as pool:
        for user in ("ada", "grace"):
            with otel_llm.interaction("act", user_id=user) as it:
                pool.map(work, ["work"])
                pool.apply_async(func=work).get()
                assert pool.apply(otel_llm.current_interaction) is it
        pool.apply(work)
    assert users(spans) == ["ada", "ada", "grace", "grace", None]


def test_what_begins_long_after_its_interaction_is_no_part_of_it(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, go = threading.Event(), threading.Event()

    def outlive() -> None:
        with tracer.start_as_current_span("still running"):
            assert ended.wait(10)
            work("soon")
            monkeypatch.setattr(sys.modules["otel_llm.interaction"], "_AFTERWARDS_NS", -1)
            work("beneath")
        work("late")
        go.set()

    with otel_llm.interaction("act", user_id="ada") as it:
        threading.Thread(target=outlive).start()
    ended.set()
    assert go.wait(10)
    assert users(spans, "soon") == users(spans, "beneath") == ["ada"]
    [late] = [span for span in spans() if span.name == "late"]
    assert said(late, A.USER_ID) is None
    assert said(late, A.OTEL_LLM_INTERACTION_ID) != it.id


# Generators that nobody reads to their end


def test_a_generator_that_is_dropped_half_way_leaves_nothing_behind(spans: Spans) -> None:
    @otel_llm.interaction("stream", user_id="ada")
    def stream() -> Iterator[int]:
        try:
            work()
            yield 1
        finally:
            work("cleaned")

    half = stream()
    next(half)
    with otel_llm.interaction("other", user_id="grace") as other:
        del half
        gc.collect()
        assert otel_llm.current_interaction() is other
        work("after")
    assert (users(spans), users(spans, "cleaned"), users(spans, "after")) == (["ada"], ["ada"], ["grace"])
    assert otel_context.get_current() == {}


async def test_an_async_generator_that_is_dropped_half_way_leaves_nothing_behind(spans: Spans) -> None:
    @otel_llm.interaction("stream", user_id="ada")
    async def stream() -> AsyncIterator[int]:
        try:
            work()
            yield 1
            await asyncio.sleep(0)
            yield 2
        finally:
            await asyncio.sleep(0)
            work("cleaned")

    async def reader(user: str) -> None:
        with otel_llm.interaction("read", user_id=user) as it:
            async for _ in stream():
                break
            gc.collect()
            await asyncio.sleep(0.01)
            assert otel_llm.current_interaction() is it
            work("after")

    async with asyncio.TaskGroup() as tasks:
        for user in ("grace", "edsger"):
            tasks.create_task(reader(user))
    assert (users(spans), users(spans, "cleaned")) == (["ada"] * 2, ["ada"] * 2)
    assert sorted(users(spans, "after")) == ["edsger", "grace"]


# What leaves the process


def asking(provider: OfflineProvider, *, stream: bool) -> None:
    """A call whose HTTP client injects what there is, as instrumented ones do."""

    def hook(sent: httpx.Request) -> None:
        propagate.inject(sent.headers)

    client: Any = httpx.Client(verify=False, event_hooks={"request": [hook]})
    with client, openai.OpenAI(base_url=provider.openai_url, api_key="offline", http_client=client) as sdk:
        answer: Any = sdk.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "Hello [[offline: 429 once]]"}],
            stream=stream,
        )
        if stream:
            list(answer)


async def asking_asynchronously(provider: OfflineProvider, *, stream: bool) -> None:
    async def hook(sent: httpx.Request) -> None:
        propagate.inject(sent.headers)

    client: Any = httpx.AsyncClient(verify=False, event_hooks={"request": [hook]})
    async with client, openai.AsyncOpenAI(base_url=provider.openai_url, api_key="offline", http_client=client) as sdk:
        answer: Any = await sdk.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}], stream=stream
        )
        if stream:
            [chunk async for chunk in answer]


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_gets_nothing_unless_a_setting_says_so(
    stream: bool, provider: OfflineProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_LLM_BAGGAGE", "user")

    async def sent() -> list[dict[str, str]]:
        provider.clear()
        with otel_llm.interaction("act", user_id="ada", tags={"plan": "pro"}):
            otel_context.attach(baggage.set_baggage("own", "1"))
            own: dict[str, str] = {}
            with ThreadPoolExecutor(1) as pool:
                pool.submit(asking, provider, stream=stream).result()
            await asking_asynchronously(provider, stream=stream)
            propagate.inject(own)
        assert {"traceparent", "baggage"} <= own.keys()
        provider.settle()
        return [request.headers for request in provider.requests]

    silent = await sent()
    assert len(silent) >= 2
    for headers in silent:
        assert not {"traceparent", "tracestate", "baggage"} & headers.keys()
        assert "ada" not in str(headers)
    monkeypatch.setenv("OTEL_LLM_PROPAGATE_TO_PROVIDERS", "true")
    for headers in await sent():
        assert "traceparent" in headers
        assert "user.id=ada" in headers["baggage"]


@pytest.mark.parametrize(
    ("url", "goes"),
    [
        ("https://api.openai.com/v1/models", False),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com/model", False),
        ("https://my.openai.azure.com/openai", False),
        ("https://abc.execute-api.eu-west-1.amazonaws.com/mine", True),
        ("https://shop.internal/orders", True),
        ("not a url", True),
    ],
)
@pytest.mark.parametrize("name", ["url.full", "http.url"])
def test_a_provider_is_known_by_its_address(name: str, url: str, goes: bool, spans: Spans) -> None:
    carrier: dict[str, str] = {}
    with tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes={name: url}):
        propagate.inject(carrier)
    assert ("traceparent" in carrier) is goes
