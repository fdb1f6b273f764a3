"""openai: OpenAI, AsyncOpenAI, AzureOpenAI, and every provider that is called with them by base URL."""

from __future__ import annotations

from typing import Any

from otel_llm.dialects.openai_chat import chat, completions, embeddings
from otel_llm.dialects.openai_responses import responses
from otel_llm.integrations.providers import provider_of
from otel_llm.integrations.stainless import hooks, patches
from otel_llm.spec import Integration


def _provider(client: Any, host: str | None, port: int | None) -> str:
    azure = any(kind.__name__ == "BaseAzureClient" for kind in type(client).__mro__)
    return "azure.ai.openai" if azure else provider_of(host, port, "openai")


openai = Integration(
    name="openai",
    distribution="openai",
    oldest="1.40.0",
    newest_major=3,
    surfaces="chat completions, responses, embeddings, legacy completions; Azure OpenAI; any base URL",
    patches=patches(
        "openai",
        {"/chat/completions": chat, "/responses": responses, "/embeddings": embeddings, "/completions": completions},
        _provider,
    ),
    hooks=hooks("openai"),
)
