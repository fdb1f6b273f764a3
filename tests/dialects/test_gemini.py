"""Gemini's bodies: what is read of them, bucket by bucket, and what it costs."""

from __future__ import annotations

import random
import time
from types import SimpleNamespace
from typing import Any

import pytest

from otel_llm.call import Call, Usage
from otel_llm.dialects.gemini import embed, generate, images, interactions
from otel_llm.integrations.google import google
from otel_llm.pricing import PriceBook
from otel_llm.spec import Dialect, Request
from otel_llm_semconv import attributes as A


def read(dialect: Dialect, body: Any, model: str = "gemini-2.5-flash") -> Call:
    call = Call(dialect.operation, "gcp.gemini", model, started_ns=time.time_ns())
    dialect.response(call, body)
    return call


def usage_of(**usage: Any) -> Usage:
    found = read(generate, {"usageMetadata": usage}).usage
    assert found is not None
    return found


def of(**tokens: int) -> list[dict[str, Any]]:
    return [{"modality": kind, "tokenCount": count} for kind, count in tokens.items()]


@pytest.mark.parametrize("seed", range(20))
def test_buckets_add_up_to_the_total(seed: int) -> None:
    dice = random.Random(seed)
    text, audio, image, video, cached, results, thoughts, spoken, drawn, visible = (
        dice.randrange(1, 3000) for _ in range(10)
    )
    prompt, made = text + audio + image + video + cached, visible + spoken + drawn
    usage = usage_of(
        promptTokenCount=prompt,
        cachedContentTokenCount=cached,
        toolUsePromptTokenCount=results,
        candidatesTokenCount=made,
        thoughtsTokenCount=thoughts,
        totalTokenCount=prompt + results + made + thoughts,
        promptTokensDetails=of(TEXT=text + cached, AUDIO=audio, IMAGE=image, VIDEO=video),
        cacheTokensDetails=of(TEXT=cached),
        toolUsePromptTokensDetails=of(TEXT=results),
        candidatesTokensDetails=of(TEXT=visible, AUDIO=spoken, IMAGE=drawn),
    )
    assert usage == Usage(
        input=text + video + results,
        cache_read=cached,
        input_audio=audio,
        input_image=image,
        output=visible,
        reasoning=thoughts,
        output_audio=spoken,
        output_image=drawn,
    )
    assert (usage.input_tokens or 0) + (usage.output_tokens or 0) == prompt + results + made + thoughts


def test_cached_sound_is_a_cache_read_with_a_surcharge() -> None:
    usage = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "promptTokensDetails": of(TEXT=20, AUDIO=80),
        "cacheTokensDetails": of(TEXT=10, AUDIO=50),
        "candidatesTokenCount": 1,
    }
    call = read(generate, {"usageMetadata": usage})
    assert call.usage == Usage(input=10, cache_read=60, input_audio=30, output=1, requests={"cached_audio": 50})
    # 10 x 0.3 + 10 x 0.03 + 50 x 0.1 + 30 x 1 + 1 x 2.5 = 40.8 micro-USD
    assert PriceBook().price(call).nano_usd == 40_800
    call.request_model = "gemini-2.5-pro"  # where sound costs what text costs: 40 x 1.25 + 60 x 0.125 + 10
    assert PriceBook().price(call).nano_usd == 67_500


def test_counts_that_are_left_out() -> None:
    assert usage_of(promptTokenCount=10, totalTokenCount=10) == Usage(input=10, output=0)
    assert usage_of(promptTokenCount=10, totalTokenCount=14, thoughtsTokenCount=4).output == 0
    assert usage_of(promptTokenCount=10) == Usage(input=10)
    assert read(generate, {"usageMetadata": {"trafficType": "ON_DEMAND"}}).usage is None


