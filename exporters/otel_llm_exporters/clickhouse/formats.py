"""Rows of the OTel Collector's `otel_traces` in ClickHouse's own formats: Native, and RowBinary for a few rows.

Written with the standard library only, because it runs inside other people's applications. The bytes of Native are
those of clickhouse-connect's serializer; what is in one format may be concatenated.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, get_args

Format = Literal["Native", "RowBinary"]
FORMATS: tuple[Format, ...] = get_args(Format)
Attributes = dict[str, str]
Row = tuple[Any, ...]
"""One span: a value for each of `COLUMNS`."""

_FEW = 32
"""ClickHouse takes 0.8 milliseconds to read a block of Native, however small, and 4 microseconds more for each row of
it; for a row of RowBinary 36. A quiet process writes a segment for each interaction."""


class Block(NamedTuple):
    """Spans, encoded."""

    rows: int
    data: bytes
    format: Format

    @property
    def size(self) -> int:
        """Bytes of it."""
        return len(self.data)


class _Part(Protocol):
    @property
    def rows(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def format(self) -> Format: ...


P = TypeVar("P", bound=_Part)


def groups(parts: Iterable[P], rows: int, size: int) -> Iterator[list[P]]:
    """Neighbours of one format that may be concatenated: of that many rows and bytes at most, or a single one."""
    group: list[P] = []
    total_rows = total_size = 0
    for part in parts:
        total_rows += part.rows
        total_size += (own_size := part.size)
        if group and (total_rows > rows or total_size > size or part.format != group[0].format):
            yield group
            group, total_rows, total_size = [], part.rows, own_size
        group.append(part)
    if group:
        yield group


def block(rows: Sequence[Row], format: Format | None = None) -> Block:  # noqa: A002 - ClickHouse's word
    """Return rows as one block, in the format that is read faster; no bytes for no rows."""
    chosen = format or ("RowBinary" if len(rows) < _FEW else "Native")
    return Block(len(rows), (_native if chosen == "Native" else _row_binary)(rows), chosen)


def _native(rows: Sequence[Row]) -> bytes:
    if not rows:
        return b""
    columns = zip(COLUMNS.items(), zip(*rows, strict=True), strict=True)
    body = (
        _string(name) + _string(codec.type) + codec.prefix + codec.data(values) for (name, codec), values in columns
    )
    return b"".join((_leb128(len(COLUMNS)), _leb128(len(rows)), *body))


def _row_binary(rows: Sequence[Row]) -> bytes:
    strings, codecs = _Encoded(), COLUMNS.values()
    return b"".join([codec.value(value, strings) for row in rows for codec, value in zip(codecs, row, strict=True)])


class _Codec(Protocol):
    type: str
    prefix: bytes
    """Nested LowCardinality types announce their version before any data of the column, in Native."""

    def data(self, values: Sequence[Any]) -> bytes:
        """The values of a column, in Native."""
        ...

    def value(self, value: Any, strings: _Encoded) -> bytes:
        """One value, in RowBinary."""
        ...


def _leb128(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    return bytes((number & 0x7F | 0x80,)) + _leb128(number >> 7)


def _string(text: str) -> bytes:
    encoded = text.encode("utf-8", "backslashreplace")
    return _leb128(len(encoded)) + encoded


class _Encoded(dict[str, bytes]):
    """Most strings of a batch occur in it many times."""

    def __missing__(self, text: str) -> bytes:
        encoded = self[text] = _string(text)
        return encoded


class _Text:
    def value(self, value: str, strings: _Encoded) -> bytes:
        return strings[value]


class _String(_Text):
    type, prefix = "String", b""

    def data(self, values: Iterable[str]) -> bytes:
        return b"".join(map(_Encoded().__getitem__, values))


class _Number:
    prefix = b""

    def __init__(self, type_: str, code: str) -> None:
        self.type, self._code = type_, code

    def data(self, values: Sequence[int]) -> bytes:
        return struct.pack(f"<{len(values)}{self._code}", *values)

    def value(self, value: int, strings: _Encoded) -> bytes:
        return struct.pack(f"<{self._code}", value)


class _LowCardinality(_Text):
    type, prefix = "LowCardinality(String)", struct.pack("<Q", 1)

    def data(self, values: Sequence[str]) -> bytes:
        if not values:
            return b""
        numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
        width = 0 if len(numbers) < 1 << 8 else 1 if len(numbers) < 1 << 16 else 2
        # Bit 9: keys follow that the reader does not know; bit 10: they replace its dictionary.
        head = struct.pack("<QQ", 1 << 9 | 1 << 10 | width, len(numbers))
        positions = struct.pack(f"<Q{len(values)}{'BHI'[width]}", len(values), *map(numbers.__getitem__, values))
        return b"".join((head, *map(_string, numbers), positions))


class _Map:
    type = "Map(LowCardinality(String), String)"
    prefix = _LowCardinality.prefix

    def data(self, values: Sequence[Attributes]) -> bytes:
        keys = tuple(chain.from_iterable(values))
        texts = chain.from_iterable(map(dict[str, str].values, values))
        return _offsets(values) + _LABEL.data(keys) + _STRING.data(texts)

    def value(self, value: Attributes, strings: _Encoded) -> bytes:
        return b"".join((_leb128(len(value)), *map(strings.__getitem__, chain.from_iterable(value.items()))))


class _Array:
    def __init__(self, item: _Codec) -> None:
        self.type, self.prefix, self._item = f"Array({item.type})", item.prefix, item

    def data(self, values: Sequence[Sequence[Any]]) -> bytes:
        return _offsets(values) + self._item.data(tuple(chain.from_iterable(values)))

    def value(self, value: Sequence[Any], strings: _Encoded) -> bytes:
        return b"".join((_leb128(len(value)), *(self._item.value(item, strings) for item in value)))


def _offsets(values: Sequence[Sequence[Any] | Attributes]) -> bytes:
    return struct.pack(f"<{len(values)}Q", *accumulate(map(len, values)))


_STRING, _LABEL, _ATTRIBUTES = _String(), _LowCardinality(), _Map()
_TIME, _DURATION = _Number("DateTime64(9)", "q"), _Number("UInt64", "Q")

COLUMNS: dict[str, _Codec] = {
    "Timestamp": _TIME,
    "TraceId": _STRING,
    "SpanId": _STRING,
    "ParentSpanId": _STRING,
    "TraceState": _STRING,
    "SpanName": _LABEL,
    "SpanKind": _LABEL,
    "ServiceName": _LABEL,
    "ResourceAttributes": _ATTRIBUTES,
    "ScopeName": _STRING,
    "ScopeVersion": _STRING,
    "SpanAttributes": _ATTRIBUTES,
    "Duration": _DURATION,
    "StatusCode": _LABEL,
    "StatusMessage": _STRING,
    "Events.Timestamp": _Array(_TIME),
    "Events.Name": _Array(_LABEL),
    "Events.Attributes": _Array(_ATTRIBUTES),
    "Links.TraceId": _Array(_STRING),
    "Links.SpanId": _Array(_STRING),
    "Links.TraceState": _Array(_STRING),
    "Links.Attributes": _Array(_ATTRIBUTES),
}
"""Names and types as the Collector's ClickHouse exporter inserts them."""
