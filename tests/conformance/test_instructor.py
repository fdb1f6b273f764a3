"""instructor asks again until the answer has the right shape: every question is a call, all of one interaction."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.surfaces import got
from tests.conftest import Spans

instructor: Any = pytest.importorskip("instructor", reason="instructor has an environment of its own")

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("no_fault", "instrumented"),
    pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"]),
    pytest.mark.parametrize("kind", ["OpenAI", "Anthropic"]),
]


class Person(BaseModel):
    name: str
    age: int


# Twice what does not fit, then what does.
SCRIPT = '[[offline: turns: tool Person {"name": "Ann"} | tool Person {} | tool Person {"name": "Ann", "age": 7}]] Who?'


def client(kind: str, provider: OfflineProvider, asynchronous: bool) -> Any:
    name = ("Async" if asynchronous else "") + kind
    if kind == "OpenAI":
        import openai

        return instructor.from_openai(getattr(openai, name)(api_key="k", base_url=f"{provider.url}/v1"))
    import anthropic

    return instructor.from_anthropic(getattr(anthropic, name)(api_key="k", base_url=provider.url))


async def test_every_question_is_a_call(
    provider: OfflineProvider, audited: Spans, kind: str, asynchronous: bool
) -> None:
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": SCRIPT}], "response_model": Person}
    asked |= {"model": "gpt-4o-mini"} if kind == "OpenAI" else {"model": "claude-haiku-4-5", "max_tokens": 100}
    with otel_llm.interaction("who") as it:
        person = await got(client(kind, provider, asynchronous).chat.completions.create(**asked, max_retries=3))
    assert person.model_dump() == {"name": "Ann", "age": 7}
    made = audited()
    assert len(made) == it.calls == len(provider.requests) == 3
    assert [(call.attributes or {})[A.OTEL_LLM_INTERACTION_ID] for call in made] == [it.id] * 3
    inputs: list[Any] = [(call.attributes or {})[A.GEN_AI_USAGE_INPUT_TOKENS] for call in made]
    assert inputs == sorted(inputs)
    assert it.input_tokens == sum(inputs), "not the running total that instructor keeps"
