"""IBM watsonx.ai: chat in OpenAI's words, text generation, embeddings and reranking in its own."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from examples.offline_provider.media import TRANSCRIPTIONS
from examples.offline_provider.model import Prompt, Turn, nested
from examples.offline_provider.openai import CHAT, vector
from examples.offline_provider.wire import Conversations, Event, Exchange, Route, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.offline_provider.model import Json

_PATH = re.compile(
    r"/ml/v1/(?:text/(?=[cger])|(?=audio))(chat|generation|embeddings|rerank|audio/transcriptions)(_stream)?$"
)


def route(path: str) -> Route | None:
    """Who answers `/ml/v1/text/chat` and its like; `_stream` at its end asks for a stream."""
    found = _PATH.search(path)
    return Route("ibm.watsonx.ai", _WIRES[found[1]], {"stream": found[2] is not None}) if found else None


def _error(status: int, message: str) -> Json:
    return {"errors": [{"code": "offline_error", "message": message}], "trace": "offline", "status_code": status}


def _failure(_x: Exchange) -> list[tuple[str | None, Json]]:
    return [("error", _error(500, "scripted failure in mid-stream"))]


def _head(x: Exchange) -> Json:
    created = datetime.fromtimestamp(x.created, UTC).isoformat()
    return {"model_id": x.answer.model, "model_version": "1.1.0", "created_at": created}


def _read_chat(body: Json, seen: Conversations) -> Prompt:
    return CHAT.read(body | {"model": body["model_id"]}, seen)


def _plain_chat(x: Exchange) -> Json:
    return CHAT.plain(x) | _head(x)


def _chat_events(x: Exchange) -> Iterator[Event]:
    for event in CHAT.events(x):
        usage = {"usage": CHAT.plain(x)["usage"]} if event.final and x.script.usage else {}
        yield event._replace(payload=event.payload | _head(x) | usage, name="message")


def _read_generation(body: Json, _seen: Conversations) -> Prompt:
    limit = nested(body, "parameters").get("max_new_tokens")
    return Prompt(body["model_id"], [Turn("user", body["input"])], stream=body["stream"], max_tokens=limit)


def _result(x: Exchange, text: str, generated: int, asked: int, *, over: bool) -> Json:
    reason = "not_finished" if not over else "max_tokens" if x.answer.cut_short else "eos_token"
    result: Json = {"generated_text": text, "stop_reason": reason}
    result |= {"generated_token_count": generated, "input_token_count": asked} if x.script.usage else {}
    return _head(x) | {"results": [result]}


def _plain_generation(x: Exchange) -> Json:
    return _result(x, x.answer.texts[0], x.answer.usage.output_tokens, x.answer.usage.input_tokens, over=True)


def _generation_events(x: Exchange) -> Iterator[Event]:
    """The input is counted in the first event, the output so far in each."""
    yield Event(_result(x, "", 0, x.answer.usage.input_tokens, over=False), 0, "message")
    pieces = x.answer.pieces(x.answer.texts[0])
    for number, piece in enumerate(pieces, 1):
        made = x.answer.generated(number / len(pieces))
        yield Event(_result(x, piece, made, 0, over=False), made, "message")
    made = x.answer.usage.output_tokens
    yield Event(_result(x, "", made, 0, over=True), made, "message", final=True)


def _read_embeddings(body: Json, _seen: Conversations) -> Prompt:
    return Prompt(body["model_id"], [Turn("user", text) for text in body["inputs"]], generates=False)


def _read_rerank(body: Json, _seen: Conversations) -> Prompt:
    texts = [body["query"], *(given["text"] for given in body["inputs"])]
    return Prompt(body["model_id"], [Turn("user", text) for text in texts], generates=False)


def _counted(x: Exchange, results: list[Json]) -> Json:
    counts = {"input_token_count": x.answer.usage.input_tokens} if x.script.usage else {}
    return _head(x) | {"results": results} | counts


def _plain_embeddings(x: Exchange) -> Json:
    return _counted(x, [{"embedding": vector(turn.text, 384, coded=False)} for turn in x.prompt.turns])


def _plain_rerank(x: Exchange) -> Json:
    return _counted(x, [{"index": index, "score": 1.0 / (index + 1)} for index in range(len(x.prompt.turns) - 1)])


_WIRES = {
    "chat": Wire("chat", "chatcmpl-", _read_chat, _plain_chat, _error, _chat_events, _failure),
    "generation": Wire("generation", "gen-", _read_generation, _plain_generation, _error, _generation_events, _failure),
    "embeddings": Wire("embeddings", "emb-", _read_embeddings, _plain_embeddings, _error),
    "rerank": Wire("rerank", "rank-", _read_rerank, _plain_rerank, _error),
    "audio/transcriptions": TRANSCRIPTIONS,
}
