"""ollama: models on one's own machines, and those that its makers host."""

from __future__ import annotations

from otel_llm.dialects.ollama import PATHS
from otel_llm.spec import Integration
from otel_llm.transports.httpx_send import patches, sent_by, user_agent

ollama = Integration(
    name="ollama",
    distribution="ollama",
    oldest="0.4.0",
    newest_major=0,
    surfaces="chat, generate, embed, embeddings",
    patches=patches(sent_by(user_agent("ollama-python/")), PATHS, "ollama", "ollama._client", "httpx"),
)
