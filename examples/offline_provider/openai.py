"""OpenAI's chat completions, legacy completions and embeddings; Azure and Groq speak them with an accent."""

from __future__ import annotations

import base64
import random
from array import array
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from examples.offline_provider.bill import RUNS_ON, Usage
from examples.offline_provider.model import Prompt, Turn, nested, text_of
from examples.offline_provider.wire import Conversations, Event, Exchange, Wire, forced_tool, function_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.offline_provider.model import Json

OTHERS = ("together", "fireworks", "cerebras", "mistral", "azure_inference", "xai")
"""Who speaks the same, and tells the usage of every stream unasked. Their base URL ends with `/<name>`."""

_SAFE = {kind: {"filtered": False, "severity": "safe"} for kind in ("hate", "self_harm", "sexual", "violence")}
_PROMPT_SAFE = {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _SAFE}]}
_AUDIO = base64.b64encode(b"offline audio").decode()


def error(status: int, message: str) -> Json:
    """An error body as OpenAI writes it."""
    kind = "rate_limit_exceeded" if status == 429 else "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": kind if status == 429 else None}}


def _read_chat(body: Json, _seen: Conversations) -> Prompt:
    tools = function_tools(body, "parameters")
    shape = nested(body, "response_format")
    return Prompt(
        model=body.get("model", ""),
        turns=[Turn(m.get("role", "user"), text_of(m.get("content"))) for m in body["messages"]],
        stream=body.get("stream") is True,
        tools=tools,
        forced=forced_tool(body.get("tool_choice"), tools),
        schema=nested(shape, "json_schema").get("schema", {}) if shape.get("type", "text") != "text" else None,
        n=body.get("n") or 1,
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        tier=body.get("service_tier"),
    )


def _usage(x: Exchange) -> Json:
    """Input includes cache, output includes reasoning."""
    return _counts(sum((usage for _, _, usage in x.answer.side), x.answer.usage), x.provider)


