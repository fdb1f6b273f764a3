"""Ollama's own chat, generate and embed; it speaks OpenAI's formats, too.

Usage: `prompt_eval_count` includes `prompt_eval_cached_count`, `eval_count` includes thinking. Older servers leave the
first out where they had the prompt in their cache, and never tell the second: then the input is unknown, not 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from otel_llm.call import Call, Usage
from otel_llm.dialects.content import ollama_content
from otel_llm.dialects.reading import count, get, parameters, rest, text
from otel_llm.spec import Dialect, Paths
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {"think": (A.GEN_AI_REQUEST_REASONING_LEVEL, str)}
_OPTIONS: dict[str, tuple[str, type]] = {
    "num_predict": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "top_p": (A.GEN_AI_REQUEST_TOP_P, float),
    "top_k": (A.GEN_AI_REQUEST_TOP_K, int),
    "frequency_penalty": (A.GEN_AI_REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (A.GEN_AI_REQUEST_PRESENCE_PENALTY, float),
    "seed": (A.GEN_AI_REQUEST_SEED, int),
    "stop": (A.GEN_AI_REQUEST_STOP_SEQUENCES, list),
}


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    parameters(call, body, _PARAMETERS)
    parameters(call, body.get("options") or {}, _OPTIONS)
    if body.get("format"):
        call.request[A.GEN_AI_OUTPUT_TYPE] = "json"


def _response(call: Call, body: Any) -> None:
    call.response_model = text(get(body, "model"))
    reason = text(get(body, "done_reason"))
    if reason is not None:
        call.finish_reasons = [reason]
    sent, made = count(get(body, "prompt_eval_count")), count(get(body, "eval_count"))
    if sent is not None or made is not None:
        read = count(get(body, "prompt_eval_cached_count"))
        uncached, doubt = rest(sent, read)
        call.usage = Usage(input=uncached, cache_read=read, output=made, inconsistent=doubt)


def _fold(body: dict[str, Any], chunk: Any) -> None:
    body.update(chunk)
    if get(chunk, "done"):
        body["over"] = True


chat = Dialect(
    name="ollama.chat",
    operation="chat",
    request=_request,
    response=_response,
    fold=_fold,
    wanted=re.compile(rb'"done"\s*:\s*true|"error"'),
    content=ollama_content,
)
generate = replace(chat, name="ollama.generate", operation="text_completion")
embeddings = replace(chat, name="ollama.embed", operation="embeddings", fold=None, content=None)

PATHS: Paths = {"/api/chat": chat, "/api/generate": generate, "/api/embed": embeddings, "/api/embeddings": embeddings}
