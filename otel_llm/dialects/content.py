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


def _result(content: Any, read: Callable[[Any], Part]) -> Any:
    """What a tool gave: a text, or parts, of which pictures are named only."""
    return _parts(content, read) if isinstance(content, (list, tuple)) else content


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
        case "thinking":
            return {"type": "reasoning", "content": get(part, "thinking")}
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
            "response": _result(get(message, "content"), _chat_part),
        }
        return {"role": "tool", "parts": [response]}
    parts: list[Part] = []
    if reasoning := text(get(message, "reasoning_content")) or text(get(message, "reasoning")):
        parts.append({"type": "reasoning", "content": reasoning})
    parts += _parts(get(message, "content"), _chat_part)
    if refusal := text(get(message, "refusal")):
        parts.append(_text(refusal))
    if spoken := text(get(message, "audio", "transcript")):
        parts.append(_text(spoken))
    for call in items(message, "tool_calls"):
        told = get(call, "function") or get(call, "custom")
        arguments = get(told, "arguments") if get(told, "input") is None else get(told, "input")
        parts.append(_tool_call(get(call, "id"), get(told, "name"), arguments))
    if (called := get(message, "function_call")) is not None:  # of old
        parts.append(_tool_call(None, get(called, "name"), get(called, "arguments")))
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
        if spoken := text(get(delta, "audio", "transcript")):
            message.setdefault("audio", {"transcript": ""})["transcript"] += spoken
        for call in items(delta, "tool_calls"):
            known = message["calls"].setdefault(count(get(call, "index")) or 0, {"function": {"arguments": ""}})
            known["id"] = get(call, "id") or known.get("id")
            told = get(call, "function") or get(call, "custom")
            known["function"]["name"] = get(told, "name") or known["function"].get("name")
            known["function"]["arguments"] += text(get(told, "arguments")) or text(get(told, "input")) or ""
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
        case "output_audio" | "audio" if get(part, "transcript"):
            return _text(get(part, "transcript"))
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
            output = _result(get(item, "output"), _responses_part)
            response = {"type": "tool_call_response", "id": get(item, "call_id"), "response": output}
            role, parts = "tool", [response]
        case "reasoning":
            said = [*items(item, "summary"), *items(item, "content")]
            parts = [{"type": "reasoning", "content": get(piece, "text")} for piece in said]
            role = "assistant"
        case _ if kind.endswith("_call"):
            name, call = get(item, "name") or kind, {"type": kind}
            if (arguments := get(item, "arguments")) is not None:
                call["arguments"] = arguments
            parts = [{"type": "server_tool_call", "id": get(item, "id"), "name": name, "server_tool_call": call}]
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


# Mistral's conversations: entries, whose content is that of a chat.


def _entry(entry: Any) -> Message:
    kind = text(get(entry, "type")) or "message.input"
    match kind:
        case "message.input" | "message.output":
            role = text(get(entry, "role")) or ("user" if kind == "message.input" else "assistant")
            parts = _parts(get(entry, "content"), _chat_part)
        case "function.call":
            arguments = get(entry, "arguments")
            role, parts = "assistant", [_tool_call(get(entry, "tool_call_id"), get(entry, "name"), arguments)]
        case "function.result":
            id_, result = get(entry, "tool_call_id"), get(entry, "result")
            role, parts = "tool", [{"type": "tool_call_response", "id": id_, "response": result}]
        case "tool.execution":
            name, call = get(entry, "name"), {"type": kind}
            parts = [{"type": "server_tool_call", "id": get(entry, "id"), "name": name, "server_tool_call": call}]
            role = "assistant"
        case _:
            role, parts = "assistant", [_generic(entry)]
    return {"role": role, "parts": parts}


def _mistral_request(body: Mapping[str, Any]) -> Said:
    given, instructions = body.get("inputs"), body.get("instructions")
    entries = [{"content": given}] if isinstance(given, str) else _listed(given)
    system = [_text(instructions)] if isinstance(instructions, str) else []
    return _said(system=system, messages=[_entry(entry) for entry in entries], tools=_tools(_listed(body.get("tools"))))


