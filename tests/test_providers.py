"""Who is behind a base URL."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from otel_llm.providers import provider_of


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://eu.api.openai.com/v1", "openai"),
        ("https://my-resource.openai.azure.com/openai", "azure.ai.openai"),
        ("https://models.inference.ai.azure.com", "azure.ai.inference"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://us-east-1.api.x.ai/v1", "x_ai"),
        ("https://api.perplexity.ai", "perplexity"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.together.xyz/v1", "together"),
        ("https://api.fireworks.ai/inference/v1", "fireworks"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "gcp.gemini"),
        ("https://us-east5-aiplatform.googleapis.com/v1", "gcp.vertex_ai"),
        ("https://aiplatform.googleapis.com/v1", "gcp.vertex_ai"),
        ("https://api.mistral.ai/v1", "mistral_ai"),
        ("https://api.cerebras.ai/v1", "cerebras"),
        ("https://router.huggingface.co/v1", "huggingface"),
        ("https://api.cohere.ai/compatibility/v1", "cohere"),
        ("https://api.voyageai.com/v1", "voyageai"),
        ("https://dbc-1.cloud.databricks.com/serving-endpoints", "databricks"),
        ("http://localhost:11434/v1", "ollama"),
        ("http://gpu-box:11434/v1", "ollama"),
        ("http://127.0.0.1:1234/v1", "lm_studio"),
        ("http://localhost:8000/v1", "the SDK's own"),
        ("http://vllm:8000/v1", "vllm"),
        ("http://llama-vllm.models.svc.cluster.local/v1", "vllm"),
        ("http://ollama:80/v1", "ollama"),
        ("https://novllms.example.com/v1", "the SDK's own"),
        ("https://llm.example.com/v1", "the SDK's own"),
        ("https://notopenai.com/v1", "the SDK's own"),
    ],
)
def test_provider(url: str, provider: str) -> None:
    where = urlsplit(url)
    assert provider_of(where.hostname, where.port, "the SDK's own") == provider


def test_nobody_knows() -> None:
    assert provider_of(None, None, "the SDK's own") == "the SDK's own"
