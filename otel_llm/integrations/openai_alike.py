"""together, fireworks and cerebras: SDKs of the Stainless generator that speak OpenAI's chat.

Together tells how long a sound was in `verbose_json` alone.
"""

from __future__ import annotations

from otel_llm.dialects.anthropic_messages import messages
from otel_llm.dialects.cohere import rerank
from otel_llm.dialects.openai import UNASKED
from otel_llm.spec import Integration
from otel_llm.transports import stainless

together = Integration(
    name="together",
    distribution="together",
    oldest="2.0.0",
    newest_major=3,
    surfaces="chat completions, completions, embeddings, rerank, images, audio, batches",
    patches=stainless.patches("together", {**UNASKED, "/rerank": rerank}, "together"),
    hooks=stainless.hooks("together"),
)
fireworks = Integration(
    name="fireworks",
    distribution="fireworks-ai",
    oldest="1.2.0",
    newest_major=1,
    surfaces="chat completions, completions, messages",
    patches=stainless.patches("fireworks", {**UNASKED, "/messages": messages}, "fireworks"),
    hooks=stainless.hooks("fireworks"),
)
cerebras = Integration(
    name="cerebras",
    distribution="cerebras-cloud-sdk",
    oldest="1.91.0",
    newest_major=1,
    surfaces="chat completions, completions",
    patches=stainless.patches("cerebras.cloud.sdk", UNASKED, "cerebras"),
    hooks=stainless.hooks("cerebras.cloud.sdk"),
)
