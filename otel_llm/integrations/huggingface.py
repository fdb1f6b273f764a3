"""huggingface_hub's InferenceClient: Hugging Face's router, providers reached through it or directly, own endpoints."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from otel_llm.dialects.openai_chat import chat, completions, embeddings
from otel_llm.integrations.sent import client_patches, reader
from otel_llm.providers import provider_named, provider_of
from otel_llm.spec import Integration, Request

_ROUTED = re.compile(r"https://router\.huggingface\.co/(?!v1/|hf-inference/)([\w-]+)/")

_read = reader(
    {"/chat/completions": chat, "/completions": completions, "/embeddings": embeddings},
    lambda host, port: provider_of(host, port, "huggingface"),
    lambda sent: "hf_hub/" in sent.headers.get("user-agent", ""),
)


def _read_routed(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
    request = _read(client, args, kwargs)
    if request is None:
        return None
    routed = _ROUTED.match(str((kwargs["request"] if "request" in kwargs else args[0]).url))
    return replace(request, provider=provider_named(routed[1])) if routed else request


huggingface = Integration(
    name="huggingface",
    distribution="huggingface-hub",
    oldest="1.0.0",
    newest_major=2,
    surfaces="chat_completion, chat.completions; text_generation and feature_extraction of those who speak OpenAI's",
    patches=client_patches(_read_routed, "huggingface_hub.utils._http", "httpx", "httpx2"),
)
