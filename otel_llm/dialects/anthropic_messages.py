"""Anthropic's messages, on its own service, Bedrock, Vertex and Foundry.

Usage: `input_tokens` excludes cache reads and writes; `output_tokens` includes thinking. In a stream, `message_start`
has the input and a placeholder for the output, and each `message_delta` is cumulative: overwrite, never sum.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from otel_llm.call import Call, Usage
from otel_llm.dialects.content import messages_content
from otel_llm.dialects.reading import Fields, count, disagreement, fields, get, items, parameters, rest, text
from otel_llm.spec import Batch, Dialect, Paths
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {
    "max_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "top_p": (A.GEN_AI_REQUEST_TOP_P, float),
    "top_k": (A.GEN_AI_REQUEST_TOP_K, int),
    "stop_sequences": (A.GEN_AI_REQUEST_STOP_SEQUENCES, list),
    "service_tier": (A.ANTHROPIC_REQUEST_SERVICE_TIER, str),
}
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_call",
    "refusal": "content_filter",
}


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    parameters(call, body, _PARAMETERS)
    budget = count(get(body.get("thinking"), "budget_tokens"))
    if budget is not None:
        call.request[A.ANTHROPIC_THINKING_BUDGET_TOKENS] = budget
    effort = text(get(body.get("output_config"), "effort"))
    if effort is not None:
        call.request[A.GEN_AI_REQUEST_REASONING_LEVEL] = effort


def _response(call: Call, body: Any) -> None:
    said = fields(body)
    call.response_id = text(said.get("id"))
    call.response_model = text(said.get("model"))
    reason = text(said.get("stop_reason"))
    if reason is not None:
        call.finish_reasons = [_FINISH.get(reason, reason)]
    usage = said.get("usage")
    if usage is None:
        return
    spent = fields(usage)
    call.usage = _usage(spent)
    tier = text(spent.get("service_tier"))
    if tier is not None:
        call.service_tier = call.response[A.ANTHROPIC_RESPONSE_SERVICE_TIER] = tier
    call.speed = text(spent.get("speed"))
    call.inference_geo = text(spent.get("inference_geo"))
    blocks = items(body, "content")
    tools = [text(get(block, "name")) or "" for block in blocks if get(block, "type") == "server_tool_use"]
    ran = sum(tool.endswith("code_execution") for tool in tools)
    if ran and call.usage is not None and not call.usage.requests:
        # Free beside web tools; else by the time that a container ran, which nobody tells.
        call.usage.requests["code_execution"] = ran
    iterations = items(usage, "iterations")
    if iterations:
        _iterations(call, iterations)
    elif any(get(block, "type") == "fallback" for block in blocks):
        call.usage_source = "partial"  # an answer of a model before this one was thrown away


def _usage(said: Fields) -> Usage | None:
    uncached, made = count(said.get("input_tokens")), count(said.get("output_tokens"))
    if uncached is None and made is None:
        return None
    written, split_up = count(said.get("cache_creation_input_tokens")), fields(said.get("cache_creation"))
    written_5m = count(split_up.get("ephemeral_5m_input_tokens"))
    written_1h = count(split_up.get("ephemeral_1h_input_tokens"))
    thinking = count(get(said.get("output_tokens_details"), "thinking_tokens"))
    written_other, too_much_in = rest(written, written_5m, written_1h)
    split = written_5m is not None or written_1h is not None
    visible, too_much_out = rest(made, thinking)
    tools = fields(said.get("server_tool_use"))
    used = {tool: count(tools.get(f"{tool}_requests")) for tool in ("web_search", "web_fetch")}
    return Usage(
        input=uncached,
        cache_read=count(said.get("cache_read_input_tokens")),
        cache_write_5m=written_5m,
        cache_write_1h=written_1h,
        cache_write_other=None if split and not written_other else written_other,
        output=visible,
        reasoning=thinking,
        requests={tool: number for tool, number in used.items() if number},
        inconsistent=too_much_in or too_much_out,
    )


def _iterations(call: Call, iterations: list[Any]) -> None:
    """One response, billed in several iterations, some at a model of their own (compaction, advisor, fallback).

    The top level leaves compaction out, so the iterations are what counts.
    """
    total = Usage()
    for iteration in iterations:
        usage = _usage(fields(iteration))
        if usage is None:
            continue
        call.parts.append(
            Call(
                operation=call.operation,
                provider=call.provider,
                request_model=text(get(iteration, "model")) or call.model,
                usage=usage,
                started_ns=call.started_ns,
                service_tier=call.service_tier,
                speed=call.speed,
                inference_geo=call.inference_geo,
            )
        )
        total += usage
    if call.parts:
        if call.usage is not None:
            # Fees are per response, not per iteration.
            total.requests = call.parts[0].usage.requests = call.usage.requests  # pyright: ignore[reportOptionalMemberAccess]
            total.inconsistent = call.usage.inconsistent or _doubt(call.usage, iterations)
        call.usage = total


def _doubt(top: Usage, iterations: list[Any]) -> str | None:
    """How the top level contradicts the iterations that it is the sum of; whether advisors are in it is not said."""
    by_kind = [(text(get(iteration, "type")), _usage(fields(iteration)) or Usage()) for iteration in iterations]
    if any(kind not in ("message", "compaction") for kind, _ in by_kind):
        return None
    told = [usage for kind, usage in by_kind if kind == "message"]
    return disagreement(top.input_tokens, *(usage.input_tokens for usage in told)) or disagreement(
        top.output_tokens, *(usage.output_tokens for usage in told)
    )


def _fold(body: dict[str, Any], event: Any) -> None:
    kind = get(event, "type")
    if kind == "message_start":
        message = dict(get(event, "message") or {})
        usage = dict(message.get("usage") or {})
        usage.pop("output_tokens", None)  # a placeholder
        body.update(message, usage=usage)
    elif kind == "message_delta":
        reason = get(event, "delta", "stop_reason")
        if reason is not None:
            body["stop_reason"] = reason
            body["over"] = True  # some read no further
        latest: dict[str, Any] = get(event, "usage") or {}
        body.setdefault("usage", {}).update({name: value for name, value in latest.items() if value is not None})
    elif kind == "content_block_start":
        body.setdefault("content", []).append(get(event, "content_block"))
    elif kind == "message_stop":
        body["over"] = True
    elif kind == "error":
        body["error"] = get(event, "error") or event


messages = Dialect(
    name="anthropic.messages",
    operation="chat",
    request=_request,
    response=_response,
    fold=_fold,
    wanted=re.compile(rb'"type"\s*:\s*"(?:message_start|message_delta|message_stop|error|server_tool_use|fallback)"'),
    content=messages_content,
)


def _batched(line: Any) -> tuple[Dialect, Any] | None:
    message = get(line, "result", "message")
    return None if message is None else (messages, message)


PATHS: Paths = {
    "/v1/messages": messages,
    "GET /v1/messages/batches/{id}/results": Batch(re.compile(rb"\s*\{"), _batched),
    "/publishers/anthropic/models/{model}:(streamR|r)awPredict": messages,
}
