"""lm15: what dspy, from 3.4 on, sends with a HTTP client of its own. What it sends with litellm is recorded there."""

from __future__ import annotations

from otel_llm.dialects import gemini, openai_chat
from otel_llm.dialects.every import MAKERS, PATHS
from otel_llm.spec import Integration
from otel_llm.transports import lm15_http
from otel_llm.transports.sent import at

_MAKERS = {**MAKERS, openai_chat.chat: "openai", gemini.generate: "gcp.gemini"}

lm15 = Integration(
    name="lm15",
    distribution="dspy",
    oldest="3.4.0",
    newest_major=3,
    surfaces="what dspy sends itself: chat and responses, streams",
    patches=lm15_http.patches(PATHS, at("lm15", makers=_MAKERS)),
)
