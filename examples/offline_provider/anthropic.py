"""Anthropic's messages, also as Bedrock and Vertex carry them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from examples.offline_provider.bill import Usage
from examples.offline_provider.model import Prompt, Turn, nested, text_of
from examples.offline_provider.wire import Conversations, Event, Exchange, Wire, forced_tool, function_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.offline_provider.model import Json

_ERROR_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}


def _error(status: int, message: str) -> Json:
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": message},
        "message": message,
        "request_id": "req_offline",
    }


def _read(body: Json, _seen: Conversations) -> Prompt:
    turns = [Turn("system", text_of(body["system"]))] if body.get("system") else []
    for message in body["messages"]:
        content = message.get("content")
        parts = cast("list[Json]", content) if isinstance(content, list) else [{"text": content}]
        for role, results in (("tool", True), (message.get("role", "user"), False)):
            if mine := [part for part in parts if (part.get("type") == "tool_result") is results]:
                turns.append(Turn(role, text_of(mine)))
    tools = function_tools(body, "input_schema")
    shape = nested(body, "output_config").get("format") or body.get("output_format")
    return Prompt(
        model=body.get("model", ""),
        turns=turns,
        stream=body.get("stream") is True,
        tools=tools,
        forced=forced_tool(body.get("tool_choice"), tools),
        schema=shape.get("schema", {}) if shape else None,
        max_tokens=body.get("max_tokens"),
        tier="standard",
    )


def _counts(usage: Usage) -> Json:
    """The four counts of a usage: input without caches, output with thinking."""
    counts = {"input_tokens": usage.input, "cache_creation_input_tokens": usage.cache_write}
    return counts | {"cache_read_input_tokens": usage.cache_read, "output_tokens": usage.output_tokens}


def _start_usage(x: Exchange) -> Json:
    """What is known before the first token: only here stand lifetimes, tier, geography and speed."""
    u = x.answer.usage
    known: Json = {"service_tier": x.tier, "inference_geo": x.script.geo, "speed": x.script.speed}
    if not u.cache_write_other:
        split = {"ephemeral_5m_input_tokens": u.cache_write_5m, "ephemeral_1h_input_tokens": u.cache_write_1h}
        known["cache_creation"] = split
    return _counts(u) | {name: value for name, value in known.items() if value is not None}


def _end_usage(x: Exchange) -> Json:
    """What is known once the answer is there."""
    known: Json = {}
    if x.answer.usage.reasoning:
        known["output_tokens_details"] = {"thinking_tokens": x.answer.usage.reasoning}
    if searches := x.answer.usage.requests.get("web_search"):
        known["server_tool_use"] = {"web_search_requests": searches, "web_fetch_requests": 0}
    if x.answer.side:
        known["iterations"] = _iterations(x)
    return known


def _iterations(x: Exchange) -> list[Json]:
    """One entry for each sampling. Top-level usage sums the `message` entries, or is the `fallback_message` alone."""

    def entry(kind: str, usage: Usage, model: str | None = None) -> Json:
        split = {"ephemeral_5m_input_tokens": usage.cache_write_5m, "ephemeral_1h_input_tokens": usage.cache_write_1h}
        return {"type": kind} | _counts(usage) | {"cache_creation": split} | ({"model": model} if model else {})

    entries: list[Json] = []
    main = entry("message", x.answer.usage)
    for kind, model, usage in x.answer.side:
        if kind == "fallback":
            entries.append(entry("message", usage, model))
            main = entry("fallback_message", x.answer.usage, x.answer.model)
        elif kind == "advisor":
            entries += [entry("message", Usage()), entry("advisor_message", usage, model)]
        else:
            entries.append(entry("compaction", usage))
    return [*entries, main]


def _blocks(x: Exchange) -> list[Json]:
    serial = x.id.removeprefix("msg_")
    blocks: list[Json] = []
    if x.answer.usage.reasoning:
        blocks.append({"type": "thinking", "thinking": "Let me think.", "signature": "b2ZmbGluZQ=="})
    for i in range(x.answer.usage.requests.get("web_search", 0)):
        asked: Json = {"type": "server_tool_use", "id": f"srvtoolu_{serial}_{i}", "name": "web_search"}
        hit: Json = {"type": "web_search_result", "title": "Offline", "url": "https://example.com", "page_age": None}
        found: Json = {"type": "web_search_tool_result", "tool_use_id": asked["id"]}
        blocks += [asked | {"input": {"query": "offline"}}, found | {"content": [hit | {"encrypted_content": "b2Zm"}]}]
    if x.answer.texts[0] or not x.answer.calls:
        blocks.append({"type": "text", "text": x.answer.texts[0], "citations": None})
    for i, (name, arguments) in enumerate(x.answer.calls):
        blocks.append({"type": "tool_use", "id": f"toolu_{serial}_{i}", "name": name, "input": json.loads(arguments)})
    return blocks


def _plain(x: Exchange) -> Json:
    body = _message(x, _blocks(x), _stop_reason(x))
    return body | ({"usage": _start_usage(x) | _end_usage(x)} if x.script.usage else {})


def _message(x: Exchange, content: list[Json], stop_reason: str | None) -> Json:
    head: Json = {"id": x.id, "type": "message", "role": "assistant", "model": x.answer.model}
    return head | {"content": content, "stop_reason": stop_reason, "stop_sequence": None}


def _stop_reason(x: Exchange) -> str:
    return "tool_use" if x.answer.calls else "max_tokens" if x.answer.cut_short else "end_turn"


def _events(x: Exchange) -> Iterator[Event]:
    blocks, share, generated = _blocks(x), 0.0, 0

    def event(name: str, payload: Json, *, final: bool = False) -> Event:
        return Event({"type": name} | payload, generated, name, final)

    placeholder = {"usage": _start_usage(x) | {"output_tokens": 1}} if x.script.usage else {}
    yield event("message_start", {"message": _message(x, [], None) | placeholder})
    yield event("ping", {})
    spoken = sum(block["type"] in ("text", "tool_use") for block in blocks)
    for index, block in enumerate(blocks):
        blank, deltas = _opened(x, block)
        yield event("content_block_start", {"index": index, "content_block": block | blank})
        for delta in deltas:
            share += 1 / len(deltas) / spoken if block["type"] in ("text", "tool_use") else 0
            generated = x.answer.generated(share)
            yield event("content_block_delta", {"index": index, "delta": delta})
        yield event("content_block_stop", {"index": index})
    u, generated = x.answer.usage, x.answer.generated(1)
    # the clouds lag behind: their last event says nothing of input
    counts = _counts(u) if x.provider == "anthropic" else {"output_tokens": u.output_tokens}
    usage = {"usage": counts | _end_usage(x)} if x.script.usage else {}
    ended = {"delta": {"stop_reason": _stop_reason(x), "stop_sequence": None}}
    yield event("message_delta", ended | usage, final=True)
    metrics = {"inputTokenCount": u.input, "outputTokenCount": u.output_tokens, "invocationLatency": 5}
    measured = x.provider == "bedrock" and x.script.usage
    yield event("message_stop", {"amazon-bedrock-invocationMetrics": metrics} if measured else {})


def _opened(x: Exchange, block: Json) -> tuple[Json, list[Json]]:
    """How a block begins, and the deltas that fill it."""
    match block["type"]:
        case "text":
            return {"text": ""}, [{"type": "text_delta", "text": piece} for piece in x.answer.pieces(block["text"])]
        case "thinking":
            signature = {"type": "signature_delta", "signature": block["signature"]}
            return {"thinking": "", "signature": ""}, [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                signature,
            ]
        case "tool_use" | "server_tool_use":
            text = json.dumps(block["input"])
            parts = ("", text[: len(text) // 2], text[len(text) // 2 :])
            return {"input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
        case _:
            return {}, []


def _failure(_x: Exchange) -> list[tuple[str | None, Json]]:
    return [("error", _error(529, "scripted failure in mid-stream"))]


def _plain_count(x: Exchange) -> Json:
    return {"input_tokens": x.answer.usage.input_tokens}


MESSAGES = Wire("messages", "msg_", _read, _plain, _error, _events, _failure)
COUNT_TOKENS = Wire("count_tokens", "count_", _read, _plain_count, _error, billed=False)
