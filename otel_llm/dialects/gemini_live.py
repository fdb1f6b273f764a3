"""Google's conversations over a socket: a call for each turn of the model's.

Usage: messages tell what was used since the last one that told, and some tell nothing (`{}`); those of one turn are its
usage together. The prompt of a turn is the whole conversation until then. Here the total leaves thoughts out, and video
costs what pictures cost, not what text does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

from otel_llm.call import Call
from otel_llm.dialects.content import gemini_content
from otel_llm.dialects.gemini import bill
from otel_llm.dialects.reading import count, get, items, text
from otel_llm.spec import Content, Conversation, Dialect, Turn

_NAMES = {"responseTokenCount": "candidatesTokenCount", "responseTokensDetails": "candidatesTokensDetails"}
_PARTS = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount")


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))


def _response(call: Call, body: Any) -> None:
    call.finish_reasons = body["finish"]
    bill(call, body["usage"], body["candidates"])


def _dumped(message: Any, name: str) -> dict[str, Any]:
    """A part of a message, by the names that it has on the wire."""
    part = get(message, name)
    return {} if part is None else part.model_dump(mode="json", by_alias=True, exclude_none=True)


def _add(usage: dict[str, Any], told: dict[str, Any]) -> None:
    told = {_NAMES.get(name, name): value for name, value in told.items()}
    total, thoughts = count(told.get("totalTokenCount")), count(told.get("thoughtsTokenCount"))
    if total is not None and thoughts and total == sum(count(told.get(name)) or 0 for name in _PARTS):
        told["totalTokenCount"] = total + thoughts
    for name, value in told.items():
        if isinstance(value, list):
            parts = cast("list[dict[str, Any]]", value)
            seen = [part | {"modality": "IMAGE"} if part.get("modality") == "VIDEO" else part for part in parts]
            usage[name] = usage.get(name, []) + seen
        else:
            usage[name] = value if (number := count(value)) is None else usage.get(name, 0) + number


def _say(said: list[dict[str, Any]], content: Any, message: Any) -> None:
    """Add what the model says, or calls, in a message. Its sound is said again as a transcription, if at all."""
    spoken = {"text": text(get(content, "output_transcription", "text"))}
    for part in (spoken, *items(content, "model_turn", "parts")):
        words, thought = text(get(part, "text")), get(part, "thought") is True
        if words and said and said[-1].get("thought") is thought:
            said[-1]["text"] += words
        elif words:
            said.append({"text": words, "thought": thought})
    said += [{"functionCall": call} for call in items(_dumped(message, "tool_call"), "functionCalls")]


def _content_request(body: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    heard = [{"text": body["heard"]}] if body["heard"] else []
    return gemini_content.request({"contents": [{"role": "user", "parts": heard}] if heard else []})


def _content_response(body: Any) -> list[dict[str, Any]]:
    said = [{"content": {"role": "model", "parts": body["said"]}}] if body["said"] else []
    return gemini_content.response({"candidates": said})


def _turn(session: dict[str, Any], message: Any) -> Turn | None:
    content, usage = get(message, "server_content"), _dumped(message, "usage_metadata")
    begins = (get(content, "model_turn"), get(content, "output_transcription"), get(message, "tool_call"))
    turn: dict[str, Any] | None = session.get("turn")
    is_new = turn is None
    if turn is None:
        session["heard"] = session.get("heard", "") + (text(get(content, "input_transcription", "text")) or "")
        if not usage and all(part is None for part in begins):
            return None
        turn = {"id": uuid4().hex, "model": session.get("model"), "usage": {}, "candidates": [], "finish": []}
        turn |= {"heard": session.pop("heard"), "said": []}
        session["turn"] = turn
    _add(turn["usage"], usage)
    _say(turn["said"], content, message)
    if grounding := _dumped(content, "grounding_metadata"):
        turn["candidates"].append({"groundingMetadata": grounding})
    if get(content, "interrupted"):
        turn["finish"] = ["interrupted"]
    over = bool(get(content, "turn_complete"))
    if over:
        turn["finish"] = turn["finish"] or ["stop"]
        del session["turn"]
    return Turn(turn["id"], live, turn, over) if over or is_new or usage else None


live = Dialect(
    name="gemini.live",
    operation="generate_content",
    request=_request,
    response=_response,
    content=Content(_content_request, _content_response, lambda _body, _event: None),
)
conversation = Conversation(turn=_turn)
