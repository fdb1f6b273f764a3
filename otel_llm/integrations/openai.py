"""openai: OpenAI, AsyncOpenAI, AzureOpenAI, and every provider that is called with them by base URL."""

from __future__ import annotations

from otel_llm.dialects.openai import PATHS
from otel_llm.dialects.openai_realtime import conversation
from otel_llm.spec import Integration
from otel_llm.transports import stainless
from otel_llm.transports.openai_sockets import sockets
from otel_llm.transports.sent import at

openai = Integration(
    name="openai",
    distribution="openai",
    oldest="1.40.0",
    newest_major=3,
    surfaces="chat completions, responses, decisions, embeddings, legacy completions, images, audio, moderations, "
    "background responses, batches, runs of assistants, realtime, live; Azure OpenAI; any base URL",
    patches=stainless.patches("openai", PATHS, at("openai", {"BaseAzureClient": "azure.ai.openai"})),
    hooks=(*stainless.hooks("openai"), *sockets(conversation)),
)
