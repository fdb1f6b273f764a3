"""ibm-watsonx-ai: its own subclasses of httpx's clients, which all that it sends passes.

Above them it asks again when a limit is hit: these are calls of their own. Beneath them it retries: attempts of one.
"""

from __future__ import annotations

from typing import Any

from otel_llm.dialects import openai_chat
from otel_llm.dialects.watsonx import chat, embeddings, generation, rerank
from otel_llm.engine.recording import current_recording
from otel_llm.guard import guard
from otel_llm.integrations.sent import patches
from otel_llm.spec import Hook, Integration

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


def _get_sleep_time(wrapped: Any, _transport: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    sleep = wrapped(*args, **kwargs)
    with guard:
        recording = current_recording()
        if recording is not None and sleep is not None:
            recording.attempt_answered((args[0] if args else kwargs["response"]).status_code)
            recording.retried(None)
    return sleep


def _is_retry_on_server_disconnect(wrapped: Any, _transport: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    again = wrapped(*args, **kwargs)
    with guard:
        recording = current_recording()
        if recording is not None and again:
            recording.retried(args[0] if args else kwargs["error"])
    return again


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
        Hook(_RETRIES, "RetryTransportMixin._get_sleep_time", _get_sleep_time),
        Hook(_RETRIES, "RetryTransportMixin._is_retry_on_server_disconnect", _is_retry_on_server_disconnect),
    ),
)
