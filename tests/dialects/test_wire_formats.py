"""Dialects are pure functions on plain bodies: what they read, bucket by bucket, and what they make of odd ones."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from otel_llm.call import Call, Usage
from otel_llm.dialects import cohere, mistral
from otel_llm.dialects.anthropic_messages import messages
from otel_llm.dialects.bedrock import converse
from otel_llm.dialects.openai_assistants import runs
from otel_llm.dialects.openai_batches import results
from otel_llm.dialects.openai_chat import chat, completions, embeddings
from otel_llm.dialects.openai_media import images, moderations, speech, transcriptions
from otel_llm.dialects.openai_realtime import realtime
from otel_llm.dialects.openai_responses import responses
from otel_llm.pricing.compile import compile_card
from otel_llm.spec import Dialect


def read(dialect: Dialect, body: Any) -> Call:
    call = Call(dialect.operation, "somebody")
    dialect.response(call, body)
    return call


def usage_of(dialect: Dialect, usage: dict[str, Any]) -> Usage:
    found = read(dialect, {"usage": usage}).usage
    assert found is not None
    return found


def folded(dialect: Dialect, *events: Any) -> dict[str, Any]:
    body: dict[str, Any] = {}
    assert dialect.fold is not None
    for event in events:
        dialect.fold(body, event)
    return body


@pytest.mark.parametrize("seed", range(50))
def test_buckets_add_up_to_the_providers_totals(seed: int) -> None:
    dice = random.Random(seed)
    read_, written, audio, uncached = (dice.randrange(5000) for _ in range(4))
    visible, reasoning, spoken = (dice.randrange(2000) for _ in range(3))
    prompt, completion = read_ + written + audio + uncached, visible + reasoning + spoken
    usage = usage_of(
        chat,
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": read_, "cache_write_tokens": written, "audio_tokens": audio},
            "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": spoken},
        },
    )
    assert (usage.input_tokens, usage.output_tokens, usage.inconsistent) == (prompt, completion, None)
    assert (usage.input, usage.cache_read, usage.cache_write, usage.input_audio) == (uncached, read_, written, audio)
    assert (usage.output, usage.reasoning, usage.output_audio) == (visible, reasoning, spoken)

    usage = usage_of(
        responses,
        {
            "input_tokens": read_ + uncached,
            "input_tokens_details": {"cached_tokens": read_},
            "output_tokens": visible + reasoning,
            "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": read_ + uncached + visible + reasoning,
        },
    )
    assert (usage.input_tokens, usage.output_tokens) == (read_ + uncached, visible + reasoning)
    assert usage.inconsistent is None

    short, long = dice.randrange(300), dice.randrange(300)
    usage = usage_of(
        messages,
        {
            "input_tokens": uncached,
            "cache_read_input_tokens": read_,
            "cache_creation_input_tokens": short + long,
            "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
            "output_tokens": visible + reasoning,
            "output_tokens_details": {"thinking_tokens": reasoning},
        },
    )
    assert usage.input_tokens == uncached + read_ + short + long
    assert (usage.cache_write_5m, usage.cache_write_1h, usage.cache_write_other) == (short, long, None)
    assert (usage.output, usage.reasoning) == (visible, reasoning)


def test_reasoning_on_top_is_told_by_the_total() -> None:
    # xAI, as published: 10120 + 1499 + 2809 = 14428.
    usage = usage_of(
        chat,
        {
            "prompt_tokens": 10120,
            "completion_tokens": 1499,
            "total_tokens": 14428,
            "completion_tokens_details": {"reasoning_tokens": 2809},
        },
    )
    assert (usage.output, usage.reasoning, usage.output_tokens) == (1499, 2809, 4308)


def test_hidden_reasoning_is_what_the_total_has_more() -> None:
    # Gemini behind an OpenAI-compatible proxy: 20 + 198, total 623.
    usage = usage_of(chat, {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623})
    assert (usage.output, usage.reasoning) == (198, 405)


def test_a_total_that_fits_nothing_is_flagged() -> None:
    usage = usage_of(
        chat,
        {
            "prompt_tokens": 10,
            "completion_tokens": 10,
            "total_tokens": 15,
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
    )
    assert usage.inconsistent == "total 15 is not prompt 10 + completion 10"
    cached = usage_of(chat, {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 12}})
    assert (cached.input, cached.inconsistent) == (0, "parts exceed their total 10 by 2")


def test_deepseek_has_names_of_its_own() -> None:
    usage = usage_of(
        chat,
        {
            "prompt_tokens": 100,
            "prompt_cache_hit_tokens": 60,
            "prompt_cache_miss_tokens": 40,
            "completion_tokens": 5,
            "total_tokens": 105,
        },
    )
    assert (usage.input, usage.cache_read, usage.output) == (40, 60, 5)


def test_unknown_is_none_and_zero_is_zero() -> None:
    usage = usage_of(chat, {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7})
    assert (usage.input, usage.cache_read, usage.output, usage.reasoning) == (7, None, 0, None)
    assert read(chat, {"usage": {}}).usage is None
    assert read(chat, {"usage": None}).usage is None
    assert read(embeddings, {"usage": {"prompt_tokens": 8, "total_tokens": 8}}).usage == Usage(input=8)


def test_a_cost_in_the_response_is_kept() -> None:
    body = {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 0.00014}}
    assert read(chat, body).reported_cost_usd == "0.00014"
    body["usage"]["cost"] = {"total_cost": 0.006}  # pyright: ignore[reportArgumentType]
    assert read(chat, body).reported_cost_usd == "0.006"
    for dialect in (chat, responses):
        assert read(dialect, {"usage": {"cost_in_usd_ticks": 12345}}).reported_cost_usd == "0.0000012345"


def test_finish_reasons_are_the_conventions() -> None:
    body = {"choices": [{"finish_reason": "tool_calls"}, {"finish_reason": "length"}, {"finish_reason": None}]}
    assert read(chat, body).finish_reasons == ["tool_call", "length", "error"]
    assert read(messages, {"stop_reason": "end_turn"}).finish_reasons == ["stop"]
    assert read(messages, {"stop_reason": "refusal"}).finish_reasons == ["content_filter"]
    called = {"status": "completed", "output": [{"type": "function_call"}]}
    assert read(responses, called).finish_reasons == ["tool_call"]
    short = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert read(responses, short).finish_reasons == ["length"]


def test_a_chat_stream_is_folded_into_a_response() -> None:
    body = folded(
        chat,
        {"id": "c-1", "model": "m", "choices": [{"index": 1, "delta": {"content": "b"}}]},
        {"id": "c-1", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}], "usage": None},
        {"id": "c-1", "choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]},
        {"id": "c-1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}},
    )
    call = read(chat, body)
    assert (call.response_id, call.response_model, call.finish_reasons) == ("c-1", "m", ["stop", "length"])
    assert call.usage == Usage(input=3, output=2)


@pytest.mark.parametrize(("provider", "billed_ms"), [("groq", 10_000), ("openai", 1500)])
def test_groq_bills_ten_seconds_of_sound_at_least_whichever_sdk_asks(provider: str, billed_ms: int) -> None:
    call = Call("transcription", provider)
    transcriptions.response(call, {"text": "Why?", "duration": 1.5})
    assert call.usage == Usage(requests={"audio_ms": billed_ms})


def test_groq_says_its_usage_twice_and_it_counts_once() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    call = read(chat, folded(chat, {"id": "g", "choices": [], "x_groq": {"usage": usage}, "usage": usage}))
    assert call.usage == Usage(input=3, output=2)
    assert read(chat, folded(chat, {"id": "g", "x_groq": {"usage": usage}})).usage == Usage(input=3, output=2)


def test_what_groq_used_of_a_model_and_does_not_tell_is_missed() -> None:
    part: dict[str, Any] = {"model": "openai/gpt-oss-20b", "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
    body: dict[str, Any] = {"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}
    cases: list[tuple[Any, str, bool]] = [
        ([part], "provider", False),
        ([part, {"model": "openai/gpt-oss-120b"}], "partial", False),
        ([part, part], "provider", True),
        ([{}], "partial", False),
        ("odd", "provider", False),
    ]
    for models, source, doubt in cases:
        call = Call("chat", "groq")
        chat.response(call, body | {"usage_breakdown": {"models": models}})
        assert call.usage is not None
        assert (call.usage_source, bool(call.usage.inconsistent)) == (source, doubt)
        assert call.usage.input_tokens == (20 if doubt else 10)


def test_a_tool_that_groq_ran_counts_once_however_often_it_is_told() -> None:
    ran = [{"index": 0, "type": "search"}, {"index": 1, "type": "python"}, {"index": 2, "type": "unheard of"}]
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"executed_tools": ran}}]} for _ in range(2)]
    assert chat.wanted is not None
    assert chat.wanted.search(json.dumps(chunks[0]).encode())
    call = Call("chat", "groq")
    chat.response(call, folded(chat, *chunks, {"x_groq": {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}}))
    assert call.usage is not None
    assert call.usage.requests == {"web_search": 1, "code_execution": 1, "server_tool": 1}


@pytest.mark.parametrize(
    ("status", "ended"),
    [("queued", None), ("requires_action", None), ("cancelling", None), ("completed", 9), ("expired", 9), ([], None)],
)
def test_a_run_goes_on_until_it_has_ended(status: Any, ended: float | None) -> None:
    run = {"id": "run_1", "object": "thread.run", "status": status, "completed_at": None, "expires_at": 9}
    assert runs.background(run) == ("run_1", ended)


UNKNOWN: list[dict[str, Any]] = [{"object": []}, {"task": {}}, {}, {"object": "unheard of", "data": [{}]}]


@pytest.mark.parametrize("body", UNKNOWN)
def test_a_line_of_a_batch_that_nobody_knows_is_no_call(body: dict[str, Any]) -> None:
    batch = results({"chat.completion": chat}, {"data": images})
    assert batch.answer({"response": {"status_code": 200, "body": body}}) is None
    assert batch.answer({"response": {"status_code": 400, "body": {"data": [{}]}}}) is None
    assert batch.answer({"response": {"status_code": 200, "body": {"data": [{}]}}}) is not None


def test_an_anthropic_delta_is_cumulative_and_the_first_output_a_placeholder() -> None:
    start = {
        "type": "message_start",
        "message": {
            "id": "msg",
            "model": "claude",
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 100,
                "output_tokens": 1,
                "service_tier": "standard",
            },
        },
    }
    call = read(messages, folded(messages, start))
    assert call.usage == Usage(input=10, cache_read=100, output=None)
    whole = folded(
        messages,
        start,
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 20, "cache_read_input_tokens": None}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 35}},
        {"type": "message_stop"},
    )
    call = read(messages, whole)
    assert call.usage == Usage(input=10, cache_read=100, output=35)
    assert (call.service_tier, whole["over"]) == ("standard", True)


def test_iterations_are_priced_each_at_its_own_model() -> None:
    call = Call("chat", "anthropic", "claude-opus")
    messages.response(
        call,
        {
            "model": "claude-opus",
            "usage": {
                "input_tokens": 100,
                "output_tokens": 10,
                "server_tool_use": {"web_search_requests": 2},
                "iterations": [
                    {"type": "compaction", "input_tokens": 5000, "output_tokens": 200},
                    {"type": "advisor_message", "model": "claude-haiku", "input_tokens": 30, "output_tokens": 3},
                    {"type": "message", "input_tokens": 100, "output_tokens": 10},
                ],
            },
        },
    )
    assert [(part.model, part.usage and part.usage.input) for part in call.parts] == [
        ("claude-opus", 5000),
        ("claude-haiku", 30),
        ("claude-opus", 100),
    ]
    assert call.usage is not None
    assert (call.usage.input, call.usage.output, call.usage.requests) == (5130, 213, {"web_search": 2})


def test_built_in_tools_are_counted_by_their_calls() -> None:
    body = {
        "usage": {"input_tokens": 1, "output_tokens": 1},
        "output": [{"type": "web_search_call"}, {"type": "message"}, {"type": "web_search_call"}, None],
    }
    call = read(responses, body)
    assert call.usage is not None
    assert call.usage.requests == {"web_search": 2}


@pytest.mark.parametrize(
    ("said", "billed"), [({}, {"web_search": 2}), ({"web_search": {"num_requests": 3}}, {"web_search": 3})]
)
def test_opening_a_page_that_was_found_is_free(said: dict[str, Any], billed: dict[str, int]) -> None:
    actions = ("search", "open_page", "find_in_page", "search", "open_page")
    output = [{"type": "web_search_call", "action": {"type": action}} for action in actions]
    call = read(responses, {"usage": {"input_tokens": 1, "output_tokens": 1}, "output": output, "tool_usage": said})
    assert call.usage is not None
    assert call.usage.requests == billed


def test_models_that_always_search_are_billed_for_it() -> None:
    call = read(
        chat, {"model": "gpt-4o-search-preview-2025-03-11", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    )
    assert call.usage == Usage(input=1, output=1, requests={"web_search": 1})


def test_a_response_that_only_opened_a_page_has_no_fee() -> None:
    output = [{"type": "web_search_call", "action": {"type": "open_page"}}]
    call = read(responses, {"usage": {"input_tokens": 1, "output_tokens": 1}, "output": output})
    assert call.usage is not None
    assert call.usage.requests == {}


def test_pictures_of_a_response_are_billed_at_their_own_model() -> None:
    drawn = {
        "input_tokens": 50,
        "input_tokens_details": {"image_tokens": 40, "text_tokens": 10},
        "output_tokens": 4160,
        "cached_tokens": 12,
        "cached_tokens_details": {"cached_image_tokens": 8, "cached_text_tokens": 4},
    }
    body: dict[str, Any] = {
        "model": "gpt-5.2",
        "usage": {"input_tokens": 100, "output_tokens": 10},
        "tools": [{"type": "image_generation", "model": "gpt-image-1.5"}],
        "output": [{"type": "image_generation_call"}],
    }
    call = read(responses, body | {"tool_usage": {"image_gen": drawn}})
    assert [(part.model, part.usage) for part in call.parts] == [
        ("gpt-5.2", Usage(input=100, output=10)),
        (
            "gpt-image-1.5",
            Usage(input=6, cache_read=12, input_image=32, output_image=4160, requests={"cached_image": 8}),
        ),
    ]
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.inconsistent) == (150, 4170, None)
    untold = read(responses, body)
    assert (untold.parts, untold.usage_source) == ([], "partial")


def test_an_author_of_pictures_is_billed_apart() -> None:
    author = {"model": "gpt-5.2", "input_tokens": 7, "output_tokens": 9, "reasoning_tokens": 2}
    usage = {"input_tokens": 5, "input_tokens_details": {"image_tokens": 0, "text_tokens": 5}, "output_tokens": 40}
    call = read(images, {"usage": usage, "svg_usage": author})
    assert [part.model for part in call.parts] == [None, "gpt-5.2"]
    assert call.usage == Usage(input=12, input_image=0, output=7, reasoning=2, output_image=40)


@pytest.mark.parametrize("seconds", [9.2, "9.2"])
def test_sound_is_billed_by_length(seconds: Any) -> None:
    call = read(transcriptions, {"usage": {"type": "duration", "seconds": seconds}})
    assert call.usage == Usage(requests={"audio_ms": 9200})


ODD: list[dict[str, Any]] = [
    {},
    {"usage": "many", "choices": "none", "output": 3, "id": 7, "model": None},
    {"usage": {"prompt_tokens": "12", "input_tokens": "12", "completion_tokens": "3", "output_tokens": "3"}},
    {"usage": {"prompt_tokens": -1, "input_tokens": True, "completion_tokens": 1.5, "output_tokens": []}},
    {"choices": None, "output": None, "content": None},
    {"choices": [None, {}, {"finish_reason": 3}], "output": [None, {}, {"type": 3}]},
    {"usage": {"prompt_tokens_details": None, "iterations": [None, {}], "cache_creation": []}},
]


@pytest.mark.parametrize(
    "dialect",
    [
        *(chat, completions, embeddings, responses, messages),
        *(images, transcriptions, speech, moderations, realtime),
        *(mistral.chat, mistral.conversations, mistral.transcriptions, mistral.ocr),
        *(mistral.moderations, mistral.speech, runs),
        *(cohere.generate, cohere.summarize, cohere.classify, cohere.parse),
    ],
    ids=lambda d: d.name,
)
@pytest.mark.parametrize("body", ODD)
def test_odd_bodies_are_read_as_far_as_they_go(dialect: Dialect, body: dict[str, Any]) -> None:
    call = read(dialect, body)
    tokens = call.usage.input_tokens if call.usage else None
    assert tokens in (None, 12)


@pytest.mark.parametrize("dialect", [chat, responses, messages], ids=lambda d: d.name)
def test_requests_are_read_and_nothing_is_made_up(dialect: Dialect) -> None:
    call = Call(dialect.operation, "somebody")
    dialect.request(call, {"model": "m", "temperature": "hot", "max_tokens": None, "messages": iter(())})
    assert (call.request_model, call.request) == ("m", {})


def test_usage_is_asked_for_only_where_the_caller_did_not_decide() -> None:
    assert chat.ask_usage({"model": "m"}) == {"model": "m", "stream_options": {"include_usage": True}}
    assert chat.ask_usage({"stream_options": None}) is None
    assert chat.ask_usage({"stream_options": {"include_usage": False}}) is None
    assert messages.ask_usage({}) is None


def test_tokens_of_sound_that_are_in_the_total_alone_are_no_output() -> None:
    sound = {"prompt_audio_seconds": 203, "prompt_tokens": 4, "total_tokens": 3264, "completion_tokens": 635}
    usage = usage_of(mistral.chat, sound)
    assert (usage.input, usage.output, usage.reasoning, usage.inconsistent) == (4, 635, None, None)
    assert usage.requests == {"audio_ms": 203_000}


def test_a_key_of_the_callers_is_on_another_bill() -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 50, "cost": 0.000375, "is_byok": True}
    assert read(chat, {"usage": usage}).reported_cost_usd is None
    assert read(chat, {"usage": usage | {"is_byok": False}}).reported_cost_usd == "0.000375"


@pytest.mark.parametrize(
    ("dialect", "usage"),
    [
        (responses, {"input_tokens": 10, "output_tokens": 5, "total_tokens": 999}),
        (images, {"input_tokens": 10, "output_tokens": 5, "total_tokens": 999}),
        (transcriptions, {"input_tokens": 10, "output_tokens": 5, "total_tokens": 999}),
        (realtime, {"input_tokens": 10, "output_tokens": 5, "total_tokens": 999}),
        (converse, {"inputTokens": 10, "outputTokens": 5, "totalTokens": 999}),
        (
            messages,
            {
                "input_tokens": 30,
                "output_tokens": 10,
                "iterations": [{"type": "message", "input_tokens": 20, "output_tokens": 8}],
            },
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Dialect) else "",
)
def test_a_total_that_is_not_the_sum_is_told(dialect: Dialect, usage: dict[str, Any]) -> None:
    assert usage_of(dialect, usage).inconsistent
    sums: dict[str, Any] = {"total_tokens": 15, "totalTokens": 15} if dialect is not messages else {"iterations": []}
    assert usage_of(dialect, usage | sums).inconsistent is None


def test_the_total_of_converse_may_have_cached_tokens_in_it_or_not() -> None:
    usage = {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 100}
    assert usage_of(converse, usage | {"totalTokens": 15}).inconsistent is None
    assert usage_of(converse, usage | {"totalTokens": 115}).inconsistent is None


def test_code_that_anthropic_runs_is_a_fee_that_nobody_tells() -> None:
    ran = {"type": "server_tool_use", "name": "bash_code_execution"}
    usage: dict[str, Any] = {"input_tokens": 10, "output_tokens": 5}
    call = read(messages, {"content": [ran], "usage": usage})
    assert call.usage is not None
    assert call.usage.requests == {"code_execution": 1}
    start: dict[str, Any] = {"type": "message_start", "message": {"content": [], "usage": usage}}
    block = {"type": "content_block_start", "index": 0, "content_block": ran}
    assert messages.wanted is not None
    assert messages.wanted.search(json.dumps(block).encode())
    streamed = folded(messages, start, block, {"type": "message_delta", "usage": {"output_tokens": 5}})
    call = read(messages, streamed)
    assert call.usage is not None
    assert call.usage.requests == {"code_execution": 1}
    call = read(messages, {"content": [ran], "usage": usage | {"server_tool_use": {"web_search_requests": 1}}})
    assert call.usage is not None
    assert call.usage.requests == {"web_search": 1}, "free beside web tools"


def test_an_answer_that_replaced_another_s_is_a_part_of_the_bill() -> None:
    usage: dict[str, Any] = {"input_tokens": 10, "output_tokens": 5}
    body = {"content": [{"type": "fallback"}, {"type": "text", "text": "Hi"}], "usage": usage}
    assert read(messages, body).usage_source == "partial"
    told = [{"type": "message", **usage}, {"type": "fallback_message", **usage}]
    assert read(messages, body | {"usage": usage | {"iterations": told}}).usage_source == "provider"


def test_what_a_conversations_tools_read_is_input() -> None:
    searched = {"prompt_tokens": 188, "completion_tokens": 55, "connector_tokens": 7355, "total_tokens": 7598}
    usage = usage_of(mistral.conversations, searched | {"connectors": {"web_search": 1}})
    assert (usage.input_tokens, usage.output_tokens, usage.inconsistent) == (7543, 55, None)
    assert usage.requests == {"web_search": 1}
    assert usage_of(mistral.conversations, searched | {"total_tokens": 8000}).inconsistent


def test_agents_that_hand_over_have_no_single_model() -> None:
    outputs = [{"id": "a", "model": "mistral-small-latest"}, {"id": "b", "model": "mistral-large-latest"}]
    call = read(mistral.conversations, {"outputs": outputs, "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    assert (call.response_model, call.response_id) == ("mistral-large-latest, mistral-small-latest", "b")
    assert compile_card(f"mistral/{call.response_model}") == "unknown_model", "a guess would be no price"
