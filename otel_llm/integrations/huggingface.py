"""huggingface_hub's InferenceClient: Hugging Face's router, providers reached through it or directly, own endpoints."""

from __future__ import annotations

import re

from otel_llm.dialects.openai import PATHS
from otel_llm.providers import provider_named, provider_of
from otel_llm.spec import Integration, Speaks
from otel_llm.transports.httpx_send import patches, sent_by, user_agent
from otel_llm.transports.sent import Sent

_ROUTED = re.compile(r"https://router\.huggingface\.co/(?!v1/|hf-inference/)([\w-]+)/")


def _provider(_client: object, sent: Sent, _speaks: Speaks) -> str:
    routed = _ROUTED.match(sent.url)
    return provider_named(routed[1]) if routed else provider_of(sent.host, sent.port, "huggingface")


huggingface = Integration(
    name="huggingface",
    distribution="huggingface-hub",
    oldest="1.0.0",
    newest_major=2,
    surfaces="chat_completion, chat.completions; text_generation and feature_extraction of those who speak OpenAI's",
    patches=patches(sent_by(user_agent("hf_hub/")), PATHS, _provider, "huggingface_hub.utils._http", "httpx", "httpx2"),
)
