"""mistralai: its own service, and Mistral's models on Azure and Google.

From 1.12 to 2.x the SDK traces itself as soon as there is a tracer provider, later only when told to. Its span of a
call would be a second one, with the prompts in it, so beneath ours it stays silent.
"""

from __future__ import annotations

from otel_llm.dialects.mistral import PATHS
from otel_llm.spec import Integration
from otel_llm.transports import speakeasy
from otel_llm.transports.own_spans import disabled

_CLIENTS = [f"mistralai{kind}" for kind in ("", "_azure", "_gcp", ".client", ".azure.client", ".gcp.client")]

mistral = Integration(
    name="mistral",
    distribution="mistralai",
    oldest="1.9.11",
    newest_major=3,
    surfaces="chat, fill in the middle, agents, conversations, responses, embeddings, OCR, transcriptions, "
    "speech, moderations, classifications, batches; Azure and Google clients",
    patches=speakeasy.patches(_CLIENTS, PATHS, "mistral_ai"),
    hooks=(
        *speakeasy.hooks(_CLIENTS),
        *(disabled(f"{name}._hooks.tracing", "get_traced_request_and_span", "tracing_enabled") for name in _CLIENTS),
    ),
)
