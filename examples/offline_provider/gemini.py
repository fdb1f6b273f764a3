"""Google's Gemini: generated content, embeddings and token counts, on its own service and as Vertex has them."""

from __future__ import annotations

import itertools
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from examples.offline_provider.model import Prompt, Turn, nested, text_of
from examples.offline_provider.wire import Conversations, Event, Exchange, Route, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.offline_provider.bill import Usage
    from examples.offline_provider.model import Json

_PATH = re.compile(r"(?P<vertex>/publishers/google)?/models/(?P<model>[^/:]+):(?P<verb>\w+)$")
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def route(path: str) -> Route | None:
    """Who answers a path of Gemini's."""
    if path.endswith("/decisions"):
        return Route("google", DECISIONS, {})
    if path.endswith("/interactions"):
        return Route("google", INTERACTIONS, {})
    found = _PATH.search(path)
    wire = found and _VERBS.get(found["verb"])
    if not found or not wire:
        return None
    streamed = found["verb"] == "streamGenerateContent"
    return Route(
        "google", wire, {"model": unquote(found["model"]), "stream": streamed, "vertex": bool(found["vertex"])}
    )


def _error(status: int, message: str) -> Json:
    return {"error": {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN")}}


def _turn(content: Json) -> Turn:
    parts = content["parts"]
    results = any("functionResponse" in part for part in parts)
    role = "tool" if results else {"model": "assistant"}.get(content.get("role", "user"), "user")
    return Turn(role, "\n".join(json.dumps(part["functionResponse"]) if results else text_of(part) for part in parts))


def _read(body: Json, _seen: Conversations) -> Prompt:
    config, instructions = nested(body, "generationConfig"), body.get("systemInstruction")
    offered = [one for tool in body.get("tools") or () for one in tool.get("functionDeclarations") or ()]
    tools = {one["name"]: one.get("parametersJsonSchema") or _schema(one.get("parameters") or {}) for one in offered}
    calling = nested(nested(body, "toolConfig"), "functionCallingConfig")
    shape: Any = config.get("responseJsonSchema") or _schema(config.get("responseSchema") or {})
    return Prompt(
        model=body["model"],
        turns=[*([Turn("system", _turn(instructions).text)] if instructions else []), *map(_turn, body["contents"])],
        stream=body["stream"],
        tools=tools,
        forced=next(iter(tools), None) if calling.get("mode") == "ANY" else None,
        schema=shape if config.get("responseMimeType") == "application/json" else None,
        n=config.get("candidateCount") or 1,
        max_tokens=config.get("maxOutputTokens"),
    )


def _schema(shape: Any) -> Any:
    """A schema with the names of types in lower case, as JSON schemas have them."""
    if isinstance(shape, list):
        return [_schema(part) for part in shape]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(shape, dict):
        return shape
    fields: Json = shape  # pyright: ignore[reportUnknownVariableType]
    return {name: value.lower() if name == "type" else _schema(value) for name, value in fields.items()}


def _modalities(**tokens: int) -> list[Json]:
    return [{"modality": kind, "tokenCount": count} for kind, count in tokens.items() if count]


def _usage(x: Exchange, usage: Usage) -> Json:
    """Input includes cache, output excludes thoughts; zeros are left out."""
    made = usage.output_tokens - usage.reasoning
    found: Json = {
        "promptTokenCount": usage.input_tokens,
        "cachedContentTokenCount": usage.cache_read,
        "candidatesTokenCount": made,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
        "promptTokensDetails": _modalities(TEXT=usage.input_tokens - usage.input_audio, AUDIO=usage.input_audio),
        "cacheTokensDetails": _modalities(TEXT=usage.cache_read),
        "candidatesTokensDetails": _modalities(TEXT=usage.output, AUDIO=usage.output_audio),
        "trafficType": (f"ON_DEMAND_{x.tier.upper()}" if x.tier else "ON_DEMAND") if x.body["vertex"] else None,
        "serviceTier": None if x.body["vertex"] else x.tier,
    }
    return {"usageMetadata": {name: value for name, value in found.items() if value}} if x.script.usage else {}


def _parts(x: Exchange, choice: int) -> list[Json]:
    thoughts = [{"text": "Let me think.", "thought": True}] if x.answer.usage.reasoning else []
    said = [{"text": piece} for piece in x.answer.pieces(x.answer.texts[choice]) if piece]
    calls = [{"functionCall": {"name": name, "args": json.loads(given)}} for name, given in x.answer.calls]
    return [*thoughts, *said, *calls] or [{"text": ""}]


def _candidate(x: Exchange, choice: int, parts: list[Json], *, last: bool) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": choice}
    if last:
        candidate["finishReason"] = "MAX_TOKENS" if x.answer.cut_short else "STOP"
        searches = x.answer.usage.requests.get("web_search", 0)
        if x.prompt.model.startswith("gemini-2"):
            searches *= 3  # of which none is billed: the prompt is
        if searches:
            queries = ["", *(f"offline {number}" for number in range(searches)), "offline 0"]
            web = {"web": {"uri": "https://example.com", "title": "Offline"}}
            candidate["groundingMetadata"] = {"webSearchQueries": queries, "groundingChunks": [web]}
    return candidate


def _plain(x: Exchange) -> Json:
    candidates = [_candidate(x, choice, _parts(x, choice), last=True) for choice in range(len(x.answer.texts))]
    return {"candidates": candidates} | _usage(x, x.answer.usage) | {"modelVersion": x.answer.model, "responseId": x.id}


def _events(x: Exchange) -> Iterator[Event]:
    turns = [
        (choice, part) for row in zip(*(_parts(x, i) for i in range(len(x.answer.texts))), strict=True)
        for choice, part in enumerate(row)
    ]  # fmt: skip
    for number, (choice, part) in enumerate(turns, 1):
        final = number == len(turns)
        generated = x.answer.generated(number / len(turns))
        candidate = _candidate(x, choice, [part], last=number > len(turns) - len(x.answer.texts))
        usage = _usage(x, x.answer.usage if final else x.answer.usage.until(generated))
        named = {"modelVersion": x.answer.model, "responseId": x.id}
        yield Event({"candidates": [candidate]} | usage | named, generated, final=final)


def _failure(_x: Exchange) -> list[tuple[str | None, Json]]:
    return [(None, _error(503, "scripted failure in mid-stream"))]


def _read_interaction(body: Json, _seen: Conversations) -> Prompt:
    return Prompt(
        model=(body.get("model") or body["agent"]).removeprefix("models/"),
        turns=[Turn("user", text_of(body["input"]))],
        stream=body.get("stream") is True,
        max_tokens=nested(body, "generation_config").get("max_output_tokens"),
    )


def _interaction(x: Exchange, status: str) -> Json:
    who = {"agent" if "agent" in x.body else "model": x.answer.model}
    when = datetime.fromtimestamp(x.created, UTC).isoformat()
    return {"id": x.id, "object": "interaction", "status": status, "created": when, "updated": when} | who


def _interaction_usage(x: Exchange) -> Json:
    u = x.answer.usage
    usage: Json = {
        "total_input_tokens": u.input_tokens,
        "total_cached_tokens": u.cache_read,
        "total_output_tokens": u.output_tokens - u.reasoning,
        "total_thought_tokens": u.reasoning,
        "total_tool_use_tokens": 0,
        "total_tokens": u.input_tokens + u.output_tokens,
        "input_tokens_by_modality": [{"modality": "text", "tokens": u.input_tokens}],
        "grounding_tool_count": [{"type": f"google_{tool[4:]}", "count": n} for tool, n in u.requests.items()],
    }
    return {"usage": usage} if x.script.usage else {}


def _interaction_end(x: Exchange) -> Json:
    return _interaction(x, "incomplete" if x.answer.cut_short else "completed") | _interaction_usage(x)


def plain_interaction(x: Exchange, status: str | None = None) -> Json:
    """The interaction when it is over, or as it is before."""
    if status is not None:
        return _interaction(x, status)
    step = {"type": "model_output", "content": [{"type": "text", "text": x.answer.texts[0]}]}
    return _interaction_end(x) | {"steps": [step]}


def _interaction_events(x: Exchange) -> Iterator[Event]:
    number = itertools.count()

    def event(kind: str, generated: int, *, final: bool = False, **more: Any) -> Event:
        return Event({"event_type": kind, "event_id": str(next(number))} | more, generated, kind, final)

    yield event("interaction.created", 0, interaction=_interaction(x, "in_progress"))
    yield event("interaction.status_update", 0, interaction_id=x.id, status="in_progress")
    yield event("step.start", 0, index=0, step={"type": "model_output", "content": []})
    pieces = x.answer.pieces(x.answer.texts[0])
    for at, piece in enumerate(pieces, 1):
        delta = {"type": "text", "text": piece}
        yield event("step.delta", x.answer.generated(at / len(pieces)), index=0, delta=delta)
    yield event("step.stop", x.answer.generated(1), index=0)
    yield event("interaction.completed", x.answer.generated(1), final=True, interaction=_interaction_end(x))


def _interaction_failure(_x: Exchange) -> list[tuple[str | None, Json]]:
    return [("error", {"event_type": "error", "error": {"code": "internal", "message": "scripted failure"}})]


def _decision(x: Exchange) -> Json:
    return _interaction_usage(x) | {"answers": dict[str, Any]()}


def _texts(body: Json) -> list[Turn]:
    if "instances" in body:
        return [Turn("user", instance["content"]) for instance in body["instances"]]
    contents = [body["content"]] if "content" in body else [request["content"] for request in body["requests"]]
    return [Turn("user", _turn(content).text) for content in contents]


def _read_embeddings(body: Json, _seen: Conversations) -> Prompt:
    return Prompt(model=body["model"], turns=_texts(body), generates=False)


def _plain_embeddings(x: Exchange) -> Json:
    tokens, texts = x.answer.usage.input_tokens, x.prompt.turns
    vector = [0.25, -0.25]
    if "instances" in x.body:
        shares = [tokens // len(texts)] * len(texts)
        shares[0] += tokens - sum(shares)
        return {
            "predictions": [
                {"embeddings": {"values": vector, "statistics": {"token_count": share, "truncated": False}}}
                for share in shares
            ]
        }
    usage = {"promptTokenCount": tokens, "totalTokenCount": tokens, "promptTokensDetails": _modalities(TEXT=tokens)}
    made = [{"values": vector} for _ in texts]
    return ({"embedding": made[0]} if "content" in x.body else {"embeddings": made}) | {"usageMetadata": usage}


def _plain_count(x: Exchange) -> Json:
    tokens = x.answer.usage.input_tokens
    return {"totalTokens": tokens, "promptTokensDetails": _modalities(TEXT=tokens)}


GENERATE = Wire("generate", "gemini-", _read, _plain, _error, _events, _failure)
_INTERACTION = (_read_interaction, plain_interaction, _error, _interaction_events, _interaction_failure)
INTERACTIONS = Wire("interactions", "v1_", *_INTERACTION, done=b"data: [DONE]\n\n")
DECISIONS = Wire("decisions", "dec_", _read_interaction, _decision, _error, names_model=False)
EMBEDDINGS = Wire("embeddings", "emb-", _read_embeddings, _plain_embeddings, _error, names_model=False)
COUNT_TOKENS = Wire("count_tokens", "count_", _read, _plain_count, _error, billed=False)
_VERBS = {
    "generateContent": GENERATE,
    "streamGenerateContent": GENERATE,
    "embedContent": EMBEDDINGS,
    "batchEmbedContents": EMBEDDINGS,
    "predict": EMBEDDINGS,
    "countTokens": COUNT_TOKENS,
}
