"""Reading bodies that may hold anything: dicts or SDK objects, with fields missing, null or of another type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from otel_llm.call import Call


def get(body: Any, *path: str) -> Any:
    """The value at `path` in nested dicts or objects; None where a step is missing or null."""
    for name in path:
        if body is None:
            return None
        body = cast("dict[str, Any]", body).get(name) if isinstance(body, dict) else getattr(body, name, None)
    return body


def items(body: Any, *path: str) -> list[Any]:
    """The list at `path`, without nulls; empty where there is none."""
    found = get(body, *path)
    return [item for item in cast("list[Any]", found) if item is not None] if isinstance(found, list) else []


def text(value: Any) -> str | None:
    """`value` if it is a non-empty string."""
    return value if isinstance(value, str) and value else None


def count(value: Any) -> int | None:
    """A count of tokens: a whole number from 0, also when it comes as a string or a float; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value >= 0 else None


def _strings(value: Any) -> list[str]:
    # Not any iterable: a generator is the caller's, to be read once.
    if not isinstance(value, (list, tuple)):
        return []
    return [item for item in cast("list[Any]", value) if isinstance(item, str)]


def parameters(call: Call, body: Mapping[str, Any], names: Mapping[str, tuple[str, type]]) -> None:
    """Copy request parameters that were really sent: body field -> (attribute, type). Others are never made up."""
    for field, (attribute, kind) in names.items():
        value = body.get(field)
        if isinstance(value, bool):
            continue
        if kind is float and isinstance(value, (int, float)):
            call.request[attribute] = float(value)
        elif kind is int and isinstance(value, (int, float)):
            call.request[attribute] = int(value)
        elif kind is str and isinstance(value, str):
            call.request[attribute] = value
        elif kind is list:
            strings = [value] if isinstance(value, str) else _strings(value)
            if strings:
                call.request[attribute] = strings


def rest(total: int | None, *parts: int | None) -> tuple[int | None, str | None]:
    """What of `total` is in none of its `parts`, and how the numbers contradict each other if they do."""
    if total is None:
        return None, None
    left = total - sum(part or 0 for part in parts)
    return (left, None) if left >= 0 else (0, f"parts exceed their total {total} by {-left}")
