"""Ollama's own chat, generate and embed: lines of JSON, no ids, and counts only in the last line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from examples.offline_provider.eventstream import JSON_LINES
from examples.offline_provider.model import Prompt, Turn, nested, text_of
from examples.offline_provider.openai import strings, vector
from examples.offline_provider.wire import Conversations, Event, Exchange, Route, Wire, function_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from examples.offline_provider.model import Json

_PATH = re.compile(r"/ollama/api/(chat|generate|embed|embeddings)$")
_MOMENT = "2026-11-22T08:00:00.000000Z"


def route(path: str) -> Route | None:
    """Who answers `/ollama/api/chat` and its like."""
    found = _PATH.search(path)
    return Route("ollama", _WIRES[found[1]], {}) if found else None


def _error(_status: int, message: str) -> Json:
    return {"error": message}


def _read(turns: Callable[[Json], list[Turn]]) -> Callable[[Json, Conversations], Prompt]:
    def read(body: Json, _seen: Conversations) -> Prompt:
        shape: Json | str | None = body.get("format")
        return Prompt(
            model=body["model"],
            turns=turns(body),
            stream=body.get("stream") is not False,
            tools=function_tools(body, "parameters"),
            schema=(shape if isinstance(shape, dict) else {}) if shape else None,
            max_tokens=nested(body, "options").get("num_predict"),
        )

    return read


def _prompt(body: Json) -> list[Turn]:
    return [*([Turn("system", body["system"])] if body.get("system") else []), Turn("user", body.get("prompt") or "")]


def _end(x: Exchange) -> Json:
    """How it ended. A prompt that was all in the cache has no count, as with older servers."""
    usage = x.answer.usage
    end: Json = {"done": True, "done_reason": "length" if x.answer.cut_short else "stop"}
    if not x.script.usage:
        return end
    end |= {"total_duration": 3_000_000, "load_duration": 1_000_000, "prompt_eval_duration": 500_000}
    end |= {"eval_count": usage.output_tokens, "eval_duration": 1_500_000}
    end |= {"prompt_eval_count": usage.input_tokens} if usage.input else {}
    return end | ({"prompt_eval_cached_count": usage.cache_read} if usage.input and usage.cache_read else {})


def _head(x: Exchange) -> Json:
    return {"model": x.answer.model, "created_at": _MOMENT}


def _message(x: Exchange, text: str) -> Json:
    calls = [{"function": {"name": name, "arguments": json.loads(said)}} for name, said in x.answer.calls]
    return {"message": {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})}


def _plain(said: Callable[[Exchange, str], Json]) -> Callable[[Exchange], Json]:
    return lambda x: _head(x) | said(x, x.answer.texts[0]) | _end(x)


def _events(said: Callable[[Exchange, str], Json], last: Json) -> Callable[[Exchange], Iterator[Event]]:
    def events(x: Exchange) -> Iterator[Event]:
        pieces = x.answer.pieces(x.answer.texts[0])
        for number, piece in enumerate(pieces, 1):
            yield Event(_head(x) | said(x, piece) | {"done": False}, x.answer.generated(number / len(pieces)))
        yield Event(_head(x) | last | _end(x), x.answer.generated(1), final=True)

    return events


def _failure(_x: Exchange) -> list[tuple[str | None, Json]]:
    return [(None, {"error": "scripted failure in mid-stream"})]


def _read_embed(body: Json, _seen: Conversations) -> Prompt:
    turns = [Turn("user", text) for text in strings(body.get("input") or body["prompt"])]
    return Prompt(model=body["model"], turns=turns, generates=False)


def _embed(x: Exchange) -> Json:
    found: Json = {"model": x.answer.model, "embeddings": [vector(t.text, 768, coded=False) for t in x.prompt.turns]}
    found |= {"total_duration": 2_000_000, "load_duration": 1_000_000}
    return found | ({"prompt_eval_count": x.answer.usage.input_tokens} if x.script.usage else {})


def _old_embed(x: Exchange) -> Json:
    return {"embedding": vector(x.prompt.turns[0].text, 768, coded=False)}


def _chat_turns(body: Json) -> list[Turn]:
    return [Turn(message["role"], text_of(message.get("content"))) for message in body.get("messages") or ()]


def _generated(_x: Exchange, text: str) -> Json:
    return {"response": text}


_WIRES = {
    "chat": Wire(
        "chat",
        "ol-",
        _read(_chat_turns),
        _plain(_message),
        _error,
        _events(_message, {"message": {"role": "assistant", "content": ""}}),
        _failure,
        framing=JSON_LINES,
    ),
    "generate": Wire(
        "generate",
        "ol-",
        _read(_prompt),
        _plain(_generated),
        _error,
        _events(_generated, {"response": ""}),
        _failure,
        framing=JSON_LINES,
    ),
    "embed": Wire("embeddings", "ol-", _read_embed, _embed, _error),
    "embeddings": Wire("embeddings", "ol-", _read_embed, _old_embed, _error, names_model=False),
}