def _mistral_response(body: Any) -> list[Message]:
    entries = [_entry(entry) for entry in items(body, "outputs")]
    parts = [part for entry in entries for part in entry["parts"]]
    reason = "tool_call" if any(part["type"] == "tool_call" for part in parts) else "stop"
    return [{"role": "assistant", "parts": parts, "finish_reason": reason}] if parts else []


def _mistral_fold(body: dict[str, Any], event: Any) -> None:
    kind, id_ = text(get(event, "type")) or "", text(get(event, "id"))
    if id_ is None:
        return
    entries: dict[str, Any] = body.setdefault("by_id", {})
    entry = entries.setdefault(id_, {"id": id_, "type": kind.rpartition(".")[0], "content": [], "arguments": ""})
    for name in ("name", "tool_call_id"):
        entry[name] = get(event, name) or entry.get(name)
    entry["arguments"] += text(get(event, "arguments")) or ""
    said, content = get(event, "content"), entry["content"]
    if isinstance(said, str) and content and isinstance(content[-1], str):
        content[-1] += said
    elif said is not None:
        content.append(said)
    body["outputs"] = list(entries.values())


mistral_content = Content(_mistral_request, _mistral_response, _mistral_fold)


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
        case "server_tool_use" | "mcp_tool_use":
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


# Amazon's Converse.


def _converse_part(part: Any) -> Part:
    kind = next((str(name) for name in cast("dict[str, Any]", part)), "") if isinstance(part, dict) else ""
    said = get(part, kind)
    match kind:
        case "text":
            return _text(said)
        case "reasoningContent":
            return {"type": "reasoning", "content": get(said, "reasoningText", "text")}
        case "guardContent" if get(said, "text"):
            return _text(get(said, "text", "text"))
        case "citationsContent":
            return _text("".join(text(get(piece, "text")) or "" for piece in items(said, "content")))
        case "toolUse":
            return _tool_call(get(said, "toolUseId"), get(said, "name"), get(said, "input"))
        case "toolResult":
            results = items(said, "content")
            response = [get(result, "json") or _converse_part(result) for result in results]
            return {"type": "tool_call_response", "id": get(said, "toolUseId"), "response": response}
        case "image" | "video" | "audio" | "document":
            address = text(get(said, "source", "s3Location", "uri"))
            form = get(said, "format")
            return _link(kind, address) if address else _blob(kind, f"{_FAMILIES.get(kind, kind)}/{form}")
        case _:
            return {"type": "generic", "generic_type": kind or "unknown"}


_FAMILIES = {"document": "application"}


def _converse_request(body: Mapping[str, Any]) -> Said:
    messages = [
        {"role": get(message, "role"), "parts": [_converse_part(part) for part in items(message, "content")]}
        for message in _listed(body.get("messages"))
    ]
    tools = [
        {"type": "function", "name": get(tool, "toolSpec", "name") or get(tool, "systemTool", "name")}
        for tool in items(body.get("toolConfig"), "tools")
        if get(tool, "cachePoint") is None
    ]
    return _said(system=[_converse_part(part) for part in _listed(body.get("system"))], messages=messages, tools=tools)


def _converse_response(body: Any) -> list[Message]:
    parts = [_converse_part(part) for part in items(body, "output", "message", "content")]
    return [{"role": "assistant", "parts": parts, "finish_reason": get(body, "stopReason") or "error"}] if parts else []


def _converse_fold(body: dict[str, Any], event: Any) -> None:
    blocks: dict[int, dict[str, Any]] = body.setdefault("by_index", {})
    if (started := get(event, "contentBlockStart")) is not None:
        use = get(started, "start", "toolUse")
        blocks[count(get(started, "contentBlockIndex")) or 0] = {} if use is None else {"toolUse": {**use, "input": ""}}
    elif (more := get(event, "contentBlockDelta")) is not None:
        block, delta = blocks.setdefault(count(get(more, "contentBlockIndex")) or 0, {}), get(more, "delta")
        if said := text(get(delta, "text")):
            block["text"] = block.get("text", "") + said
        if said := text(get(delta, "reasoningContent", "text")):
            so_far = get(block, "reasoningContent", "reasoningText", "text") or ""
            block["reasoningContent"] = {"reasoningText": {"text": so_far + said}}
        if said := text(get(delta, "toolUse", "input")):
            block["toolUse"]["input"] += said
    body["stopReason"] = get(event, "messageStop", "stopReason") or body.get("stopReason")
    body["output"] = {"message": {"content": [blocks[index] for index in sorted(blocks) if blocks[index]]}}