@pytest.mark.parametrize(
    "usage",
    [
        {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 16},
        {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15, "cachedContentTokenCount": 11},
        {"promptTokenCount": 10, "candidatesTokenCount": 5, "candidatesTokensDetails": of(AUDIO=6)},
    ],
)
def test_a_contradiction_is_flagged(usage: dict[str, Any]) -> None:
    assert usage_of(**usage).inconsistent is not None


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ({"finishReason": "STOP"}, "stop"),
        ({"finishReason": "STOP", "content": {"parts": [{"functionCall": {"name": "f"}}]}}, "tool_call"),
        ({"finishReason": "MAX_TOKENS"}, "length"),
        ({"finishReason": "IMAGE_SAFETY"}, "content_filter"),
        ({"finishReason": "PROHIBITED_CONTENT"}, "content_filter"),
        ({"finishReason": "MALFORMED_FUNCTION_CALL"}, "malformed_function_call"),
        ({}, "error"),
    ],
)
def test_finish_reasons_are_the_conventions(candidate: dict[str, Any], reason: str) -> None:
    assert read(generate, {"candidates": [candidate]}).finish_reasons == [reason]


def test_a_blocked_prompt_is_billed_as_input() -> None:
    usage = {"promptTokenCount": 10, "totalTokenCount": 10}
    call = read(generate, {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage})
    assert call.finish_reasons == ["content_filter"]
    assert PriceBook().price(call).nano_usd == 3_000


GROUNDING: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    ("gemini-2.5-flash", {"webSearchQueries": ["a", "b"]}, {"web_search": 1}),
    ("gemini-2.0-flash", {"webSearchQueries": ["", ""]}, {}),
    ("gemini-3-pro-preview", {"webSearchQueries": ["a", "", "b", "a"]}, {"web_search": 2}),
    ("gemini-3.1-flash-image", {"webSearchQueries": ["a"], "imageSearchQueries": ["b"]}, {"web_search": 2}),
    ("gemini-2.5-pro", {"groundingChunks": [{"maps": {"uri": "u"}}, {"maps": {"uri": "v"}}]}, {"google_maps": 1}),
    ("gemini-2.5-pro", {"retrievalQueries": ["a"]}, {"vertex_ai_search": 1}),
    ("gemini-2.5-pro", {"groundingChunks": [{"retrievedContext": {}}]}, {}),
]


@pytest.mark.parametrize(("model", "grounding", "fees"), GROUNDING)
def test_grounding_is_charged_as_google_does(model: str, grounding: dict[str, Any], fees: dict[str, int]) -> None:
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5}
    body = {"candidates": [{"groundingMetadata": grounding}], "usageMetadata": usage, "modelVersion": model}
    call = read(generate, body)
    assert call.usage is not None
    assert call.usage.requests == fees
    status = PriceBook().price(call).status
    assert status == ("partial" if {"google_maps", "vertex_ai_search"} & fees.keys() else "priced")


@pytest.mark.parametrize(
    ("usage", "tier", "variant"),
    [
        ({"serviceTier": "standard"}, "standard", "standard"),
        ({"trafficType": "ON_DEMAND"}, None, "standard"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority", None),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput", None),
    ],
)
def test_a_tier_decides_the_price(usage: dict[str, Any], tier: str | None, variant: str | None) -> None:
    call = read(generate, {"usageMetadata": {"promptTokenCount": 10, "totalTokenCount": 10, **usage}})
    assert call.service_tier == tier
    assert PriceBook().price(call).variant == variant


def test_a_stream_is_folded_into_a_response() -> None:
    body: dict[str, Any] = {}
    call_part: dict[str, Any] = {"functionCall": {"name": "f", "args": {}}}
    chunks: list[dict[str, Any]] = [
        {"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": {"promptTokenCount": 9}},
        {"candidates": [{"content": {"parts": [call_part]}, "groundingMetadata": {"webSearchQueries": ["q"]}}]},
        {
            "candidates": [{"finishReason": "STOP"}, {"index": 1, "finishReason": "SAFETY"}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11},
            "modelVersion": "gemini-2.5-flash",
            "responseId": "r",
        },
    ]
    assert generate.fold is not None
    for chunk in chunks:
        generate.fold(body, chunk)
    call = read(generate, body)
    assert (call.response_id, call.response_model) == ("r", "gemini-2.5-flash")
    assert call.finish_reasons == ["tool_call", "content_filter"]
    assert call.usage == Usage(input=9, output=2, requests={"web_search": 1})


