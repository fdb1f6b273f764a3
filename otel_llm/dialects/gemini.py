"""Google's Gemini, on its own service and on Vertex: generated content, embeddings, and the pictures of Imagen.

Usage: `promptTokenCount` includes cached tokens and excludes those of tools' results; `candidatesTokenCount` excludes
thoughts. Counts of zero are left out. In a stream each chunk has the usage until then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from otel_llm.call import Call, Usage
from otel_llm.dialects.content import gemini_content, interaction_content
from otel_llm.dialects.reading import count, get, items, parameters, rest, text
from otel_llm.spec import Batch, Dialect, Paths
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {
    "maxOutputTokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "topP": (A.GEN_AI_REQUEST_TOP_P, float),
    "topK": (A.GEN_AI_REQUEST_TOP_K, int),
    "frequencyPenalty": (A.GEN_AI_REQUEST_FREQUENCY_PENALTY, float),
    "presencePenalty": (A.GEN_AI_REQUEST_PRESENCE_PENALTY, float),
    "seed": (A.GEN_AI_REQUEST_SEED, int),
    "stopSequences": (A.GEN_AI_REQUEST_STOP_SEQUENCES, list),
}
_FINISH = {"STOP": "stop", "MAX_TOKENS": "length"}
_FILTERED = re.compile("SAFETY|RECITATION|BLOCKLIST|PROHIBITED|SPII|MODEL_ARMOR|JAILBREAK")
_OUTPUT = {"application/json": "json", "text/x.enum": "text", "text/plain": "text"}
_MODALITIES = {"IMAGE": "image", "AUDIO": "speech"}
# Up to Gemini 2.5 a grounded prompt is billed, however many searches it takes; later each search is.
_BILLED_PER_PROMPT = re.compile(r"gemini-(?:live-)?[12]\.")


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    config: Mapping[str, Any] = body.get("generationConfig") or {}
    parameters(call, config, _PARAMETERS)
    choices = count(config.get("candidateCount"))
    if choices is not None and choices != 1:
        call.request[A.GEN_AI_REQUEST_CHOICE_COUNT] = choices
    level = text(get(config.get("thinkingConfig"), "thinkingLevel"))
    if level is not None:
        call.request[A.GEN_AI_REQUEST_REASONING_LEVEL] = level.lower()
    asked = [_MODALITIES[kind] for kind in items(config, "responseModalities") if kind in _MODALITIES]
    output = asked[0] if asked else _OUTPUT.get(text(config.get("responseMimeType")) or "")
    if output is not None:
        call.request[A.GEN_AI_OUTPUT_TYPE] = output


def _response(call: Call, body: Any) -> None:
    call.response_id = text(get(body, "responseId"))
    call.response_model = text(get(body, "modelVersion"))
    blocked = text(get(body, "promptFeedback", "blockReason"))
    call.finish_reasons = [_finish(candidate) for candidate in items(body, "candidates")]
    if blocked is not None and not call.finish_reasons:
        call.finish_reasons = ["content_filter"]
    bill(call, get(body, "usageMetadata"), items(body, "candidates"))


def _finish(candidate: Any) -> str:
    reason = text(get(candidate, "finishReason")) or "error"
    if reason == "STOP" and any(get(part, "functionCall") for part in items(candidate, "content", "parts")):
        return "tool_call"
    return _FINISH.get(reason) or ("content_filter" if _FILTERED.search(reason) else reason.lower())


def _fees(model: str, candidates: list[Any]) -> dict[str, int]:
    """Requests of the tools that Google runs and charges for beyond tokens."""

    def found(*path: str) -> list[Any]:
        return [item for candidate in candidates for item in items(candidate, "groundingMetadata", *path)]

    # Empty and repeated queries are not charged.
    searches = len({query for name in ("webSearchQueries", "imageSearchQueries") for query in found(name) if query})
    fees = {
        "web_search": min(searches, 1) if _BILLED_PER_PROMPT.match(model) else searches,
        "google_maps": int(any(get(chunk, "maps") for chunk in found("groundingChunks"))),
        "vertex_ai_search": int(bool(found("retrievalQueries"))),
    }
    return {tool: number for tool, number in fees.items() if number}


_TEXT = {
    A.GEN_AI_USAGE_TEXT_INPUT_TOKENS: "promptTokensDetails",
    A.GEN_AI_USAGE_TEXT_OUTPUT_TOKENS: "candidatesTokensDetails",
    A.GEN_AI_USAGE_TEXT_CACHE_READ_INPUT_TOKENS: "cacheTokensDetails",
}


def bill(call: Call, usage: Any, candidates: list[Any] | None = None) -> None:
    """What was used, and the requests of Google's tools that the candidates tell of."""
    call.usage = _usage(usage)
    if call.usage is not None and candidates:
        call.usage.requests |= _fees(call.model or "", candidates)
    for attribute, details in _TEXT.items():
        if tokens := _of(usage, "TEXT", details):
            call.response[attribute] = tokens
    # Vertex calls it traffic: `ON_DEMAND`, `ON_DEMAND_FLEX`, `PROVISIONED_THROUGHPUT`.
    traffic = (text(get(usage, "trafficType")) or "").lower()
    call.service_tier = text(get(usage, "serviceTier")) or traffic.removeprefix("on_demand").strip("_") or None