def _counts(u: Usage, provider: str) -> Json:
    usage: Json = {"prompt_tokens": u.input_tokens, "completion_tokens": u.output_tokens}
    usage["total_tokens"] = u.input_tokens + u.output_tokens
    if provider == "groq":
        usage |= {"queue_time": 0.01, "prompt_time": 0.001, "completion_time": 0.01, "total_time": 0.011}
        usage |= {"prompt_tokens_details": {"cached_tokens": u.cache_read}} if u.cache_read else {}
        return usage | ({"completion_tokens_details": {"reasoning_tokens": u.reasoning}} if u.reasoning else {})
    if provider == "xai" and u.requests:
        usage["server_side_tool_usage_details"] = {f"{tool}_calls": count for tool, count in u.requests.items()}
    read = {"cached_tokens": u.cache_read, "audio_tokens": u.input_audio}
    made = {"reasoning_tokens": u.reasoning, "audio_tokens": u.output_audio}
    return usage | {
        "prompt_tokens_details": read | ({"cache_write_tokens": u.cache_write} if u.cache_write else {}),
        "completion_tokens_details": made | {"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    }


def _breakdown(x: Exchange) -> Json:
    """What a compound system of Groq used of each model."""
    if not x.answer.side or not x.script.usage:
        return {}
    main = (RUNS_ON.get(x.answer.model, x.answer.model), x.answer.usage)
    models = [main, *((model, usage) for _, model, usage in x.answer.side)]
    parts = [{"model": model, "usage": _counts(usage, x.provider)} for model, usage in models]
    return {"usage_breakdown": {"models": parts}}


def _executed(x: Exchange, output: str | None) -> Json:
    """The searches that it did; in a stream, they are told when they begin, and again with what they found."""
    searches = x.answer.usage.requests.get("web_search", 0) if x.provider == "groq" else 0
    found = [{"index": i, "type": "search", "arguments": "{}", "output": output} for i in range(searches)]
    return {"executed_tools": found} if found else {}


def _finish(x: Exchange) -> str:
    return "tool_calls" if x.answer.calls else "length" if x.answer.cut_short else "stop"


def _tool_calls(x: Exchange, choice: int) -> list[Json]:
    serial = x.id.rpartition("-")[2]
    return [
        {"id": f"call_{serial}_{choice}{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(x.answer.calls)
    ]


def _head(x: Exchange, kind: str) -> Json:
    head: Json = {"id": x.id, "object": kind, "created": x.created, "model": x.answer.model}
    return head | {"system_fingerprint": "fp_offline"} | ({"service_tier": x.tier} if x.tier else {})


def _plain_chat(x: Exchange) -> Json:
    choices: list[Json] = []
    for index, text in enumerate(x.answer.texts):
        message: Json = {"role": "assistant", "content": text or (None if x.answer.calls else ""), "refusal": None}
        if x.answer.usage.output_audio:
            audio = {"id": f"audio_{x.id}", "data": _AUDIO, "expires_at": x.created + 3600, "transcript": text}
            message |= {"content": None, "audio": audio}
        if x.answer.calls:
            message["tool_calls"] = _tool_calls(x, index)
        message |= _executed(x, "found")
        choice: Json = {"index": index, "message": message, "logprobs": None, "finish_reason": _finish(x)}
        choices.append(choice | ({"content_filter_results": _SAFE} if x.provider == "azure" else {}))
    accents: dict[str, Json] = {"azure": _PROMPT_SAFE, "groq": {"x_groq": {"id": f"req_{x.id}"}}}
    body = _head(x, "chat.completion") | {"choices": choices} | accents.get(x.provider, {})
    return body | _breakdown(x) | ({"usage": _usage(x)} if x.script.usage else {})


def _include_usage(x: Exchange) -> bool:
    return x.script.usage and bool(nested(x.body, "stream_options").get("include_usage"))


def _chat_events(x: Exchange) -> Iterator[Event]:
    head = _head(x, "chat.completion.chunk")
    with_usage, groq, n = _include_usage(x), x.provider == "groq", len(x.answer.texts)
    total = x.answer.generated(1)

    def chunk(choice: int, delta: Json, finish: str | None = None) -> Json:
        body = {"choices": [{"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}]}
        return head | body | ({"usage": None} if with_usage else {})

    if x.provider == "azure":
        yield Event({"id": "", "object": "", "created": 0, "model": "", "choices": []} | _PROMPT_SAFE, 0)
    for index in range(n):
        first = chunk(index, {"role": "assistant", "content": None if x.answer.calls else "", "refusal": None})
        yield Event(first | ({"x_groq": {"id": f"req_{x.id}"}} if groq and not index else {}), 0)
    deltas = [
        (index, delta)
        for row in zip(*(_deltas(x, i) for i in range(n)), strict=True)
        for index, delta in enumerate(row)
    ]
    for output in (None, "found"):
        if executed := _executed(x, output):
            yield Event(chunk(0, executed), 0)
    for number, (index, delta) in enumerate(deltas, 1):
        yield Event(chunk(index, delta), x.answer.generated(number / len(deltas)))
    for index in range(n):
        last, ends = chunk(index, {}, _finish(x)), index == n - 1
        if groq and ends and x.script.usage:
            last["x_groq"] = {"id": f"req_{x.id}", "usage": _usage(x)} | _breakdown(x)
        if x.provider in OTHERS and ends and x.script.usage:
            last["usage"] = _usage(x)
        yield Event(last, total, final=ends and not with_usage)
    if with_usage:
        yield Event(head | {"choices": [], "usage": _usage(x)}, total, final=True)


def _deltas(x: Exchange, choice: int) -> list[Json]:
    """What one choice says, bit by bit."""
    deltas: list[Json] = []
    pieces = x.answer.pieces(x.answer.texts[choice])
    if x.answer.usage.output_audio:
        deltas += [{"audio": {"id": f"audio_{x.id}", "transcript": piece}} for piece in pieces]
        deltas.append({"audio": {"data": _AUDIO, "expires_at": x.created + 3600}})
    elif x.answer.texts[choice] or not x.answer.calls:
        deltas += [{"content": piece} for piece in pieces]
    for index, call in enumerate(_tool_calls(x, choice)):
        text: str = call["function"]["arguments"]
        opening = call | {"index": index, "function": call["function"] | {"arguments": ""}}
        halves = (text[: len(text) // 2], text[len(text) // 2 :])
        deltas += [
            {"tool_calls": [part]}
            for part in (opening, *({"index": index, "function": {"arguments": half}} for half in halves))
        ]
    return deltas


def _read_completion(body: Json, _seen: Conversations) -> Prompt:
    turns = [Turn("user", text) for text in strings(body["prompt"])]
    streams, limit = body.get("stream") is True, body.get("max_tokens")
    return Prompt(model=body.get("model", ""), turns=turns, stream=streams, n=body.get("n") or 1, max_tokens=limit)


def strings(value: Any) -> list[str]:
    """Texts of a prompt or input; token numbers become words, one each."""
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    if items and isinstance(items[0], int):
        items = [items]
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in items]


def _plain_completion(x: Exchange) -> Json:
    choices = [_completion(i, text, _finish(x)) for i, text in enumerate(x.answer.texts)]
    return _head(x, "text_completion") | {"choices": choices} | ({"usage": _usage(x)} if x.script.usage else {})


def _completion(index: int, text: str, finish: str | None) -> Json:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


def _completion_events(x: Exchange) -> Iterator[Event]:
    head, with_usage = _head(x, "text_completion"), _include_usage(x)
    pieces = [(index, piece) for index, text in enumerate(x.answer.texts) for piece in x.answer.pieces(text)]
    for number, (index, piece) in enumerate(pieces, 1):
        choice = _completion(index, piece, None if number % x.answer.chunks else _finish(x))
        body = head | {"choices": [choice]} | ({"usage": None} if with_usage else {})
        yield Event(body, x.answer.generated(number / len(pieces)), final=number == len(pieces) and not with_usage)
    if with_usage:
        yield Event(head | {"choices": [], "usage": _usage(x)}, x.answer.generated(1), final=True)


def _read_embeddings(body: Json, _seen: Conversations) -> Prompt:
    turns = [Turn("user", text) for text in strings(body["input"])]
    return Prompt(model=body.get("model", ""), turns=turns, generates=False)


def _plain_embeddings(x: Exchange) -> Json:
    dimensions, coded = x.body.get("dimensions") or 1536, x.body.get("encoding_format") == "base64"
    vectors = [vector(turn.text, dimensions, coded) for turn in x.prompt.turns]
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    tokens = x.answer.usage.input_tokens
    usage = {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}} if x.script.usage else {}
    named = {"id": x.id} if x.provider in OTHERS else {}
    return named | {"object": "list", "data": data, "model": x.answer.model} | usage


@lru_cache(maxsize=256)
def vector(text: str, dimensions: int, coded: bool) -> str | list[float]:
    """An embedding of the text, always the same; `coded` in base64."""
    dice = random.Random(text)
    vector = array("f", (dice.uniform(-0.05, 0.05) for _ in range(dimensions)))
    return base64.b64encode(vector.tobytes()).decode() if coded else vector.tolist()


def _failure(_x: Exchange) -> list[tuple[str | None, Json]]:
    return [(None, error(500, "scripted failure in mid-stream"))]


def _unasked_or_asked(x: Exchange) -> bool:
    return _include_usage(x) or (x.script.usage and x.provider in ("groq", *OTHERS))


_DONE = b"data: [DONE]\n\n"
CHAT = Wire("chat", "chatcmpl-", _read_chat, _plain_chat, error, _chat_events, _failure, _unasked_or_asked, _DONE)
_LEGACY = (_read_completion, _plain_completion, error, _completion_events, _failure, _include_usage, _DONE)
COMPLETIONS = Wire("completions", "cmpl-", *_LEGACY)
EMBEDDINGS = Wire("embeddings", "emb-", _read_embeddings, _plain_embeddings, error)
