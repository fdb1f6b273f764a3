"""Spans in ClickHouse: a durable spool in the application, an embedded database or a server behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_llm_exporters.clickhouse.ledger import ClickHouseSpanExporter, LedgerProcessor

__all__ = ["ClickHouseSpanExporter", "LedgerProcessor"]


def __getattr__(name: str) -> object:
    """Load the entry points only when they are asked for: other modules here serve the command line."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from otel_llm_exporters.clickhouse import ledger

    return getattr(ledger, name)