def _usage(usage: Any) -> Usage | None:
    prompt, made = count(get(usage, "promptTokenCount")), count(get(usage, "candidatesTokenCount"))
    results, thoughts = count(get(usage, "toolUsePromptTokenCount")), count(get(usage, "thoughtsTokenCount"))
    total, read = count(get(usage, "totalTokenCount")), count(get(usage, "cachedContentTokenCount"))
    if prompt is None and made is None:
        return None
    given = (prompt or 0) + (results or 0)
    doubt = None
    if total is not None:
        left = total - given - (thoughts or 0)
        made = max(left, 0) if made is None else made
        if made != left:
            doubt = f"total {total} is not prompt {prompt} + tools {results} + candidates {made} + thoughts {thoughts}"
    cached_audio, cached_image = (_of(usage, kind, "cacheTokensDetails") for kind in ("AUDIO", "IMAGE"))
    audio, image = (
        _of(usage, kind, "promptTokensDetails", "toolUsePromptTokensDetails") for kind in ("AUDIO", "IMAGE")
    )
    audio, image = max(0, audio - cached_audio), max(0, image - cached_image)
    audio_out, image_out = (_of(usage, kind, "candidatesTokensDetails") for kind in ("AUDIO", "IMAGE"))
    uncached, too_much_in = rest(given, read, audio, image)
    visible, too_much_out = rest(made, audio_out, image_out)
    return Usage(
        input=uncached,
        cache_read=read,
        output=visible,
        reasoning=thoughts,
        input_audio=audio or None,
        output_audio=audio_out or None,
        input_image=image or None,
        output_image=image_out or None,
        requests={"cached_audio": cached_audio} if cached_audio else {},
        inconsistent=too_much_in or too_much_out or doubt,
    )


def _of(usage: Any, modality: str, *details: str) -> int:
    """Tokens of this modality in the lists of details. Video and documents cost what text costs."""
    counts = (part for name in details for part in items(usage, name) if get(part, "modality") == modality)
    return sum(count(get(part, "tokenCount")) or 0 for part in counts)


def _fold(body: dict[str, Any], chunk: Any) -> None:
    for name in ("responseId", "modelVersion", "promptFeedback", "error"):
        value = get(chunk, name)
        if value:
            body[name] = value
    body.setdefault("usageMetadata", {}).update(get(chunk, "usageMetadata") or {})
    by_index = body.setdefault("by_index", {})
    for piece in items(chunk, "candidates"):
        known = by_index.setdefault(
            count(get(piece, "index")) or 0, {"content": {"parts": []}, "groundingMetadata": {}}
        )
        known["finishReason"] = get(piece, "finishReason") or known.get("finishReason")
        known["content"]["parts"] += [part for part in items(piece, "content", "parts") if get(part, "functionCall")]
        known["groundingMetadata"].update(get(piece, "groundingMetadata") or {})
    body["candidates"] = [by_index[index] for index in sorted(by_index)]


_STATUS = {"completed": "stop", "requires_action": "tool_call", "incomplete": "length", "failed": "error"}
_COUNTS = {
    "promptTokenCount": "total_input_tokens",
    "cachedContentTokenCount": "total_cached_tokens",
    "toolUsePromptTokenCount": "total_tool_use_tokens",
    "candidatesTokenCount": "total_output_tokens",
    "thoughtsTokenCount": "total_thought_tokens",
    "totalTokenCount": "total_tokens",
}
_DETAILS = {
    "promptTokensDetails": "input_tokens_by_modality",
    "cacheTokensDetails": "cached_tokens_by_modality",
    "toolUsePromptTokensDetails": "tool_use_tokens_by_modality",
    "candidatesTokensDetails": "output_tokens_by_modality",
}
_TOOLS = {"google_search": "web_search", "google_maps": "google_maps", "retrieval": "vertex_ai_search"}


