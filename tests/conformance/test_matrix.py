"""The conformance matrix: every surface, every way to call it, every way that it can go.

In each cell the call is made without and with instrumentation. The user sees the same: values, types, exceptions. The
ledger has one record of it, which equals the bill.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice
from tests.conformance.surfaces import SURFACES, Surface
from tests.conformance.ways import STOP, STREAMS, VALUES, Seen, Way, drop, use
from tests.conftest import Spans

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLOWLY = "[[offline:chunks 20; slow chunks 40ms]] Why is the sky blue?"
CREATE, STREAM = VALUES[0], STREAMS[0]


LEADS = ("openai chat", "anthropic messages", "groq chat")
"""What all ways are tried with. A surface shares its SDK's ways with one of these."""


class Cell:
    """One surface, called in one way."""

    def __init__(self, surface: Surface, way: Way, asynchronous: bool, provider: OfflineProvider) -> None:
        self.surface = surface
        self.way = way
        self.asynchronous = asynchronous
        self.url = provider.url

    def client(self, **options: Any) -> Any:
        client = self.surface.connect(self.url, asynchronous=self.asynchronous, **options)
        self.way.ready(self.surface, client)
        return client

    async def use(self, text: str, seen: Seen, each: Any = None, **options: Any) -> None:
        await use(self.way, self.surface, self.client(**options), self.surface.body(text), seen, each)

    async def drop(self, text: str, seen: Seen) -> None:
        await drop(self.way, self.surface, self.client(), self.surface.body(text), seen)


@pytest.fixture
def cell(surface: Surface, way: Way, asynchronous: bool, provider: OfflineProvider) -> Cell:
    return Cell(surface, way, asynchronous, provider)


def matrix(*ways: Way, leads_only: bool = True) -> pytest.MarkDecorator:
    """All surfaces in the ways `create` and `stream`; the leads, or all, in the other ways; sync and async."""
    cells = [
        pytest.param(surface, way, asynchronous, id=f"{surface.name}-{way.name}-{'async' if asynchronous else 'sync'}")
        for surface in SURFACES
        for way in ways
        if way.applies(surface) and (way in (CREATE, STREAM) or surface.name in LEADS or not leads_only)
        for asynchronous in (False, True)
    ]
    return pytest.mark.parametrize(("surface", "way", "asynchronous"), cells)


def outcome(call: ReadableSpan) -> Any:
    return (call.attributes or {}).get(A.OTEL_LLM_STREAM_OUTCOME)


@matrix(*VALUES, *STREAMS, leads_only=False)
async def test_all_goes_well(cell: Cell, twice: Twice) -> None:
    seen, [call] = await twice(cell.way, lambda seen: cell.use("Why is the sky blue?", seen))
    assert seen.error is None
    assert seen.values
    assert outcome(call) == ("completed" if cell.way.stream else None)


@pytest.mark.parametrize("status", [401, 429, 500])
@matrix(CREATE)
async def test_the_provider_refuses(cell: Cell, status: int, twice: Twice) -> None:
    seen, [call] = await twice(cell.way, lambda seen: cell.use(f"[[offline:{status}]]", seen, max_retries=1))
    assert getattr(seen.error, "status_code", None) == status
    attributes = call.attributes or {}
    assert attributes[A.HTTP_RESPONSE_STATUS_CODE] == status
    assert str(attributes[A.ERROR_TYPE]).endswith(type(seen.error).__name__)
    assert attributes[A.OTEL_LLM_ATTEMPTS] == len(call.events) == (1 if status == 401 else 2)
    assert outcome(call) is None


@matrix(*VALUES, *STREAMS)
async def test_the_provider_refuses_in_every_way(cell: Cell, twice: Twice) -> None:
    seen, [call] = await twice(cell.way, lambda seen: cell.use("[[offline:400]]", seen))
    assert getattr(seen.error, "status_code", None) == 400
    assert {event.name for event in call.events} == {A.OTEL_LLM_ATTEMPT_FAILED}
    assert outcome(call) == ("failed" if cell.way.stream else None)


@pytest.mark.parametrize("script", ["slow 120ms", "cut before headers", "cut before body"])
@matrix(VALUES[0], STREAMS[0])
async def test_the_provider_does_not_answer(cell: Cell, script: str, twice: Twice) -> None:
    timeout = 0.04 if "slow" in script else 30
    seen, [call] = await twice(cell.way, lambda seen: cell.use(f"[[offline:{script}]]", seen, timeout=timeout))
    assert seen.error is not None
    assert outcome(call) == ("failed" if cell.way.stream else None)


@pytest.mark.parametrize("script", ["cut in mid-stream after 3", "error event after 3"])
@matrix(*STREAMS)
async def test_the_stream_breaks(cell: Cell, script: str, twice: Twice) -> None:
    seen, [call] = await twice(cell.way, lambda seen: cell.use(f"[[offline:chunks 9; {script}]] Why?", seen))
    assert seen.error is not None or "error event" in script  # which some SDKs hand on as an event
    assert outcome(call) == "failed"


def stop(_item: Any) -> object:
    """Read no further."""
    return STOP


@matrix(*STREAMS)
async def test_the_user_stops_reading(cell: Cell, twice: Twice) -> None:
    seen, [call] = await twice(cell.way, lambda seen: cell.use(SLOWLY, seen, stop))
    assert len(seen.values) == 1
    # A block closes the stream; but a plain generator of lines is gone as soon as its loop is left.
    left = ["aborted"] if cell.way.within else ["abandoned"]
    assert outcome(call) in (["aborted", "abandoned"] if cell.way.lines else left)


