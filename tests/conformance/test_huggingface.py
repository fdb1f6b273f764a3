"""huggingface_hub: OpenAI's chat through httpx's own clients, and a question for the usage of streams."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm.integrations.huggingface import huggingface
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice
from tests.conformance.methods import BROKEN, FAILED, REFUSED, USAGE, captured, held, read, said
from tests.conformance.surfaces import got
from tests.conformance.ways import collect_garbage
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

hub: Any = pytest.importorskip("huggingface_hub", reason="the oldest SDKs do not fit into one environment")
if not hasattr(hub, "get_async_session"):
    pytest.skip("this huggingface_hub does not use httpx", allow_module_level=True)
MODEL = "meta-llama/Llama-3.3-70B-Instruct"
Connect = Callable[[], Any]


@pytest.fixture(params=["InferenceClient", "AsyncInferenceClient"])
def connect(request: pytest.FixtureRequest, provider: OfflineProvider) -> Connect:
    return partial(getattr(hub, request.param), base_url=f"{provider.url}/huggingface", api_key="k")


def question(script: str) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": f"[[offline: {script}]] Why?"}]}


@pytest.mark.parametrize(
    ("stream", "how"),
    [(False, how) for how in (USAGE, *REFUSED, *BROKEN)] + [(True, how) for how in (USAGE, *REFUSED, *BROKEN, FAILED)],
)
async def test_chat(connect: Connect, twice: Twice, stream: bool, how: str) -> None:
    client = connect()  # which closes its streams when it goes

    def call(script: str) -> Any:
        return client.chat_completion(**question(script), stream=stream)

    _seen, attributes = await held(twice, call, how, stream=stream)
    assert attributes[A.GEN_AI_PROVIDER_NAME] == "huggingface"
    if how == USAGE:
        assert attributes[A.GEN_AI_USAGE_INPUT_TOKENS] == 1000
        assert attributes[A.OTEL_LLM_COST_STATUS] == "unpriced"


@pytest.mark.usefixtures("instrumented")
async def test_a_stream_that_is_left(connect: Connect, audited: Spans) -> None:
    client = connect()
    stream = await got(client.chat_completion(**question("chunks 20; slow chunks 40ms"), stream=True))
    if hasattr(client, "__aenter__"):
        async with client:
            await anext(stream)
    else:
        with client:
            next(stream)
    del stream, client
    await collect_garbage()
    [call] = audited()
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] in ("aborted", "abandoned")


@pytest.mark.usefixtures("instrumented")
async def test_a_server_that_minds_the_question(connect: Connect, calls: Spans, provider: OfflineProvider) -> None:
    client = connect()
    for _ in range(2):
        chunks = await read(client.chat_completion(**question("refuse stream_options"), stream=True))
        assert chunks[-1].choices[0].finish_reason == "stop"
    first, second = calls()
    assert (first.attributes or {})[A.OTEL_LLM_ATTEMPTS] == 2
    assert (second.attributes or {})[A.OTEL_LLM_ATTEMPTS] == 1
    assert ["stream_options" in request.body for request in provider.requests] == [True, False, False]


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_what_is_said(connect: Connect, calls: Spans, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    captured(monkeypatch)
    asked, client = question("say Because."), connect()
    await read(client.chat_completion(**asked, stream=stream))
    parts = [{"type": "text", "content": "Because."}]
    asking = {"role": "user", "parts": [{"type": "text", "content": asked["messages"][0]["content"]}]}
    assert said(calls()[0]) == [
        None,
        [asking],
        [{"role": "assistant", "parts": parts, "finish_reason": "stop"}],
        None,
    ]


@pytest.mark.parametrize(
    ("url", "provider_name"),
    [
        ("https://router.huggingface.co/v1/chat/completions", "huggingface"),
        ("https://router.huggingface.co/hf-inference/models/m/v1/chat/completions", "huggingface"),
        ("https://router.huggingface.co/together/v1/chat/completions", "together"),
        ("https://router.huggingface.co/fireworks-ai/inference/v1/chat/completions", "fireworks"),
        ("https://router.huggingface.co/groq/openai/v1/chat/completions", "groq"),
        ("https://api.cerebras.ai/v1/chat/completions", "cerebras"),
        ("https://x.endpoints.huggingface.cloud/v1/chat/completions", "huggingface"),
    ],
)
async def test_the_url_names_the_provider(url: str, provider_name: str) -> None:
    httpx = importlib.import_module("httpx2" if find_spec("httpx2") else "httpx")
    sent = httpx.Request("POST", url, json=question(""), headers={"user-agent": "unknown/None; hf_hub/2.4.0"})
    request = huggingface.patches[0].read(None, (sent,), {})
    assert request is not None
    assert request.provider == provider_name
    assert huggingface.patches[0].read(None, (httpx.Request("POST", url, json=question("")),), {}) is None


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize(
    ("name", "task", "called"),
    [("together", "text-generation", "text_completion"), ("scaleway", "feature-extraction", "embeddings")],
)
async def test_a_provider_of_its_own(
    connect: Connect,
    calls: Spans,
    provider: OfflineProvider,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    task: str,
    called: str,
) -> None:
    if called == "embeddings":
        pytest.importorskip("numpy")
    providers = importlib.import_module("huggingface_hub.inference._providers")
    common = importlib.import_module("huggingface_hub.inference._providers._common")
    monkeypatch.setattr(providers.PROVIDERS[name][task], "base_url", f"{provider.url}/huggingface")
    known = common.InferenceProviderMapping(
        provider=name, hf_model_id="a/model", providerId="its-name-for-it", status="live", task=task
    )
    monkeypatch.setitem(common.HARDCODED_MODEL_INFERENCE_MAPPING[name], "a/model", known)
    method = getattr(type(connect())(provider=name, api_key="k"), task.replace("-", "_"))
    await got(method(f"[[offline: {USAGE}]] a secret", model="a/model"))
    [call] = calls()
    assert call.name == f"{called} its-name-for-it"
    assert (call.attributes or {})[A.GEN_AI_USAGE_INPUT_TOKENS] == 1000
    assert "secret" not in str(call.attributes)
