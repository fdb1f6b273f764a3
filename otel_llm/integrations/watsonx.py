"""ibm-watsonx-ai: subclasses of httpx's clients, or those that it was given, which all that it sends passes.

Above them it asks again when a limit is hit: these are calls of their own. Beneath them it retries: attempts of one.
"""

from __future__ import annotations

from otel_llm.dialects.watsonx import PATHS
from otel_llm.spec import Integration
from otel_llm.transports.httpx_send import patches, sent_by, user_agent
from otel_llm.transports.retries import retry

_OWN = sent_by(user_agent("ibm-watsonx-ai/"))
_HTTPX = "ibm_watsonx_ai._wrappers.httpx"
_AGAIN = f"{_HTTPX}.retry_transport.retry_transport_mixin"

watsonx = Integration(
    name="watsonx",
    distribution="ibm-watsonx-ai",
    oldest="1.6.0",
    newest_major=1,
    surfaces="chat, text generation, embeddings, rerank, transcriptions, model gateway",
    patches=patches(_OWN, PATHS, "ibm.watsonx.ai", f"{_HTTPX}.client.httpx_client", "httpx"),
    hooks=(
        retry(_AGAIN, "RetryTransportMixin._get_sleep_time", response="response", asks=True),
        retry(_AGAIN, "RetryTransportMixin._is_retry_on_server_disconnect", error="error", asks=True),
    ),
)