converse_content = Content(_converse_request, _converse_response, _converse_fold)


# A prompt and its answer, as Llama, Mistral, Cohere and Titan have them on Bedrock, and Cohere had them itself.


def _prompt_request(body: Mapping[str, Any]) -> Said:
    asked = [said for name in ("prompt", "message", "inputText", "text") if (said := text(body.get(name)))]
    return _said(messages=[{"role": "user", "parts": [_text(said)]} for said in asked])


def _prompt_answers(body: Any) -> list[Any]:
    return [body, *items(body, "outputs"), *items(body, "generations"), *items(body, "results")]


def _prompt_text(body: Any) -> str:
    names = ("generation", "text", "outputText", "summary")
    return "".join(text(get(answer, name)) or "" for answer in _prompt_answers(body) for name in names)


def _prompt_response(body: Any) -> list[Message]:
    names = ("stop_reason", "finish_reason", "completionReason")
    reasons = (text(get(answer, name)) for answer in _prompt_answers(body) for name in names)
    said, reason = get(body, "so_far") or _prompt_text(body), next(filter(None, reasons), "error")
    return [{"role": "assistant", "parts": [_text(said)], "finish_reason": reason}] if said else []


def _prompt_fold(body: dict[str, Any], chunk: Any) -> None:
    so_far = body.get("so_far", "") + _prompt_text(chunk)
    body.update(chunk, so_far=so_far)


prompt_content = Content(_prompt_request, _prompt_response, _prompt_fold)


# Gemini's contents.


def _gemini_part(part: Any) -> Part:
    if said := text(get(part, "text")):
        return {"type": "reasoning", "content": said} if get(part, "thought") else _text(said)
    if call := get(part, "functionCall"):
        return _tool_call(get(call, "id"), get(call, "name"), get(call, "args"))
    if result := get(part, "functionResponse"):
        return {"type": "tool_call_response", "id": get(result, "id"), "response": get(result, "response")}
    if data := get(part, "inlineData") or get(part, "fileData"):
        # The SDK does not rename what is in there.
        kind = text(get(data, "mimeType") or get(data, "mime_type")) or ""
        modality, address = kind.partition("/")[0], get(data, "fileUri") or get(data, "file_uri")
        modality = modality if modality in ("image", "audio", "video") else "document"
        return _link(modality, address) if address else _blob(modality, kind or None)
    return {"type": "generic", "generic_type": next(iter(part), "unknown")}


def _gemini_message(content: Any) -> Message:
    parts = _parts(get(content, "parts"), _gemini_part)
    role = {"model": "assistant", "function": "tool"}.get(text(get(content, "role")) or "", "user")
    if parts and all(part["type"] == "tool_call_response" for part in parts):
        role = "tool"
    return {"role": role, "parts": parts}


def _gemini_request(body: Mapping[str, Any]) -> Said:
    tools = _listed(body.get("tools"))
    return _said(
        system=_parts(get(body.get("systemInstruction"), "parts"), _gemini_part),
        messages=[_gemini_message(content) for content in _listed(body.get("contents"))],
        tools=_tools(
            offered
            for tool in tools
            for offered in items(tool, "functionDeclarations") or [{"type": name} for name in tool]
        ),
    )


def _gemini_response(body: Any) -> list[Message]:
    return [
        {
            "role": "assistant",
            "parts": _gemini_message(get(candidate, "content"))["parts"],
            "finish_reason": get(candidate, "finishReason") or "error",
        }
        for candidate in items(body, "candidates")
    ]


