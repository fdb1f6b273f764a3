"""Messages as the semantic conventions shape them, read from the wire formats. Only where content is captured.

A message is `{role, parts}`; parts are `text`, `reasoning`, `tool_call`, `tool_call_response`, `server_tool_call`,
`uri`, `file`, `blob` and, for what the conventions do not know, `generic`. Pictures and sounds are named, never copied.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

from otel_llm.dialects.reading import count, get, items, text
from otel_llm.spec import Content
from otel_llm_semconv import attributes as A

Part = dict[str, Any]
Message = dict[str, Any]
Said = dict[str, list[dict[str, Any]]]


def _text(content: Any) -> Part:
    return {"type": "text", "content": content}


def _tool_call(id_: Any, name: Any, arguments: Any) -> Part:
    if isinstance(arguments, str):
        with suppress(ValueError):  # cut off, or no JSON: as it came
            arguments = json.loads(arguments)
    return {"type": "tool_call", "id": id_, "name": name, "arguments": arguments}


def _link(modality: str, address: Any) -> Part:
    """A picture, sound or document by its address; of one that is in the address itself, only what it is."""
    address = address if isinstance(address, str) else ""
    if address.startswith("data:"):
        return _blob(modality, address[5:].partition(";")[0])
    return {"type": "uri", "modality": modality, "uri": address}


def _blob(modality: str, mime_type: Any) -> Part:
    return {"type": "blob", "modality": modality, "mime_type": mime_type, "content": ""}


def _generic(part: Any) -> Part:
    return {"type": "generic", "generic_type": text(get(part, "type")) or "unknown"}


def _parts(content: Any, read: Callable[[Any], Part]) -> list[Part]:
    """Content is a text, or a list of texts and objects; anything else, a generator too, stays unread."""
    if isinstance(content, str):
        return [_text(content)] if content else []
    if not isinstance(content, (list, tuple)):
        return []
    return [_text(part) if isinstance(part, str) else read(part) for part in cast("list[Any]", content)]


def _said(**found: list[Any]) -> Said:
    names = {
        "system": A.GEN_AI_SYSTEM_INSTRUCTIONS,
        "messages": A.GEN_AI_INPUT_MESSAGES,
        "tools": A.GEN_AI_TOOL_DEFINITIONS,
    }
    return {names[name]: value for name, value in found.items() if value}


def _tools(tools: Iterable[Any]) -> list[dict[str, Any]]:
    """Type and name: what a tool is for and takes is the application's code, and long."""
    found: list[dict[str, Any]] = []
    for tool in tools:
        name = get(tool, "name") or get(tool, "function", "name") or get(tool, "type")
        found.append({"type": get(tool, "type") or "function", "name": name})
    return found


# OpenAI's chat completions.


def _chat_part(part: Any) -> Part:
    match get(part, "type"):
        case "text" | "refusal" as kind:
            return _text(get(part, kind))
        case "image_url":
            return _link("image", get(part, "image_url", "url"))
        case "input_audio":
            return _blob("audio", f"audio/{get(part, 'input_audio', 'format')}")
        case "file" if get(part, "file", "file_id"):
            return {"type": "file", "modality": "document", "file_id": get(part, "file", "file_id")}
        case _:
            return _generic(part)


def _chat_message(message: Any) -> Message:
    role = text(get(message, "role")) or "user"
    if role in ("tool", "function"):
        response = {
            "type": "tool_call_response",
            "id": get(message, "tool_call_id"),
            "response": get(message, "content"),
        }
        return {"role": "tool", "parts": [response]}
    parts: list[Part] = []
    if reasoning := text(get(message, "reasoning_content")) or text(get(message, "reasoning")):
        parts.append({"type": "reasoning", "content": reasoning})
    parts += _parts(get(message, "content"), _chat_part)
    if refusal := text(get(message, "refusal")):
        parts.append(_text(refusal))
    for call in items(message, "tool_calls"):
        parts.append(_tool_call(get(call, "id"), get(call, "function", "name"), get(call, "function", "arguments")))
    found = {"role": role, "parts": parts}
    return found | {"name": name} if (name := text(get(message, "name"))) else found


