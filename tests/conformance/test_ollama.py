"""ollama: lines of JSON through httpx's own clients, no ids, no price."""

from __future__ import annotations

from typing import Any

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice
from tests.conformance.methods import BROKEN, FAILED, LEFT, REFUSED, USAGE, captured, held, read, said
from tests.conformance.surfaces import got
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

ollama: Any = pytest.importorskip("ollama", reason="the oldest SDKs do not fit into one environment")
MODEL = "llama3.2"


@pytest.fixture(params=["Client", "AsyncClient"])
def client(request: pytest.FixtureRequest, provider: OfflineProvider) -> Any:
    return getattr(ollama, request.param)(host=f"{provider.url}/ollama")


def question(method: str, script: str) -> dict[str, Any]:
    text = f"[[offline: {script}]] Why?"
    asked = {"prompt": text} if method == "generate" else {"messages": [{"role": "user", "content": text}]}
    return {"model": MODEL, "options": {"temperature": 0.5, "num_predict": 500}, **asked}


@pytest.mark.parametrize("method", ["chat", "generate"])
@pytest.mark.parametrize(
    ("stream", "how"),
    [(False, how) for how in (USAGE, *REFUSED, *BROKEN)]
    + [(True, how) for how in (USAGE, *REFUSED, *BROKEN, FAILED, *LEFT)],
)
async def test_chat_and_generate(client: Any, twice: Twice, method: str, stream: bool, how: str) -> None:
    def call(script: str) -> Any:
        return getattr(client, method)(**question(method, script), stream=stream)

    _seen, attributes = await held(twice, call, how, stream=stream)
    assert attributes[A.GEN_AI_PROVIDER_NAME] == "ollama"
    assert attributes[A.GEN_AI_REQUEST_MAX_TOKENS] == 500
    if how == USAGE:
        assert attributes[A.GEN_AI_USAGE_INPUT_TOKENS] == 1000
        assert attributes[A.OTEL_LLM_COST_STATUS] == "unpriced"


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_prompt_in_the_cache(client: Any, audited: Spans, calls: Spans, stream: bool) -> None:
    await read(await got(client.chat(**question("chat", f"{USAGE}; cache hit 900"), stream=stream)))
    [part] = audited()
    assert (part.attributes or {})[A.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS] == 900
    await read(await got(client.chat(**question("chat", f"{USAGE}; cache hit 1000"), stream=stream)))
    attributes = calls()[1].attributes or {}
    assert A.GEN_AI_USAGE_INPUT_TOKENS not in attributes, "older servers do not tell"
    assert attributes[A.GEN_AI_USAGE_OUTPUT_TOKENS] == 50


@pytest.mark.usefixtures("instrumented")
async def test_embeddings(client: Any, calls: Spans, provider: OfflineProvider) -> None:
    await got(client.embeddings(model="nomic-embed-text", prompt="a secret"))
    if hasattr(client, "embed"):
        await got(client.embed(model="nomic-embed-text", input=["a secret", "another"]))
    for call, entry in zip(calls(), provider.bill, strict=True):
        attributes = call.attributes or {}
        assert attributes[A.GEN_AI_OPERATION_NAME] == "embeddings"
        told = None if entry.response_model is None else entry.usage.input_tokens
        assert attributes.get(A.GEN_AI_USAGE_INPUT_TOKENS) == told
        assert "secret" not in str(attributes)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_what_is_said(client: Any, calls: Spans, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    captured(monkeypatch)
    tool: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    await read(await got(client.chat(**question("chat", 'tool look {"up": 1}; chunks 1'), tools=[tool], stream=stream)))
    asked = question("generate", "say Because.")
    await read(await got(client.generate(**asked, system="Be kind.", stream=stream)))
    looked, answered = map(said, calls())
    look = {"type": "tool_call", "id": None, "name": "look", "arguments": {"up": 1}}
    assert looked[2:] == [
        [{"role": "assistant", "parts": [look], "finish_reason": "stop"}],
        [{"type": "function", "name": "look"}],
    ]
    because = {"role": "assistant", "parts": [{"type": "text", "content": "Because."}], "finish_reason": "stop"}
    asking = {"role": "user", "parts": [{"type": "text", "content": asked["prompt"]}]}
    assert answered == [[{"type": "text", "content": "Be kind."}], [asking], [because], None]
