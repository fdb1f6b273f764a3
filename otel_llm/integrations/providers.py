"""Which provider is behind a base URL. Names are those of the conventions where they have one."""

from __future__ import annotations

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
    "router.huggingface.co": "huggingface",
}
_DOMAINS = {
    "openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "amazonaws.com": "aws.bedrock",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "googleapis.com": "gcp.gen_ai",
    "x.ai": "x_ai",
}
_LOCAL_PORTS = {11434: "ollama", 1234: "lm_studio"}
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "host.docker.internal"})


def provider_of(host: str | None, port: int | None, default: str) -> str:
    """The provider's name; `default`, the SDK's own, where the host is not known."""
    if host is None:
        return default
    if host in _LOCAL:
        return _LOCAL_PORTS.get(port or 0, default)
    if host in _HOSTS:
        return _HOSTS[host]
    labels = host.split(".")
    for start in range(len(labels) - 1):
        found = _DOMAINS.get(".".join(labels[start:]))
        if found is not None:
            return found
    # `us-east5-aiplatform.googleapis.com`
    return "gcp.vertex_ai" if host.endswith("-aiplatform.googleapis.com") else default
