"""Reads what the ledger writes, without a database."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

from clickhouse_connect.driver.buffer import ResponseBuffer  # pyright: ignore[reportAttributeAccessIssue]
from clickhouse_connect.driver.query import QueryContext
from clickhouse_connect.driver.transform import NativeTransform

from otel_llm_exporters.clickhouse.formats import COLUMNS, Block


def rows_of(block: Block) -> list[dict[str, Any]]:
    """The rows of a block, by the names of the columns; times as they are written."""
    if block.format == "Native":
        result: Any = NativeTransform.parse_response(ResponseBuffer(_Source(block.data)), QueryContext())
        rows = [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]
    else:
        data, rows = BytesIO(block.data), list[dict[str, Any]]()
        while data.tell() < len(block.data):
            rows.append({name: _value(data, codec.type) for name, codec in COLUMNS.items()})
    assert len(rows) == block.rows
    return rows


class _Source:
    last_message = exception_tag = None

    def __init__(self, data: bytes) -> None:
        self.gen = iter([data])

    def close(self) -> None:
        """Nothing to close."""


def _value(data: BytesIO, type_: str) -> Any:
    if type_.startswith("Map("):
        return {_text(data): _text(data) for _ in range(_length(data))}
    if type_.startswith("Array("):
        return [_value(data, type_[len("Array(") : -1]) for _ in range(_length(data))]
    if type_.endswith(("String", "String)")):
        return _text(data)
    return struct.unpack("<Q", data.read(8))[0]


def _text(data: BytesIO) -> str:
    return data.read(_length(data)).decode()


def _length(data: BytesIO) -> int:
    length = shift = 0
    while True:
        byte = data.read(1)[0]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return length
        shift += 7
