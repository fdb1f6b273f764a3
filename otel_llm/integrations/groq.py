"""groq: speaks as OpenAI does. Only `verbose_json` tells how long a sound was, which is what it costs."""

from __future__ import annotations

from otel_llm.dialects.openai import PATHS
from otel_llm.spec import Integration
from otel_llm.transports import stainless

groq = Integration(
    name="groq",
    distribution="groq",
    oldest="0.9.0",
    newest_major=1,
    surfaces="chat completions, compound systems, embeddings, audio, batches",
    patches=stainless.patches("groq", PATHS, "groq"),
    hooks=stainless.hooks("groq"),
)
