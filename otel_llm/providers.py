"""Which provider is behind a base URL, or behind a name that others give it.

Names are those of the conventions where they have one.
"""

from __future__ import annotations

import re
from typing import Any

_HOSTS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x_ai",
    "api.perplexity.ai": "perplexity",
    "api.mistral.ai": "mistral_ai",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "openrouter.ai": "openrouter",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.cerebras.ai": "cerebras",
    "api.deepinfra.com": "deepinfra",
    "api.minimax.io": "minimax",
    "api.novita.ai": "novita",
    "api.sambanova.ai": "sambanova",
    "api.voyageai.com": "voyageai",
    "ai.mongodb.com": "voyageai",
    "api.z.ai": "z_ai",
    "inference.baseten.co": "baseten",
    "integrate.api.nvidia.com": "nvidia",
    "ollama.com": "ollama",
    "router.huggingface.co": "huggingface",
}
_DOMAINS = {
    "openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "inference.ai.azure.com": "azure.ai.inference",
    "databricks.com": "databricks",
    "azuredatabricks.net": "databricks",
    "endpoints.huggingface.cloud": "huggingface",
    "amazonaws.com": "aws.bedrock",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "googleapis.com": "gcp.gen_ai",
    "x.ai": "x_ai",
}
# Of servers on one's own machines, whatever those are called. vLLM's 8000 is everybody's: there the answers tell.
_PORTS = {11434: "ollama", 1234: "lm_studio"}
_SERVICES = {"vllm": "vllm", "ollama": "ollama"}
"""How people call the machines and services that run them, in a part of the name: `vllm`, `my-vllm.models.svc`."""

_ALIASES = {
    "amazon_bedrock": "aws.bedrock",
    "aws": "aws.bedrock",
    "aws_bedrock": "aws.bedrock",
    "az.ai.inference": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "cohere_chat": "cohere",
    "fireworks-ai": "fireworks",
    "fireworks_ai": "fireworks",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "ibm": "ibm.watsonx.ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "moonshot": "moonshot_ai",
    "ollama_chat": "ollama",
    "together_ai": "together",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
    "zai-org": "z_ai",
}
"""What LangChain, LiteLLM, Hugging Face's router and other instrumentations call them."""


def provider_named(name: str) -> str:
    """The provider that somebody else calls `name`."""
    return _ALIASES.get(name, name)


def provider_of(host: str | None, port: int | None, default: str) -> str:
    """The provider's name; `default`, the SDK's own, where the host is not known."""
    if host is None:
        return default
    found = _public(host) or _PORTS.get(port or 0)
    if found is None:
        parts = re.split(r"[.-]", host)
        found = next((name for part, name in _SERVICES.items() if part in parts), default)
    return found


def is_provider(host: str | None) -> bool:
    """Whether only providers of models have such an address. Much of Amazon's is one's own services."""
    if host is not None and host.endswith(".amazonaws.com"):
        return host.startswith("bedrock")
    return host is not None and _public(host) is not None


def _public(host: str) -> str | None:
    """Whose address it is, of the providers that serve everybody."""
    if host in _HOSTS:
        return _HOSTS[host]
    if host.endswith("-aiplatform.googleapis.com"):  # after its region
        return "gcp.vertex_ai"
    labels = host.split(".")
    domains = (".".join(labels[start:]) for start in range(len(labels) - 1))
    return next((_DOMAINS[domain] for domain in domains if domain in _DOMAINS), None)


def port_of(url: Any) -> int | None:
    """The port of an httpx URL or a `urlsplit` result, said or not."""
    return url.port or {"http": 80, "https": 443}.get(url.scheme)
