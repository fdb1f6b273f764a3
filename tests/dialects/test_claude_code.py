"""Claude Code's sums: what is new in them counts, once, whatever they began from."""

from __future__ import annotations

from typing import Any

from otel_llm.call import Call
from otel_llm.dialects.claude_code import Told
from otel_llm_semconv import attributes as A

OPUS, HAIKU = "claude-opus-4-5", "claude-haiku-4-5"


def sums(*counts: int, usd: float, **more: Any) -> dict[str, Any]:
    names = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens", "webSearchRequests")
    return {**dict(zip(names, (*counts, 0, 0, 0, 0, 0), strict=False)), "costUSD": usd, **more}


def result(used: tuple[int, int] = (0, 0), **models: dict[str, Any]) -> dict[str, Any]:
    usage = {"input_tokens": used[0], "output_tokens": used[1]}
    named = {{"opus": OPUS, "haiku": HAIKU}[name]: told for name, told in models.items()}
    return {"type": "result", "usage": usage, "modelUsage": named, "session_id": "s-1"}


def said(id_: str, *, model: str = OPUS, output: int = 1) -> dict[str, Any]:
    usage = {"input_tokens": 10, "output_tokens": output}
    return {"type": "assistant", "message": {"id": id_, "model": model, "usage": usage}, "session_id": "s-1"}


def brief(calls: list[Call]) -> list[Any]:
    return [
        (call.model, call.usage and (call.usage.input_tokens, call.usage.output_tokens), call.reported_cost_usd)
        for call in calls
    ]


def test_a_turn_is_a_call_for_each_model_and_the_messages_do_not_count_again() -> None:
    told = Told(resumed=False)
    assert not told.take(said("m-1"))
    calls = told.take(result(opus=sums(10, 50, 100, 7, 2, usd=0.1), haiku=sums(3, 4, usd=0.01, provider="bedrock")))
    assert brief(calls) == [(OPUS, (117, 50), "0.1"), (HAIKU, (3, 4), "0.01")]
    assert [call.provider for call in calls] == ["anthropic", "aws.bedrock"]
    assert calls[0].usage is not None
    assert calls[0].usage.requests == {"web_search": 2}
    assert [call.request for call in calls] == [{A.GEN_AI_CONVERSATION_ID: "s-1"}] * 2
    assert not told.rest()


def test_only_what_is_new_counts_and_money_is_no_float() -> None:
    told = Told(resumed=False)
    told.take(result(opus=sums(10, 50, usd=0.1)))
    assert brief(told.take(result(opus=sums(10, 50, usd=0.1), haiku=sums(1, 1, usd=0.2)))) == [(HAIKU, (1, 1), "0.2")]
    assert brief(told.take(result(opus=sums(11, 52, usd=0.3), haiku=sums(1, 1, usd=0.2)))) == [(OPUS, (1, 2), "0.2")]


def test_a_turn_that_adds_nothing_to_the_sums_is_free() -> None:
    told = Told(resumed=False)
    told.take(result((10, 50), opus=sums(10, 50, usd=0.1)))
    assert not told.take(result((10, 50), opus=sums(10, 50, usd=0.1)))


def test_sums_begin_anew_with_and_without_a_word() -> None:
    told = Told(resumed=False)
    told.take(result(opus=sums(10, 50, usd=0.1)))
    told.take({"type": "conversation_reset"})
    assert brief(told.take(result(opus=sums(20, 60, usd=0.2)))) == [(OPUS, (20, 60), "0.2")]
    assert brief(told.take(result(opus=sums(5, 60, usd=0.1)))) == [(OPUS, (5, 60), "0.1")]


def test_what_a_resumed_session_cost_before_does_not_count() -> None:
    told = Told(resumed=True)
    told.take(said("m-1"))
    (call,) = told.take(result((10, 50), opus=sums(1010, 550, usd=9.1)))
    assert (brief([call]), call.usage_source) == ([(OPUS, (10, 50), None)], "partial")
    assert brief(told.take(result((1, 1), opus=sums(1012, 551, usd=9.2)))) == [(OPUS, (2, 1), "0.1")]


def test_without_sums_each_answer_counts_once() -> None:
    told = Told(resumed=False)
    for message in (said("m-1"), said("m-1", output=7), said("m-2", model=HAIKU)):
        told.take(message)
    rest = told.rest()
    assert brief(rest) == [(OPUS, (10, 7), None), (HAIKU, (10, 1), None)]
    assert {call.usage_source for call in rest} == {"partial"}
    assert not told.rest()


def test_an_end_without_numbers_leaves_the_answers() -> None:
    told = Told(resumed=False)
    told.take(said("m-1"))
    assert not told.take({"type": "result"})
    assert len(told.rest()) == 1
