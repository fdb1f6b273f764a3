"""OpenAI's responses. Usage as in chat completions, under other names; built-in tools are billed per request."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from otel_llm.call import Call, Usage
from otel_llm.dialects.content import responses_content
from otel_llm.dialects.openai_media import image_usage
from otel_llm.dialects.reading import count, disagreement, get, items, parameters, rest, text, ticks_in_usd
from otel_llm.spec import Dialect
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {
    "max_output_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "top_p": (A.GEN_AI_REQUEST_TOP_P, float),
    "previous_response_id": (A.GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID, str),
}
_OUTPUT = {"json_object": "json", "json_schema": "json", "text": "text"}
_FEES = {
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_interpreter",
}
_FREE = ("open_page", "find_in_page")
_INCOMPLETE = {"max_output_tokens": "length"}
_FINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    if call.provider in ("openai", "azure.ai.openai"):
        call.request[A.OPENAI_API_TYPE] = "responses"
    parameters(call, body, _PARAMETERS)
    effort = text(get(body.get("reasoning"), "effort"))
    if effort is not None:
        call.request[A.GEN_AI_REQUEST_REASONING_LEVEL] = effort
    tier = text(body.get("service_tier"))
    if tier is not None and tier != "auto":
        call.request[A.OPENAI_REQUEST_SERVICE_TIER] = tier
    output = _OUTPUT.get(get(body.get("text"), "format", "type") or "")
    if output is not None:
        call.request[A.GEN_AI_OUTPUT_TYPE] = output
    conversation = body.get("conversation")
    conversation = text(conversation) or text(get(conversation, "id"))
    if conversation is not None:
        call.request[A.GEN_AI_CONVERSATION_ID] = conversation


def _response(call: Call, body: Any) -> None:
    call.response_id = text(get(body, "id"))
    call.response_model = text(get(body, "model"))
    tier = text(get(body, "service_tier"))
    if tier is not None:
        call.service_tier = call.response[A.OPENAI_RESPONSE_SERVICE_TIER] = tier
    call.finish_reasons = finish_reasons(body)
    usage = get(body, "usage")
    if usage is not None:
        call.usage = _usage(usage)
        call.reported_cost_usd = ticks_in_usd(get(usage, "cost_in_usd_ticks")) or call.reported_cost_usd
    if call.usage is not None:
        call.usage.requests = _fees(body)
        if count(get(usage, "input_tokens_details", "cache_write_tokens_details", "ttl_12h_tokens")):
            # They cost more than others, and there is no bucket for them: what is known is a lower bound.
            call.usage_source = "partial"
        _pictures(call, call.usage, body)


def _pictures(call: Call, usage: Usage, body: Any) -> None:
    """What the image tool used, at its own model. It may not be told."""
    drawn = image_usage(get(body, "tool_usage", "image_gen"))
    if drawn is not None and (drawn.input_tokens or drawn.output_tokens):
        tool = next((tool for tool in items(body, "tools") if get(tool, "type") == "image_generation"), None)
        call.parts = [
            Call(call.operation, call.provider, call.model, usage=usage),
            Call("image_generation", call.provider, text(get(tool, "model")), usage=drawn),
        ]
        call.usage = usage + drawn
    elif any(get(item, "type") == "image_generation_call" for item in items(body, "output")):
        call.usage_source = "partial"


def _background(body: Any) -> tuple[str, float | None] | None:
    id_, ended = text(get(body, "id")), get(body, "completed_at")
    if id_ is None or get(body, "background") is not True:
        return None
    if get(body, "status") in ("queued", "in_progress"):
        return id_, None
    return id_, ended if isinstance(ended, (int, float)) else 0


def _fees(body: Any) -> dict[str, int]:
    """Requests of built-in tools. Of a web search, opening a page and finding in it are free."""
    found = Counter(_FEES[kind] for item in items(body, "output") if (kind := get(item, "type")) in _FEES)
    searches = count(get(body, "tool_usage", "web_search", "num_requests"))
    if searches is None:
        free = [item for item in items(body, "output") if get(item, "action", "type") in _FREE]
        searches = found["web_search"] - len(free)
    found["web_search"] = searches
    return {tool: number for tool, number in found.items() if number}


def finish_reasons(body: Any) -> list[str]:
    """By the conventions' names; none before the end."""
    status = text(get(body, "status"))
    if status == "incomplete":
        reason = (
            text(get(body, "incomplete_details", "reason")) or text(get(body, "status_details", "reason")) or "length"
        )
        return [_INCOMPLETE.get(reason, reason)]
    if status == "failed":
        return ["error"]
    if status != "completed":
        return []
    called = any(get(item, "type") in ("function_call", "custom_tool_call") for item in items(body, "output"))
    return ["tool_call" if called else "stop"]


def _usage(usage: Any) -> Usage | None:
    given, made = count(get(usage, "input_tokens")), count(get(usage, "output_tokens"))
    if given is None and made is None:
        return None
    read = count(get(usage, "input_tokens_details", "cached_tokens"))
    written = count(get(usage, "input_tokens_details", "cache_write_tokens"))
    reasoning = count(get(usage, "output_tokens_details", "reasoning_tokens"))
    uncached, too_much_in = rest(given, read, written)
    visible, too_much_out = rest(made, reasoning)
    doubt = disagreement(count(get(usage, "total_tokens")), given, made)
    return Usage(
        input=uncached,
        cache_read=read,
        cache_write_other=written,
        output=visible,
        reasoning=reasoning,
        inconsistent=too_much_in or too_much_out or doubt,
    )


def _fold(body: dict[str, Any], event: Any) -> None:
    kind = get(event, "type")
    response = get(event, "response")
    if isinstance(response, dict):
        body.update(response)  # pyright: ignore[reportUnknownArgumentType]
    if kind in _FINAL:
        body["over"] = True
    elif kind == "error":
        body["error"] = event


responses = Dialect(
    name="openai.responses",
    operation="chat",
    request=_request,
    response=_response,
    fold=_fold,
    wanted=re.compile(rb'"type"\s*:\s*"(?:response\.(?:created|completed|incomplete|failed)|error)"'),
    background=_background,
    content=responses_content,
)
