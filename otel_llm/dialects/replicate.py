"""Replicate's predictions. What goes in and comes out is the model's own; language models tell tokens at the end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from otel_llm.call import Call, Usage
from otel_llm.dialects.content import chat_content
from otel_llm.dialects.reading import count, get, items, parameters, text
from otel_llm.spec import Content, Dialect, Paths
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {
    "max_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "max_new_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "max_completion_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "top_p": (A.GEN_AI_REQUEST_TOP_P, float),
    "top_k": (A.GEN_AI_REQUEST_TOP_K, int),
    "frequency_penalty": (A.GEN_AI_REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (A.GEN_AI_REQUEST_PRESENCE_PENALTY, float),
    "seed": (A.GEN_AI_REQUEST_SEED, int),
}
_FINISH = {"succeeded": "stop", "failed": "error"}
_ADDRESS = ("https://", "http://", "data:")


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model")) or text(body.get("version"))
    parameters(call, body.get("input") or {}, _PARAMETERS)


def _response(call: Call, body: Any) -> None:
    call.response_id = text(get(body, "id"))
    call.response_model = text(get(body, "model"))
    reason = _FINISH.get(get(body, "status") or "")
    call.finish_reasons = [reason] if reason else []
    asked, made = (count(get(body, "metrics", f"{side}_token_count")) for side in ("input", "output"))
    if asked is not None or made is not None:
        call.usage = Usage(input=asked, output=made)


def _background(body: Any) -> tuple[str, float | None] | None:
    id_ = text(get(body, "id"))
    if id_ is None:
        return None
    if get(body, "status") in ("starting", "processing"):
        return id_, None
    ended = text(get(body, "completed_at"))
    return id_, datetime.fromisoformat(ended).timestamp() if ended else 0


def _asked(body: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    given: Any = body.get("input")
    said = [
        {"role": role, "content": content}
        for role, name in (("system", "system_prompt"), ("user", "prompt"))
        if (content := text(get(given, name)))
    ]
    return chat_content.request({"messages": items(given, "messages") or said})


def _answered(body: Any) -> list[dict[str, Any]]:
    """Words come in pieces. What comes as a file comes as its address: that is nothing said."""
    output: Any = get(body, "output")
    pieces = [piece for piece in ([output] if isinstance(output, str) else items(body, "output")) if text(piece)]
    if not pieces or pieces[0].startswith(_ADDRESS):
        return []
    reason = _FINISH.get(get(body, "status") or "", "error")
    return chat_content.response({"choices": [{"text": "".join(pieces), "finish_reason": reason}]})


predictions = Dialect(
    name="replicate.predictions",
    operation="generate_content",
    request=_request,
    response=_response,
    background=_background,
    content=Content(_asked, _answered, lambda _body, _event: None),
)
PATHS: Paths = {
    "/v1/predictions": predictions,
    "/v1/(models|deployments)/(?P<model>[^/]+/[^/]+)/predictions": predictions,
    "GET /v1/predictions/{id}": predictions,
    "/v1/predictions/{id}/cancel": predictions,
}
