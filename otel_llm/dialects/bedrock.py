"""Amazon Bedrock: Converse, and InvokeModel, which carries the bodies of each maker's own.

Usage of Converse: `inputTokens` excludes cache reads and writes. Of InvokeModel: what the maker says, else Bedrock's
own counts, in headers or with the last chunk of a stream. A body is read with what is known around it: the result
of the SDK's call without its `body` or `stream`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from otel_llm.call import Call, Usage
from otel_llm.dialects.anthropic_messages import messages
from otel_llm.dialects.content import converse_content, prompt_content
from otel_llm.dialects.openai_chat import unasked
from otel_llm.dialects.reading import count, disagreement, get, items, parameters, rest, text
from otel_llm.spec import Dialect, Paths
from otel_llm_semconv import attributes as A

_METRICS = "amazon-bedrock-invocationMetrics"
_CONVERSE: dict[str, tuple[str, type]] = {
    "maxTokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "topP": (A.GEN_AI_REQUEST_TOP_P, float),
    "topK": (A.GEN_AI_REQUEST_TOP_K, int),
    "stopSequences": (A.GEN_AI_REQUEST_STOP_SEQUENCES, list),
}
_PROMPT = _CONVERSE | {
    "maxTokenCount": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "max_gen_len": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "max_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "top_p": (A.GEN_AI_REQUEST_TOP_P, float),
    "p": (A.GEN_AI_REQUEST_TOP_P, float),
    "top_k": (A.GEN_AI_REQUEST_TOP_K, int),
    "k": (A.GEN_AI_REQUEST_TOP_K, int),
    "stop": (A.GEN_AI_REQUEST_STOP_SEQUENCES, list),
    "stop_sequences": (A.GEN_AI_REQUEST_STOP_SEQUENCES, list),
    "dimensions": (A.GEN_AI_EMBEDDINGS_DIMENSION_COUNT, int),
    "output_dimension": (A.GEN_AI_EMBEDDINGS_DIMENSION_COUNT, int),
    "embeddingTypes": (A.GEN_AI_REQUEST_ENCODING_FORMATS, list),
    "embedding_types": (A.GEN_AI_REQUEST_ENCODING_FORMATS, list),
}
_FINISH = {
    "COMPLETE": "stop",
    "FINISH": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "LENGTH": "length",
    "MAX_TOKENS": "length",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_call",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "ERROR_TOXIC": "content_filter",
}


# What Bedrock says around a body.


def _asked(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("modelId"))
    guardrail = text(body.get("guardrailIdentifier")) or text(get(body.get("guardrailConfig"), "guardrailIdentifier"))
    if guardrail is not None:
        call.request[A.AWS_BEDROCK_GUARDRAIL_ID] = guardrail


def _around(call: Call, body: Any) -> None:
    call.response_id = call.response_id or text(get(body, "ResponseMetadata", "RequestId"))
    call.response_model = text(get(body, "trace", "promptRouter", "invokedModelId")) or call.response_model
    tier = get(body, "serviceTier")
    call.service_tier = text(get(tier, "type")) or text(tier) or call.service_tier
    call.speed = text(get(body, "performanceConfig", "latency")) or text(get(body, "performanceConfigLatency"))
    call.error_type = text(get(body, "error", "type")) or call.error_type
    if call.usage is None:
        call.usage = _metered(body)
    if call.usage is not None and A.AWS_BEDROCK_GUARDRAIL_ID in call.request:
        call.usage.requests["guardrail"] = 1  # billed by the length of the texts, which nobody tells


def _metered(body: Any) -> Usage | None:
    headers, metrics = get(body, "ResponseMetadata", "HTTPHeaders"), get(body, _METRICS)

    def counted(header: str, metric: str, *own: str) -> int | None:
        found = (get(headers, f"x-amzn-bedrock-{header}-token-count"), get(metrics, metric))
        known = (count(value) for value in (*found, *(get(body, name) for name in own)))
        return next((value for value in known if value is not None), None)

    usage = Usage(
        input=counted("input", "inputTokenCount", "prompt_token_count", "inputTextTokenCount"),
        cache_read=counted("cache-read-input", "cacheReadInputTokenCount"),
        cache_write_other=counted("cache-write-input", "cacheWriteInputTokenCount"),
        output=counted("output", "outputTokenCount", "generation_token_count", "totalOutputTextTokenCount"),
    )
    return None if usage.input is None and usage.output is None else usage


def _fold_around(body: dict[str, Any], chunk: Any) -> None:
    if metrics := get(chunk, _METRICS):
        body.update({_METRICS: metrics, "over": True})
    if get(chunk, "type") == "error":
        body["error"] = get(chunk, "error")


# Converse, which Nova speaks with InvokeModel, too.


def _converse_request(call: Call, body: Mapping[str, Any]) -> None:
    _asked(call, body)
    parameters(call, body.get("inferenceConfig") or {}, _CONVERSE)
    parameters(call, body.get("additionalModelRequestFields") or {}, {"top_k": (A.GEN_AI_REQUEST_TOP_K, int)})


def _converse_response(call: Call, body: Any) -> None:
    reason = text(get(body, "stopReason"))
    if reason is not None:
        call.finish_reasons = [_FINISH.get(reason, reason)]
    call.usage = _converse_usage(get(body, "usage"))
    _around(call, body)


def _converse_usage(usage: Any) -> Usage | None:
    uncached, made = count(get(usage, "inputTokens")), count(get(usage, "outputTokens"))
    if uncached is None and made is None:
        return None

    def cached(name: str) -> int | None:
        said = count(get(usage, f"{name}InputTokens"))
        return count(get(usage, f"{name}InputTokenCount")) if said is None else said

    written = cached("cacheWrite")
    lifetimes = [(get(detail, "ttl"), count(get(detail, "inputTokens"))) for detail in items(usage, "cacheDetails")]
    written_5m, written_1h = (
        sum(tokens or 0 for ttl, tokens in lifetimes if ttl == lifetime) if lifetimes else None
        for lifetime in ("5m", "1h")
    )
    written_other, too_much = rest(written, written_5m, written_1h)
    return Usage(
        input=uncached,
        cache_read=cached("cacheRead"),
        cache_write_5m=written_5m,
        cache_write_1h=written_1h,
        cache_write_other=None if lifetimes and not written_other else written_other,
        output=made,
        inconsistent=too_much or _doubt(usage, uncached, made, cached("cacheRead"), written),
    )


def _doubt(usage: Any, uncached: int | None, made: int | None, *cached: int | None) -> str | None:
    """How the total contradicts its parts; cached tokens may be in it or not."""
    total = count(get(usage, "totalTokens"))
    return disagreement(total, uncached, made) and disagreement(total, uncached, made, *cached)


def _converse_fold(body: dict[str, Any], event: Any) -> None:
    if reason := get(event, "messageStop", "stopReason"):
        body["stopReason"] = reason
    if metadata := get(event, "metadata"):
        body.update(metadata, over=True)
    _fold_around(body, event)


converse = Dialect(
    name="bedrock.converse",
    operation="chat",
    request=_converse_request,
    response=_converse_response,
    fold=_converse_fold,
    wanted=re.compile(rb'\A\s*\{\s*"(?:messageStop|metadata|type)"'),
    content=converse_content,
)


# What the makers speak elsewhere, too.


def _invoked(dialect: Dialect) -> Dialect:
    def request(call: Call, body: Mapping[str, Any]) -> None:
        dialect.request(call, body)
        _asked(call, body)

    def response(call: Call, body: Any) -> None:
        _say_why(body)
        dialect.response(call, body)
        _around(call, body)

    def fold(body: dict[str, Any], chunk: Any) -> None:
        _say_why(chunk)
        if dialect.fold is not None:
            dialect.fold(body, chunk)
        _fold_around(body, chunk)

    wanted = dialect.wanted and re.compile(dialect.wanted.pattern + rb'|"(?:amazon-|stop_reason"\s*:\s*")')
    name = f"bedrock {dialect.name}"
    return replace(dialect, name=name, request=request, response=response, fold=fold, wanted=wanted)


def _say_why(body: Any) -> None:
    """Mistral's models on Bedrock have OpenAI's shape with Anthropic's word for why a choice ended."""
    for choice in items(body, "choices"):
        if reason := get(choice, "stop_reason"):
            choice["finish_reason"] = reason


