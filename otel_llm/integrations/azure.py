"""azure-ai-inference: models on Azure.

`AIInferenceInstrumentor` of the SDK puts a span around the call, above ours: while ours is on, it says nothing of
models and tokens, so that it is no second call.
"""

from __future__ import annotations

from otel_llm.dialects.openai import UNASKED
from otel_llm.spec import Integration
from otel_llm.transports import azure_core
from otel_llm.transports.own_spans import untold

_INSTRUMENTOR = "_AIInferenceInstrumentorPreview"

azure = Integration(
    name="azure_inference",
    distribution="azure-ai-inference",
    oldest="1.0.0b5",
    newest_major=1,
    surfaces="chat completions, embeddings",
    patches=azure_core.patches(UNASKED, "azure.ai.inference"),
    hooks=(
        azure_core.RETRIES,
        untold("azure.ai.inference.tracing", f"{_INSTRUMENTOR}._add_request_chat_attributes"),
        untold("azure.ai.inference.tracing", f"{_INSTRUMENTOR}._add_response_chat_attributes"),
    ),
)
