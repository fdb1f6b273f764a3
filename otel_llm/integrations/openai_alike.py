"""together, fireworks and cerebras: SDKs of the Stainless generator that speak OpenAI's chat.

Together tells how long a sound was in `verbose_json` alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_llm.dialects.anthropic_messages import messages
from otel_llm.dialects.cohere import rerank
from otel_llm.dialects.openai_batches import results
from otel_llm.dialects.openai_chat import embeddings, unasked, unasked_completions
from otel_llm.dialects.openai_media import images, speech, transcriptions, translations
from otel_llm.integrations.stainless import hooks, patches
from otel_llm.providers import provider_of
from otel_llm.spec import Batch, Dialect, Integration


def _integration(
    name: str,
    distribution: str,
    package: str,
    oldest: str,
    newest_major: int,
    surfaces: str,
    more: Mapping[str, Dialect] | None = None,
    late: Mapping[str, Dialect | Batch] | None = None,
) -> Integration:
    # Some releases have the version in the base URL, others in the path.
    routes = {"chat/completions": unasked, "completions": unasked_completions, **(more or {})}
    paths = {f"{prefix}/{route}": dialect for route, dialect in routes.items() for prefix in ("", "/v1")}
    return Integration(
        name=name,
        distribution=distribution,
        oldest=oldest,
        newest_major=newest_major,
        surfaces=surfaces,
        patches=patches(package, paths, lambda _client, host, port: provider_of(host, port, name), late),
        hooks=hooks(package),
    )


together = _integration(
    "together",
    "together",
    "together",
    "2.0.0",
    3,
    "chat completions, completions, embeddings, rerank, images, audio, batches",
    {
        "embeddings": embeddings,
        "rerank": rerank,
        "images/generations": images,
        "audio/speech": speech,
        "audio/transcriptions": transcriptions,
        "audio/translations": translations,
    },
    {
        "GET .*/files/(?P<id>[^/]+)/content": results(
            {"chat.completion": unasked, "translate": translations}, {"text": transcriptions}
        )
    },
)
fireworks = _integration(
    "fireworks",
    "fireworks-ai",
    "fireworks",
    "1.2.0",
    1,
    "chat completions, completions, messages",
    {"messages": messages},
)
cerebras = _integration(
    "cerebras", "cerebras-cloud-sdk", "cerebras.cloud.sdk", "1.91.0", 1, "chat completions, completions"
)
