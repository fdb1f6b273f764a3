"""xAI's gRPC API: messages of protocol buffers, plain and in pieces alike.

Usage: `prompt_tokens` includes cached tokens and images, reasoning comes on top of `completion_tokens`. What the
request cost is told in ticks of 1e-10 USD, tools on xAI's side included: that is the bill. Where it is not told, the
sources of a live search are billed one by one, https://docs.x.ai/docs/guides/live-search.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from otel_llm.call import Call, Usage
from otel_llm.dialects.content import chat_content
from otel_llm.dialects.reading import disagreement, parameters, rest, text, ticks_in_usd
from otel_llm.spec import Batch, Content, Dialect, Paths
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {
    "max_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "top_p": (A.GEN_AI_REQUEST_TOP_P, float),
    "frequency_penalty": (A.GEN_AI_REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (A.GEN_AI_REQUEST_PRESENCE_PENALTY, float),
    "seed": (A.GEN_AI_REQUEST_SEED, int),
    "stop": (A.GEN_AI_REQUEST_STOP_SEQUENCES, list),
}
_FINISH = {
    "REASON_STOP": "stop",
    "REASON_MAX_LEN": "length",
    "REASON_MAX_CONTEXT": "length",
    "REASON_TOOL_CALLS": "tool_call",
    "REASON_TIME_LIMIT": "time_limit",
}


def fields(message: Any) -> dict[str, Any]:
    """The fields of a message that are set; one that may be there more than once is a list."""
    return {field.name: list(value) if _repeated(value) else value for field, value in message.ListFields()}


def _repeated(value: Any) -> bool:
    return hasattr(value, "MergeFrom") and hasattr(value, "append")


def _name(message: Any, field: str) -> str:
    """The name of a choice, by its number."""
    known = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(getattr(message, field))
    return known.name if known is not None else ""


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    parameters(call, body, _PARAMETERS)
    if body.get("n", 1) != 1:
        call.request[A.GEN_AI_REQUEST_CHOICE_COUNT] = body["n"]


def _fold(body: dict[str, Any], message: Any) -> None:
    """A whole response is a chunk that says everything."""
    said = fields(message)
    for name in ("id", "model", "system_fingerprint", "usage"):
        if name in said:
            body[name] = said[name]
    if "service_tier" in said:
        body["service_tier"] = _name(message, "service_tier").removeprefix("SERVICE_TIER_").lower()
    for output in said.get("outputs", ()):
        reason = _name(output, "finish_reason")
        body.setdefault("reasons", {})[output.index] = _FINISH.get(reason) or body.get("reasons", {}).get(output.index)


def _response(call: Call, body: Any) -> None:
    call.response_id = text(body.get("id"))
    call.response_model = text(body.get("model"))
    call.service_tier = text(body.get("service_tier"))
    call.finish_reasons = [reason or "error" for _, reason in sorted(body.get("reasons", {}).items())]
    usage = body.get("usage")
    if usage is None:
        return
    uncached, too_much = rest(usage.prompt_tokens, usage.cached_prompt_text_tokens, usage.prompt_image_tokens)
    made = usage.completion_tokens, usage.reasoning_tokens  # the reasoning is on top
    doubt = disagreement(usage.total_tokens or None, usage.prompt_tokens, *made)  # 0 is how gRPC says nothing
    tools = usage.DESCRIPTOR.fields_by_name["server_side_tools_used"].enum_type.values_by_number
    used = Counter(tools[tool].name for tool in usage.server_side_tools_used if tool in tools)
    call.usage = Usage(
        input=uncached,
        cache_read=usage.cached_prompt_text_tokens,
        input_image=usage.prompt_image_tokens,
        output=usage.completion_tokens,
        reasoning=usage.reasoning_tokens,
        requests={tool.removeprefix("SERVER_SIDE_TOOL_").lower(): count for tool, count in used.items()},
        inconsistent=too_much or doubt,
    )
    if usage.num_sources_used:
        call.usage.requests["search_sources"] = usage.num_sources_used
    call.reported_cost_usd = ticks_in_usd(fields(usage).get("cost_in_usd_ticks"))


# As OpenAI's chat says it, and so read by what reads that.


def _asked(message: Any) -> dict[str, Any]:
    parts: list[Any] = [
        {"type": "text", "text": part.text}
        if part.HasField("text")
        else {"type": "image_url", "image_url": {"url": part.image_url.image_url}}
        if part.HasField("image_url")
        else {"type": "file", "file": {"file_id": part.file.file_id}}
        for part in message.content
    ]
    role = _name(message, "role").removeprefix("ROLE_").lower()
    content = "".join(part.text for part in message.content) if role == "tool" else parts
    said = {"role": role, "content": content, "reasoning_content": message.reasoning_content, "name": message.name}
    return said | {"tool_call_id": message.tool_call_id, "tool_calls": _tool_calls(message)}


def _tool_calls(message: Any) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "function": {"name": call.function.name, "arguments": call.function.arguments}}
        for call in message.tool_calls
    ]


def _content_request(body: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    tools = [{"type": tool.WhichOneof("tool"), "name": tool.function.name} for tool in body.get("tools", ())]
    messages = [_asked(message) for message in [*body.get("messages", ()), *body.get("input", ())]]
    return chat_content.request({"messages": messages, "tools": tools})


def _content_fold(body: dict[str, Any], message: Any) -> None:
    choices: list[dict[str, Any]] = []
    for output in fields(message).get("outputs", ()):
        said = output.delta if hasattr(output, "delta") else output.message
        calls = [{**call, "index": index} for index, call in enumerate(_tool_calls(said))]
        delta = {"content": said.content, "reasoning_content": said.reasoning_content, "tool_calls": calls}
        reason = _FINISH.get(_name(output, "finish_reason"))
        choices.append({"index": output.index, "delta": delta, "finish_reason": reason})
    chat_content.fold(body, {"choices": choices})


def _content_response(body: Any) -> list[dict[str, Any]]:
    if "whole" in body:
        _content_fold(folded := {}, body["whole"])
        return chat_content.response(folded)
    return chat_content.response(body)


def whole(message: Any) -> dict[str, Any]:
    """A response that came in one piece."""
    body: dict[str, Any] = {"whole": message}
    _fold(body, message)
    return body


chat = Dialect(
    name="xai.chat",
    operation="chat",
    request=_request,
    response=_response,
    fold=_fold,
    content=Content(_content_request, _content_response, _content_fold),
)
images = replace(chat, name="xai.images", operation="image_generation", content=None)


def _batched(result: Any) -> tuple[Dialect, Any] | None:
    for kind, dialect in (("completion_response", chat), ("image_response", images)):
        if result.HasField("response") and result.response.HasField(kind):
            return dialect, whole(getattr(result.response, kind))
    return None


def _page(body: Any) -> tuple[str, list[Any]]:
    return "", list(body["whole"].results)


PATHS: Paths = {
    "/GetCompletion(Chunk)?": chat,
    "/CompactContext": chat,
    "/GenerateImage": images,
    "/ListBatchResults/{id}": Batch(re.compile(b""), _batched, _page, name=lambda result: result.batch_request_id),
}
"""Methods of its stubs."""
