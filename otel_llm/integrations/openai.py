"""openai: OpenAI, AsyncOpenAI, AzureOpenAI, and every provider that is called with them by base URL."""

from __future__ import annotations

from typing import Any

from otel_llm.dialects.openai_assistants import runs
from otel_llm.dialects.openai_batches import results
from otel_llm.dialects.openai_chat import chat, completions, embeddings
from otel_llm.dialects.openai_media import images, moderations, speech, transcriptions, translations
from otel_llm.dialects.openai_realtime import conversation
from otel_llm.dialects.openai_responses import responses
from otel_llm.dialects.reading import get
from otel_llm.integrations.stainless import hooks, patches
from otel_llm.providers import provider_of
from otel_llm.spec import Integration, Socket


def _provider(client: Any, host: str | None, port: int | None) -> str:
    azure = any(kind.__name__ == "BaseAzureClient" for kind in type(client).__mro__)
    return "azure.ai.openai" if azure else provider_of(host, port, "openai")


_ROUTES = {
    "/chat/completions": chat,
    "/responses": responses,
    "/responses/compact": responses,
    "/decisions": responses,
    "/embeddings": embeddings,
    "/completions": completions,
    "/images/generations": images,
    "/images/edits": images,
    "/images/variations": images,
    "/audio/transcriptions": transcriptions,
    "/audio/translations": translations,
    "/audio/speech": speech,
    "/moderations": moderations,
    "/threads/runs": runs,
    "/threads/*/runs": runs,
}

_BATCH = results(
    {"chat.completion": chat, "response": responses, "text_completion": completions, "list": embeddings},
    {"data": images},
)

_CONNECTIONS = (
    ("realtime.realtime", "RealtimeConnection"),
    ("beta.realtime.realtime", "RealtimeConnection"),
    ("responses.responses", "ResponsesConnection"),
    ("beta.responses.responses", "ResponsesConnection"),
    ("live.live", "LiveConnection"),
    ("live.sideband", "SidebandConnection"),
    ("live.forks", "ForksConnection"),
)


def _server(connection: Any) -> tuple[str, str | None, int | None]:
    host, _, port = get(connection, "_connection", "request", "headers")["Host"].partition(":")
    return provider_of(host, None, "openai"), host, int(port or 443)


openai = Integration(
    name="openai",
    distribution="openai",
    oldest="1.40.0",
    newest_major=3,
    surfaces="chat completions, responses, decisions, embeddings, legacy completions, images, audio, moderations, "
    "background responses, batches, runs of assistants, realtime, live; Azure OpenAI; any base URL",
    patches=patches(
        "openai",
        _ROUTES,
        _provider,
        {
            "GET .*/responses/(?P<id>[^/]+)": responses,
            "POST .*/responses/(?P<id>[^/]+)/cancel": responses,
            "(?:GET|POST) .*/threads/[^/]+/runs/(?P<id>[^/]+)(?:/cancel|/submit_tool_outputs)?": runs,
            "GET .*/files/(?P<id>[^/]+)/content": _BATCH,
        },
    ),
    hooks=(
        *hooks("openai"),
        *(
            Socket(f"openai.resources.{module}", f"{prefix}{name}.recv_bytes", conversation, _server)
            for module, name in _CONNECTIONS
            for prefix in ("", "Async")
        ),
    ),
)