def _gemini_fold(body: dict[str, Any], chunk: Any) -> None:
    candidates: dict[int, Any] = body.setdefault("by_index", {})
    for piece in items(chunk, "candidates"):
        known = candidates.setdefault(count(get(piece, "index")) or 0, {"content": {"parts": []}})
        known["finishReason"] = get(piece, "finishReason") or known.get("finishReason")
        parts: list[dict[str, Any]] = known["content"]["parts"]
        for part in items(piece, "content", "parts"):
            if parts and "text" in part and "text" in parts[-1] and parts[-1].get("thought") == part.get("thought"):
                parts[-1]["text"] += part["text"]
            else:
                parts.append(dict(part))
    body["candidates"] = [candidates[index] for index in sorted(candidates)]


gemini_content = Content(_gemini_request, _gemini_response, _gemini_fold)


# Gemini's interactions: steps, some of which have content.

_STEPS = ("user_input", "model_output", "thought", "function_call", "function_result")


def _interaction_part(part: Any) -> Part:
    match get(part, "type"):
        case "text":
            return _text(get(part, "text"))
        case "image" | "audio" | "video" | "document" as kind:
            address = get(part, "uri")
            return _link(kind, address) if address else _blob(kind, get(part, "mime_type"))
        case "thought":
            return {"type": "reasoning", "content": "".join(text(get(p, "text")) or "" for p in items(part, "summary"))}
        case "function_call":
            return _tool_call(get(part, "id"), get(part, "name"), get(part, "arguments"))
        case "function_result":
            return {"type": "tool_call_response", "id": get(part, "call_id"), "response": get(part, "result")}
        case _:
            return _generic(part)


def _interaction_step(step: Any) -> Message:
    kind = get(step, "type")
    role = {"user_input": "user", "function_result": "tool"}.get(kind, "assistant")
    whole = kind not in ("user_input", "model_output")
    return {
        "role": role,
        "parts": [_interaction_part(step)] if whole else _parts(get(step, "content"), _interaction_part),
    }


def _interaction_request(body: Mapping[str, Any]) -> Said:
    given: Any = body.get("input")
    given = [given] if isinstance(given, dict) else given
    if isinstance(given, str) or not any(get(item, "type") in _STEPS for item in _listed(given)):
        given = [{"type": "user_input", "content": given}]
    return _said(
        system=_parts(body.get("system_instruction"), _interaction_part),
        messages=[_interaction_step(step) for step in _listed(given)],
        tools=_tools(_listed(body.get("tools"))),
    )


def _interaction_response(body: Any) -> list[Message]:
    parts = [part for step in items(body, "steps") for part in _interaction_step(step)["parts"]]
    return [{"role": "assistant", "parts": parts, "finish_reason": get(body, "status") or "error"}] if parts else []


def _interaction_fold(body: dict[str, Any], event: Any) -> None:
    steps: dict[int, dict[str, Any]] = body.setdefault("by_index", {})
    body["status"] = get(event, "interaction", "status") or body.get("status")
    index, delta = count(get(event, "index")) or 0, get(event, "delta")
    match get(event, "event_type"):
        case "step.start":
            steps[index] = dict(get(event, "step") or {})
        case "step.delta" if get(delta, "type") == "thought_summary":
            steps[index]["summary"] = [*items(steps[index], "summary"), get(delta, "content")]
        case "step.delta" if get(delta, "type") == "arguments_delta":
            so_far = text(steps[index].get("arguments")) or ""
            steps[index]["arguments"] = so_far + (text(get(delta, "arguments")) or "")
        case "step.delta":
            content = steps[index].setdefault("content", [])
            if content and get(delta, "type") == get(content[-1], "type") == "text":
                content[-1] = {"type": "text", "text": content[-1]["text"] + delta["text"]}
            else:
                content.append(delta)
        case _:
            pass
    body["steps"] = [steps[index] for index in sorted(steps)]


interaction_content = Content(_interaction_request, _interaction_response, _interaction_fold)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [value]
    return list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else []


# Cohere's chat: version 2 is much like OpenAI's, version 1 has one message and its history.

_COHERE_ROLES = {"USER": "user", "CHATBOT": "assistant", "SYSTEM": "system", "TOOL": "tool"}


