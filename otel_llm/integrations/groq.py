"""groq: speaks OpenAI's chat."""

from __future__ import annotations

from otel_llm.dialects.openai_chat import chat, embeddings
from otel_llm.integrations.stainless import hooks, patches
from otel_llm.providers import provider_of
from otel_llm.spec import Integration

groq = Integration(
    name="groq",
    distribution="groq",
    oldest="0.9.0",
    newest_major=1,
    surfaces="chat completions, embeddings",
    patches=patches(
        "groq",
        {"/openai/v1/chat/completions": chat, "/openai/v1/embeddings": embeddings},
        lambda _client, host, port: provider_of(host, port, "groq"),
    ),
    hooks=hooks("groq"),
)
