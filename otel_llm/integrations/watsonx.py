"""ibm-watsonx-ai: its own subclasses of httpx's clients, which all that it sends passes.

Above them it asks again when a limit is hit: these are calls of their own. Beneath them it retries: attempts of one.
"""

from __future__ import annotations

from otel_llm.dialects import openai_chat
from otel_llm.dialects.watsonx import chat, embeddings, generation, rerank
from otel_llm.integrations.retries import retry
from otel_llm.integrations.sent import patches
from otel_llm.spec import Integration

_ROUTES = {
    "/text/chat": chat,
    "/text/chat_stream": chat,
    "/text/generation": generation,
    "/text/generation_stream": generation,
    "/text/embeddings": embeddings,
    "/text/rerank": rerank,
    "/gateway/v1/chat/completions": openai_chat.chat,
    "/gateway/v1/completions": openai_chat.completions,
    "/gateway/v1/embeddings": openai_chat.embeddings,
}
_CLIENTS = "ibm_watsonx_ai._wrappers.httpx.client"
_RETRIES = "ibm_watsonx_ai._wrappers.httpx.retry_transport.retry_transport_mixin"


watsonx = Integration(
    name="watsonx",
    distribution="ibm-watsonx-ai",
    oldest="1.6.0",
    newest_major=1,
    surfaces="chat, text generation, embeddings, rerank, model gateway",
    patches=patches(
        [
            (f"{_CLIENTS}.httpx_client", "HTTPXClient.send"),
            (f"{_CLIENTS}.httpx_async_client", "HTTPXAsyncClient.send"),
        ],
        _ROUTES,
        lambda _host, _port: "ibm.watsonx.ai",
    ),
    hooks=(
        retry(_RETRIES, "RetryTransportMixin._get_sleep_time", response="response", asks=True),
        retry(_RETRIES, "RetryTransportMixin._is_retry_on_server_disconnect", error="error", asks=True),
    ),
)