def _chat_request(body: Mapping[str, Any]) -> Said:
    prompt = body.get("prompt")
    messages = [_chat_message(message) for message in _listed(body.get("messages"))]
    messages += [{"role": "user", "parts": [_text(said)]} for said in _listed(prompt) if isinstance(said, str)]
    return _said(messages=messages, tools=_tools(_listed(body.get("tools"))))


def _chat_response(body: Any) -> list[Message]:
    found: list[Message] = []
    for choice in items(body, "choices"):
        message = get(choice, "message")
        said = {"role": "assistant", "content": get(choice, "text")} if message is None else message
        found.append({**_chat_message(said), "finish_reason": get(choice, "finish_reason") or "error"})
    return found


def _chat_fold(body: dict[str, Any], chunk: Any) -> None:
    choices: dict[int, Any] = body.setdefault("by_index", {})
    for piece in items(chunk, "choices"):
        index = count(get(piece, "index")) or 0
        choice = choices.setdefault(index, {"message": {"role": "assistant", "content": "", "calls": {}}})
        message, delta = choice["message"], get(piece, "delta") or {"content": get(piece, "text")}
        for name in ("content", "refusal", "reasoning_content", "reasoning"):
            if said := text(get(delta, name)):
                message[name] = (message.get(name) or "") + said
        for call in items(delta, "tool_calls"):
            known = message["calls"].setdefault(count(get(call, "index")) or 0, {"function": {"arguments": ""}})
            known["id"] = get(call, "id") or known.get("id")
            known["function"]["name"] = get(call, "function", "name") or known["function"].get("name")
            known["function"]["arguments"] += text(get(call, "function", "arguments")) or ""
        message["tool_calls"] = list(message["calls"].values())
        choice["finish_reason"] = get(piece, "finish_reason") or choice.get("finish_reason")
    body["choices"] = [choices[index] for index in sorted(choices)]


chat_content = Content(_chat_request, _chat_response, _chat_fold)


# OpenAI's responses.


def _responses_part(part: Any) -> Part:
    match get(part, "type"):
        case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
            return _text(get(part, "text"))
        case "refusal":
            return _text(get(part, "refusal"))
        case "input_image":
            return _link("image", get(part, "image_url"))
        case "input_file" if get(part, "file_id"):
            return {"type": "file", "modality": "document", "file_id": get(part, "file_id")}
        case _:
            return _generic(part)


def _responses_item(item: Any) -> Message:
    kind = text(get(item, "type")) or "message"
    match kind:
        case "message":
            role, parts = text(get(item, "role")) or "user", _parts(get(item, "content"), _responses_part)
        case "function_call" | "custom_tool_call":
            arguments = get(item, "arguments") if kind == "function_call" else get(item, "input")
            role, parts = "assistant", [_tool_call(get(item, "call_id"), get(item, "name"), arguments)]
        case "function_call_output" | "custom_tool_call_output":
            response = {"type": "tool_call_response", "id": get(item, "call_id"), "response": get(item, "output")}
            role, parts = "tool", [response]
        case "reasoning":
            said = [*items(item, "summary"), *items(item, "content")]
            parts = [{"type": "reasoning", "content": get(piece, "text")} for piece in said]
            role = "assistant"
        case _ if kind.endswith("_call"):
            call = {"type": kind}
            parts = [{"type": "server_tool_call", "id": get(item, "id"), "name": kind, "server_tool_call": call}]
            role = "assistant"
        case _:
            role, parts = "assistant", [_generic(item)]
    return {"role": role, "parts": parts}


