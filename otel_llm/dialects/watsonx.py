"""IBM watsonx.ai: chat in OpenAI's words, and its own text generation, embeddings and reranking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from otel_llm.call import Call, Usage
from otel_llm.dialects import openai
from otel_llm.dialects.content import chat_content
from otel_llm.dialects.openai_chat import unasked
from otel_llm.dialects.reading import count, get, items, parameters, text
from otel_llm.spec import Content, Dialect, Paths
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {
    "max_new_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "top_p": (A.GEN_AI_REQUEST_TOP_P, float),
    "top_k": (A.GEN_AI_REQUEST_TOP_K, int),
    "random_seed": (A.GEN_AI_REQUEST_SEED, int),
    "stop_sequences": (A.GEN_AI_REQUEST_STOP_SEQUENCES, list),
}
_FINISH = {"eos_token": "stop", "stop_sequence": "stop", "max_tokens": "length", "token_limit": "length"}


def _model(body: Any) -> Any:
    return get(body, "model") or get(body, "model_id")


def _chat_request(call: Call, body: Mapping[str, Any]) -> None:
    unasked.request(call, {**body, "model": body.get("model_id")})


def _chat_response(call: Call, body: Any) -> None:
    unasked.response(call, {**body, "model": _model(body)})


def _chat_fold(body: dict[str, Any], chunk: Any) -> None:
    if unasked.fold is not None:
        unasked.fold(body, {**chunk, "model": _model(chunk)})


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model_id"))
    parameters(call, body.get("parameters") or {}, _PARAMETERS)


def _response(call: Call, body: Any) -> None:
    call.response_model = text(get(body, "model_id"))
    result: Any = next(iter(items(body, "results")), None)
    reason = text(get(result, "stop_reason"))
    call.finish_reasons = [_FINISH.get(reason, reason)] if reason else []
    asked = count(get(result, "input_token_count"))
    made = count(get(result, "generated_token_count"))
    if asked is not None or made is not None:
        call.usage = Usage(input=asked, output=made)


def _fold(body: dict[str, Any], chunk: Any) -> None:
    """Counts are of all that came so far; the last event that has one says it."""
    body["model_id"] = get(chunk, "model_id") or body.get("model_id")
    result = body.setdefault("results", [{}])[0]
    for said in items(chunk, "results"):
        result.update({name: value for name, value in said.items() if value})
        if get(said, "stop_reason") == "not_finished":
            del result["stop_reason"]
    for error in items(chunk, "errors"):
        body["error"] = error


def _content_request(body: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return chat_content.request({"prompt": [body.get("input")]})


def _content_response(body: Any) -> list[dict[str, Any]]:
    choices = [
        {"text": get(result, "generated_text"), "finish_reason": _FINISH.get(get(result, "stop_reason") or "", "error")}
        for result in items(body, "results")
    ]
    return chat_content.response({"choices": choices})


def _content_fold(body: dict[str, Any], chunk: Any) -> None:
    so_far = get(items(body, "results")[0], "generated_text") if body else ""
    _fold(body, chunk)
    pieces = [get(said, "generated_text") or "" for said in items(chunk, "results")]
    body["results"][0]["generated_text"] = "".join([so_far or "", *pieces])


def _counted(call: Call, body: Any) -> None:
    call.response_model = text(get(body, "model_id"))
    asked = count(get(body, "input_token_count"))
    if asked is not None:
        call.usage = Usage(input=asked)


chat = replace(unasked, name="watsonx.chat", request=_chat_request, response=_chat_response, fold=_chat_fold)
generation = Dialect(
    name="watsonx.generation",
    operation="text_completion",
    request=_request,
    response=_response,
    fold=_fold,
    content=Content(_content_request, _content_response, _content_fold),
)
embeddings = Dialect(name="watsonx.embeddings", operation="embeddings", request=_request, response=_counted)
rerank = replace(embeddings, name="watsonx.rerank", operation="rerank")

PATHS: Paths = {
    **openai.PATHS,  # of its gateway
    "/text/chat(_stream)?": chat,
    "/text/generation(_stream)?": generation,
    "/text/embeddings": embeddings,
    "/text/rerank": rerank,
}