_claude, _chat = _invoked(messages), _invoked(unasked)


# A prompt, or a text to embed, and the answer: Llama, Mistral, Cohere, Titan.


def _prompt_request(call: Call, body: Mapping[str, Any]) -> None:
    _asked(call, body)
    parameters(call, {**body, **(body.get("textGenerationConfig") or {})}, _PROMPT)


def _prompt_response(call: Call, body: Any) -> None:
    answers = [body, *items(body, "outputs"), *items(body, "generations"), *items(body, "results")]
    reasons = [text(get(a, name)) for a in answers for name in ("stop_reason", "finish_reason", "completionReason")]
    call.finish_reasons = [_FINISH.get(reason, reason) for reason in reasons if reason]
    call.response_id = text(get(body, "generation_id")) or text(get(body, "id"))
    _around(call, body)


def _prompt_fold(body: dict[str, Any], chunk: Any) -> None:
    body.update({name: value for name, value in chunk.items() if value is not None})
    _fold_around(body, chunk)


_prompt = Dialect(
    name="bedrock prompt",
    operation="text_completion",
    request=_prompt_request,
    response=_prompt_response,
    fold=_prompt_fold,
    content=prompt_content,
)
_embeddings = replace(_prompt, name="bedrock embeddings", operation="embeddings", fold=None, content=None)
_rerank = replace(_embeddings, name="bedrock rerank", operation="rerank")
_images = replace(_embeddings, name="bedrock images", operation="image_generation")
_EMBEDS = ("input_type", "embeddingTypes", "embeddingConfig", "dimensions", "normalize")


def invoked(body: Mapping[str, Any]) -> Dialect:
    """The dialect of an InvokeModel request. The body tells; the model's name may be hidden behind a profile's."""
    model = text(body.get("modelId")) or ""
    if "anthropic_version" in body or "anthropic." in model:
        return _claude
    task = text(body.get("taskType")) or ""
    # Titan's models for text take a text as well; their configuration is optional. When in doubt, nothing is captured.
    bare = "inputText" in body and "textGenerationConfig" not in body and "titan-t" not in model
    if "embed" in model or task.endswith("EMBEDDING") or bare or any(name in body for name in _EMBEDS):
        return _embeddings
    if "documents" in body and "query" in body:
        return _rerank
    if task:
        return _images
    if "inferenceConfig" in body or "schemaVersion" in body or "amazon.nova" in model:
        return converse
    return _chat if "messages" in body else _prompt


PATHS: Paths = {
    "/model/{modelId}/converse(-stream)?": converse,
    "/model/{modelId}/invoke(-with-response-stream)?": invoked,
    "/Converse(Stream)?": converse,
    "/InvokeModel(WithResponseStream)?": invoked,
}
"""Also by the names of the operations, which is all that Amazon's own SDK says of a path."""
