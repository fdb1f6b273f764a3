"""ibm-watsonx-ai: its own subclasses of httpx's clients, or those that it was given, which all that it sends passes.

Above them it asks again when a limit is hit: these are calls of their own. Beneath them it retries: attempts of one.
"""

from __future__ import annotations

from otel_llm.dialects import openai_chat
from otel_llm.dialects.watsonx import chat, embeddings, generation, rerank
from otel_llm.integrations.retries import retry
from otel_llm.integrations.sent import client_patches, reader
from otel_llm.spec import Integration, Patch

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


def _provider(_host: str | None, _port: int | None) -> str:
    return "ibm.watsonx.ai"


_read = reader(_ROUTES, _provider)
_read_given = reader(_ROUTES, _provider, lambda sent: sent.headers.get("user-agent", "").startswith("ibm-watsonx-ai/"))

watsonx = Integration(
    name="watsonx",
    distribution="ibm-watsonx-ai",
    oldest="1.6.0",
    newest_major=1,
    surfaces="chat, text generation, embeddings, rerank, model gateway",
    patches=(
        Patch(f"{_CLIENTS}.httpx_client", "HTTPXClient.send", _read),
        Patch(f"{_CLIENTS}.httpx_async_client", "HTTPXAsyncClient.send", _read),
        *client_patches(_read_given, f"{_CLIENTS}.httpx_client", "httpx"),
    ),
    hooks=(
        retry(_RETRIES, "RetryTransportMixin._get_sleep_time", response="response", asks=True),
        retry(_RETRIES, "RetryTransportMixin._is_retry_on_server_disconnect", error="error", asks=True),
    ),
)
