"""Reading bodies that may hold anything: dicts or SDK objects, with fields missing, null or of another type."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol, cast

from otel_llm.call import Call

# Nobody counts beyond it, and what it costs still fits into 64 bits.
_MOST = 10**12
_NO_MODEL = object()


def get(body: Any, *path: str) -> Any:
    """The value at `path` in nested dicts or objects; None where a step is missing or null."""
    for name in path:
        if body is None:
            return None
        body = body.get(name) if body.__class__ is dict else fields(body).get(name)
    return body


def fields(body: Any) -> Fields:
    """The fields of a dict or an object, to be asked for several of them."""
    if isinstance(body, dict):
        return cast("dict[str, Any]", body)
    more: Any = getattr(body, "__pydantic_extra__", _NO_MODEL)
    if more is _NO_MODEL:
        return _Attributes(body)
    # Asking a pydantic model for what it lacks raises, deep inside: that takes ten times as long.
    known: dict[str, Any] = body.__dict__
    return {**more, **known} if more else known


class Fields(Protocol):
    """What has fields."""

    def get(self, name: str, /) -> Any:
        """The value of a field; None where it is missing or null."""
        ...


class _Attributes:
    __slots__ = ("_body",)

    def __init__(self, body: Any) -> None:
        self._body = body

    def get(self, name: str, /) -> Any:
        return getattr(self._body, name, None)


def items(body: Any, *path: str) -> list[Any]:
    """The list at `path`, without nulls; empty where there is none."""
    found = get(body, *path)
    return [item for item in cast("list[Any]", found) if item is not None] if isinstance(found, list) else []


def text(value: Any) -> str | None:
    """`value` if it is a non-empty string, without the half characters that JSON may hold and UTF-8 may not."""
    if type(value) is str and value and value.isascii():
        return value
    if not isinstance(value, str) or not value:
        return None
    return value.encode(errors="replace").decode()


def count(value: Any) -> int | None:
    """A count of tokens: a whole number from 0, also when it comes as a string or a float; None for anything else."""
    if type(value) is int:
        return value if 0 <= value <= _MOST else None
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= _MOST else None


def ticks_in_usd(ticks: Any) -> str | None:
    """What xAI says that a request cost, in ticks of 1e-10 USD, as a decimal string in USD."""
    ticks = count(ticks)
    return None if ticks is None else str(Decimal(ticks).scaleb(-10))


def _strings(value: Any) -> list[str]:
    # Not any iterable: a generator is the caller's, to be read once.
    if not isinstance(value, (list, tuple)):
        return []
    return [said for item in cast("list[Any]", value) if (said := text(item)) is not None]


def parameters(call: Call, body: Mapping[str, Any], names: Mapping[str, tuple[str, type]]) -> None:
    """Copy request parameters that were really sent: body field -> (attribute, type). Others are never made up."""
    for field, (attribute, kind) in names.items():
        if field not in body or (value := body[field]) is None or isinstance(value, bool):
            continue
        if kind in (int, float):
            if isinstance(value, (int, float)) and abs(value) < 2**63:  # what an attribute can hold
                call.request[attribute] = kind(value)
        elif kind is str:
            said = text(value)
            if said is not None:
                call.request[attribute] = said
        else:
            strings = _strings([value] if isinstance(value, str) else value)
            if strings:
                call.request[attribute] = strings


def rest(total: int | None, *parts: int | None) -> tuple[int | None, str | None]:
    """What of `total` is in none of its `parts`, and how the numbers contradict each other if they do."""
    if total is None:
        return None, None
    left = total
    for part in parts:
        left -= part or 0
    return (left, None) if left >= 0 else (0, f"parts exceed their total {total} by {-left}")


def disagreement(total: int | None, *parts: int | None) -> str | None:
    """How a total contradicts the parts that should add up to it, if it is known and does."""
    known = sum(part or 0 for part in parts)
    return None if total is None or total == known else f"total {total} is not {known}, the sum of its parts"
