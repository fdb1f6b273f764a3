"""What those speak who send to many providers with a HTTP client of their own: all of it, by its path."""

from __future__ import annotations

from collections.abc import Mapping

from otel_llm.dialects import anthropic_messages, bedrock, cohere, gemini, ollama, openai, watsonx
from otel_llm.dialects.openai_chat import unasked
from otel_llm.dialects.openai_responses import responses
from otel_llm.spec import Paths, Speaks

PATHS: Paths = {
    **watsonx.PATHS,
    **ollama.PATHS,
    **cohere.PATHS,
    **bedrock.PATHS,
    **gemini.PATHS,
    **anthropic_messages.PATHS,
    **openai.PATHS,
    "/models/{model}:(streamR|r)awPredict": unasked,
}
MAKERS: Mapping[Speaks, str] = {anthropic_messages.messages: "anthropic", responses: "openai"}
"""Whose dialect it is, where nobody else is likely to speak it."""
