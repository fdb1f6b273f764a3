"""Amazon Bedrock: Converse, and InvokeModel with the bodies of each maker's own."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from examples.offline_provider import anthropic, openai
from examples.offline_provider.eventstream import AWS_CHUNKS, AWS_EVENTS
from examples.offline_provider.model import Prompt, Turn, nested, text_of
from examples.offline_provider.wire import Conversations, Event, Exchange, Route, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from examples.offline_provider.bill import Usage
    from examples.offline_provider.model import Json

_PATH = re.compile(r"/model/([^/]+)/(?:(converse)|invoke)(-stream|-with-response-stream)?$")
_ERRORS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}


def route(path: str) -> Route | None:
    """Where a path leads. The maker is in the name of the model; a profile that hides it has Claude behind it."""
    found = _PATH.search(path)
    if found is None:
        return None
    model = unquote(found[1])
    said: Json = {"model": model, "stream": found[3] is not None}
    if found[2]:
        return Route("bedrock", CONVERSE, said)
    wire = next((wire for mark, wire in _MAKERS.items() if mark in model), anthropic.MESSAGES)
    return Route("bedrock", wire, said, AWS_CHUNKS)


def refusal(status: int) -> dict[str, str]:
    """The headers of an error: they name it, the body does not."""
    return {"x-amzn-errortype": _ERRORS.get(status, "InternalServerException")}


def headers(x: Exchange) -> dict[str, str]:
    """The headers of a response: its id and, where it is no stream of InvokeModel, what was counted."""
    counts = {} if x.prompt.stream or x.wire is CONVERSE or not x.script.usage else _counted(x.answer.usage)
    tier = {"service-tier": x.tier} if x.tier and x.wire is not CONVERSE else {}
    bedrock = {f"x-amzn-bedrock-{name}": str(value) for name, value in (counts | tier).items()}
    own = f"req-{x.id}" if x.wire.names_model else x.id  # whose body has no id goes by that of the request
    return {"x-amzn-requestid": own} | bedrock


def _counted(u: Usage) -> dict[str, Any]:
    counts = {"input-token-count": u.input, "output-token-count": u.output_tokens}
    caches = {"cache-read-input-token-count": u.cache_read, "cache-write-input-token-count": u.cache_write}
    return counts | {name: count for name, count in caches.items() if count}


def _error(_status: int, message: str) -> Json:
    return {"message": message}


def _failure(_x: Exchange) -> list[tuple[str | None, Json]]:
    return [(None, {})]


# Converse, which Nova speaks with InvokeModel, too.


def _read(body: Json, _seen: Conversations) -> Prompt:
    turns = [Turn("system", text_of(body["system"]))] if body.get("system") else []
    for message in body["messages"]:
        results = [part["toolResult"] for part in message["content"] if "toolResult" in part]
        spoken = [part for part in message["content"] if "toolResult" not in part]
        turns += [Turn("tool", text_of(result)) for result in results]
        turns += [Turn(message["role"], text_of(spoken))] if spoken else []
    config = nested(body, "toolConfig")
    specs = [tool["toolSpec"] for tool in config.get("tools") or () if "toolSpec" in tool]
    tools = {spec["name"]: spec["inputSchema"]["json"] for spec in specs}
    choice = nested(config, "toolChoice")
    named = nested(choice, "tool").get("name")
    return Prompt(
        model=body["model"],
        turns=turns,
        stream=body["stream"],
        tools=tools,
        forced=named if named in tools else next(iter(tools), None) if "any" in choice else None,
        max_tokens=nested(body, "inferenceConfig").get("maxTokens"),
    )


def _blocks(x: Exchange) -> list[Json]:
    thought = {"reasoningText": {"text": "Let me think.", "signature": "b2ZmbGluZQ=="}}
    blocks: list[Json] = [{"reasoningContent": thought}] if x.answer.usage.reasoning else []
    if x.answer.texts[0] or not x.answer.calls:
        blocks.append({"text": x.answer.texts[0]})
    for i, (name, arguments) in enumerate(x.answer.calls):
        use: Json = {"toolUseId": f"tooluse_{x.id}_{i}", "name": name, "input": json.loads(arguments)}
        blocks.append({"toolUse": use})
    return blocks


def _stop_reason(x: Exchange) -> str:
    return "tool_use" if x.answer.calls else "max_tokens" if x.answer.cut_short else "end_turn"


def _usage(x: Exchange) -> Json:
    """Nova counts its caches in other words than Converse does."""
    u, kind = x.answer.usage, "InputTokens" if x.wire is CONVERSE else "InputTokenCount"
    counts: Json = {"inputTokens": u.input, "outputTokens": u.output_tokens}
    counts["totalTokens"] = u.input_tokens + u.output_tokens
    counts |= {f"cacheRead{kind}": u.cache_read, f"cacheWrite{kind}": u.cache_write}
    lifetimes = [("5m", u.cache_write_5m), ("1h", u.cache_write_1h)]
    if x.wire is CONVERSE and any(tokens for _, tokens in lifetimes):
        counts["cacheDetails"] = [{"ttl": ttl, "inputTokens": tokens} for ttl, tokens in lifetimes if tokens]
    return counts


def _metadata(x: Exchange) -> Json:
    known: Json = {"usage": _usage(x)} if x.script.usage else {}
    known |= {"metrics": {"latencyMs": 5}} if x.wire is CONVERSE or x.prompt.stream else {}
    return known | ({"serviceTier": {"type": x.tier}} if x.tier and x.wire is CONVERSE else {})


def _plain(x: Exchange) -> Json:
    message = {"role": "assistant", "content": _blocks(x)}
    return {"output": {"message": message}, "stopReason": _stop_reason(x)} | _metadata(x)


def _events(x: Exchange) -> Iterator[Event]:
    blocks, share, generated = _blocks(x), 0.0, 0
    spoken = sum("reasoningContent" not in block for block in blocks)
    yield Event({"role": "assistant"}, 0, "messageStart")
    for index, block in enumerate(blocks):
        [(kind, said)] = block.items()
        at = {"contentBlockIndex": index}
        if kind == "toolUse":
            text = json.dumps(said["input"])
            started = {"toolUse": {"toolUseId": said["toolUseId"], "name": said["name"]}}
            yield Event({"start": started} | at, generated, "contentBlockStart")
            deltas: list[Json] = [{"toolUse": {"input": part}} for part in (text[:5], text[5:])]
        elif kind == "text":
            deltas = [{"text": piece} for piece in x.answer.pieces(said)]
        else:
            deltas = [{"reasoningContent": {name: value}} for name, value in said["reasoningText"].items()]
        for delta in deltas:
            share += 1 / len(deltas) / spoken if kind != "reasoningContent" else 0
            generated = x.answer.generated(share)
            yield Event({"delta": delta} | at, generated, "contentBlockDelta")
        yield Event(at, generated, "contentBlockStop")
    generated = x.answer.generated(1)
    yield Event({"stopReason": _stop_reason(x)}, generated, "messageStop")
    yield Event(_metadata(x), generated, "metadata", final=True)


CONVERSE = Wire("converse", "req-", _read, _plain, _error, _events, _failure, names_model=False, framing=AWS_EVENTS)


def _invoked(wire: Wire) -> Wire:
    """A format as InvokeModel carries it: the last chunk of a stream says what was counted."""

    def events(x: Exchange) -> Iterator[Event]:
        *before, last = wire.events(x)
        yield from before
        yield last._replace(payload=last.payload | _measured(x))

    return replace(wire, events=events, failure=_failure, error=_error, usage_in_stream=_counts, done=b"")


def _counts(x: Exchange) -> bool:
    return x.script.usage


def _measured(x: Exchange) -> Json:
    u = x.answer.usage
    counts: Json = {"inputTokenCount": u.input, "outputTokenCount": u.output_tokens}
    counts |= {"cacheReadInputTokenCount": u.cache_read} if u.cache_read else {}
    counts |= {"cacheWriteInputTokenCount": u.cache_write} if u.cache_write else {}
    timed = {"invocationLatency": 5, "firstByteLatency": 1}
    return {"amazon-bedrock-invocationMetrics": counts | timed} if x.script.usage else {}


def _nova_events(x: Exchange) -> Iterator[Event]:
    for event in _events(x):
        yield event._replace(payload={event.name or "": event.payload})


# A prompt and the answer. Each maker says in its own way: a text, whether the answer ends with it, tokens until there.


def _prompted(name: str, field: str, limit: str, says: Callable[[Exchange, str, bool, int], Json]) -> Wire:
    def read(body: Json, _seen: Conversations) -> Prompt:
        most = {**body, **nested(body, "textGenerationConfig")}.get(limit)
        return Prompt(body["model"], [Turn("user", body[field])], body["stream"], max_tokens=most)

    def plain(x: Exchange) -> Json:
        return says(x, x.answer.texts[0], True, x.answer.usage.output_tokens)

    def events(x: Exchange) -> Iterator[Event]:
        pieces = x.answer.pieces(x.answer.texts[0])
        for number, piece in enumerate(pieces, 1):
            generated = x.answer.generated(number / len(pieces))
            last = number == len(pieces)
            yield Event(says(x, piece, last, generated), generated, final=last)

    return _invoked(Wire(name, "req-", read, plain, _error, events, names_model=False))


def _ended(x: Exchange, ended: bool, whole: str, cut: str) -> str | None:
    return None if not ended else cut if x.answer.cut_short else whole


def _llama(x: Exchange, text: str, ended: bool, generated: int) -> Json:
    counts = {"prompt_token_count": x.answer.usage.input_tokens, "generation_token_count": generated}
    known = counts if x.script.usage else {}
    return {"generation": text, "stop_reason": _ended(x, ended, "stop", "length")} | known


def _mistral(x: Exchange, text: str, ended: bool, _generated: int) -> Json:
    return {"outputs": [{"text": text, "stop_reason": _ended(x, ended, "stop", "length")}]}


def _cohere(x: Exchange, text: str, ended: bool, _generated: int) -> Json:
    if x.prompt.stream and not ended:
        return {"is_finished": False, "event_type": "text-generation", "text": text}
    return {"text": text, "generation_id": x.id, "finish_reason": _ended(x, ended, "COMPLETE", "MAX_TOKENS")}


def _titan(x: Exchange, text: str, ended: bool, generated: int) -> Json:
    reason = _ended(x, ended, "FINISH", "LENGTH")
    counted = {"inputTextTokenCount": x.answer.usage.input_tokens} if x.script.usage else {}
    if x.prompt.stream:
        total = generated if ended and x.script.usage else None
        said: Json = {"outputText": text, "index": 0, "completionReason": reason, "totalOutputTextTokenCount": total}
        return said | counted
    tokens = {"tokenCount": generated} if x.script.usage else {}
    return counted | {"results": [{"outputText": text, "completionReason": reason} | tokens]}


# Embeddings.


def _embedded(field: str, says: Callable[[Exchange], Json]) -> Wire:
    def read(body: Json, _seen: Conversations) -> Prompt:
        texts = [body[field]] if isinstance(body[field], str) else body[field]
        return Prompt(body["model"], [Turn("user", text) for text in texts], generates=False)

    return Wire("embeddings", "req-", read, says, _error, names_model=False)


def _titan_vector(x: Exchange) -> Json:
    vector = openai.vector(x.prompt.turns[0].text, x.body.get("dimensions") or 1024, False)
    return {"embedding": vector, "inputTextTokenCount": x.answer.usage.input_tokens}


def _cohere_vectors(x: Exchange) -> Json:
    texts = [turn.text for turn in x.prompt.turns]
    vectors = [openai.vector(text, 1024, False) for text in texts]
    return {"id": x.id, "embeddings": vectors, "response_type": "embeddings_floats", "texts": texts}


_MAKERS: dict[str, Wire] = {
    "amazon.nova": _invoked(Wire("nova", "req-", _read, _plain, _error, _nova_events, names_model=False)),
    "meta.llama": _prompted("llama", "prompt", "max_gen_len", _llama),
    "mistral.": _prompted("mistral", "prompt", "max_tokens", _mistral),
    "cohere.command": _prompted("cohere", "message", "max_tokens", _cohere),
    "amazon.titan-text": _prompted("titan", "inputText", "maxTokenCount", _titan),
    "amazon.titan-embed": _embedded("inputText", _titan_vector),
    "cohere.embed": _embedded("texts", _cohere_vectors),
    "openai.": _invoked(openai.CHAT),
}
