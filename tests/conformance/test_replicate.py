"""replicate: predictions that are waited for, polled, cancelled, streamed or left; each counts once."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm.engine import pending
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice, become_another_process
from tests.conformance.methods import captured
from tests.conformance.surfaces import got
from tests.conformance.ways import VALUES, Seen
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

replicate = pytest.importorskip("replicate", reason="the oldest SDKs do not fit into one environment")
MODEL = "meta/meta-llama-3-70b-instruct"
VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"
USAGE = "tokens in=1000 out=50; chunks 5"


@pytest.fixture
def client(provider: OfflineProvider) -> Any:
    """A client that does not wait long before it asks again."""
    client = replicate.Client(api_token="k", base_url=provider.url)
    client.poll_interval = 0.01
    return client


@pytest.fixture(params=["", "async_"], ids=["sync", "async"])
def twin(request: pytest.FixtureRequest) -> str:
    """What the names of asynchronous methods begin with."""
    return request.param


def question(script: str = USAGE) -> dict[str, Any]:
    return {"prompt": f"[[offline: {script}]] Why?", "system_prompt": "Be brief.", "max_tokens": 100}


async def begun(client: Any, twin: str, script: str = USAGE, **more: Any) -> Any:
    """A prediction that has just begun."""
    return await got(getattr(client.models.predictions, f"{twin}create")(MODEL, question(script), **more))


async def events(stream: Any) -> list[Any]:
    stream = await stream if inspect.isawaitable(stream) else stream
    return [event async for event in stream] if hasattr(stream, "__anext__") else list(stream)


@pytest.mark.parametrize("wait", [True, False], ids=["waited", "polled"])
@pytest.mark.parametrize("model", [MODEL, VERSION, "acme/app"], ids=["model", "version", "deployment"])
async def test_run(client: Any, twin: str, wait: bool, model: str, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        if model == MODEL:
            seen.add(await got(getattr(client, f"{twin}run")(model, question(), wait=wait)))
        else:
            begin = client.predictions if model == VERSION else client.deployments.predictions
            made = await got(getattr(begin, f"{twin}create")(model, question(), wait=wait))
            await got(getattr(made, f"{twin}wait")())
            seen.add(made.output)

    seen, [call] = await twice(VALUES[0], use)
    attributes = call.attributes or {}
    assert "word" in "".join(seen.values[0])
    assert call.name == f"generate_content {model}"
    assert attributes[A.GEN_AI_PROVIDER_NAME] == "replicate"
    assert attributes[A.GEN_AI_RESPONSE_MODEL] == ("replicate/hello-world" if model == VERSION else model)
    assert attributes[A.GEN_AI_REQUEST_MAX_TOKENS] == 100
    assert attributes[A.GEN_AI_USAGE_INPUT_TOKENS] == 1000
    assert attributes[A.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)
    assert attributes[A.OTEL_LLM_COST_STATUS] == "unpriced"
    assert A.GEN_AI_INPUT_MESSAGES not in attributes


async def test_polling_counts_once(client: Any, twin: str, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        made = await begun(client, twin)
        seen.add(made.status)
        for _ in range(4):
            await got(getattr(made, f"{twin}reload")())
            seen.add(made.status)

    seen, [_call] = await twice(VALUES[0], use)
    assert seen.values == ["starting", "processing", *["succeeded"] * 3]


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("when", ["just now", "long ago"])
async def test_another_process_began_it(
    client: Any, twin: str, when: str, audited: Spans, provider: OfflineProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await begun(client, twin)
    client._client.get(made.urls["get"])
    become_another_process(elsewhere=True)
    if when == "long ago":
        monkeypatch.setattr(pending, "_JUST_NOW", -1)
    for _ in range(2):
        await got(getattr(made, f"{twin}reload")())
    if when == "long ago":
        provider.clear()  # it is on another process's bill
    assert len(audited()) == (0 if when == "long ago" else 1)


@pytest.mark.parametrize("wait", [True, False], ids=["waited", "polled"])
@pytest.mark.parametrize("script", ["incomplete", "no usage"])
async def test_without_tokens_it_has_no_price(client: Any, twin: str, wait: bool, script: str, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        failed: Any = None
        try:
            await got(getattr(client, f"{twin}run")(MODEL, question(script), wait=wait))
        except replicate.exceptions.ModelError as error:
            failed = str(error)
        seen.add(failed)

    seen, [call] = await twice(VALUES[0], use)
    attributes = call.attributes or {}
    failed = script == "incomplete"
    assert seen.values == ["scripted failure" if failed else None]
    assert attributes[A.GEN_AI_RESPONSE_FINISH_REASONS] == ("error" if failed else "stop",)
    assert attributes[A.OTEL_LLM_COST_STATUS] == "unpriced"
    assert attributes[A.OTEL_LLM_COST_UNPRICED_REASON]


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_an_error_is_free(client: Any, twin: str, status: int, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        with pytest.raises(replicate.exceptions.ReplicateError) as caught:
            await begun(client, twin, str(status))
        seen.add(caught.value.to_dict())

    _seen, [call] = await twice(VALUES[0], use)
    attributes = call.attributes or {}
    assert attributes[A.HTTP_RESPONSE_STATUS_CODE] == status
    assert attributes[A.OTEL_LLM_COST_STATUS] == "free"
    assert attributes[A.ERROR_TYPE] == "replicate.exceptions.ReplicateError"


@pytest.mark.usefixtures("instrumented")
async def test_who_waited_gets_the_output_before_its_end_is_told(
    client: Any, twin: str, calls: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    from examples.offline_provider import replicate as wire

    answered = wire.plain

    def early(*args: Any) -> dict[str, Any]:
        return answered(*args) | {"status": "processing", "completed_at": None, "metrics": {}}

    monkeypatch.setattr(wire, "plain", early)
    assert await got(getattr(client, f"{twin}run")(MODEL, question()))
    [call] = calls()
    attributes = call.attributes or {}
    assert attributes[A.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)
    assert attributes[A.OTEL_LLM_COST_STATUS] == "unpriced"


async def test_a_stream_that_is_asked_for_again(client: Any, twin: str, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        made = await begun(client, twin, stream=True)
        seen.add([str(event) for event in await events(getattr(made, f"{twin}stream")())])
        await got(getattr(made, f"{twin}wait")())

    seen, [call] = await twice(VALUES[0], use)
    assert "word" in "".join(seen.values[0])
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == "completed"
    assert (call.attributes or {})[A.GEN_AI_USAGE_INPUT_TOKENS] == 1000


@pytest.mark.usefixtures("instrumented")
async def test_a_stream_tells_no_tokens(client: Any, twin: str, calls: Spans, audited: Spans) -> None:
    assert await events(getattr(client, f"{twin}stream")(MODEL, input=question()))
    assert not calls()
    pending._end_all()  # pyright: ignore[reportPrivateUsage]
    [call] = audited()
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == "abandoned"
    assert (call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "unpriced"


@pytest.mark.usefixtures("instrumented")
async def test_cancelling_ends_it_without_a_price(client: Any, twin: str, calls: Spans) -> None:
    made = await begun(client, twin)
    assert not calls()
    await got(getattr(made, f"{twin}cancel")())
    assert made.status == "canceled"
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "unpriced"
    await got(getattr(made, f"{twin}reload")())
    assert len(calls()) == 1


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("wait", [True, False], ids=["waited", "polled"])
async def test_what_was_said(
    client: Any, twin: str, wait: bool, audited: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured(monkeypatch)
    await got(getattr(client, f"{twin}run")(MODEL, question(), wait=wait))
    [call] = audited()
    attributes = call.attributes or {}
    assert "Why?" in str(attributes[A.GEN_AI_INPUT_MESSAGES])
    assert "Be brief." in str(attributes[A.GEN_AI_INPUT_MESSAGES])
    assert "assistant" in str(attributes[A.GEN_AI_OUTPUT_MESSAGES])
