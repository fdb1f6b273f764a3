"""OpenAI's chat completions, and what shares their shape: legacy completions and embeddings.

Spoken by OpenAI, Azure OpenAI, Groq, DeepSeek, xAI, Together, Fireworks, OpenRouter, Perplexity, Ollama, vLLM and more.
Usage: `prompt_tokens` includes cached and audio tokens, `completion_tokens` includes reasoning (except where a
provider adds reasoning on top; the total tells).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from otel_llm.call import Call, Usage
from otel_llm.dialects.content import chat_content
from otel_llm.dialects.reading import (
    Fields,
    count,
    disagreement,
    fields,
    get,
    items,
    parameters,
    rest,
    text,
    ticks_in_usd,
)
from otel_llm.spec import Dialect, nothing
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {
    "max_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "max_completion_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "top_p": (A.GEN_AI_REQUEST_TOP_P, float),
    "frequency_penalty": (A.GEN_AI_REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (A.GEN_AI_REQUEST_PRESENCE_PENALTY, float),
    "seed": (A.GEN_AI_REQUEST_SEED, int),
    "stop": (A.GEN_AI_REQUEST_STOP_SEQUENCES, list),
    "reasoning_effort": (A.GEN_AI_REQUEST_REASONING_LEVEL, str),
    "encoding_format": (A.GEN_AI_REQUEST_ENCODING_FORMATS, list),
    "dimensions": (A.GEN_AI_EMBEDDINGS_DIMENSION_COUNT, int),
}
_FINISH = {"tool_calls": "tool_call", "function_call": "tool_call"}
# OpenAI's models that search the web before every answer, for a fee, and do not tell.
_SEARCHES = re.compile(r"gpt-.*-search-(preview|api)")
_TOOLS = {"search": "web_search", "python": "code_execution"}
_OUTPUT = {"json_object": "json", "json_schema": "json", "text": "text"}


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    if call.operation == "chat" and call.provider in ("openai", "azure.ai.openai"):
        call.request[A.OPENAI_API_TYPE] = "chat_completions"
    parameters(call, body, _PARAMETERS)
    choices = count(body.get("n"))
    if choices is not None and choices != 1:
        call.request[A.GEN_AI_REQUEST_CHOICE_COUNT] = choices
    tier = text(body.get("service_tier"))
    if tier is not None and tier != "auto":
        call.request[A.OPENAI_REQUEST_SERVICE_TIER] = tier
    output = _OUTPUT.get(get(body.get("response_format"), "type") or "")
    if output is not None:
        call.request[A.GEN_AI_OUTPUT_TYPE] = output


def _response(call: Call, body: Any) -> None:
    said = fields(body)
    call.response_id = text(said.get("id"))
    call.response_model = text(said.get("model"))
    usage = said.get("usage") or get(said.get("x_groq"), "usage")
    if usage is not None:
        spent = fields(usage)
        call.usage = chat_usage(spent)
        if call.usage is not None and _SEARCHES.match(call.model or ""):
            call.usage.requests["web_search"] = 1
        if call.usage is not None and call.provider == "groq":
            _compound(call, call.usage, said)
        # xAI, OpenRouter and Perplexity say what they charged; theirs is the bill.
        call.reported_cost_usd = ticks_in_usd(spent.get("cost_in_usd_ticks")) or call.reported_cost_usd
        cost = spent.get("cost")
        cost = get(cost, "total_cost") if not isinstance(cost, (int, float, str)) else cost
        if isinstance(cost, (int, float, str)) and not isinstance(cost, bool) and spent.get("is_byok") is not True:
            # With a key of the caller's (OpenRouter), it is the fee alone; the inference is on another bill.
            call.reported_cost_usd = str(cost)
    tier = text(said.get("service_tier"))
    if tier is not None:
        call.service_tier = call.response[A.OPENAI_RESPONSE_SERVICE_TIER] = tier
    fingerprint = text(said.get("system_fingerprint"))
    if fingerprint is not None:
        call.response[A.OPENAI_RESPONSE_SYSTEM_FINGERPRINT] = fingerprint
    choices = [fields(choice) for choice in items(body, "choices")]
    if call.provider == "openai" and any(_of_vllm(choice) for choice in choices):
        call.provider = call.response[A.GEN_AI_PROVIDER_NAME] = "vllm"
    reasons = [text(choice.get("finish_reason")) for choice in choices]
    call.finish_reasons = [_FINISH.get(reason or "error", reason or "error") for reason in reasons]


def _of_vllm(choice: Fields) -> bool:
    """Whether vLLM made it: nothing tells its address from another, but OpenAI says in no choice what stopped it.

    vLLM's `ChatCompletionResponseChoice` has `stop_reason`, null at the end of a turn, and its streams where they end.
    """
    return isinstance(choice, dict) and "stop_reason" in choice


def _compound(call: Call, told: Usage, said: Fields) -> None:
    """What Groq ran for one answer: tools, and models, each of which is billed as itself."""
    told.requests = dict(Counter(_TOOLS.get(kind, "server_tool") for kind in _ran(said)))
    models = items(said.get("usage_breakdown") or get(said.get("x_groq"), "usage_breakdown"), "models")
    used = [(text(get(part, "model")), chat_usage(fields(get(part, "usage")))) for part in models]
    parts = [(model, usage) for model, usage in used if usage is not None]
    if parts:
        call.parts = [Call(call.operation, call.provider, model, usage=usage) for model, usage in parts]
        given, made = ([getattr(usage, name) for _, usage in parts] for name in ("input_tokens", "output_tokens"))
        doubt = disagreement(told.input_tokens, *given) or disagreement(told.output_tokens, *made)
        parts[0][1].requests = told.requests
        call.usage = sum((usage for _, usage in parts), Usage(inconsistent=told.inconsistent or doubt))
    if len(parts) < len(models):
        call.usage_source = "partial"


def _ran(said: Fields) -> list[str]:
    """The kinds of tools that ran on the server. Of a stream, each is told more than once."""
    tools = (tool for choice in items(said, "choices") for tool in items(choice, "message", "executed_tools"))
    return list({count(get(tool, "index")): text(get(tool, "type")) or "" for tool in tools}.values())


def chat_usage(said: Fields) -> Usage | None:
    """Usage as chat completions tell it."""
    prompt, completion = count(said.get("prompt_tokens")), count(said.get("completion_tokens"))
    total = count(said.get("total_tokens"))
    if prompt is None and completion is None:
        return None
    # Runs of assistants say it without the s.
    sent = fields(said.get("prompt_tokens_details") or said.get("prompt_token_details"))
    made = fields(said.get("completion_tokens_details"))
    read = count(sent.get("cached_tokens"))
    if read is None:
        read = count(said.get("prompt_cache_hit_tokens"))  # DeepSeek's name
    written = count(sent.get("cache_write_tokens"))
    audio_in = count(sent.get("audio_tokens"))
    audio_out = count(made.get("audio_tokens"))
    reasoning = count(made.get("reasoning_tokens"))
    reasoning, included, doubt = _reasoning(prompt, completion, total, reasoning)
    sources = count(said.get("num_sources_used"))  # of a live search of xAI's
    uncached, too_much_in = rest(prompt, read, written, audio_in)
    visible, too_much_out = rest(completion, reasoning if included else None, audio_out)
    return Usage(
        input=uncached,
        cache_read=read,
        cache_write_other=written,
        output=visible,
        reasoning=reasoning,
        input_audio=audio_in,
        output_audio=audio_out,
        requests={"search_sources": sources} if sources else {},
        inconsistent=too_much_in or too_much_out or doubt,
    )


def _reasoning(
    prompt: int | None, completion: int | None, total: int | None, reasoning: int | None
) -> tuple[int | None, bool, str | None]:
    """Reasoning tokens, whether `completion` includes them, and the doubt if the total fits neither way.

    OpenAI includes them, xAI and Gemini's compatible endpoint add them on top, the latter without naming them.
    """
    if prompt is None or completion is None or total is None or total == prompt + completion:
        return reasoning, True, None
    if total == prompt + completion + (reasoning or 0):
        return reasoning, False, None
    if total > prompt + completion and not reasoning:
        return total - prompt - completion, False, None
    return reasoning, True, f"total {total} is not prompt {prompt} + completion {completion}"


def _fold(body: dict[str, Any], chunk: Any) -> None:
    for name in ("id", "model", "service_tier", "system_fingerprint", "usage", "x_groq", "error"):
        value = get(chunk, name)
        if value:
            body[name] = value
    for choice in items(chunk, "choices"):
        said, reasons, more = fields(choice), body.setdefault("reasons", {}), body.setdefault("more", {})
        index = count(said.get("index")) or 0
        reasons[index] = said.get("finish_reason") or reasons.get(index)
        if _of_vllm(said):
            more["stop_reason"] = said.get("stop_reason")
        if ran := items(choice, "delta", "executed_tools"):
            more.setdefault("message", {"executed_tools": []})["executed_tools"].extend(ran)
    if "reasons" in body:
        more = body["more"]
        body["choices"] = [{"finish_reason": reason, **more} for _, reason in sorted(body["reasons"].items())]


def _ask_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:
    if "stream_options" in body:
        return None
    return {**body, "stream_options": {"include_usage": True}}


def _usage_only(chunk: Any) -> bool:
    return not get(chunk, "choices") and get(chunk, "usage") is not None


chat = Dialect(
    name="openai.chat",
    operation="chat",
    request=_request,
    response=_response,
    fold=_fold,
    ask_usage=_ask_usage,
    usage_only=_usage_only,
    usage_marks=(b',"usage":null', b', "usage": null'),
    wanted=re.compile(rb'"(?:usage|error|x_groq|finish_reason|executed_tools)"\s*:\s*["{[]'),
    content=chat_content,
)
completions = replace(chat, name="openai.completions", operation="text_completion")
unasked = replace(chat, name="openai.chat unasked", ask_usage=nothing, usage_only=None, usage_marks=())
"""Chat of those who tell the usage of every stream unasked, and may not know the question."""
unasked_completions = replace(unasked, name="openai.completions unasked", operation="text_completion")
embeddings = replace(chat, name="openai.embeddings", operation="embeddings", fold=None, content=None)
