"""mistralai: its own service, and Mistral's models on Azure and Google.

From 1.12 to 2.x the SDK traces itself as soon as there is a tracer provider, later only when told to. Its span of a
call would be a second one, with the prompts in it, so beneath ours it stays silent.
"""

from __future__ import annotations

from typing import Any

from otel_llm.dialects.mistral import (
    batch_file,
    batch_job,
    chat,
    classifications,
    conversations,
    moderations,
    ocr,
    speech,
    transcriptions,
)
from otel_llm.dialects.openai_chat import embeddings
from otel_llm.dialects.openai_responses import responses
from otel_llm.engine.recording import current_recording
from otel_llm.integrations import retries
from otel_llm.integrations.sent import patches
from otel_llm.providers import provider_of
from otel_llm.spec import Hook, Integration

_ROUTES = {
    "/chat/completions": chat,
    "/fim/completions": chat,
    "/agents/completions": chat,
    "/conversations": conversations,
    "/conversations/*": conversations,
    "/responses": responses,
    "/embeddings": embeddings,
    "/ocr": ocr,
    "/audio/transcriptions": transcriptions,
    "/audio/speech": speech,
    "/moderations": moderations,
    "/classifications": classifications,
}
_LATE = {"GET .*/files/(?P<id>[^/]+)/content": batch_file, "GET .*/batch/jobs/(?P<id>[^/]+)": batch_job}
_CLIENTS = (
    "mistralai.client",
    "mistralai.azure.client",
    "mistralai.gcp.client",
    "mistralai",
    "mistralai_azure",
    "mistralai_gcp",
)


def _get_traced_request_and_span(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if current_recording() is not None:
        kwargs = {**kwargs, "tracing_enabled": False}
    return wrapped(*args, **kwargs)


mistral = Integration(
    name="mistral",
    distribution="mistralai",
    oldest="1.9.11",
    newest_major=3,
    surfaces="chat, fill in the middle, agents, conversations, responses, embeddings, OCR, transcriptions, "
    "speech, moderations, classifications, batches; Azure and Google clients",
    patches=patches(
        [
            (f"{client}.basesdk", f"BaseSDK.{name}")
            for client in _CLIENTS
            for name in ("do_request", "do_request_async")
        ],
        _ROUTES,
        lambda host, port: provider_of(host, port, "mistral_ai"),
        _LATE,
    ),
    hooks=tuple(
        hook
        for client in _CLIENTS
        for hook in (
            Hook(f"{client}._hooks.tracing", "get_traced_request_and_span", _get_traced_request_and_span),
            retries.speakeasy(client),
        )
    ),
)
