"""Voyage's embeddings and reranking. They are billed by tokens, and pictures and videos by pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from otel_llm.call import Call, Usage
from otel_llm.dialects.reading import count, get, parameters, text
from otel_llm.spec import Dialect, Paths
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {
    "output_dimension": (A.GEN_AI_EMBEDDINGS_DIMENSION_COUNT, int),
    "output_dtype": (A.GEN_AI_REQUEST_ENCODING_FORMATS, list),
}


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    parameters(call, body, _PARAMETERS)


def _response(call: Call, usage: Any) -> None:
    """What the SDK gives is all about the usage: it keeps neither id nor model."""
    words = count(get(usage, "text_tokens"))
    if words is None:
        words = count(get(usage, "total_tokens"))
    pixels = {name: count(get(usage, name)) for name in ("image_pixels", "video_pixels")}
    if words is not None:
        call.usage = Usage(input=words, requests={name: seen for name, seen in pixels.items() if seen})


embeddings = Dialect(name="voyage.embeddings", operation="embeddings", request=_request, response=_response)
rerank = replace(embeddings, name="voyage.rerank", operation="rerank")
PATHS: Paths = {"/(contextualized_|multimodal_)?embed": embeddings, "/rerank": rerank}
