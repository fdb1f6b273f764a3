"""Mistral's conversations, documents, classifiers and sounds. An uploaded byte is a second of sound.

A conversation's id says its model, as later requests do not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from examples.offline_provider.bill import Usage
from examples.offline_provider.model import Prompt, Turn, nested, text_of
from examples.offline_provider.openai import error
from examples.offline_provider.wire import Conversations, Event, Exchange, Route, Wire, function_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.offline_provider.model import Json

_PATH = re.compile(
    r"/mistral/v1/(?:(?P<other>ocr|audio/\w+|(?:chat/)?(?:moderations|classifications))|conversations(?:/(?P<id>conv-(?P<model>.+)-\w+)(?:/restart)?)?)$"
)
_BYTES_PER_PAGE = 10


def route(path: str) -> Route | None:
    """Who answers `/mistral/v1/conversations` and its like."""
    found = _PATH.search(path)
    if found is None:
        return None
    wire = _WIRES.get((found["other"] or "").removeprefix("chat/"), CONVERSATIONS)
    return Route("mistral", wire, {"model": found["model"], "conversation_id": found["id"]} if found["id"] else {})


# Conversations.


def _read(body: Json, _seen: Conversations) -> Prompt:
    given: Any = body["inputs"]
    entries: list[Json] = [{"role": "user", "content": given}] if isinstance(given, str) else given
    turns = [Turn("system", body["instructions"])] if body.get("instructions") else []
    turns += [
        Turn(entry.get("role") or "tool", text_of(entry.get("content") or entry.get("result"))) for entry in entries
    ]
    limit = nested(body, "completion_args").get("max_tokens")
    tools = function_tools(body, "parameters")
    return Prompt(model=body["model"], turns=turns, stream=body.get("stream") is True, tools=tools, max_tokens=limit)


def _billed(_body: Json, usage: Usage) -> Usage:
    return Usage(input=usage.input_tokens, output=usage.output_tokens, requests=usage.requests)


def _usage(x: Exchange) -> Json:
    u, searches = x.answer.usage, x.answer.usage.requests.get("web_search", 0)
    found = min(100 * searches, u.input)
    usage: Json = {"prompt_tokens": u.input - found, "completion_tokens": u.output}
    usage["total_tokens"] = u.input + u.output
    return usage | ({"connector_tokens": found, "connectors": {"web_search": searches}} if searches else {})


def _entries(x: Exchange) -> list[Json]:
    made: Json = {"object": "entry", "model": x.answer.model}
    entries: list[Json] = []
    for i in range(x.answer.usage.requests.get("web_search", 0)):
        search: Json = {"id": f"search{i}_{x.id}", "type": "tool.execution", "name": "web_search", "arguments": "{}"}
        entries.append(made | search)
    for i, (name, arguments) in enumerate(x.answer.calls):
        call: Json = {"id": f"call{i}_{x.id}", "type": "function.call", "tool_call_id": f"call_{i}", "name": name}
        entries.append(made | call | {"arguments": arguments})
    if x.answer.texts[0] or not x.answer.calls:
        said: Json = {"type": "message.output", "role": "assistant", "content": x.answer.texts[0]}
        entries.append(made | said)
    entries[-1]["id"] = x.id
    return entries


def _conversation(x: Exchange) -> str:
    return x.body.get("conversation_id") or f"conv-{x.body['model']}-{x.id}"


def _plain(x: Exchange) -> Json:
    body: Json = {"conversation_id": _conversation(x), "object": "conversation.response", "outputs": _entries(x)}
    return body | {"usage": _usage(x) if x.script.usage else {}}


def _events(x: Exchange) -> Iterator[Event]:
    def event(kind: str, payload: Json, made: int = 0, *, final: bool = False) -> Event:
        return Event({"type": kind, **payload}, made, kind, final=final)

    total = x.answer.generated(1)
    yield event("conversation.response.started", {"conversation_id": _conversation(x)})
    for entry in _entries(x):
        told = {name: value for name, value in entry.items() if name not in ("type", "object", "content")}
        match entry["type"]:
            case "tool.execution":
                yield event("tool.execution.started", told)
                yield event("tool.execution.done", {"id": entry["id"], "name": entry["name"]})
            case "function.call":
                text: str = entry["arguments"]
                for half in (text[: len(text) // 2], text[len(text) // 2 :]):
                    yield event("function.call.delta", told | {"arguments": half}, total)
            case _:
                for number, piece in enumerate(x.answer.pieces(entry["content"]), 1):
                    made = x.answer.generated(number / x.answer.chunks)
                    yield event("message.output.delta", told | {"content": piece}, made)
    yield event("conversation.response.done", {"usage": _usage(x) if x.script.usage else {}}, total, final=True)


def _failure(_: Exchange) -> list[tuple[str | None, Json]]:
    kind = "conversation.response.error"
    return [(kind, {"type": kind, "message": "scripted failure in mid-stream", "code": 500})]


# Documents and sounds.


def _read_document(body: Json, _seen: Conversations) -> Prompt:
    address: str = nested(body, "document").get("document_url") or ""
    return Prompt(model=body["model"], turns=[Turn("user", address)], generates=False)


def _pages(body: Json, _usage: Usage) -> Usage:
    pages = max(1, len(nested(body, "document").get("document_url") or "") // _BYTES_PER_PAGE)
    return Usage(requests={"annotated_pages" if body.get("document_annotation_format") else "pages": pages})


def _plain_document(x: Exchange) -> Json:
    [(unit, pages)] = x.answer.usage.requests.items()
    size: Json = {"dpi": 200, "height": 2200, "width": 1700}
    read: list[Json] = [{"index": i, "markdown": "offline", "images": [], "dimensions": size} for i in range(pages)]
    body: Json = {"model": x.answer.model, "pages": read, "usage_info": {"pages_processed": pages}}
    return body | ({"document_annotation": "{}"} if unit == "annotated_pages" else {})


def _read_sound(body: Json, _seen: Conversations) -> Prompt:
    said = " ".join(str(value) for value in body.values() if isinstance(value, str))
    return Prompt(model=body["model"], turns=[Turn("user", said)], stream=body.get("stream") == "true")


def _heard(body: Json, _usage: Usage) -> Usage:
    return Usage(requests={"audio_ms": 1000 * sum(body["files"].values())})


def _sound(x: Exchange) -> Json:
    seconds = x.answer.usage.requests["audio_ms"] // 1000
    usage: Json = {"prompt_audio_seconds": seconds, "prompt_tokens": 4, "completion_tokens": 20}
    body: Json = {"model": x.answer.model, "text": x.answer.texts[0], "language": None, "segments": []}
    return body | {"usage": usage | {"total_tokens": 24 + 13 * seconds}}


def _sound_events(x: Exchange) -> Iterator[Event]:
    for piece in x.answer.pieces(x.answer.texts[0]):
        yield Event({"type": "transcription.text.delta", "text": piece}, 0, "transcription.text.delta")
    done = "transcription.done"
    yield Event({"type": done} | _sound(x), x.answer.generated(1), done, final=True)


def _read_words(body: Json, _seen: Conversations) -> Prompt:
    streams = body.get("stream") is True
    return Prompt(model=body["model"], turns=[Turn("user", body["input"])], stream=streams)


def _speech_events(x: Exchange) -> Iterator[Event]:
    for _ in range(x.answer.chunks):
        yield Event({"type": "speech.audio.delta", "audio_data": "b2ZmbGluZQ=="}, 0, "speech.audio.delta")
    done = "speech.audio.done"
    usage: Json = {"prompt_tokens": 7, "completion_tokens": 70, "total_tokens": 77}
    yield Event({"type": done, "usage": usage}, x.answer.generated(1), done, final=True)


# Classifiers. What they read is not told, and so is not on the bill in tokens.


def _read_judged(body: Json, _seen: Conversations) -> Prompt:
    return Prompt(model=body["model"], turns=[Turn("user", text_of(body["input"]))], generates=False)


def _judged(x: Exchange) -> Json:
    found: Json = {"categories": {"health": False}, "category_scores": {"health": 0.1}}
    if x.wire.name == "classifications":
        found = {"mood": {"scores": {"good": 0.9}}}
    return {"id": x.id, "model": x.answer.model, "results": [found]}


CONVERSATIONS = Wire("conversations", "msg_", _read, _plain, error, _events, _failure, bills=_billed)
_WIRES = {
    "ocr": Wire("ocr", "ocr-", _read_document, _plain_document, error, bills=_pages),
    "audio/transcriptions": Wire("transcriptions", "tr-", _read_sound, _sound, error, _sound_events, bills=_heard),
    "audio/speech": Wire(
        "speech",
        "sp-",
        _read_words,
        lambda _: {"audio_data": "b2ZmbGluZQ=="},
        error,
        _speech_events,
        names_model=False,
        bills=lambda body, _: Usage(requests={"characters": len(body["input"])}),
    ),
    "moderations": Wire("moderations", "mod-", _read_judged, _judged, error),
    "classifications": Wire("classifications", "cls-", _read_judged, _judged, error),
}
