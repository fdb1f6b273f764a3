"""together, fireworks and cerebras: SDKs of the Stainless generator that speak OpenAI's chat."""

from __future__ import annotations

from otel_llm.dialects.anthropic_messages import messages
from otel_llm.dialects.cohere import rerank
from otel_llm.dialects.openai_chat import embeddings, unasked, unasked_completions
from otel_llm.integrations.stainless import hooks, patches
from otel_llm.providers import provider_of
from otel_llm.spec import Dialect, Integration


def _integration(
    name: str, distribution: str, package: str, oldest: str, newest_major: int, surfaces: str, **more: Dialect
) -> Integration:
    # Some releases have the version in the base URL, others in the path.
    routes = {"chat/completions": unasked, "completions": unasked_completions, **more}
    paths = {f"{prefix}/{route}": dialect for route, dialect in routes.items() for prefix in ("", "/v1")}
    return Integration(
        name=name,
        distribution=distribution,
        oldest=oldest,
        newest_major=newest_major,
        surfaces=surfaces,
        patches=patches(package, paths, lambda _client, host, port: provider_of(host, port, name)),
        hooks=hooks(package),
    )


together = _integration(
    "together",
    "together",
    "together",
    "2.0.0",
    3,
    "chat completions, completions, embeddings, rerank",
    embeddings=embeddings,
    rerank=rerank,
)
fireworks = _integration(
    "fireworks", "fireworks-ai", "fireworks", "1.2.0", 1, "chat completions, completions, messages", messages=messages
)
cerebras = _integration(
    "cerebras", "cerebras-cloud-sdk", "cerebras.cloud.sdk", "1.91.0", 1, "chat completions, completions"
)