@pytest.mark.parametrize(
    ("body", "usage", "source"),
    [
        ({"usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9}}, Usage(input=9), "provider"),
        (
            {"usageMetadata": {"promptTokenCount": 9, "promptTokensDetails": of(VIDEO=8, IMAGE=1)}},
            Usage(input=8, input_image=1),
            "partial",
        ),
        (
            {"predictions": [{"embeddings": {"statistics": {"token_count": n}}} for n in (3, 4.0)]},
            Usage(input=7),
            "provider",
        ),
        ({"embeddings": [{"values": [1]}]}, None, "provider"),
    ],
)
def test_embeddings(body: dict[str, Any], usage: Usage | None, source: str) -> None:
    call = read(embed, body)
    assert (call.usage, call.usage_source) == (usage, source)


def test_a_picture_costs_its_tokens_or_itself() -> None:
    made = {"promptTokenCount": 10, "candidatesTokenCount": 1290, "candidatesTokensDetails": of(IMAGE=1290)}
    drawn = read(generate, {"usageMetadata": made}, "gemini-2.5-flash-image")
    assert PriceBook().price(drawn).nano_usd == 3_000 + 1290 * 30_000
    spoken = {"promptTokenCount": 10, "candidatesTokenCount": 20, "candidatesTokensDetails": of(AUDIO=20)}
    assert (
        PriceBook().price(read(generate, {"usageMetadata": spoken}, "gemini-2.5-flash-preview-tts")).nano_usd == 205_000
    )
    pictures = {"predictions": [{"bytesBase64Encoded": "YQ=="}, {"gcsUri": "gs://b/o"}, {"raiFilteredReason": "no"}]}
    assert PriceBook().price(read(images, pictures, "imagen-4.0-fast-generate-001")).nano_usd == 40_000_000
    assert PriceBook().price(read(images, pictures, "imagen-9")).status == "unpriced"


def test_an_interaction_has_other_names_for_the_same() -> None:
    body = {
        "model": "gemini-3-flash-preview",
        "status": "requires_action",
        "service_tier": "standard",
        "usage": {
            "total_input_tokens": 100,
            "input_tokens_by_modality": [{"modality": "audio", "tokens": 30}],
            "total_cached_tokens": 20,
            "total_tool_use_tokens": 5,
            "total_output_tokens": 40,
            "total_thought_tokens": 10,
            "total_tokens": 155,
            "grounding_tool_count": [{"type": "google_search", "count": 2}, {"type": "url_context", "count": 1}],
        },
    }
    call = read(interactions, body)
    assert call.finish_reasons == ["tool_call"]
    assert call.usage == Usage(
        input=55, cache_read=20, input_audio=30, output=40, reasoning=10, requests={"web_search": 2}
    )


def test_requests_are_read_and_nothing_is_made_up() -> None:
    call = Call("generate_content", "gcp.gemini")
    config = {
        "maxOutputTokens": 10,
        "topK": 3.0,
        "candidateCount": 2,
        "stopSequences": ["x"],
        "responseModalities": ["TEXT", "IMAGE"],
        "thinkingConfig": {"thinkingLevel": "HIGH"},
    }
    generate.request(call, {"model": "gemini-x", "generationConfig": config})
    assert call.request == {
        A.GEN_AI_REQUEST_MAX_TOKENS: 10,
        A.GEN_AI_REQUEST_TOP_K: 3,
        A.GEN_AI_REQUEST_STOP_SEQUENCES: ["x"],
        A.GEN_AI_REQUEST_CHOICE_COUNT: 2,
        A.GEN_AI_REQUEST_REASONING_LEVEL: "high",
        A.GEN_AI_OUTPUT_TYPE: "image",
    }
    for dialect in (generate, embed, images, interactions):
        empty = Call(dialect.operation, "gcp.gemini")
        dialect.request(empty, {"model": "m"})
        assert empty.request_model == "m"
        assert not empty.request or dialect is images


def test_the_steps_of_an_interaction_are_messages() -> None:
    said = interactions.content
    assert said is not None
    picture = {"type": "image", "uri": "https://example.com/cat.png"}
    body: dict[str, Any] = {
        "system_instruction": "Be brief.",
        "tools": [{"type": "function", "name": "weather"}, {"type": "google_search"}],
        "input": [
            {"type": "user_input", "content": [{"type": "text", "text": "Why?"}, picture]},
            {"type": "function_result", "call_id": "c", "result": "rain"},
        ],
    }
    assert said.request(body) == {
        A.GEN_AI_SYSTEM_INSTRUCTIONS: [{"type": "text", "content": "Be brief."}],
        A.GEN_AI_TOOL_DEFINITIONS: [
            {"type": "function", "name": "weather"},
            {"type": "google_search", "name": "google_search"},
        ],
        A.GEN_AI_INPUT_MESSAGES: [
            {
                "role": "user",
                "parts": [
                    {"type": "text", "content": "Why?"},
                    {"type": "uri", "modality": "image", "uri": "https://example.com/cat.png"},
                ],
            },
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": "rain"}]},
        ],
    }
    asked = {A.GEN_AI_INPUT_MESSAGES: [{"role": "user", "parts": [{"type": "text", "content": "Why?"}]}]}
    for given in ("Why?", {"type": "text", "text": "Why?"}, [{"type": "text", "text": "Why?"}]):
        assert said.request({"input": given}) == asked

    folded: dict[str, Any] = {}
    for event in (
        {"event_type": "interaction.created", "interaction": {"status": "in_progress"}},
        {"event_type": "step.start", "index": 0, "step": {"type": "thought"}},
        {"event_type": "step.delta", "index": 0, "delta": {"type": "thought_summary", "content": {"text": "Hm."}}},
        {"event_type": "step.start", "index": 1, "step": {"type": "model_output"}},
        {"event_type": "step.delta", "index": 1, "delta": {"type": "text", "text": "It "}},
        {"event_type": "step.delta", "index": 1, "delta": {"type": "text", "text": "rains."}},
        {"event_type": "step.start", "index": 2, "step": {"type": "function_call", "id": "c", "name": "f"}},
        {"event_type": "step.delta", "index": 2, "delta": {"type": "arguments_delta", "arguments": '{"a"'}},
        {"event_type": "step.delta", "index": 2, "delta": {"type": "arguments_delta", "arguments": ": 1}"}},
        {"event_type": "interaction.completed", "interaction": {"status": "requires_action"}},
    ):
        said.fold(folded, event)
    assert said.response(folded) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Hm."},
                {"type": "text", "content": "It rains."},
                {"type": "tool_call", "id": "c", "name": "f", "arguments": {"a": 1}},
            ],
            "finish_reason": "requires_action",
        }
    ]


