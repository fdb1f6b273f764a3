"""groq's compound systems: one answer of several models, each of which is billed as itself."""

from __future__ import annotations

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice
from tests.conformance.methods import held
from tests.conformance.surfaces import SURFACES

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

pytest.importorskip("groq", reason="the oldest SDKs do not fit into one environment")
[GROQ] = [surface for surface in SURFACES if surface.package == "groq"]
TWO_MODELS = "tokens in=1000 out=50; cache hit 800; advisor openai/gpt-oss-20b in=300 out=40"


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("more", ["", "; web search 2"], ids=["", "search"])
async def test_each_model_has_its_own_price(
    provider: OfflineProvider, twice: Twice, asynchronous: bool, stream: bool, more: str
) -> None:
    create = GROQ.connect(provider.url, asynchronous=asynchronous).chat.completions.create

    def call(script: str) -> object:
        said = [{"role": "user", "content": f"[[offline: {script}]] Why?"}]
        return create(model="groq/compound", messages=said, **({"stream": True} if stream else {}))

    _seen, attributes = await held(twice, call, TWO_MODELS + more, stream=stream)
    # 200 x 0.15 + 800 x 0.075 + 50 x 0.6 + 300 x 0.075 + 40 x 0.3 = 154.5 micro-USD
    assert attributes[A.OTEL_LLM_COST_NANO_USD] == 154_500
    assert attributes[A.GEN_AI_USAGE_INPUT_TOKENS] == 1300
    assert attributes[A.OTEL_LLM_PRICE_KEY] == "groq/openai/gpt-oss-120b, groq/openai/gpt-oss-20b"
    if more:
        assert attributes[A.OTEL_LLM_USAGE_REQUESTS_PREFIX + "web_search"] == 2
        assert attributes[A.OTEL_LLM_COST_UNPRICED_REASON] == "no_price_for:web_search"
    assert attributes[A.OTEL_LLM_COST_STATUS] == ("partial" if more else "priced")
