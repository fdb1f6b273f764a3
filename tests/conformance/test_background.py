"""Responses in the background: another request is told how they ended, and the call counts once."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm.call import Call
from otel_llm.engine import counted, pending
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice, become_another_process
from tests.conformance.methods import captured
from tests.conformance.surfaces import Surface, chat, got
from tests.conformance.ways import VALUES, Seen
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

openai = pytest.importorskip("openai")
CLIENT = Surface("openai", "openai", "OpenAI", "", chat(""), lambda url: {"api_key": "k", "base_url": f"{url}/v1"})
QUESTION: dict[str, Any] = {
    "model": "gpt-5.2",
    "input": "[[offline: tokens in=1000 out=50; cache hit 800; chunks 5]] Why?",
    "background": True,
}


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def responses(request: pytest.FixtureRequest, provider: OfflineProvider) -> Any:
    """The resource of a client."""
    return CLIENT.resource_of(CLIENT.connect(provider.url, asynchronous=request.param), "responses")


async def _events(stream: Any) -> list[Any]:
    return [event async for event in stream] if hasattr(stream, "__anext__") else list(stream)


async def test_polling_counts_once(responses: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        begun = await got(responses.create(**QUESTION))
        seen.add(begun)
        for _ in range(4):
            seen.add(await got(responses.retrieve(begun.id)))

    seen, [call] = await twice(VALUES[0], use)
    assert [value["status"] for value in seen.values] == ["queued", "in_progress", *["completed"] * 3]
    assert (call.attributes or {})[A.GEN_AI_USAGE_INPUT_TOKENS] == 1000
    assert call.start_time is not None
    assert call.end_time is not None


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_what_was_said(responses: Any, stream: bool, audited: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    captured(monkeypatch)
    begun = await got(responses.create(**QUESTION, stream=stream))
    if stream:
        events, begun = begun, (await (anext(begun) if hasattr(begun, "__anext__") else got(next(begun)))).response
        await got(events.close())
    for _ in range(2):
        await got(responses.retrieve(begun.id))
    [call] = audited()
    attributes = call.attributes or {}
    assert "Why?" in str(attributes[A.GEN_AI_INPUT_MESSAGES])
    assert "assistant" in str(attributes[A.GEN_AI_OUTPUT_MESSAGES])


async def test_raw_answers_to_polling(responses: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        begun = await got((await got(responses.with_raw_response.create(**QUESTION))).parse())
        for _ in range(3):
            seen.add(await got((await got(responses.with_raw_response.retrieve(begun.id))).parse()))

    _seen, [_call] = await twice(VALUES[0], use)


async def test_a_stream_that_is_left_and_taken_up_again(responses: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        stream = await got(responses.create(**QUESTION, stream=True))
        first = await anext(stream) if hasattr(stream, "__anext__") else next(stream)
        await got(stream.close())
        rest = await got(responses.retrieve(first.response.id, stream=True, starting_after=first.sequence_number))
        for event in await _events(rest):
            seen.add(event)
        await got(responses.retrieve(first.response.id))
        seen.add(await got(responses.retrieve(first.response.id)))

    seen, [call] = await twice(VALUES[0], use)
    assert seen.values[-2]["type"] == "response.completed"
    assert (call.attributes or {})[A.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)


async def test_a_stream_to_its_end(responses: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        events = await _events(await got(responses.create(**QUESTION, stream=True)))
        seen.add(events[-1])
        for _ in range(2):
            await got(responses.retrieve(events[-1].response.id))

    _seen, [_call] = await twice(VALUES[0], use)


@pytest.mark.parametrize("how", ["polled", "told", "long ago"])
@pytest.mark.usefixtures("instrumented")
async def test_another_process_began_it(
    responses: Any, how: str, audited: Spans, provider: OfflineProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await got(responses.create(**QUESTION | {"model": "gpt-5.2-2025-12-11"}))
    if how != "polled":
        await got(responses.retrieve(begun.id))
    become_another_process(elsewhere=True)
    if how != "told":
        monkeypatch.setattr(pending, "_JUST_NOW", -1)
    for _ in range(3):
        await got(responses.retrieve(begun.id))
    if how == "long ago":
        provider.clear()  # it is on another process's bill
    assert len(audited()) == (0 if how == "long ago" else 1)


@pytest.mark.usefixtures("instrumented")
async def test_another_process_of_this_machine_counted_it(responses: Any, audited: Spans) -> None:
    begun = await got(responses.create(**QUESTION))
    for _ in range(3):
        await got(responses.retrieve(begun.id))
        await got(responses.retrieve(begun.id))
        become_another_process()
    assert len(audited()) == 1


@pytest.mark.parametrize(("kind", "days"), [("batches", 31), ("background", 0.005)])
async def test_what_was_counted_is_forgotten_in_time(
    kind: counted.Kind, days: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_LLM_HOME", str(tmp_path))

    def count_again(age: float) -> bool:
        become_another_process()
        monkeypatch.setattr(counted, "_swept", {})
        for file in tmp_path.glob(f"counted/{kind}/*"):
            os.utime(file, (0, time.time() - age * 86_400))
        call = Call("chat", "openai")
        return counted.claim(call, "b-1").count(1) if kind == "batches" else counted.is_first(call, "b-1")

    assert [count_again(age) for age in (0, days, 2 * days)] == [True, False, True]


async def test_a_response_that_was_answered_at_once_is_not_counted_again(responses: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        answered = await got(responses.create(**QUESTION | {"background": False}))
        with pytest.raises(openai.NotFoundError):  # this provider does not keep them, and answers in the same way
            await got(responses.retrieve(answered.id))
        seen.add(answered)

    _seen, [_call] = await twice(VALUES[0], use)


@pytest.mark.usefixtures("instrumented")
async def test_cancelling_ends_it_without_a_price(responses: Any, calls: Spans) -> None:
    begun = await got(responses.create(**QUESTION))
    assert not calls()
    assert (await got(responses.cancel(begun.id))).status == "cancelled"
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "unpriced"
    await got(responses.retrieve(begun.id))
    assert len(calls()) == 1


@pytest.mark.usefixtures("instrumented")
async def test_what_nobody_asks_for_again_is_in_the_ledger_at_the_end(responses: Any, calls: Spans) -> None:
    await got(responses.create(**QUESTION))
    assert not calls()
    pending._end_all()  # pyright: ignore[reportPrivateUsage]
    [call] = calls()
    attributes = call.attributes or {}
    assert attributes[A.OTEL_LLM_STREAM_OUTCOME] == "abandoned"
    assert attributes[A.OTEL_LLM_COST_STATUS] == "unpriced"