@matrix(*STREAMS)
async def test_the_user_drops_the_stream(cell: Cell, twice: Twice) -> None:
    _seen, [call] = await twice(cell.way, lambda seen: cell.drop(SLOWLY, seen))
    assert outcome(call) == "abandoned"


class Mistake(Exception):
    """The user's own."""


@matrix(*STREAMS)
async def test_the_user_makes_a_mistake_while_reading(cell: Cell, twice: Twice) -> None:
    mistake = Mistake()

    def err(_item: Any) -> None:
        raise mistake

    async def fail(seen: Seen) -> None:
        with pytest.raises(Mistake) as caught:
            await cell.use(SLOWLY, seen, err)
        assert caught.value is mistake
        del caught

    _seen, [call] = await twice(cell.way, fail)
    assert outcome(call) == ("aborted" if cell.way.within else "abandoned")
    assert A.ERROR_TYPE not in (call.attributes or {})


@pytest.fixture
def cancel_when(cell: Cell) -> Iterator[Callable[[Awaitable[None], Callable[[], Any]], Awaitable[None]]]:
    """Cancels what the user does, as soon as something is the case: its task, or with Ctrl-C where it blocks."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    cell.client()  # or skip the test
    ended = threading.Event()

    def press_when(ready: Callable[[], Any]) -> None:
        while not ready() and not ended.is_set():
            time.sleep(0.002)
        if not ended.wait(0.02):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    async def cancel(doing: Awaitable[None], ready: Callable[[], Any]) -> None:
        if not cell.asynchronous:
            threading.Thread(target=press_when, args=(ready,)).start()
            with pytest.raises(KeyboardInterrupt):
                await doing
            return
        task = asyncio.ensure_future(doing)
        while not ready() and not task.done():  # noqa: ASYNC110 - what it waits for happens in another thread
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = signal.signal(signal.SIGALRM, interrupt)
    yield cancel
    ended.set()
    signal.signal(signal.SIGALRM, before)


@matrix(*STREAMS)
async def test_the_user_cancels_while_reading(cell: Cell, twice: Twice, cancel_when: Any) -> None:
    async def cancel(seen: Seen) -> None:
        text = "[[offline:chunks 20; slow chunks 150ms]] Why?"
        await cancel_when(cell.use(text, seen), lambda: seen.values)
        del seen.values[1:], seen.types[1:]  # however many came until then

    _seen, [call] = await twice(cell.way, cancel)
    assert outcome(call) == "aborted"
    assert A.ERROR_TYPE not in (call.attributes or {})


@matrix(CREATE, *STREAMS)
async def test_the_user_cancels_while_waiting(
    cell: Cell, provider: OfflineProvider, twice: Twice, cancel_when: Any
) -> None:
    text = "[[offline:slow 200ms]] Why?"
    _seen, [call] = await twice(cell.way, lambda seen: cancel_when(cell.use(text, seen), lambda: provider.requests))
    assert outcome(call) == "aborted"
    assert A.ERROR_TYPE not in (call.attributes or {})


@matrix(CREATE, STREAM)
async def test_uninstrumented_again(
    cell: Cell, twice: Twice, calls: Spans, instrumentors: list[Any], provider: OfflineProvider
) -> None:
    await twice(cell.way, lambda seen: cell.use("Why?", seen))
    for instrumentor in instrumentors:
        instrumentor.uninstrument()
    seen, recorded = Seen(), len(calls())
    await cell.use("Why?", seen)
    own = [span for span in calls()[recorded:] if "otel_llm" in str(span.instrumentation_scope)]
    assert not own
    for instrumentor in instrumentors:
        instrumentor.instrument()
    await cell.use("Why?", seen)
    own = [span for span in calls()[recorded:] if "otel_llm" in str(span.instrumentation_scope)]
    assert len(own) == 1


@matrix(*VALUES, *STREAMS, leads_only=False)
async def test_nothing_is_sent_before_its_time(
    cell: Cell, provider: OfflineProvider, spans: Spans, instrumented: None
) -> None:
    client = cell.client()
    pending = cell.way.call(cell.surface, client, cell.surface.body("Why?"))
    if hasattr(pending, "__await__") or (cell.way.within and not hasattr(pending, "response")):
        # cerebras warms its connections up
        assert not [request for request in provider.requests if request.method == "POST"]
        assert not spans()
    if hasattr(pending, "close"):
        pending.close()


@pytest.mark.parametrize("way", [CREATE, STREAM], ids=lambda way: way.name)
@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)
async def test_fifty_at_once(
    surface: Surface, way: Way, provider: OfflineProvider, audited: Spans, instrumented: None, no_fault: None
) -> None:
    if not way.applies(surface):
        pytest.skip("does not stream")
    cell = Cell(surface, way, True, provider)
    client = cell.client()
    all_seen = [Seen() for _ in range(50)]
    bodies = [surface.body("word " * number) for number in range(1, 51)]
    await asyncio.gather(*(use(way, surface, client, *pair) for pair in zip(bodies, all_seen, strict=True)))
    found = audited()
    assert len(found) == 50
    assert len({str((call.attributes or {})[A.GEN_AI_USAGE_INPUT_TOKENS]) for call in found}) > 40
