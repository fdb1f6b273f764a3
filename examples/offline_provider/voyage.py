"""Voyage's embeddings and reranking. One pixel of a picture is one character of its address."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from examples.offline_provider.model import Prompt, Turn
from examples.offline_provider.openai import strings, vector
from examples.offline_provider.wire import Conversations, Exchange, Route, Wire

if TYPE_CHECKING:
    from examples.offline_provider.model import Json

_PATH = re.compile(r"/voyage/v1/(embeddings|contextualizedembeddings|multimodalembeddings|rerank)$")


def route(path: str) -> Route | None:
    """Who answers `/voyage/v1/embeddings` and its like."""
    found = _PATH.search(path)
    return Route("voyageai", _WIRES[found[1]], {}) if found else None


def _error(_status: int, message: str) -> Json:
    return {"detail": message}


def _prompt(body: Json, texts: list[str], pixels: int = 0) -> Prompt:
    turns = [Turn("user", text) for text in texts]
    return Prompt(model=body["model"], turns=turns, generates=False, units={"image_pixels": pixels} if pixels else {})


def _read(body: Json, _seen: Conversations) -> Prompt:
    return _prompt(body, strings(body["input"]))


def _read_contextualized(body: Json, _seen: Conversations) -> Prompt:
    return _prompt(body, [text for document in body["inputs"] for text in strings(document)])


def _read_multimodal(body: Json, _seen: Conversations) -> Prompt:
    parts: list[Json] = [part for given in body["inputs"] for part in given["content"]]
    pixels = sum(len(part["image_url"]) for part in parts if part["type"] == "image_url")
    return _prompt(body, [part["text"] for part in parts if part["type"] == "text"], pixels)


def _read_rerank(body: Json, _seen: Conversations) -> Prompt:
    return _prompt(body, [body["query"], *body["documents"]])


def _embedded(x: Exchange, texts: list[str]) -> list[Json]:
    coded = x.body.get("encoding_format") == "base64"
    size = x.body.get("output_dimension") or 1024
    return [
        {"object": "embedding", "embedding": vector(text, size, coded=coded), "index": i}
        for i, text in enumerate(texts)
    ]


def _list(x: Exchange, data: list[Json], **more: int) -> Json:
    usage: Json = {"total_tokens": x.answer.usage.input_tokens, **more}
    return {"object": "list", "data": data, "model": x.answer.model} | ({"usage": usage} if x.script.usage else {})


def _plain(x: Exchange) -> Json:
    return _list(x, _embedded(x, [turn.text for turn in x.prompt.turns]))


def _contextualized(x: Exchange) -> Json:
    documents = [_embedded(x, strings(document)) for document in x.body["inputs"]]
    return _list(x, [{"object": "list", "data": chunks, "index": i} for i, chunks in enumerate(documents)])


def _multimodal(x: Exchange) -> Json:
    words, pixels = x.answer.usage.input_tokens, x.answer.usage.requests.get("image_pixels", 0)
    found = _list(
        x,
        _embedded(x, [str(given) for given in x.body["inputs"]]),
        text_tokens=words,
        image_pixels=pixels,
        video_pixels=0,
    )
    found["usage"]["total_tokens"] = words + pixels // 560
    return found


def _rerank(x: Exchange) -> Json:
    documents = x.body["documents"][: x.body.get("top_k") or None]
    return _list(x, [{"index": i, "relevance_score": round(0.9 / (i + 1), 4)} for i in range(len(documents))])


_WIRES = {
    "embeddings": Wire("embeddings", "vo-", _read, _plain, _error, names_model=False),
    "contextualizedembeddings": Wire(
        "embeddings", "vo-", _read_contextualized, _contextualized, _error, names_model=False
    ),
    "multimodalembeddings": Wire("embeddings", "vo-", _read_multimodal, _multimodal, _error, names_model=False),
    "rerank": Wire("rerank", "vo-", _read_rerank, _rerank, _error, names_model=False),
}
