"""OpenAI's pictures, sounds and moderations, also Groq's and Together's.

An uploaded byte is a millisecond of sound, or a token of a picture.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from examples.offline_provider.bill import Usage
from examples.offline_provider.model import Prompt, Turn
from examples.offline_provider.openai import error
from examples.offline_provider.wire import Conversations, Event, Exchange, Route, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.offline_provider.model import Json

_BY_LENGTH = ("whisper-1", "gpt-transcribe", "whisper-large-v3", "whisper-large-v3-turbo")
_BY_CHARACTER = ("tts-1", "tts-1-hd")


def _read(body: Json, _seen: Conversations) -> Prompt:
    said = body.get("prompt") or body.get("input") or ""
    turns = [Turn("user", said if isinstance(said, str) else json.dumps(said))]
    streams = body.get("stream") in (True, "true") or body.get("stream_format") == "sse"
    return Prompt(model=body["model"], turns=turns, stream=streams, n=int(body.get("n") or 1))


def _bytes(body: Json) -> int:
    """How much was uploaded."""
    return sum(value for value in body.get("files", {}).values())


# Pictures.


def _drawn(body: Json, usage: Usage) -> Usage:
    if not str(body["model"]).startswith("gpt-"):
        return Usage(requests={"images": int(body.get("n") or 1)})
    return Usage(input=usage.input, input_image=_bytes(body), output_image=usage.output_tokens)


def _image_usage(x: Exchange) -> Json:
    u = x.answer.usage
    if u.requests or not x.script.usage:
        return {}
    details: Json = {"text_tokens": u.input, "image_tokens": u.input_image}
    usage: Json = {"input_tokens": u.input_tokens, "input_tokens_details": details, "output_tokens": u.output_tokens}
    return {"usage": usage | {"total_tokens": u.input_tokens + u.output_tokens}}


_PICTURE = base64.b64encode(b"offline picture").decode()


def _plain_images(x: Exchange) -> Json:
    body: Json = {"created": x.created, "data": [{"b64_json": _PICTURE}] * x.prompt.n, "size": "1024x1024"}
    return body | {"quality": "high", "output_format": "png", "background": "opaque"} | _image_usage(x)


def _numbered_images(x: Exchange) -> Json:
    """As Together tells them."""
    drawn: list[Json] = [{"index": i, "type": "b64_json", "b64_json": _PICTURE} for i in range(x.prompt.n)]
    return {"id": x.id, "object": "list", "model": x.answer.model, "data": drawn}


def _image_events(x: Exchange) -> Iterator[Event]:
    kind = "image_edit" if x.entry.path.endswith("/edits") else "image_generation"
    picture: Json = {"b64_json": _PICTURE, "created_at": x.created, "size": "1024x1024", "quality": "high"}
    picture |= {"output_format": "png", "background": "opaque"}
    for index in range(x.answer.chunks):
        name = f"{kind}.partial_image"
        made = x.answer.generated((index + 1) / (x.answer.chunks + 1))
        yield Event({"type": name, "partial_image_index": index} | picture, made, name)
    name = f"{kind}.completed"
    yield Event({"type": name} | picture | _image_usage(x), x.answer.generated(1), name, final=True)


# Sounds.


def _heard(body: Json, usage: Usage) -> Usage:
    if body["model"].rpartition("/")[2] in _BY_LENGTH:
        return Usage(requests={"audio_ms": _bytes(body)})
    return Usage(input=usage.input, input_audio=_bytes(body), output=usage.output_tokens)


def _ten_seconds_at_least(body: Json, usage: Usage) -> Usage:
    return Usage(requests={"audio_ms": max(10_000, _heard(body, usage).requests["audio_ms"])})


def _sound_usage(x: Exchange) -> Json:
    u = x.answer.usage
    if not x.script.usage or x.provider != "openai":
        return {}
    if u.requests:
        return {"usage": {"type": "duration", "seconds": u.requests["audio_ms"] / 1000}}
    usage: Json = {"type": "tokens", "input_tokens": u.input_tokens, "output_tokens": u.output_tokens}
    usage["input_token_details"] = {"text_tokens": u.input, "audio_tokens": u.input_audio}
    return {"usage": usage | {"total_tokens": u.input_tokens + u.output_tokens}}


def _plain_sound(x: Exchange) -> Json:
    body: Json = {"text": x.answer.texts[0]}
    if x.body.get("response_format") == "verbose_json":
        translates = x.wire.name == "translations"
        body |= {"duration": _bytes(x.body) / 1000, "language": "english", "segments": []}
        body["task"] = "translate" if translates else "transcribe"
        return body | ({} if translates else _sound_usage(x))
    return body | _sound_usage(x)


def _sound_text(x: Exchange) -> tuple[str, bytes] | None:
    return ("text/plain", x.answer.texts[0].encode()) if x.body.get("response_format") == "text" else None


def _sound_events(x: Exchange) -> Iterator[Event]:
    for number, piece in enumerate(x.answer.pieces(x.answer.texts[0]), 1):
        made = x.answer.generated(number / x.answer.chunks)
        yield Event({"type": "transcript.text.delta", "delta": piece}, made)
    done = {"type": "transcript.text.done", "text": x.answer.texts[0]}
    yield Event(done | _sound_usage(x), x.answer.generated(1), final=True)


def _spoken(body: Json, usage: Usage) -> Usage:
    if body["model"] in _BY_CHARACTER or body.get("stream_format") != "sse":
        return Usage(requests={"characters": len(body["input"])})
    return Usage(input=usage.input, output=usage.output_tokens)


def _speech(x: Exchange) -> tuple[str, bytes]:
    return "audio/mpeg", b"offline sound " * 100


def _chunks_of_speech(x: Exchange) -> Iterator[Event]:
    """As Together streams it: without a word of its end."""
    for number in range(1, x.answer.chunks + 1):
        chunk: Json = {"object": "audio.tts.chunk", "model": x.answer.model, "b64": "b2ZmbGluZQ=="}
        yield Event(chunk, x.answer.generated(number / x.answer.chunks), final=number == x.answer.chunks)


def _speech_events(x: Exchange) -> Iterator[Event]:
    sound = base64.b64encode(b"offline sound").decode()
    for number in range(x.answer.chunks):
        made = x.answer.generated((number + 1) / x.answer.chunks)
        yield Event({"type": "speech.audio.delta", "audio": sound}, made)
    u = x.answer.usage
    counts: Json = {"input_tokens": u.input_tokens, "output_tokens": u.output_tokens}
    usage = {} if u.requests else {"usage": counts | {"total_tokens": u.input_tokens + u.output_tokens}}
    yield Event({"type": "speech.audio.done"} | usage, x.answer.generated(1), final=True)


# Moderations.


def _plain_moderation(x: Exchange) -> Json:
    result: Json = {"flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
    return {"id": x.id, "model": x.answer.model, "results": [result]}


def _failure(_x: Exchange) -> list[tuple[str | None, Json]]:
    return [("error", {"type": "error"} | error(500, "scripted failure in mid-stream"))]


def _nameless_failure(x: Exchange) -> list[tuple[str | None, Json]]:
    return [(None, said) for _, said in _failure(x)]


IMAGES = Wire("images", "img-", _read, _plain_images, error, _image_events, _failure, names_model=False, bills=_drawn)
TRANSCRIPTIONS = Wire(
    "transcriptions",
    "tr-",
    _read,
    _plain_sound,
    error,
    _sound_events,
    _failure,
    names_model=False,
    bills=_heard,
    other=_sound_text,
)
TRANSLATIONS = replace(TRANSCRIPTIONS, name="translations")
SPEECH = Wire(
    "speech",
    "sp-",
    _read,
    lambda _: {},
    error,
    _speech_events,
    _failure,
    names_model=False,
    bills=_spoken,
    other=_speech,
)
MODERATIONS = Wire("moderations", "modr-", _read, _plain_moderation, error, billed=False)
_WIRES = {
    "images/generations": IMAGES,
    "images/edits": IMAGES,
    "audio/transcriptions": TRANSCRIPTIONS,
    "audio/translations": TRANSLATIONS,
    "audio/speech": SPEECH,
    "moderations": MODERATIONS,
}
_GROQ = {f"audio/{wire.name}": replace(wire, bills=_ten_seconds_at_least) for wire in (TRANSCRIPTIONS, TRANSLATIONS)}
_TOGETHER = {
    "images/generations": replace(IMAGES, plain=_numbered_images, names_model=True),
    "audio/speech": replace(SPEECH, events=_chunks_of_speech, failure=_nameless_failure, done=b"data: [DONE]\n\n"),
}
_OF = {"": ("openai", _WIRES), "/openai": ("groq", _WIRES | _GROQ), "/together": ("together", _WIRES | _TOGETHER)}
_PATH = re.compile(rf"^(/openai(?=/v1)|/together|(?=/v1))(?:/v1)?/({'|'.join(_WIRES)})$")


def route(path: str) -> Route | None:
    """Where a path leads."""
    found = _PATH.search(path)
    if found is None:
        return None
    provider, wires = _OF[found[1]]
    return Route(provider, wires[found[2]], {})