def _cohere_request(body: Mapping[str, Any]) -> Said:
    if "messages" in body:
        return _chat_request(body)
    said = [(get(turn, "role"), get(turn, "message")) for turn in _listed(body.get("chat_history"))]
    said.append(("USER", body.get("message")))
    messages = [{"role": _COHERE_ROLES.get(role, "user"), "parts": [_text(words)]} for role, words in said if words]
    system = [_text(preamble)] if (preamble := text(body.get("preamble"))) else []
    return _said(system=system, messages=messages, tools=_tools(_listed(body.get("tools"))))


def _cohere_response(body: Any) -> list[Message]:
    message = get(body, "message")
    if message is not None:
        said = _chat_message(message)
        if plan := text(get(message, "tool_plan")):
            said["parts"].insert(0, _text(plan))
    else:
        calls = [_tool_call(None, get(call, "name"), get(call, "parameters")) for call in items(body, "tool_calls")]
        words = text(get(body, "text"))
        said = {"role": "assistant", "parts": [*([_text(words)] if words else []), *calls]}
    return [{**said, "finish_reason": get(body, "finish_reason") or "error"}] if said["parts"] else []


def _cohere_fold(body: dict[str, Any], event: Any) -> None:
    match get(event, "event_type"):
        case "text-generation":
            body["text"] = body.get("text", "") + (text(get(event, "text")) or "")
        case "stream-end":
            body.update(get(event, "response") or {}, finish_reason=get(event, "finish_reason"))
        case None:
            _cohere_fold_2(body, event)
        case _:
            pass


def _cohere_fold_2(body: dict[str, Any], event: Any) -> None:
    message = body.setdefault("message", {"role": "assistant", "content": [], "tool_calls": [], "tool_plan": ""})
    delta = get(event, "delta", "message")
    match get(event, "type"):
        case "content-start":
            message["content"].append({"type": get(delta, "content", "type"), "text": "", "thinking": ""})
        case "content-delta":
            for name in ("text", "thinking"):
                message["content"][-1][name] += text(get(delta, "content", name)) or ""
        case "tool-plan-delta":
            message["tool_plan"] += text(get(delta, "tool_plan")) or ""
        case "tool-call-start":
            message["tool_calls"].append(get(delta, "tool_calls"))
        case "tool-call-delta":
            message["tool_calls"][-1]["function"]["arguments"] += get(delta, "tool_calls", "function", "arguments")
        case "message-end":
            body["finish_reason"] = get(event, "delta", "finish_reason")
        case _:
            pass


cohere_content = Content(_cohere_request, _cohere_response, _cohere_fold)


# Ollama's chat and generate.


def _ollama_message(message: Any) -> Message:
    said = _chat_message(message)
    if thinking := text(get(message, "thinking")):
        said["parts"].insert(0, {"type": "reasoning", "content": thinking})
    said["parts"] += [_blob("image", None) for _picture in items(message, "images")]
    return said


def _ollama_request(body: Mapping[str, Any]) -> Said:
    prompt = {"role": "user", "content": body.get("prompt"), "images": body.get("images")}
    return _said(
        system=_parts(body.get("system"), _chat_part),
        messages=[_ollama_message(message) for message in _listed(body.get("messages")) or [prompt]],
        tools=_tools(_listed(body.get("tools"))),
    )


def _ollama_response(body: Any) -> list[Message]:
    generated = {"role": "assistant", "content": get(body, "response"), "thinking": get(body, "thinking")}
    said = _ollama_message(get(body, "message") or generated)
    return [{**said, "finish_reason": get(body, "done_reason") or "error"}] if said["parts"] else []


def _ollama_fold(body: dict[str, Any], chunk: Any) -> None:
    message = body.setdefault("message", {"role": "assistant", "content": "", "thinking": "", "tool_calls": []})
    piece = get(chunk, "message") or {"content": get(chunk, "response"), "thinking": get(chunk, "thinking")}
    for name in ("content", "thinking"):
        message[name] += text(get(piece, name)) or ""
    message["tool_calls"] += items(piece, "tool_calls")
    body["done_reason"] = get(chunk, "done_reason")


ollama_content = Content(_ollama_request, _ollama_response, _ollama_fold)
