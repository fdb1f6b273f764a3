"""Responses that no documentation promises, but that servers have been seen to send."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.offline_provider.model import Json

UNKNOWN_EVENT: Json = {"type": "response.surprise", "object": "surprise", "surprise": [1, 2, 3]}
USAGE_LOST = ("null usage", "not json", "empty")
_ANSWERS = ("choices", "content", "output", "data")
_NULLED = {"null usage": ("usage",), "null choices": _ANSWERS, "null delta": ("delta", "message", "function")}
_DROPPED = {"missing choices": _ANSWERS, "missing index": ("index",)}


def written(payload: Json, kind: str | None) -> str:
    """The payload as JSON, made odd."""
    if kind in ("not json", "empty"):
        return "<html>{oops" if kind == "not json" else ""
    text = json.dumps(payload)
    if kind is None:
        return text
    odd: Json = json.loads(text)
    for part in _objects(odd):
        part |= {name: None for name in _NULLED.get(kind, ()) if name in part}
        for name in _DROPPED.get(kind, ()):
            part.pop(name, None)
        if kind == "strings for numbers":
            for counts in _objects(part.get("usage")):
                counts |= {name: str(count) for name, count in counts.items() if isinstance(count, int)}
    return json.dumps(odd)


def _objects(value: Any) -> Iterator[Json]:
    """Every JSON object in a value, outermost first."""
    inner: list[Any] = []
    if isinstance(value, dict):
        yield (found := cast("Json", value))
        inner = list(found.values())
    elif isinstance(value, list):
        inner = cast("list[Any]", value)
    for part in inner:
        yield from _objects(part)
