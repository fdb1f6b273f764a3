"""A LiteLLM proxy, asked with an SDK of ours, knows what it charges: nobody else knows the model behind its names."""

from __future__ import annotations

import json

import openai
import pytest

from otel_llm_semconv import attributes as A
from tests.conformance.canned import CannedServer, response
from tests.conformance.surfaces import got
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault", "instrumented")]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("header", "nano", "source"), [("0.00125", 1_250_000, "provider"), ("0.0", None, None)])
async def test_the_price_of_a_proxy_wins(
    calls: Spans, asynchronous: bool, header: str, nano: int | None, source: str | None
) -> None:
    body: dict[str, object] = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "team-default",
        "choices": [],
    }
    body |= {"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}
    with CannedServer() as server:
        answer = response(json.dumps(body).encode(), "application/json", f"x-litellm-response-cost: {header}")
        server.reply = lambda _body: answer
        kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
        client = kind(api_key="k", base_url=server.url)
        await got(client.chat.completions.create(model="team-default", messages=[{"role": "user", "content": "?"}]))
        await got(client.close())
    [call] = calls()
    attributes = call.attributes or {}
    assert attributes.get(A.OTEL_LLM_COST_NANO_USD) == nano
    assert attributes.get(A.GEN_AI_USAGE_COST_SOURCE) == source
