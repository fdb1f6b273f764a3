"""mistralai: its methods have names of their own, and so its errors and its tracing have ways of their own."""

from __future__ import annotations

import asyncio
import gc
import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from examples.offline_provider import OfflineProvider
from otel_llm.integrations import SDKInstrumentor
from otel_llm_semconv import attributes as A
from tests.conformance.ledger import assert_ledger_equals_bill
from tests.conformance.surfaces import got
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

pytest.importorskip("mistralai", reason="the oldest SDKs do not fit into one environment")
# Up to 1.x `mistralai.client` is a module of another age.
_GENERATED = (found := find_spec("mistralai.client")) is not None and found.submodule_search_locations is not None
SDK: Any = importlib.import_module("mistralai.client" if _GENERATED else "mistralai")
MODEL = "mistral-small-latest"
USAGE = "tokens in=1000 out=50; cache hit 800"


@pytest.fixture(params=["sync", "async"])
def twin(request: pytest.FixtureRequest) -> str:
    """What the names of asynchronous methods end with."""
    return "_async" if request.param == "async" else ""


@pytest.fixture
def client(provider: OfflineProvider) -> Any:
    return SDK.Mistral(api_key="k", server_url=f"{provider.url}/mistral")


def question(script: str) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": f"[[offline: {script}]] Why?"}]}


async def read(stream: Any, each: Callable[[Any], Any] = lambda _event: None) -> None:
    """All events of a stream; `each` stops it by returning True."""
    if hasattr(stream, "__anext__"):
        async for event in stream:
            if each(event):
                return
    else:
        for event in stream:
            if each(event):
                return


@pytest.mark.usefixtures("instrumented")
async def test_plain_and_streamed(client: Any, provider: OfflineProvider, calls: Spans, twin: str) -> None:
    reply = await got(getattr(client.chat, "complete" + twin)(**question(USAGE)))
    assert reply.usage.prompt_tokens == 1000
    seen: list[Any] = []
    await read(await got(getattr(client.chat, "stream" + twin)(**question(USAGE))), seen.append)
    assert seen[-1].data.usage.prompt_tokens == 1000
    await got(getattr(client.embeddings, "create" + twin)(model="mistral-embed", inputs=["Why?"]))
    made = calls()
    assert [(call.attributes or {})[A.GEN_AI_PROVIDER_NAME] for call in made] == ["mistral_ai"] * 3
    assert_ledger_equals_bill(made, provider.bill)
    assert all((call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "priced" for call in made)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(("script", "status"), [("429", 429), ("500", 500), ("401", 401)])
async def test_an_error(
    client: Any, provider: OfflineProvider, calls: Spans, twin: str, stream: bool, script: str, status: int
) -> None:
    with pytest.raises(Exception, match=script) as caught:
        await got(getattr(client.chat, ("stream" if stream else "complete") + twin)(**question(script)))
    assert getattr(caught.value, "status_code") == status  # noqa: B009 - of whatever class
    [call] = calls()
    attributes = call.attributes or {}
    assert call.status.status_code is StatusCode.ERROR
    assert attributes[A.ERROR_TYPE] == str(status)
    assert attributes[A.HTTP_RESPONSE_STATUS_CODE] == status
    assert attributes[A.OTEL_LLM_COST_STATUS] == "free"
    assert attributes.get(A.OTEL_LLM_STREAM_OUTCOME) == ("failed" if stream else None)
    assert provider.bill == []


@pytest.mark.usefixtures("instrumented")
async def test_retries_are_attempts_of_one_call(
    client: Any, provider: OfflineProvider, calls: Spans, twin: str
) -> None:
    utils: Any = importlib.import_module(f"{SDK.__name__}.utils")
    if not hasattr(importlib.import_module(f"{SDK.__name__}.utils.retries"), "_get_sleep_interval"):
        pytest.skip("this mistralai retries in one function")
    retries = utils.RetryConfig("backoff", utils.BackoffStrategy(10, 50, 1.5, 5000), retry_connection_errors=True)
    await got(getattr(client.chat, "complete" + twin)(**question(f"429 twice; {USAGE}"), retries=retries))
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_ATTEMPTS] == 3
    events = [event for event in call.events if event.name == A.OTEL_LLM_ATTEMPT_FAILED]
    assert [(event.attributes or {})[A.OTEL_LLM_ATTEMPT_STATUS_CODE] for event in events] == [429, 429]
    assert_ledger_equals_bill([call], provider.bill)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("how", ["aborted", "abandoned"])
async def test_a_stream_that_is_left(client: Any, provider: OfflineProvider, calls: Spans, twin: str, how: str) -> None:
    script = "chunks 20; slow chunks 60ms"
    stream = await got(getattr(client.chat, "stream" + twin)(**question(script)))
    if how == "aborted":
        if twin:
            async with stream:
                await read(stream, lambda _event: True)
        else:
            with stream:
                await read(stream, lambda _event: True)
    else:
        await read(stream, lambda _event: True)
        del stream
        gc.collect()
        for _ in range(100):  # the loop closes generators that were dropped
            await asyncio.sleep(0.02)
            gc.collect()
            if calls():
                break
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] in ("aborted", "abandoned")
    provider.settle()
    assert_ledger_equals_bill([call], provider.bill)


async def test_its_own_tracing_makes_no_second_call(
    provider: OfflineProvider,
    spans: Spans,
    twin: str,
    instrumentors: list[SDKInstrumentor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(f"{SDK.__name__}._hooks.tracing", reason="this mistralai does not trace itself")
    monkeypatch.setenv("MISTRAL_SDK_TELEMETRY", "global")
    client = SDK.Mistral(api_key="k", server_url=f"{provider.url}/mistral")
    await got(getattr(client.chat, "complete" + twin)(**question(USAGE)))
    already = spans()
    assert [span for span in already if A.GEN_AI_USAGE_INPUT_TOKENS in (span.attributes or {})], "it does trace"
    for instrumentor in instrumentors:
        instrumentor.instrument()
    await got(getattr(client.chat, "complete" + twin)(**question(USAGE)))
    for instrumentor in instrumentors:
        instrumentor.uninstrument()
    assert [span.name for span in spans()[len(already) :]] == [f"chat {MODEL}"]
