"""OpenAI's responses API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from examples.offline_provider.model import Prompt, Turn, nested, text_of
from examples.offline_provider.openai import error
from examples.offline_provider.wire import Conversations, Event, Exchange, Wire, forced_tool, function_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.offline_provider.model import Json

_ROLES = {"function_call_output": "tool", "message": "user"}


def _read(body: Json, seen: Conversations) -> Prompt:
    given: Any = body["input"]
    items: list[Json] = [{"role": "user", "content": given}] if isinstance(given, str) else given
    turns = list(seen.get(body.get("previous_response_id") or "", ()))
    if body.get("instructions"):
        turns.append(Turn("system", body["instructions"]))
    for item in items:
        role = item.get("role") or _ROLES.get(item.get("type", "message"), "assistant")
        turns.append(Turn(role, text_of(item.get("content") or item.get("output") or item.get("arguments"))))
    tools = function_tools(body, "parameters")
    shape = nested(nested(body, "text"), "format")
    return Prompt(
        model=body.get("model", ""),
        turns=turns,
        stream=body.get("stream") is True,
        tools=tools,
        forced=forced_tool(body.get("tool_choice"), tools),
        schema=shape.get("schema", {}) if shape.get("type", "text") != "text" else None,
        max_tokens=body.get("max_output_tokens"),
        tier=body.get("service_tier"),
    )


def _items(x: Exchange) -> list[Json]:
    """The finished output items."""
    serial = x.id.removeprefix("resp_")
    state = "incomplete" if x.answer.cut_short else "completed"
    items: list[Json] = []
    if x.answer.usage.reasoning:
        items.append({"id": f"rs_{serial}", "type": "reasoning", "summary": []})
    for i in range(x.answer.usage.requests.get("web_search", 0)):
        search: Json = {"id": f"ws_{serial}_{i}", "type": "web_search_call", "status": "completed"}
        items.append(search | {"action": {"type": "search", "query": "offline"}})
    if x.answer.texts[0] or not x.answer.calls:
        content: list[Json] = [{"type": "output_text", "text": x.answer.texts[0], "annotations": [], "logprobs": []}]
        message: Json = {"id": f"msg_{serial}", "type": "message", "role": "assistant"}
        items.append(message | {"status": state, "content": content})
    for i, (name, arguments) in enumerate(x.answer.calls):
        call: Json = {"id": f"fc_{serial}_{i}", "type": "function_call", "call_id": f"call_{serial}_{i}"}
        items.append(call | {"name": name, "arguments": arguments, "status": "completed"})
    return items


def plain(x: Exchange, status: str | None = None) -> Json:
    """The response, or with another status how it looks before its end."""
    status, early = status or ("incomplete" if x.answer.cut_short else "completed"), status is not None
    body: Json = {"id": x.id, "object": "response", "created_at": x.created, "status": status, "error": None}
    body |= {"incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None}
    body |= {"model": x.answer.model, "output": [] if early else _items(x), "service_tier": x.tier}
    body |= {"parallel_tool_calls": True, "truncation": "disabled"}
    defaults: Json = {
        "store": True,
        "temperature": 1.0,
        "top_p": 1.0,
        "text": {"format": {"type": "text"}},
        "tools": [],
    }
    defaults |= {"tool_choice": "auto", "metadata": {}, "instructions": None, "max_output_tokens": None}
    defaults |= {"previous_response_id": None, "reasoning": None, "background": False}
    body |= {name: default if x.body.get(name) is None else x.body[name] for name, default in defaults.items()}
    if status == "completed":
        body["completed_at"] = x.created
    if x.script.usage:
        u = x.answer.usage
        usage: Json = {"input_tokens": u.input_tokens, "output_tokens": u.output_tokens}
        usage["input_tokens_details"] = {"cached_tokens": u.cache_read, "cache_write_tokens": u.cache_write}
        usage["output_tokens_details"] = {"reasoning_tokens": u.reasoning}
        body["usage"] = None if early else usage | {"total_tokens": u.input_tokens + u.output_tokens}
    return body


def _events(x: Exchange) -> Iterator[Event]:
    body, started = plain(x), plain(x, "in_progress")
    number, share = -1, 0.0

    def event(name: str, payload: Json, *, final: bool = False) -> Event:
        nonlocal number
        number += 1
        numbered = {"type": f"response.{name}", "sequence_number": number} | payload
        return Event(numbered, x.answer.generated(share) if share else 0, f"response.{name}", final)

    yield event("created", {"response": started})
    yield event("in_progress", {"response": started})
    spoken = sum(item["type"] in ("message", "function_call") for item in body["output"])
    for index, item in enumerate(body["output"]):
        kind, at = item["type"], {"output_index": index, "item_id": item["id"]}
        blank: Json = {"content": []} if kind == "message" else {"arguments": ""} if kind == "function_call" else {}
        opened = item | blank | ({"status": "in_progress"} if "status" in item else {})
        yield event("output_item.added", {"output_index": index, "item": opened})
        if kind == "web_search_call":
            for state in ("in_progress", "searching", "completed"):
                yield event(f"web_search_call.{state}", at)
        elif kind == "message":
            part, at = item["content"][0], at | {"content_index": 0}
            yield event("content_part.added", at | {"part": part | {"text": ""}})
            for piece in x.answer.pieces(part["text"]):
                share += 1 / x.answer.chunks / spoken
                yield event("output_text.delta", at | {"delta": piece, "logprobs": []})
            yield event("output_text.done", at | {"text": part["text"], "logprobs": []})
            yield event("content_part.done", at | {"part": part})
        elif kind == "function_call":
            share += 1 / spoken
            yield event("function_call_arguments.delta", at | {"delta": item["arguments"]})
            yield event("function_call_arguments.done", at | {"arguments": item["arguments"], "name": item["name"]})
        yield event("output_item.done", {"output_index": index, "item": item})
    share = 1.0
    yield event(body["status"], {"response": body}, final=True)


def _failure(x: Exchange) -> list[tuple[str | None, Json]]:
    said: Json = {"code": "server_error", "message": "scripted failure in mid-stream"}
    failed = {"type": "response.failed", "sequence_number": 999, "response": plain(x, "failed") | {"error": said}}
    return [("error", {"type": "error", "sequence_number": 998, "param": None} | said), ("response.failed", failed)]


RESPONSES = Wire("responses", "resp_", _read, plain, error, _events, _failure)
