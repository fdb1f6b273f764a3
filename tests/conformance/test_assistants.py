"""Runs of assistants: begun by one request, told by others, counted once."""

from __future__ import annotations

from typing import Any

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm.engine import pending
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice, become_another_process
from tests.conformance.methods import captured
from tests.conformance.surfaces import Surface, chat, got
from tests.conformance.ways import VALUES, Seen
from tests.conftest import Spans

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("no_fault"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

openai = pytest.importorskip("openai")
CLIENT = Surface("openai", "openai", "OpenAI", "", chat(""), lambda url: {"api_key": "k", "base_url": f"{url}/v1"})
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def asked(script: str = "tokens in=1000 out=50; cache hit 800; chunks 5", **more: Any) -> dict[str, Any]:
    """A run that says what it is to do."""
    message = {"role": "user", "content": f"[[offline: {script}]] Why?"}
    return {"assistant_id": "asst_1", "model": "gpt-4o-mini-2024-07-18", "additional_messages": [message], **more}


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def client(request: pytest.FixtureRequest, provider: OfflineProvider) -> Any:
    connected = CLIENT.connect(provider.url, asynchronous=request.param)
    CLIENT.resource_of(connected, "beta.threads.runs")
    return connected


@pytest.fixture
def runs(client: Any) -> Any:
    return client.beta.threads.runs


async def _events(stream: Any) -> list[Any]:
    return [event async for event in stream] if hasattr(stream, "__anext__") else list(stream)


async def _ask(runs: Any, id_: str, times: int) -> list[Any]:
    return [await got(runs.retrieve(id_, thread_id="thread_1")) for _ in range(times)]


async def test_polling_counts_once(runs: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        begun = await got(runs.create("thread_1", **asked()))
        for told in [begun, *await _ask(runs, begun.id, 4)]:
            seen.add(told)

    seen, [call] = await twice(VALUES[0], use)
    assert [value["status"] for value in seen.values] == ["queued", "in_progress", *["completed"] * 3]
    attributes = call.attributes or {}
    assert attributes[A.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS] == 800
    assert attributes[A.GEN_AI_CONVERSATION_ID] == "thread_1"
    assert attributes[A.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)
    assert attributes[A.OTEL_LLM_COST_STATUS] == "priced"


async def test_the_sdk_polls(runs: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        done = await got(runs.create_and_poll(thread_id="thread_1", **asked(), poll_interval_ms=1))
        seen.add(done)
        await _ask(runs, done.id, 2)

    _seen, [_call] = await twice(VALUES[0], use)


async def test_raw_answers_to_polling(runs: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        begun = (await got(runs.with_raw_response.create("thread_1", **asked()))).parse()
        for _ in range(3):
            seen.add((await got(runs.with_raw_response.retrieve(begun.id, thread_id="thread_1"))).parse())

    _seen, [_call] = await twice(VALUES[0], use)


async def test_a_stream_to_its_end(runs: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        events = await _events(await got(runs.create("thread_1", **asked(), stream=True)))
        for event in events:
            seen.add(event)
        await _ask(runs, events[-1].data.id, 2)

    seen, [call] = await twice(VALUES[0], use)
    assert seen.values[-1]["event"] == "thread.run.completed"
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == "completed"


async def test_a_helper_streams(runs: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        manager = runs.stream(thread_id="thread_1", **asked())
        if hasattr(manager, "__aenter__"):
            async with manager as stream:
                await stream.until_done()
        else:
            with manager as stream:
                stream.until_done()
        seen.add(stream.current_run)

    _seen, [_call] = await twice(VALUES[0], use)


async def test_a_stream_that_is_left_is_asked_for(runs: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        stream = await got(runs.create("thread_1", **asked(), stream=True))
        first = await anext(stream) if hasattr(stream, "__anext__") else next(stream)
        await got(stream.close())
        for told in await _ask(runs, first.data.id, 3):
            seen.add(told)

    _seen, [_call] = await twice(VALUES[0], use)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_run_that_waits_for_a_function(runs: Any, twice: Twice, stream: bool) -> None:
    calling = asked("tokens in=1000 out=50; tool look {}", tools=[TOOL])

    async def use(seen: Seen) -> None:
        if stream:
            id_ = (await _events(await got(runs.create("thread_1", **calling, stream=True))))[-1].data.id
        else:
            id_ = (await got(runs.create("thread_1", **calling))).id
        waiting = (await _ask(runs, id_, 2))[-1]
        seen.add(waiting)
        found = [{"tool_call_id": "call_0", "output": "a cat"}]
        more = {"stream": True} if stream else {}
        told = await got(runs.submit_tool_outputs(id_, thread_id="thread_1", tool_outputs=found, **more))
        if stream:
            seen.add((await _events(told))[-1])
        for told in await _ask(runs, id_, 3):
            seen.add(told)

    seen, [call] = await twice(VALUES[0], use)
    assert seen.values[0]["status"] == "requires_action"
    assert (call.attributes or {})[A.GEN_AI_USAGE_INPUT_TOKENS] == 1000


async def test_a_thread_and_its_run(client: Any, twice: Twice) -> None:
    body = asked()
    thread = {"messages": body.pop("additional_messages")}

    async def use(seen: Seen) -> None:
        begun = await got(client.beta.threads.create_and_run(thread=thread, **body))
        for _ in range(2):
            seen.add(await got(client.beta.threads.runs.retrieve(begun.id, thread_id=begun.thread_id)))

    _seen, [_call] = await twice(VALUES[0], use)


@pytest.mark.usefixtures("instrumented")
async def test_another_process_of_this_machine_counted_it(runs: Any, audited: Spans) -> None:
    begun = await got(runs.create("thread_1", **asked()))
    for _ in range(3):
        await _ask(runs, begun.id, 2)
        become_another_process()
    assert len(audited()) == 1


@pytest.mark.usefixtures("instrumented")
async def test_the_model_is_the_assistant_s(runs: Any, calls: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    captured(monkeypatch)
    body = asked()
    begun = await got(runs.create("thread_1", **{k: v for k, v in body.items() if k != "model"}))
    await _ask(runs, begun.id, 2)
    [call] = calls()
    attributes = call.attributes or {}
    assert (call.name, attributes[A.OTEL_LLM_COST_STATUS]) == ("chat", "priced")
    assert attributes[A.GEN_AI_RESPONSE_MODEL] == "gpt-4o-mini-2024-07-18"
    assert not [value for value in attributes.values() if "Why?" in str(value)]


@pytest.mark.usefixtures("instrumented")
async def test_what_the_code_interpreter_cost_is_not_told(runs: Any, calls: Spans) -> None:
    begun = await got(runs.create("thread_1", **asked(tools=[{"type": "code_interpreter"}])))
    await _ask(runs, begun.id, 2)
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_USAGE_SOURCE] == "partial"
    assert (call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "partial"


@pytest.mark.usefixtures("instrumented")
async def test_a_cancelled_run_has_no_price(runs: Any, calls: Spans) -> None:
    begun = await got(runs.create("thread_1", **asked()))
    assert (await got(runs.cancel(begun.id, thread_id="thread_1"))).status == "cancelled"
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "unpriced"


@pytest.mark.usefixtures("instrumented")
async def test_what_nobody_asks_for_again_is_in_the_ledger_at_the_end(runs: Any, calls: Spans) -> None:
    await got(runs.create("thread_1", **asked()))
    assert not calls()
    pending._end_all()  # pyright: ignore[reportPrivateUsage]
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == "abandoned"


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("status", [401, 429, 500])
async def test_refused_is_free(runs: Any, status: int, calls: Spans) -> None:
    with pytest.raises(openai.APIStatusError):
        await got(runs.create("thread_1", **asked(str(status))))
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "free"
