"""Groq's sounds: as OpenAI's, but billed for ten seconds at least (https://console.groq.com/docs/speech-to-text)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from otel_llm.call import Call
from otel_llm.dialects import openai_media

_LEAST_MS = 10_000


def _heard(call: Call, body: Any) -> None:
    openai_media.transcriptions.response(call, body)
    if call.usage is not None and "audio_ms" in call.usage.requests:
        call.usage.requests["audio_ms"] = max(_LEAST_MS, call.usage.requests["audio_ms"])


transcriptions = replace(openai_media.transcriptions, name="groq.transcriptions", response=_heard)
translations = replace(openai_media.translations, name="groq.translations", response=_heard)