def test_the_parts_of_gemini_are_those_of_the_conventions() -> None:
    said = generate.content
    assert said is not None
    parts = [
        {"functionResponse": {"id": "c", "name": "f", "response": {"result": "rain"}}},
        {"fileData": {"fileUri": "gs://b/o.mp4", "mimeType": "video/mp4"}},
        {"inlineData": {"mime_type": "application/pdf", "data": "YQ=="}},
        {"executableCode": {"code": "1"}},
    ]
    [message] = said.request({"contents": [{"role": "user", "parts": parts}]})[A.GEN_AI_INPUT_MESSAGES]
    assert message["parts"] == [
        {"type": "tool_call_response", "id": "c", "response": {"result": "rain"}},
        {"type": "uri", "modality": "video", "uri": "gs://b/o.mp4"},
        {"type": "blob", "modality": "document", "mime_type": "application/pdf", "content": ""},
        {"type": "generic", "generic_type": "executableCode"},
    ]


@pytest.mark.parametrize(
    ("path", "model", "operation"),
    [
        ("publishers/google/models/gemini-x:streamGenerateContent", "gemini-x", "generate_content"),
        ("tunedModels/mine:generateContent", "tunedModels/mine", "generate_content"),
        ("endpoints/12:generateContent", "endpoints/12", "generate_content"),
        ("models/text-embedding-004:batchEmbedContents", "text-embedding-004", "embeddings"),
        ("endpoints/12:predict", "endpoints/12", "image_generation"),
        ("endpoints/12:predictLongRunning", "endpoints/12", "video_generation"),
        ("models/gemini-x:countTokens", None, ""),
    ],
)
def test_what_a_path_says(path: str, model: str | None, operation: str) -> None:
    class Client:
        vertexai = True

    sent = SimpleNamespace(method="POST", url=f"https://us-aiplatform.googleapis.com/v1/projects/p/{path}", data={})
    request = google.patches[0].read(Client(), (sent,), {})
    assert (request is None) == (model is None)
    if isinstance(request, Request):
        assert (request.body["model"], request.dialect.operation) == (model, operation)
        assert request.stream == path.endswith("streamGenerateContent")