def _responses_request(body: Mapping[str, Any]) -> Said:
    given, instructions = body.get("input"), body.get("instructions")
    messages = (
        [{"role": "user", "parts": [_text(given)]}]
        if isinstance(given, str)
        else [_responses_item(item) for item in _listed(given)]
    )
    system = [_text(instructions)] if isinstance(instructions, str) else []
    return _said(system=system, messages=messages, tools=_tools(_listed(body.get("tools"))))


def _responses_response(body: Any) -> list[Message]:
    found = [_responses_item(item) for item in items(body, "output")]
    parts = [part for message in found for part in message["parts"]]
    if not parts and (said := text(get(body, "so_far"))):
        parts = [_text(said)]
    return [{"role": "assistant", "parts": parts, "finish_reason": get(body, "status") or "error"}] if parts else []


def _responses_fold(body: dict[str, Any], event: Any) -> None:
    if get(event, "type") == "response.output_text.delta":
        body["so_far"] = body.get("so_far", "") + (text(get(event, "delta")) or "")
    response = get(event, "response")
    if isinstance(response, dict):
        body.update(cast("dict[str, Any]", response))


responses_content = Content(_responses_request, _responses_response, _responses_fold)


# Anthropic's messages.


def _messages_part(part: Any) -> Part:
    kind = text(get(part, "type")) or ""
    match kind:
        case "text":
            return _text(get(part, "text"))
        case "thinking":
            return {"type": "reasoning", "content": get(part, "thinking")}
        case "tool_use":
            return _tool_call(get(part, "id"), get(part, "name"), get(part, "input"))
        case "tool_result":
            said = get(part, "content")
            response = said if isinstance(said, str) else _parts(said, _messages_part)
            return {"type": "tool_call_response", "id": get(part, "tool_use_id"), "response": response}
        case "server_tool_use":
            call = {"type": get(part, "name"), "input": get(part, "input")}
            return {
                "type": "server_tool_call",
                "id": get(part, "id"),
                "name": get(part, "name"),
                "server_tool_call": call,
            }
        case "image" | "document":
            source, modality = get(part, "source"), kind
            if get(source, "type") == "url":
                return _link(modality, get(source, "url"))
            if get(source, "type") == "file":
                return {"type": "file", "modality": modality, "file_id": get(source, "file_id")}
            return _blob(modality, get(source, "media_type"))
        case _:
            return _generic(part)


def _messages_request(body: Mapping[str, Any]) -> Said:
    messages = [
        {"role": get(message, "role"), "parts": _parts(get(message, "content"), _messages_part)}
        for message in _listed(body.get("messages"))
    ]
    return _said(
        system=_parts(body.get("system"), _messages_part), messages=messages, tools=_tools(_listed(body.get("tools")))
    )


def _messages_response(body: Any) -> list[Message]:
    parts = [_messages_part(part) for part in items(body, "content")]
    return (
        [{"role": "assistant", "parts": parts, "finish_reason": get(body, "stop_reason") or "error"}] if parts else []
    )


def _messages_fold(body: dict[str, Any], event: Any) -> None:
    blocks: dict[int, dict[str, Any]] = body.setdefault("by_index", {})
    index = count(get(event, "index")) or 0
    match get(event, "type"):
        case "content_block_start":
            blocks[index] = dict(get(event, "content_block") or {})
        case "content_block_delta":
            block, delta = blocks.setdefault(index, {}), get(event, "delta")
            for name, into in (("text", "text"), ("thinking", "thinking"), ("partial_json", "so_far")):
                if said := text(get(delta, name)):
                    block[into] = (block.get(into) or "") + said
        case "content_block_stop":
            block = blocks.get(index, {})
            if said := block.pop("so_far", None):
                block["input"] = _tool_call(None, None, said)["arguments"]
        case "message_delta":
            body["stop_reason"] = get(event, "delta", "stop_reason") or body.get("stop_reason")
        case _:
            pass
    body["content"] = [blocks[index] for index in sorted(blocks)]


messages_content = Content(_messages_request, _messages_response, _messages_fold)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [value]
    return list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else []
