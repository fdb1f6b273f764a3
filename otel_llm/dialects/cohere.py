"""Cohere's chat, embeddings, reranking and reading, in version 2 and 1 of its API, and what version 1 had besides.

Usage: `billed_units` is what counts; `tokens` is more, it is what the model got to see. No response of
Cohere's names the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from otel_llm.call import Call, Usage
from otel_llm.dialects.content import cohere_content, prompt_content
from otel_llm.dialects.openai_media import transcriptions
from otel_llm.dialects.reading import count, get, items, parameters, text
from otel_llm.spec import Dialect, Paths
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {
    "max_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "p": (A.GEN_AI_REQUEST_TOP_P, float),
    "k": (A.GEN_AI_REQUEST_TOP_K, int),
    "frequency_penalty": (A.GEN_AI_REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (A.GEN_AI_REQUEST_PRESENCE_PENALTY, float),
    "seed": (A.GEN_AI_REQUEST_SEED, int),
    "stop_sequences": (A.GEN_AI_REQUEST_STOP_SEQUENCES, list),
    "embedding_types": (A.GEN_AI_REQUEST_ENCODING_FORMATS, list),
    "output_dimension": (A.GEN_AI_EMBEDDINGS_DIMENSION_COUNT, int),
}
_FINISH = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "ERROR_LIMIT": "length",
    "TOOL_CALL": "tool_call",
    "ERROR_TOXIC": "content_filter",
}
_UNITS = ("search_units", "classifications", "pages")
_OUTPUT = {"json_object": "json", "text": "text"}


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    parameters(call, body, _PARAMETERS)
    output = _OUTPUT.get(get(body.get("response_format"), "type") or "")
    if output is not None:
        call.request[A.GEN_AI_OUTPUT_TYPE] = output


def _response(call: Call, body: Any) -> None:
    call.response_id = text(get(body, "id")) or text(get(body, "response_id")) or text(get(body, "generation_id"))
    made = next(iter(items(body, "generations")), body)
    reason = text(get(made, "finish_reason"))
    if reason is not None:
        call.finish_reasons = [_FINISH.get(reason, reason.lower())]
    billed = get(body, "usage", "billed_units") or get(body, "meta", "billed_units")
    if billed is not None:
        call.usage = _usage(billed)


def _usage(billed: Any) -> Usage | None:
    sent, made = (count(get(billed, unit)) for unit in ("input_tokens", "output_tokens"))
    pictures = count(get(billed, "image_tokens")) or None
    others = {unit: number for unit in _UNITS if (number := count(get(billed, unit)))}
    if sent is None and made is None and pictures is None and not others:
        return None
    return Usage(input=sent, output=made, input_image=pictures, requests=others)


def _ranked(call: Call, body: Any) -> None:
    _response(call, body)
    call.response_model = text(get(body, "model"))
    usage = get(body, "usage")
    tokens = count(get(usage, "total_tokens"))
    if call.usage is None and tokens is not None:
        call.usage = Usage(input=tokens)


def _fold(body: dict[str, Any], event: Any) -> None:
    match get(event, "type") or get(event, "event_type"):
        case "message-start" | "stream-start":
            body["id"] = get(event, "id")
            body["generation_id"] = get(event, "generation_id")
        case "message-end":
            body.update(get(event, "delta") or {}, over=True)
        case "stream-end":
            body.update(get(event, "response") or {}, finish_reason=get(event, "finish_reason"), over=True)
        case "stream-error":
            body["error"] = get(event, "err") or "ERROR"
        case _:
            return
    if body.get("finish_reason") == "ERROR":
        body.setdefault("error", "ERROR")


chat = Dialect(
    name="cohere.chat",
    operation="chat",
    request=_request,
    response=_response,
    fold=_fold,
    wanted=re.compile(rb'"(?:message-end|stream-end|stream-error)"'),
    content=cohere_content,
)
embeddings = replace(chat, name="cohere.embed", operation="embeddings", fold=None, content=None)
rerank = replace(embeddings, name="cohere.rerank", operation="rerank", response=_ranked)
"""Also that of those who took Cohere's format over (Together, Jina, Voyage ...), and bill tokens."""
generate = replace(chat, name="cohere.generate", operation="text_completion", content=prompt_content)
"""Its streams tell no usage."""
summarize = replace(generate, name="cohere.summarize", fold=None)
classify = replace(embeddings, name="cohere.classify", operation="classification")
parse = replace(embeddings, name="cohere.parse", operation="ocr")

PATHS: Paths = {
    "/v[12]/chat": chat,
    "/v[12]/embed": embeddings,
    "/rerank": rerank,
    "/v1/generate": generate,
    "/v1/summarize": summarize,
    "/v1/classify": classify,
    "/v2/parse": parse,
    "/v2/audio/transcriptions": transcriptions,
}
