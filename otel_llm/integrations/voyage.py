"""voyageai: a call is a call of its clients, with all its attempts."""

from __future__ import annotations

from otel_llm.dialects.voyage import PATHS
from otel_llm.spec import Integration
from otel_llm.transports import voyage_client
from otel_llm.transports.retries import tenacity

_METHODS = ("embed", "contextualized_embed", "multimodal_embed", "rerank")

voyage = Integration(
    name="voyage",
    distribution="voyageai",
    oldest="0.3.7",
    newest_major=0,
    surfaces="embed, contextualized_embed, multimodal_embed, rerank",
    patches=voyage_client.patches(_METHODS, PATHS, "voyageai"),
    hooks=(tenacity("voyageai"),),
)
