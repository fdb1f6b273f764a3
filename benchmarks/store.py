"""`python -m benchmarks.store --calls 10000000`: what the store needs for a month of calls, on disk and in seconds.

The calls are made by ClickHouse itself: 31 days, 2.9 calls per interaction, 50,000 users, 20 features, 12 models.
Beside it, how fast a backlog of the spool gets into the store, and through HTTP into a server (in this process, too:
its processor time is that of both). Processor time is what to compare where others use the machine, too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind
from rich.console import Console

from benchmarks.report import Table, show
from otel_llm_exporters.clickhouse import queries
from otel_llm_exporters.clickhouse.embedded import EmbeddedStore
from otel_llm_exporters.clickhouse.rows import encode
from otel_llm_exporters.clickhouse.serve import ChServer
from otel_llm_exporters.clickhouse.shipper import Shipper
from otel_llm_exporters.clickhouse.spool import Spool

_ROUNDS, _BACKLOGS = 5, 3
_DAY = datetime(2026, 10, 15, tzinfo=UTC)
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
_ROOTS = """
INSERT INTO interaction_roots (Ended, Timestamp, TraceId, SpanId, InteractionId, InteractionName, ServiceName, Feature,
    Endpoint, UserId, SessionId, IsRoot)
SELECT Timestamp + 10, Timestamp, TraceId, ParentSpanId, InteractionId, InteractionName, ServiceName, Feature,
    Endpoint, UserId, SessionId, true
