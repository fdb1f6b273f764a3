"""Cohere's chat, embeddings, reranking and more, versions 2 and 1: what is billed is not what is processed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from examples.offline_provider.eventstream import Framing, json_line
from examples.offline_provider.model import Prompt, Turn, nested, text_of
from examples.offline_provider.openai import vector
from examples.offline_provider.wire import Conversations, Event, Exchange, Route, Wire, function_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.offline_provider.model import Json

_PATH = re.compile(r"/cohere/(v[12])/(chat|embed|rerank|generate|summarize|classify|parse|audio/transcriptions)$")
_ROLES = {"USER": "user", "CHATBOT": "assistant", "SYSTEM": "system", "TOOL": "tool"}
_STREAM_JSON = Framing("application/stream+json", json_line)


def route(path: str) -> Route | None:
    """Who answers `/cohere/v2/chat` and its like."""
    found = _PATH.search(path)
    wire = _WIRES.get((found[1], found[2])) if found else None
    return None if wire is None else Route("cohere", wire, {})


def _error(_status: int, message: str) -> Json:
    return {"id": "11111111-2222-3333-4444-555555555555", "message": message}


def _read_chat(body: Json, _seen: Conversations) -> Prompt:
    shape = nested(body, "response_format")
    return Prompt(
        model=body["model"],
        turns=[Turn(m["role"], text_of(m.get("content"))) for m in body["messages"]],
        stream=body.get("stream") is True,
        tools=function_tools(body, "parameters"),
        schema=shape.get("json_schema", {}) if shape.get("type") == "json_object" else None,
        max_tokens=body.get("max_tokens"),
    )


def _read_chat_1(body: Json, _seen: Conversations) -> Prompt:
    turns = [Turn(_ROLES[turn["role"]], turn.get("message", "")) for turn in body.get("chat_history") or ()]
    return Prompt(
        model=body.get("model", "command-r"),
        turns=[*turns, Turn("user", body["message"])],
        stream=body.get("stream") is True,
        tools={tool["name"]: tool.get("parameter_definitions", {}) for tool in body.get("tools") or ()},
        max_tokens=body.get("max_tokens"),
    )


def _billed(x: Exchange) -> Json:
    """What counts, and beside it what the model got to see, templates and all. Numbers are floats."""
    sent, made = float(x.answer.usage.input_tokens), float(x.answer.usage.output_tokens)
    billed = {"input_tokens": sent, "output_tokens": made}
    return (
        {"billed_units": billed, "tokens": {"input_tokens": sent + 66.0, "output_tokens": made}}
        if x.script.usage
        else {}
    )


def _finish(x: Exchange) -> str:
    return "TOOL_CALL" if x.answer.calls else "MAX_TOKENS" if x.answer.cut_short else "COMPLETE"


def _tool_calls(x: Exchange) -> list[Json]:
    return [
        {"id": f"{name}_{x.id}{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(x.answer.calls)
    ]


def _chat(x: Exchange) -> Json:
    message: Json = {"role": "assistant"}
    if x.answer.calls:
        message |= {"tool_plan": "I will use a tool.", "tool_calls": _tool_calls(x)}
    else:
        message |= {"content": [{"type": "text", "text": x.answer.texts[0]}]}
    body: Json = {"id": x.id, "finish_reason": _finish(x), "message": message}
    return body | ({"usage": _billed(x) | {"cached_tokens": 0.0}} if x.script.usage else {})


def _chat_events(x: Exchange) -> Iterator[Event]:
    def event(kind: str, delta: Json, share: float = 0, **more: Any) -> Event:
        body: Json = {"type": kind, **more} | ({"delta": delta} if delta else {})
        return Event(body, x.answer.generated(share), kind, final=kind == "message-end")

    opening: Json = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield event("message-start", {"message": opening}, id=x.id)
    if x.answer.calls:
        yield event("tool-plan-delta", {"message": {"tool_plan": "I will use a tool."}})
        for index, call in enumerate(_tool_calls(x)):
            arguments: str = call["function"]["arguments"]
            begun = call | {"function": call["function"] | {"arguments": ""}}
            yield event("tool-call-start", {"message": {"tool_calls": begun}}, index=index)
            for half in (arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]):
                piece = {"tool_calls": {"function": {"arguments": half}}}
                yield event("tool-call-delta", {"message": piece}, 1, index=index)
            yield event("tool-call-end", {}, 1, index=index)
    else:
        yield event("content-start", {"message": {"content": {"type": "text", "text": ""}}}, index=0)
        pieces = x.answer.pieces(x.answer.texts[0])
        for number, piece in enumerate(pieces, 1):
            yield event("content-delta", {"message": {"content": {"text": piece}}}, number / len(pieces), index=0)
        yield event("content-end", {}, 1, index=0)
    usage = {"usage": _billed(x)} if x.script.usage else {}
    yield event("message-end", {"finish_reason": _finish(x), **usage}, 1)


def _chat_1(x: Exchange) -> Json:
    calls = [{"name": name, "parameters": json.loads(arguments)} for name, arguments in x.answer.calls]
    body: Json = {"response_id": x.id, "generation_id": f"gen-{x.id}", "text": x.answer.texts[0], "chat_history": []}
    body |= {"finish_reason": "COMPLETE" if x.answer.calls else _finish(x)} | ({"tool_calls": calls} if calls else {})
    return body | ({"meta": {"api_version": {"version": "1"}, **_billed(x)}} if x.script.usage else {})


def _chat_1_events(x: Exchange) -> Iterator[Event]:
    yield Event({"is_finished": False, "event_type": "stream-start", "generation_id": f"gen-{x.id}"}, 0)
    pieces = x.answer.pieces(x.answer.texts[0])
    for number, piece in enumerate(pieces, 1):
        text: Json = {"is_finished": False, "event_type": "text-generation", "text": piece}
        yield Event(text, x.answer.generated(number / len(pieces)))
    whole = _chat_1(x)
    end: Json = {"is_finished": True, "event_type": "stream-end", "finish_reason": whole["finish_reason"]}
    yield Event(end | {"response": whole}, x.answer.generated(1), final=True)


def _failure(_x: Exchange) -> list[tuple[str | None, Json]]:
    said = {"error": "scripted failure in mid-stream", "finish_reason": "ERROR"}
    return [("message-end", {"type": "message-end", "delta": said})]


def _failure_1(x: Exchange) -> list[tuple[str | None, Json]]:
    response = {"response_id": x.id, "generation_id": f"gen-{x.id}", "text": "", "finish_reason": "ERROR"}
    return [(None, {"is_finished": True, "event_type": "stream-end", "finish_reason": "ERROR", "response": response})]


def _read_embed(body: Json, _seen: Conversations) -> Prompt:
    return Prompt(model=body["model"], turns=[Turn("user", text) for text in body.get("texts") or ()], generates=False)


def _embed(x: Exchange) -> Json:
    floats = [vector(turn.text, x.body.get("output_dimension") or 1536, False) for turn in x.prompt.turns]
    kinds: list[str] | None = x.body.get("embedding_types")
    found = (
        {"response_type": "embeddings_by_type", "embeddings": dict.fromkeys(kinds, floats)}
        if kinds
        else {"response_type": "embeddings_floats", "embeddings": floats}
    )
    billed = {"billed_units": {"input_tokens": float(x.answer.usage.input_tokens)}} if x.script.usage else {}
    return {"id": x.id, "texts": x.body.get("texts"), **found, "meta": {"api_version": {"version": "2"}, **billed}}


def _read_rerank(body: Json, _seen: Conversations) -> Prompt:
    units = -(-len(body["documents"]) // 100)
    return Prompt(
        model=body["model"],
        turns=[Turn("user", body["query"])],
        generates=False,
        units={"search_units": units},
        tokens=False,
    )


def _rerank(x: Exchange) -> Json:
    documents = x.body["documents"][: x.body.get("top_n") or None]
    results = [{"index": i, "relevance_score": round(0.9 / (i + 1), 4)} for i in range(len(documents))]
    billed = {"billed_units": {"search_units": float(x.prompt.units["search_units"])}} if x.script.usage else {}
    return {"id": x.id, "results": results, "meta": {"api_version": {"version": "2"}, **billed}}


# What version 1 had besides, and documents.


def _read_text(body: Json, _seen: Conversations) -> Prompt:
    said = body.get("prompt") or body.get("text") or ""
    return Prompt(model=body["model"], turns=[Turn("user", said)], stream=body.get("stream") is True)


def _meta(x: Exchange) -> Json:
    return {"meta": {"api_version": {"version": "1"}, **_billed(x)}} if x.script.usage else {}


def _generated(x: Exchange) -> Json:
    made = [{"id": f"{x.id}-0", "text": x.answer.texts[0], "finish_reason": _finish(x)}]
    return {"id": x.id, "prompt": x.body["prompt"], "generations": made} | _meta(x)


def _generate_events(x: Exchange) -> Iterator[Event]:
    for number, piece in enumerate(x.answer.pieces(x.answer.texts[0]), 1):
        text: Json = {"event_type": "text-generation", "is_finished": False, "text": piece}
        yield Event(text, x.answer.generated(number / x.answer.chunks))
    made = [{"id": f"{x.id}-0", "text": x.answer.texts[0], "finish_reason": "COMPLETE"}]
    end: Json = {"event_type": "stream-end", "is_finished": True, "finish_reason": "COMPLETE"}
    response: Json = {"id": x.id, "prompt": x.body["prompt"], "generations": made}
    yield Event(end | {"response": response}, x.answer.generated(1), final=True)


def _generate_failure(_x: Exchange) -> list[tuple[str | None, Json]]:
    end: Json = {"event_type": "stream-error", "is_finished": True, "finish_reason": "ERROR"}
    return [(None, end | {"err": "scripted failure in mid-stream"})]


def _summarized(x: Exchange) -> Json:
    return {"id": x.id, "summary": x.answer.texts[0]} | _meta(x)


def _read_units(body: Json, _seen: Conversations) -> Prompt:
    units = {"classifications": len(body["inputs"])} if "inputs" in body else {"pages": 1}
    return Prompt(model=body["model"], turns=[], generates=False, units=units, tokens=False)


def _units(x: Exchange) -> Json:
    return {"meta": {"api_version": {"version": "1"}, "billed_units": dict(x.prompt.units)}}


def _classified(x: Exchange) -> Json:
    found: Json = {"prediction": "good", "predictions": ["good"], "confidence": 0.9, "confidences": [0.9], "labels": {}}
    found |= {"classification_type": "single-label"}
    each = [found | {"id": f"{x.id}-{i}", "input": said} for i, said in enumerate(x.body["inputs"])]
    return {"id": x.id, "classifications": each} | _units(x)


def _parsed(x: Exchange) -> Json:
    return {"id": x.id, "pages": [{"index": 0, "markdown": "offline"}]} | _units(x)


_CHAT = Wire("chat", "co-", _read_chat, _chat, _error, _chat_events, _failure, names_model=False)
_CHAT_1 = Wire(
    "chat", "co-", _read_chat_1, _chat_1, _error, _chat_1_events, _failure_1, names_model=False, framing=_STREAM_JSON
)
_EMBED = Wire("embeddings", "co-", _read_embed, _embed, _error, names_model=False)
_RERANK = Wire("rerank", "co-", _read_rerank, _rerank, _error, names_model=False)
_GENERATE = Wire(
    "generate",
    "co-",
    _read_text,
    _generated,
    _error,
    _generate_events,
    _generate_failure,
    lambda _: False,
    names_model=False,
    framing=_STREAM_JSON,
)
_WIRES = {
    ("v1", "generate"): _GENERATE,
    ("v1", "summarize"): Wire("summarize", "co-", _read_text, _summarized, _error, names_model=False),
    ("v1", "classify"): Wire("classify", "co-", _read_units, _classified, _error, names_model=False),
    ("v2", "audio/transcriptions"): Wire(
        "transcriptions", "co-", _read_text, lambda x: {"text": x.answer.texts[0]}, _error, names_model=False
    ),
    ("v2", "parse"): Wire("parse", "co-", _read_units, _parsed, _error, names_model=False),
    ("v1", "chat"): _CHAT_1,
    ("v2", "chat"): _CHAT,
    **{(version, "embed"): _EMBED for version in ("v1", "v2")},
    **{(version, "rerank"): _RERANK for version in ("v1", "v2")},
}
