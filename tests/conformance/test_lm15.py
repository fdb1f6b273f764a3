"""lm15: what dspy sends with a client of its own; every call counts once, whatever it speaks."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.surfaces import got
from tests.conftest import Spans

os.environ["DSPY_CACHEDIR"] = tempfile.mkdtemp()
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
dspy: Any = pytest.importorskip("dspy", reason="dspy has an environment of its own")
if not hasattr(dspy, "lm15"):
    pytest.skip("dspy sends nothing itself before 3.4", allow_module_level=True)

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault", "instrumented")]

WHERE: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("openai/gpt-4o-mini", {"api_base": "/v1"}),
    "responses": ("openai/gpt-4o-mini", {"api_base": "/v1", "model_type": "responses"}),
    "messages": ("anthropic/claude-haiku-4-5", {"api_base": "/v1"}),
    "gemini": ("gemini/gemini-2.5-flash", {"api_base": "/v1beta"}),
}
PROVIDERS = {"messages": "anthropic", "gemini": "gcp.gemini"}


def said(call: ReadableSpan, name: str) -> Any:
    return (call.attributes or {}).get(name)


def model(provider: OfflineProvider, kind: str) -> Any:
    name, options = WHERE[kind]
    base = provider.url + options["api_base"]
    return dspy.LM(name, **{**options, "api_base": base}, api_key="k", cache=False, num_retries=0, engine="lm15")


def question(script: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"[[offline: {script}]] Why?"}]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", WHERE)
async def test_every_dialect_counts_once(
    provider: OfflineProvider, audited: Spans, kind: str, asynchronous: bool
) -> None:
    lm = model(provider, kind)
    with otel_llm.interaction("ask") as it:
        messages = question("tokens in=1000 out=50; cache hit 800")
        assert await got(lm.acall(messages=messages) if asynchronous else lm(messages=messages))
    [call] = audited()
    assert (it.calls, it.priced_calls) == (1, 1)
    assert said(call, A.GEN_AI_PROVIDER_NAME) == PROVIDERS.get(kind, "openai")
    assert said(call, A.GEN_AI_USAGE_INPUT_TOKENS) == 1000


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("status", [400, 429, 500])
async def test_an_error(provider: OfflineProvider, audited: Spans, status: int, asynchronous: bool) -> None:
    lm, messages = model(provider, "chat"), question(str(status))
    with pytest.raises(Exception, match="scripted failure"):
        await got(lm.acall(messages=messages) if asynchronous else lm(messages=messages))
    [call] = audited()
    assert said(call, A.HTTP_RESPONSE_STATUS_CODE) == status
    assert said(call, A.OTEL_LLM_COST_STATUS) == "free"