FROM llm_calls
LIMIT 1 BY InteractionId
SETTINGS max_insert_block_size = 1000000, max_threads = 2
"""
_SOME = "SELECT InteractionId FROM llm_calls WHERE toDate(Timestamp) = '2026-10-15' LIMIT 1"
QUESTIONS = {
    "cost by model, 31 days": "SELECT ResponseModel, sum(TotalCost) FROM llm_calls FINAL GROUP BY ResponseModel",
    "cost by feature, 31 days": "SELECT Feature, sum(TotalCost) FROM llm_calls FINAL GROUP BY Feature",
    "cost by user, 31 days, the top 100": "SELECT UserId, sum(TotalCost) AS cost FROM llm_calls FINAL GROUP BY UserId "
    "ORDER BY cost DESC LIMIT 100",
    "cost by day, 31 days": "SELECT toDate(Timestamp) AS day, sum(TotalCost) FROM llm_calls FINAL GROUP BY day",
    "the view cost_by_day": "SELECT * FROM cost_by_day",
    "the view cost_by_user, a day": "SELECT * FROM cost_by_user WHERE Day = '2026-10-15' ORDER BY Cost DESC LIMIT 100",
    "one interaction": "SELECT * FROM llm_calls FINAL WHERE InteractionId = {id:String}",
    "p95 per interaction, a day": "SELECT quantileExact(0.95)(cost) FROM (SELECT sum(TotalCost) AS cost "
    "FROM llm_calls FINAL WHERE toDate(Timestamp) = '2026-10-15' GROUP BY InteractionId)",
}


COMMANDS = {
    "otel-llm report --by feature": queries.report(["feature"]),
    "otel-llm report --by user": queries.report(["user"]),
    "otel-llm report --by user, a day": queries.report(["user"], since=_DAY, until=_DAY + timedelta(days=1)),
    "otel-llm interactions": queries.interactions(),
    "otel-llm interactions --user user-77": queries.interactions(user="user-77"),
}


def measure(calls: int, spans: int) -> list[Table]:
    """Fill a store and ask it; then empty a spool into it."""
    console = Console(stderr=True)
    asked = Table(f"A store of {calls:,} calls", ("", "seconds, best", "CPU, s"))
    drained = Table(f"A backlog of {spans:,} spans", ("", "spans/s", "spans/s per core"))
    with tempfile.TemporaryDirectory() as home, EmbeddedStore(Path(home)) as store:
        began = time.perf_counter()
        store.execute(_MAKE, {"calls": calls})
        store.execute(_ROOTS)
        for table in ("llm_calls", "interaction_roots"):
            store.execute(f"OPTIMIZE TABLE {table} FINAL")
        console.print(f"filled in {time.perf_counter() - began:.0f} s")
        size = store.query(
            "SELECT sum(data_compressed_bytes) / sum(rows) FROM system.parts WHERE active AND table = 'llm_calls'"
        ).rows[0][0]
        asked.add("bytes per call on disk", f"{size:.0f}")
        parameters = {"id": store.query(_SOME).rows[0][0]}
        for question, sql in QUESTIONS.items():
            asked.add(question, *map(_told, _best(lambda sql=sql: store.query(sql, parameters))))
        for command, query in COMMANDS.items():
            asked.add(command, *map(_told, _best(partial(store.query, *query), rounds=2)))
        # What the first of them imports and opens is no part of a rate.
        _fill(store.spool, 10, 5)
        _ship(store)
        for size in (512, 100, 5):
            for name, drain in (("import", store.import_spool), ("ship", partial(_ship, store))):
                # The best of some: merges of what came in before fall into others.
                wall, cpu = _best(drain, _BACKLOGS, partial(_fill, store.spool, spans, size))
                drained.add(f"{name}, {size} spans per segment", f"{spans / wall:,.0f}", f"{spans / cpu:,.0f}")
    machine = Table("Machine", ("", ""))
    machine.add("processors", str(os.cpu_count()))
    machine.add(
        "sum(range(100_000)), ms", f"{min(_seconds(lambda: sum(range(100_000)))[1] for _ in range(20)) * 1e3:.1f}"
    )
    return [machine, asked, drained]


def _ship(store: EmbeddedStore) -> None:
    with ChServer(store.engine, write=True, token="bench") as server:
        assert Shipper(store.spool, server.url.replace("://", "://default:bench@")).ship()


def _fill(spool: Spool, number: int, size: int) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}), shutdown_on_exit=False)
    tracer = provider.get_tracer("otel_llm")
    for start in range(0, number, size):
        spans: list[Any] = []
        for n in range(start, min(start + size, number)):
            own = {"otel_llm.interaction.id": f"{n // 4:032x}", "gen_ai.response.id": f"chatcmpl-{n}"}
            span = tracer.start_span("chat gpt-4o-mini", kind=SpanKind.CLIENT, attributes={**_CALL, **own})
            span.end()
            spans.append(span)
        spool.write(encode(spans))


_CALL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.request.temperature": 0.2,
    "gen_ai.request.max_tokens": 500,
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.cache_read.input_tokens": 800,
    "gen_ai.usage.output_tokens": 50,
    "gen_ai.usage.reasoning.output_tokens": 20,
    "gen_ai.usage.cost.amount": 0.001234567,
    "gen_ai.usage.cost.currency": "USD",
    "gen_ai.usage.cost.source": "local",
    "otel_llm.usage.input": 200,
    "otel_llm.usage.output": 30,
    "otel_llm.usage.source": "provider",
    "otel_llm.cost.nano_usd": 1_234_567,
    "otel_llm.cost.input": 0.000134567,
    "otel_llm.cost.cache_read": 0.0001,
    "otel_llm.cost.output": 0.001,
    "otel_llm.cost.status": "priced",
    "otel_llm.price.key": "openai/gpt-4o-mini",
    "otel_llm.price.variant": "standard",
    "otel_llm.price.book": "genai-prices-0.2.3",
    "otel_llm.attempts": 1,
    "otel_llm.layer": "sdk",
    "otel_llm.interaction.name": "POST /chat",
    "otel_llm.feature": "support",
    "otel_llm.tag.plan": "pro",
    "http.route": "/chat",
    "server.address": "api.openai.com",
    "user.id": "u-77",
    "session.id": "s-11",
}


def _best(
    act: Callable[[], object], rounds: int = _ROUNDS, prepare: Callable[[], object] = lambda: None
) -> tuple[float, float]:
    measured: list[tuple[float, float]] = []
    for _ in range(rounds):
        prepare()
        measured.append(_seconds(act))
    wall, cpu = map(min, zip(*measured, strict=True))
    return wall, cpu


def _told(seconds: float) -> str:
    return f"{seconds:.3f}"


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m benchmarks.store")
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--spans", type=int, default=20_000)
    chosen = parser.parse_args()
    show(measure(chosen.calls, chosen.spans), Console(width=140))
