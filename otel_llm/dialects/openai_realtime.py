"""OpenAI's realtime conversations and responses over websockets: a call for each response, and for each transcription.

Usage: `cached_tokens_details` say which of the text, audio and image tokens are cached ones. A live session is a call,
billed by its length; what it delegates are calls of other models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast
from uuid import uuid4

from otel_llm.call import Call, Usage
from otel_llm.dialects.content import responses_content
from otel_llm.dialects.openai_media import transcriptions
from otel_llm.dialects.openai_responses import finish_reasons, responses
from otel_llm.dialects.reading import count, disagreement, get, rest, text
from otel_llm.spec import Conversation, Dialect, Turn
from otel_llm_semconv import attributes as A


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    conversation = text(body.get("conversation_id"))
    if conversation is not None:
        call.request[A.GEN_AI_CONVERSATION_ID] = conversation


def _response(call: Call, body: Any) -> None:
    call.response_id = text(get(body, "id"))
    call.response_model = text(get(body, "model"))
    call.finish_reasons = finish_reasons(body)
    usage = get(body, "usage")
    given, made = count(get(usage, "input_tokens")), count(get(usage, "output_tokens"))
    if given is None and made is None:
        return
    details = get(usage, "input_token_details")
    cached = {name: count(get(details, "cached_tokens_details", f"{name}_tokens")) for name in ("audio", "image")}
    fresh = {
        name: None if (all_ := count(get(details, f"{name}_tokens"))) is None else rest(all_, cached[name])[0]
        for name in cached
    }
    read = count(get(details, "cached_tokens"))
    spoken = count(get(usage, "output_token_details", "audio_tokens"))
    uncached, too_much_in = rest(given, read, *fresh.values())
    written, too_much_out = rest(made, spoken)
    call.usage = Usage(
        input=uncached,
        cache_read=read,
        input_audio=fresh["audio"],
        input_image=fresh["image"],
        output=written,
        output_audio=spoken,
        requests={f"cached_{name}": tokens for name, tokens in cached.items() if tokens},
        inconsistent=too_much_in or too_much_out or disagreement(count(get(usage, "total_tokens")), given, made),
    )


def _live_response(call: Call, body: Any) -> None:
    call.response_id = text(get(body, "id"))
    call.response_model = text(get(body, "model"))
    transcriptions.response(call, body)


realtime = Dialect(
    name="openai.realtime", operation="chat", request=_request, response=_response, content=responses_content
)
"""What was asked is sent before anybody knows that a response will be made of it: captured is what was answered."""
live = replace(realtime, name="openai.live", operation="live", response=_live_response, content=None)


def _turn(session: dict[str, Any], event: Any) -> Turn | None:
    kind, response = text(get(event, "type")) or "", get(event, "response")
    if kind.startswith("session."):
        return _session(session, kind, event)
    if kind.startswith("response.") and isinstance(response, dict) and (id_ := text(get(response, "id"))):
        body: dict[str, Any] = {"model": session.get("model"), **response}
        dialect = realtime if get(response, "object") == "realtime.response" else responses
        return Turn(id_, dialect, body, kind not in ("response.created", "response.in_progress", "response.queued"))
    if kind == "response.event":
        return _turn(session, get(event, "event"))
    decision, named = get(event, "event", "decision"), text(get(event, "event_id")) or uuid4().hex
    if kind == "decision.event" and isinstance(decision, dict):
        return Turn(named, responses, cast("dict[str, Any]", decision), True)
    if kind == "conversation.item.input_audio_transcription.completed":
        body = {"model": session.get("transcription"), "usage": get(event, "usage")}
        return Turn(named, transcriptions, body, True)
    return None


def _session(session: dict[str, Any], kind: str, event: Any) -> Turn | None:
    told = get(event, "session")
    session["model"] = text(get(told, "model")) or session.get("model")
    heard = get(told, "audio", "input", "transcription") or get(told, "input_audio_transcription")
    session["transcription"] = text(get(heard, "model")) or session.get("transcription")
    if kind in ("session.started", "session.closed"):
        session["live"] = text(get(told, "id"))
    if (id_ := session.get("live")) is None:
        return None
    body = {"id": id_, "model": session["model"], "usage": get(event, "usage")}
    return Turn(id_, live, body, kind == "session.closed")


conversation = Conversation(
    turn=_turn,
    # In front of the sound, which may be long.
    wanted=re.compile(
        rb'"type"\s*:\s*"(?:session\.(?:created|updated|started|closed|usage\.updated)|decision\.event'
        rb"|response\.(?:created|done|completed|incomplete|failed|event)"
        rb'|conversation\.item\.input_audio_transcription\.completed)"'
    ),
)
