"""litellm: what it sends with its own HTTP clients. What it sends with openai's SDK is recorded there.

Every request passes exactly one of the two, so it counts once; the Router's retries and fallbacks are calls of their
own, each at its deployment's model. A cache hit or a mocked response sends nothing, and is no call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from otel_llm.dialects import cohere, gemini, ollama, watsonx
from otel_llm.dialects.anthropic_messages import messages
from otel_llm.dialects.bedrock import converse, invoked
from otel_llm.dialects.openai_chat import chat, completions, embeddings, unasked
from otel_llm.dialects.openai_media import images, speech, transcriptions
from otel_llm.dialects.openai_responses import responses
from otel_llm.engine.recording import current_recording
from otel_llm.integrations.retries import retry
from otel_llm.providers import port_of, provider_named, provider_of
from otel_llm.spec import Dialect, Integration, Patch, Request

_HTTP = "litellm.llms.custom_httpx.http_handler"
_Speaks = Dialect | Callable[[Mapping[str, Any]], Dialect]
"""A dialect, or what finds it by the request body."""
_ROUTES: tuple[tuple[str, _Speaks], ...] = (
    ("/chat/completions", chat),
    ("/completions", completions),
    ("/embeddings", embeddings),
    ("/responses", responses),
    ("/images/(?:generations|edits)", images),
    ("/audio/transcriptions", transcriptions),
    ("/audio/speech", speech),
    ("/v1/messages", messages),
    ("/publishers/anthropic/models/(?P<model>[^/:]+):(?:streamR|r)awPredict", messages),
    ("/models/(?P<model>[^/:]+):(?:streamR|r)awPredict", unasked),
    ("/models/(?P<model>[^/:]+):(?:streamG|g)enerateContent", gemini.generate),
    ("/models/(?P<model>[^/:]+):(?:embedContent|batchEmbedContents)", gemini.embed),
    ("/models/(?P<model>[^/:]+):predict", gemini.prediction),
    ("/model/(?P<model>[^/]+)/converse(?:-stream)?", converse),
    ("/model/(?P<model>[^/]+)/invoke(?:-with-response-stream)?", invoked),
    ("/v[12]/chat", cohere.chat),
    ("/v[12]/embed", cohere.embeddings),
    ("/rerank", cohere.rerank),
    ("/api/chat", ollama.chat),
    ("/api/generate", ollama.generate),
    ("/api/embed", ollama.embeddings),
    ("/ml/v1/text/chat(?:_stream)?", watsonx.chat),
)
MAKERS = {messages: "anthropic", responses: "openai"}
_TELL_UNASKED = ("groq", "mistral_ai", "together", "fireworks", "cerebras", "x_ai", "deepseek", "openrouter")


def _read(_handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
    url = urlsplit(str(args[0] if args else kwargs["url"]))
    field = next((name for name in ("data", "json") if kwargs.get(name) is not None), None)
    if field is None:
        return None
    sent: Any = kwargs[field]
    known = spoken(url.path, sent)
    if known is None:
        return None
    dialect, body = known
    told: str = getattr(kwargs.get("logging_obj"), "custom_llm_provider", None) or MAKERS.get(dialect, "litellm")
    provider = provider_of(url.hostname, url.port, provider_named(told))
    if dialect is chat and provider in _TELL_UNASKED:
        dialect = unasked

    def with_body(changed: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, {**kwargs, field: changed if isinstance(sent, dict) else json.dumps(changed)}

    return Request(
        dialect=dialect,
        provider=provider,
        body=body,
        stream=bool(kwargs.get("stream")),
        server_address=url.hostname,
        server_port=port_of(url),
        with_body=None if isinstance(sent, bytes) else with_body,  # signed
        transport=_answered,
    )


def spoken(path: str, sent: Any) -> tuple[Dialect, dict[str, Any]] | None:
    """The dialect of what is sent to this path, and its body with what the path says; None where it is no call."""
    found = next(((place, speaks) for known, speaks in _ROUTES if (place := re.search(known + "$", path))), None)
    if found is None:
        return None
    place, speaks = found
    said: Any = json.loads(sent) if isinstance(sent, (str, bytes)) else sent
    if not isinstance(said, dict):
        return None
    named = {name: unquote(model) for model in place.groups() for name in ("model", "modelId")}
    body = {**cast("dict[str, Any]", said), **named}
    return speaks if isinstance(speaks, Dialect) else speaks(body), body


def _answered(response: Any) -> Any:
    recording = current_recording()
    if recording is not None:
        recording.call.response_id = response.headers.get("x-amzn-requestid")  # Converse has none in the body
    return response


litellm = Integration(
    name="litellm",
    distribution="litellm",
    oldest="1.95.0",
    newest_major=1,
    surfaces="completion, text completion, responses, embeddings, rerank, messages, images, audio, Router: "
    "what it sends itself",
    patches=(Patch(_HTTP, "HTTPHandler.post", _read), Patch(_HTTP, "AsyncHTTPHandler.post", _read)),
    hooks=(retry(_HTTP, "AsyncHTTPHandler.single_connection_post_request"),),
)
