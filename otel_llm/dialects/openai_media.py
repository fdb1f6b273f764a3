"""OpenAI's pictures, sounds and moderations: billed by tokens, by length, by character, or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from otel_llm.call import Call, Usage
from otel_llm.dialects.reading import count, disagreement, get, items, rest, text
from otel_llm.spec import Dialect
from otel_llm_semconv import attributes as A

_LEAST_MS = {"groq": 10_000}
"""What is billed at least: https://console.groq.com/docs/speech-to-text."""


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))


def _fold(body: dict[str, Any], event: Any) -> None:
    """Of a stream, the last event has the usage."""
    if get(event, "error") is not None:
        body["error"] = get(event, "error")
    elif (text(get(event, "type")) or "").endswith((".completed", ".done")):
        body.update(event, over=True)


def _images_request(call: Call, body: Mapping[str, Any]) -> None:
    _request(call, body)
    call.request[A.GEN_AI_OUTPUT_TYPE] = "image"
    number = count(body.get("n"))
    if number is not None and number != 1:
        call.request[A.GEN_AI_REQUEST_CHOICE_COUNT] = number


def image_usage(usage: Any) -> Usage | None:
    """Tokens of text and of pictures; all of them pictures where it is not said."""
    given, made = count(get(usage, "input_tokens")), count(get(usage, "output_tokens"))
    if given is None and made is None:
        return None
    pictures = count(get(usage, "input_tokens_details", "image_tokens"))
    written = count(get(usage, "output_tokens_details", "text_tokens"))
    read = count(get(usage, "cached_tokens"))
    read_pictures = count(get(usage, "cached_tokens_details", "cached_image_tokens"))
    uncached, too_much_in = rest(given, pictures, None if read is None else read - (read_pictures or 0))
    drawn, too_much_out = rest(made, written)
    return Usage(
        input=uncached,
        cache_read=read,
        output=written,
        input_image=None if pictures is None else pictures - (read_pictures or 0),
        output_image=drawn,
        requests={"cached_image": read_pictures} if read_pictures else {},
        inconsistent=too_much_in or too_much_out or disagreement(count(get(usage, "total_tokens")), given, made),
    )


def _images_response(call: Call, body: Any) -> None:
    # OpenAI tells neither, others do.
    call.response_id = text(get(body, "id"))
    call.response_model = text(get(body, "model"))
    call.usage = image_usage(get(body, "usage"))
    drawn = len(items(body, "data"))
    if call.usage is None and drawn:
        call.usage = Usage(requests={"images": drawn})
    author = get(body, "svg_usage")
    if author is not None and call.usage is not None:
        made, thought = count(get(author, "output_tokens")), count(get(author, "reasoning_tokens"))
        visible, doubt = rest(made, thought)
        written = Usage(input=count(get(author, "input_tokens")), output=visible, reasoning=thought, inconsistent=doubt)
        call.parts = [
            Call(call.operation, call.provider, call.request_model, usage=call.usage),
            Call("chat", call.provider, text(get(author, "model")), usage=written),
        ]
        call.usage += written


def _sound_response(call: Call, body: Any) -> None:
    usage = get(body, "usage")
    seconds = get(usage, "seconds") if usage is not None else get(body, "duration")
    if isinstance(seconds, str) and seconds.replace(".", "", 1).isdecimal():
        seconds = float(seconds)
    if isinstance(seconds, (int, float)) and 0 <= seconds < 1e9:
        least = _LEAST_MS.get(call.provider, 0)
        call.usage = Usage(requests={"audio_ms": max(least, round(seconds * 1000))})
        return
    given, made = count(get(usage, "input_tokens")), count(get(usage, "output_tokens"))
    if given is None and made is None:
        return
    heard = count(get(usage, "input_token_details", "audio_tokens"))
    uncached, too_much = rest(given, heard)
    doubt = too_much or disagreement(count(get(usage, "total_tokens")), given, made)
    call.usage = Usage(input=uncached, input_audio=heard, output=made, inconsistent=doubt)


def _speech_request(call: Call, body: Mapping[str, Any]) -> None:
    _request(call, body)
    call.request[A.GEN_AI_OUTPUT_TYPE] = "speech"
    call.stream = call.stream or body.get("stream_format") == "sse"
    said = body.get("input")
    if isinstance(said, str):
        # The answer is nothing but sound; where it does tell its usage, that counts.
        call.usage = Usage(requests={"characters": len(said)})


def _speech_response(call: Call, body: Any) -> None:
    given, made = count(get(body, "usage", "input_tokens")), count(get(body, "usage", "output_tokens"))
    if given is not None or made is not None:
        call.usage = Usage(input=given, output=made)


def _moderation_response(call: Call, body: Any) -> None:
    call.response_id = text(get(body, "id"))
    call.response_model = text(get(body, "model"))


images = Dialect(
    name="openai.images",
    operation="image_generation",
    request=_images_request,
    response=_images_response,
    fold=_fold,
    wanted=re.compile(rb'"type"\s*:\s*"image_(?:generation|edit)\.completed"|"error"'),
)
transcriptions = Dialect(
    name="openai.transcriptions",
    operation="transcription",
    request=_request,
    response=_sound_response,
    fold=_fold,
    wanted=re.compile(rb'"type"\s*:\s*"transcript\.text\.done"|"error"'),
)
translations = replace(transcriptions, name="openai.translations", operation="translation")
speech = Dialect(
    name="openai.speech",
    operation="speech",
    request=_speech_request,
    response=_speech_response,
    fold=_fold,
    wanted=re.compile(rb'"type"\s*:\s*"speech\.audio\.done"|"error"'),
)
moderations = Dialect(
    name="openai.moderations", operation="moderation", request=_request, response=_moderation_response
)
