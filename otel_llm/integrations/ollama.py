"""ollama: models on one's own machines, and those that its makers host."""

from __future__ import annotations

from otel_llm.dialects.ollama import chat, embeddings, generate
from otel_llm.integrations.sent import client_patches, reader
from otel_llm.providers import provider_of
from otel_llm.spec import Integration

_ROUTES = {"/api/chat": chat, "/api/generate": generate, "/api/embed": embeddings, "/api/embeddings": embeddings}

ollama = Integration(
    name="ollama",
    distribution="ollama",
    oldest="0.4.0",
    newest_major=0,
    surfaces="chat, generate, embed, embeddings",
    patches=client_patches(
        reader(
            _ROUTES,
            lambda host, port: provider_of(host, port, "ollama"),
            lambda sent: sent.headers.get("user-agent", "").startswith("ollama-python/"),
        ),
        "ollama._client",
        "httpx",
    ),
)