def _interaction_request(call: Call, body: Mapping[str, Any]) -> None:
    model = text(body.get("model"))
    call.request_model = model.removeprefix("models/") if model else text(body.get("agent"))
    config: Mapping[str, Any] = body.get("generation_config") or {}
    parameters(call, {_camel(name): value for name, value in config.items()}, _PARAMETERS)
    level = text(config.get("thinking_level"))
    if level is not None:
        call.request[A.GEN_AI_REQUEST_REASONING_LEVEL] = level.lower()


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _interaction_response(call: Call, body: Any) -> None:
    call.response_id = text(get(body, "id"))
    call.response_model = text(get(body, "model")) or text(get(body, "agent"))
    reason = _STATUS.get(text(get(body, "status")) or "")
    call.finish_reasons = [] if reason is None else [reason]
    usage = get(body, "usage")
    if usage is None:
        return
    found = {name: get(usage, theirs) for name, theirs in _COUNTS.items()} | {
        name: [
            {"modality": (text(get(part, "modality")) or "").upper(), "tokenCount": get(part, "tokens")}
            for part in items(usage, theirs)
        ]
        for name, theirs in _DETAILS.items()
    }
    bill(call, found | {"serviceTier": get(body, "service_tier")})
    for tool in items(usage, "grounding_tool_count"):
        kind, number = _TOOLS.get(text(get(tool, "type")) or ""), count(get(tool, "count"))
        if call.usage is not None and kind and number:
            per_prompt = _BILLED_PER_PROMPT.match(call.model or "")
            call.usage.requests[kind] = 1 if per_prompt else number


def _interaction_fold(body: dict[str, Any], event: Any) -> None:
    kind = get(event, "event_type")
    if kind in ("interaction.created", "interaction.completed"):
        body.update(get(event, "interaction") or {})
        if kind == "interaction.completed":
            body["over"] = True
    elif kind == "interaction.status_update":
        body.update({name: said for name in ("status", "usage") if (said := get(event, name)) is not None})
    elif kind == "error":
        body["error"] = get(event, "error") or event


def _interaction_background(body: Any) -> tuple[str, float | None] | None:
    id_ = text(get(body, "id"))
    if id_ is None:
        return None
    if get(body, "status") in ("queued", "in_progress"):
        return id_, None
    # Of others it is not told whether they were in the background: who had the answer at once may ask for it again.
    ended = text(get(body, "updated")) if goes_on(body) else None
    return id_, datetime.fromisoformat(ended).timestamp() if ended else 0


def goes_on(body: Any) -> bool:
    """Whether an interaction, or the request for one, is certain to be in the background. Agents always are."""
    return get(body, "background") is True or bool(get(body, "agent") or get(body, "webhook_config"))


def _embed_request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    places = (*items(body, "requests"), body.get("parameters"), body.get("embedContentConfig"), body)
    for place in places:
        size = count(get(place, "outputDimensionality") or get(place, "embedContentConfig", "outputDimensionality"))
        if size is not None:
            call.request[A.GEN_AI_EMBEDDINGS_DIMENSION_COUNT] = size
            return


def _embed_response(call: Call, body: Any) -> None:
    usage = get(body, "usageMetadata")
    if usage is not None:
        bill(call, usage)
        if call.usage is not None:
            call.usage.output = None
        if _of(usage, "VIDEO", "promptTokensDetails"):
            call.usage_source = "partial"  # of all inputs the dearest, and counted as text
        return
    counts = [
        count(get(prediction, "embeddings", "statistics", "token_count")) for prediction in items(body, "predictions")
    ]
    known = [tokens for tokens in counts if tokens is not None]
    if known:
        call.usage = Usage(input=sum(known))


def _batched_embed_response(call: Call, body: Any) -> None:
    call.request_model = text(get(body, "model"))
    counted = count(get(body, "tokenCount"))
    call.usage = None if counted is None else Usage(input=counted)


def _image_request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    call.request[A.GEN_AI_OUTPUT_TYPE] = "image"


def _image_response(call: Call, body: Any) -> None:
    pictures = [item for item in items(body, "predictions") if get(item, "bytesBase64Encoded") or get(item, "gcsUri")]
    call.usage = Usage(requests={"images": len(pictures)})


