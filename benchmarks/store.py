"""`python -m benchmarks.store --calls 10000000`: what the store needs for a month of calls, on disk and in seconds.

The calls are made by ClickHouse itself: 31 days, 2.9 calls per interaction, 50,000 users, 20 features, 12 models.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.report import Table, show
from otel_llm_exporters.clickhouse import queries
from otel_llm_exporters.clickhouse.embedded import EmbeddedStore

_ROUNDS = 5
_MAKE = """
INSERT INTO llm_calls (Timestamp, TraceId, SpanId, ParentSpanId, InteractionId, InteractionName, ServiceName,
    Environment, Feature, Endpoint, UserId, SessionId, SpanName, ScopeName, Operation, Provider, RequestModel,
    ResponseModel, ResponseId, FinishReason, Layer, DurationNs, Attempts, Streaming, Status, InputTokens,
    UncachedInputTokens, CacheReadTokens, OutputTokens, VisibleOutputTokens, UsageSource, InputCost, CacheReadCost,
    OutputCost, TotalCost, Currency, CostStatus, CostSource, PriceKey, PriceVariant, PriceBook)
WITH
    intDiv(number * 10, 29) AS interaction,
    sipHash64(interaction) AS i,
    sipHash64(number, 1) AS r,
    concat('model-', toString(r % 12)) AS model,
    concat('feature-', toString(i % 20)) AS feature,
    r % 4000 + 200 AS uncached,
    intDiv(r, 256) % 3000 AS cached,
    intDiv(r, 65536) % 800 + 1 AS output
SELECT
    toDateTime64('2026-10-01 00:00:00', 9, 'UTC') + interaction * (31 * 86400.) / ({calls:Float64} / 2.9)
        + (r % 9000) / 1000,
    lower(hex(sipHash128(interaction))), lower(hex(r)), lower(hex(i)), lower(hex(sipHash128(interaction))), feature,
    'shop', 'production', feature, concat('/', feature), concat('user-', toString(i % 50000)),
    concat('session-', toString(intDiv(interaction, 3))), concat('chat ', model), 'otel_llm.openai', 'chat', 'openai',
    model, concat(model, '-2026-08-01'), concat('chatcmpl-', substring(hex(sipHash128(number)), 1, 24)), 'stop', 'sdk',
    (r % 9000) * 1000000, 1, r % 2, 'Unset', uncached + cached, uncached, cached, output, output, 'provider',
    uncached * toDecimal64(0.00000015, 12) AS input_cost, cached * toDecimal64(0.000000075, 12) AS read_cost,
    output * toDecimal64(0.0000006, 12) AS output_cost, input_cost + read_cost + output_cost,
    'USD', 'priced', 'local', concat('openai/', model), 'standard', 'genai-prices-0.2.3'
FROM numbers({calls:UInt64})
SETTINGS max_insert_block_size = 1000000, max_threads = 2
"""
_ONE = "(SELECT InteractionId FROM llm_calls WHERE toDate(Timestamp) = '2026-10-15' LIMIT 1)"
QUESTIONS = {
    "cost by model, 31 days": "SELECT ResponseModel, sum(TotalCost) FROM llm_calls FINAL GROUP BY ResponseModel",
    "cost by feature, 31 days": "SELECT Feature, sum(TotalCost) FROM llm_calls FINAL GROUP BY Feature",
    "cost by user, 31 days, the top 100": "SELECT UserId, sum(TotalCost) AS cost FROM llm_calls FINAL GROUP BY UserId "
    "ORDER BY cost DESC LIMIT 100",
    "cost by day, 31 days": "SELECT toDate(Timestamp) AS day, sum(TotalCost) FROM llm_calls FINAL GROUP BY day",
    "the view cost_by_day": "SELECT * FROM cost_by_day",
    "the view cost_by_user, a day": "SELECT * FROM cost_by_user WHERE Day = '2026-10-15' ORDER BY Cost DESC LIMIT 100",
    "one interaction": f"SELECT * FROM llm_calls FINAL WHERE InteractionId = {_ONE}",
    "p95 per interaction, a day": "SELECT quantileExact(0.95)(cost) FROM (SELECT sum(TotalCost) AS cost "
    "FROM llm_calls FINAL WHERE toDate(Timestamp) = '2026-10-15' GROUP BY InteractionId)",
}


def measure(calls: int) -> list[Table]:
    """Fill a store and ask it."""
    table = Table(f"A store of {calls:,} calls", ("", "median", "best"))
    with tempfile.TemporaryDirectory() as home, EmbeddedStore(Path(home)) as store:
        began = time.perf_counter()
        store.execute(_MAKE, {"calls": calls})
        store.execute("OPTIMIZE TABLE llm_calls FINAL")
        console = Console(stderr=True)
        console.print(f"filled in {time.perf_counter() - began:.0f} s")
        size = store.query(
            "SELECT sum(data_compressed_bytes) / sum(rows) FROM system.parts WHERE active AND table = 'llm_calls'"
        ).rows[0][0]
        table.add("bytes per call on disk", f"{size:.0f}", "")
        for question, sql in QUESTIONS.items():
            table.add(question, *_seconds(partial(store.query, sql)))
        report = queries.report(["feature"])
        table.add("otel-llm report --by feature, 31 days", *_seconds(partial(store.query, *report), rounds=1))
    machine = Table("Machine", ("", ""))
    machine.add("processors", str(os.cpu_count()))
    return [machine, table]


def _seconds(ask: Callable[[], object], rounds: int = _ROUNDS) -> tuple[str, str]:
    found: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        ask()
        found.append(time.perf_counter() - began)
    return f"{statistics.median(found):.3f} s", f"{min(found):.3f} s"


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m benchmarks.store")
    parser.add_argument("--calls", type=int, default=1_000_000)
    show(measure(parser.parse_args().calls), Console(width=140))