generate = Dialect(
    name="gemini.generate",
    operation="generate_content",
    request=_request,
    response=_response,
    fold=_fold,
    content=gemini_content,
)
interactions = Dialect(
    name="gemini.interactions",
    operation="generate_content",
    request=_interaction_request,
    response=_interaction_response,
    fold=_interaction_fold,
    wanted=re.compile(rb'"event_type"\s*:\s*"(?:interaction\.|error)'),
    content=interaction_content,
)
decisions = replace(interactions, name="gemini.decisions", content=None)
"""A decision says nothing but its usage."""
background = replace(interactions, background=_interaction_background)
embed = Dialect(
    name="gemini.embed",
    operation="embeddings",
    request=_embed_request,
    response=_embed_response,
)
batched_embed = replace(embed, response=_batched_embed_response)
images = replace(embed, name="imagen", operation="image_generation", request=_image_request, response=_image_response)
"""Imagen's pictures are billed one by one. Those that are filtered out are not."""


_OPERATION = re.compile(r"models/([^/]+)/operations/")


def _video_response(call: Call, body: Any) -> None:
    name = text(get(body, "name")) or ""
    if call.request_model is None and (model := _OPERATION.search(name)):
        call.request_model = model[1]
    if get(body, "done") is not True:
        return
    call.finish_reasons = ["stop" if get(body, "error") is None else "error"]
    made = get(body, "response")
    if made is not None:
        samples = (*items(made, "generateVideoResponse", "generatedSamples"), *items(made, "videos"))
        call.usage = Usage(requests={"videos": len(samples)})


def _video_background(body: Any) -> tuple[str, float | None] | None:
    name = text(get(body, "name"))
    return None if name is None else (name, 0 if get(body, "done") is True else None)


videos = Dialect(
    name="veo",
    operation="video_generation",
    request=_request,
    response=_video_response,
    background=_video_background,
)
"""Videos are billed by the second, and how long they are is not told: they have no price but what the user says."""


def prediction(body: Mapping[str, Any]) -> Dialect:
    """The dialect of what Vertex's `predict` is asked: texts to embed have `content`, pictures a `prompt`."""
    return embed if any(get(instance, "content") is not None for instance in items(body, "instances")) else images


def _begun(body: Mapping[str, Any]) -> Dialect:
    return background if goes_on(body) else interactions


def _batched(line: Any) -> tuple[Dialect, Any] | None:
    answer, model = get(line, "response"), (text(get(line, "model")) or "").removeprefix("models/")
    if not isinstance(answer, dict):
        return None
    answer = cast("dict[str, Any]", answer)
    if "embedding" in answer:
        return batched_embed, answer | {"model": model}
    return generate, {"modelVersion": model} | answer


def _inlined(batch: Any) -> tuple[str, list[Any]]:
    """The results in a batch itself."""
    told, kinds = get(batch, "metadata"), ("inlinedResponses", "inlinedEmbedContentResponses")
    lines = [line for kind in kinds for line in items(told, "output", kind, "inlinedResponses")]
    return "", [{"model": get(told, "model"), **line} for line in lines]


batch_file = Batch(re.compile(rb'\s*\{\s*"'), _batched)
"""The results of a batch, downloaded."""
_MODELS = ("models/{model}", "(?P<model>(tunedModels|endpoints)/[^/]+)")
PATHS: Paths = {
    **{f"/{model}:(g|streamG)enerateContent": generate for model in _MODELS},
    **{f"/{model}:(e|batchE)mbedContents?": embed for model in _MODELS},
    "/models/{model}:predict": prediction,
    "/models/{model}:predictLongRunning": videos,
    "GET /(?P<id>models/[^/]+/operations/[^/]+)": videos,
    "/{id}:fetchPredictOperation": videos,
    "GET /(?P<id>batches/[^/]+)": replace(batch_file, inside=_inlined),
    "GET /(?P<id>files/[^/]+):download": batch_file,
    "/interactions": _begun,
    "GET /interactions/{id}": background,
    "/interactions/{id}/cancel": background,
    "/decisions": decisions,
}
_ENDPOINT = "(?P<model>endpoints/[^/]+)"
TUNED: Paths = {f"/{_ENDPOINT}:predict": prediction, f"/{_ENDPOINT}:predictLongRunning": videos}
"""Of Google's own SDK alone: what others have predicted by an endpoint is anybody's model."""
