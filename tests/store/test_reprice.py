"""Repricing on the server: what Python would charge, to the nano-dollar, as often as wanted, never beyond recall."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices.data import providers
from store_parts import TOKEN, MakeSpan, Store, at

from otel_llm.call import Call, Cost, Usage
from otel_llm.cli.reprice import resolver
from otel_llm.pricing import PriceBook
from otel_llm.spans import end_attributes, start_attributes
from otel_llm_exporters.clickhouse import forget, reprice
from otel_llm_exporters.clickhouse.embedded import EmbeddedStore
from otel_llm_exporters.clickhouse.reprice import Selection
from otel_llm_exporters.clickhouse.serve import ChServer
from otel_llm_exporters.clickhouse.stores import ServerStore

OVERRIDES = """
version = 1

[[aliases]]
provider = "azure.ai.openai"
match = "prod-*"
price_key = "openai/gpt-4o"

[[prices]]
key = "acme/llama-70b"
from = 2026-06-01
to = 2026-11-01
usd_per_mtok = { input = "0.20", cache_read = "0.05", output = "0.60", input_audio = "7" }
usd_per_request = { request = "0.0001", web_search = "0.01" }

[[prices]]
key = "acme/free"
usd_per_mtok = { input = "0", output = "0" }

[[prices]]
match = { provider = "openai" }
from = 2026-09-01
usd_per_request = { code_interpreter = "0.03", web_search = "0.0123456789" }

[[adjust]]
match = { provider = "openai" }
from = 2026-01-01
to = 2026-10-20
multiply_ppm = 850001
source = "contract"

[[adjust]]
match = { provider = "openai", service_tier = "flex" }
multiply_ppm = 333333
fees = false

[[adjust]]
match = { provider = "anthropic" }
multiply_ppm = 999999

[[self_hosted]]
match = { provider = "ollama" }
usd_per_gpu_hour = "2.49"
gpus = 8
concurrency = 7
"""
MOMENTS = (
    "2024-02-01",
    "2025-06-09",
    "2026-08-17",
    "2026-10-13",
    "2026-10-14",
    "2026-10-31",
    "2026-11-01",
    "2026-11-20",
)
LEVELS = tuple(level + step for level in (100_000, 128_000, 199_999, 200_000, 256_000, 272_000) for step in (0, 1))
"""Where prices change with the length of the context, at the last and the first token."""
TOOLS = ("web_search", "file_search", "code_interpreter", "unheard_of")
COLUMNS = (
    "InputCost, CacheReadCost, CacheWriteCost, OutputCost, OtherCost, TotalCost, CostStatus, CostSource, Currency, "
    "UnpricedReason, PriceKey, PriceVariant, PriceBook, PriceValidFrom, PriceAdjusted"
)


def nanoseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) * 10**9


def count(rng: random.Random) -> int | None:
    return rng.choice((None, 0, 1, rng.randrange(1000), rng.randrange(300_000)))


def random_call(rng: random.Random, models: list[tuple[str, str]]) -> Call:
    provider, model = rng.choice(models)
    usage = (
        Usage(rng.choice(LEVELS), output=count(rng))
        if rng.random() < 0.2
        else Usage(
            *(rng.choice((None, 0, rng.randrange(1000), rng.randrange(400_000))) for _ in range(5)),
            output=count(rng),
            reasoning=count(rng),
            # Of these, 0 is not written onto a span: most providers say it of every call.
            input_audio=rng.choice((*[None] * 9, 77)),
            output_audio=rng.choice((*[None] * 9, 7)),
            input_image=rng.choice((*[None] * 9, 7777)),
            output_image=rng.choice((*[None] * 9, 3)),
            requests={tool: rng.randrange(4) for tool in rng.sample(TOOLS, rng.choice((0, 0, 0, 1, 2)))},
        )
    )
    return Call(
        operation=rng.choice(("chat", "chat", "embeddings")),
        provider=provider,
        request_model=model,
        response_model=rng.choice((model, model, None, "no-such-model")),
        started_ns=nanoseconds(rng.choice(MOMENTS)) + rng.randrange(86_400) * 10**9 + rng.randrange(10**9),
        duration_ns=rng.choice((rng.randrange(1, 10**11), 10**9)),
        service_tier=rng.choice((None, None, "default", "Flex", "priority", "batch", "fast")),
        usage=usage,
        usage_source=rng.choice(("provider", "provider", "partial", "estimated")),
    )


@pytest.fixture(autouse=True)
def nothing_priced(store: Store) -> None:
    for table in ("price_book", "price_terms", "reprice_revisions", "reprice_changes"):
        store.embedded.execute(f"TRUNCATE TABLE {table}")


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("prices") / "prices.toml"
    file.write_text(OVERRIDES)
    return file


@pytest.fixture
def add(store: Store, make_span: MakeSpan) -> Callable[..., None]:
    """Stores calls as the engine writes them, with the cost that `book` says, or whatever cost they have."""

    def add(*calls: Call, book: PriceBook | None = None) -> None:
        spans: list[Any] = []
        for call in calls:
            call.cost = book.price(call) if book is not None else call.cost
            attributes = start_attributes(call) | end_attributes(call)
            spans.append(make_span(attributes, start=call.started_ns, end=call.started_ns + call.duration_ns))
        store.add(*spans)

    return add


def by_start(store: Store) -> dict[int, dict[str, Any]]:
    rows = store.embedded.query(
        f"SELECT toUnixTimestamp64Nano(Timestamp) AS ns, {COLUMNS} FROM llm_calls FINAL"
    ).dicts()
    return {row.pop("ns"): row for row in rows}


def known_usage(call: Call) -> bool:
    usage = call.usage
    return usage is not None and (bool(usage.requests) or (usage.input_tokens, usage.output_tokens) != (None, None))


def priced(store: Store, book: PriceBook, selection: Selection = reprice.EVERYTHING) -> reprice.Revision:
    reprice.publish(store.embedded, book.price_list, resolver(book), selection)
    return reprice.reprice(store.embedded, book.price_list, selection)


def test_the_server_charges_what_python_charges(store: Store, add: Callable[..., None], overrides: Path) -> None:
    rng = random.Random(20261122)
    listed = [(provider.id, model.id) for provider in providers for model in provider.models]
    first = [model for model in listed if model[0] in ("openai", "anthropic", "groq", "deepseek", "google")]
    own = [("acme", "llama-70b"), ("acme", "free"), ("ollama", "qwen"), ("azure.ai.openai", "prod-1"), ("x", "y")]
    long = [
        ("google", "gemini-2.5-pro"),
        ("google", "gemini-3.1-pro-preview"),
        ("openai", "gpt-5.4"),
        ("x-ai", "grok-4.20"),
    ]
    models = [*first, *rng.sample(listed, 100), *own * 10, *long * 10]
    calls = [call for call in (random_call(rng, models) for _ in range(3000)) if known_usage(call)]
    book = PriceBook(None, overrides)
    add(*calls, book=book)
    expected = by_start(store)
    assert len(expected) == len(calls)
    assert {row["CostStatus"] for row in expected.values()} == {"priced", "partial", "free", "unpriced"}
    # The same calls, as if nothing had been known of their prices.
    store.embedded.execute("TRUNCATE TABLE llm_calls")
    store.embedded.execute("TRUNCATE TABLE otel_traces")
    add(*(replace(call, cost=Cost("unpriced", reason="unknown_model")) for call in calls))
    revision = priced(store, book)
    assert revision.calls > 2000
    assert store.rows("SELECT count() - uniqExact(TraceId, SpanId) FROM reprice_changes") == [(0,)]
    different = {start: row for start, row in by_start(store).items() if row != expected[start]}
    assert different == {}


NOVEMBER = nanoseconds("2026-11-15")
CHEAP = 'version = 1\n[[prices]]\nkey = "openai/gpt-4o"\nusd_per_mtok = { input = "1", output = "2" }\n'
TOTAL = "SELECT count(), sum(TotalCost) FROM llm_calls FINAL"


def gpt_4o(**more: Any) -> Call:
    usage = Usage(input=1000, output=100)
    return replace(Call("chat", "openai", "gpt-4o", started_ns=NOVEMBER, duration_ns=10**9, usage=usage), **more)


@pytest.fixture
def cheap(tmp_path: Path) -> PriceBook:
    (tmp_path / "cheap.toml").write_text(CHEAP)
    return PriceBook(None, tmp_path / "cheap.toml")


def test_it_can_be_repeated_and_taken_back(store: Store, add: Callable[..., None], cheap: PriceBook) -> None:
    listed = PriceBook()
    calls = [gpt_4o(started_ns=NOVEMBER + day * 86_400 * 10**9) for day in range(5)]
    add(*calls, book=listed)
    original = by_start(store)
    assert store.rows(TOTAL) == [(5, Decimal("0.0175"))]
    first = priced(store, cheap)
    assert first.calls == 5
    assert store.rows(TOTAL) == [(5, Decimal("0.006"))]
    assert priced(store, cheap).calls == 0
    back = reprice.revert(store.embedded, first.number)
    assert (back.number > first.number, back.calls) == (True, 5)
    assert by_start(store) == original
    # Taken back, it can be taken back again; and what a later one has changed is left to that one.
    assert reprice.revert(store.embedded, first.number).calls == 0
    assert reprice.revert(store.embedded, back.number).calls == 5
    assert store.rows(TOTAL) == [(5, Decimal("0.006"))]


def test_a_late_copy_of_the_original_does_not_win(store: Store, add: Callable[..., None], cheap: PriceBook) -> None:
    add(gpt_4o(), book=PriceBook())
    columns = [row[0] for row in store.rows("DESCRIBE TABLE llm_calls") if row[2] != "ALIAS"]
    store.embedded.execute("DROP TABLE IF EXISTS copy_of_calls")
    store.embedded.execute("CREATE TABLE copy_of_calls ENGINE = MergeTree ORDER BY () AS SELECT * FROM llm_calls")
    priced(store, cheap)
    store.embedded.execute(f"INSERT INTO llm_calls ({', '.join(columns)}) SELECT * FROM copy_of_calls")
    store.embedded.execute("DROP TABLE copy_of_calls")
    assert store.rows(TOTAL) == [(1, Decimal("0.0012"))]
    store.embedded.execute("OPTIMIZE TABLE llm_calls FINAL")
    assert store.rows("SELECT count(), sum(TotalCost) FROM llm_calls") == [(1, Decimal("0.0012"))]


def test_only_what_was_asked_for(store: Store, add: Callable[..., None], cheap: PriceBook) -> None:
    day = timedelta(days=1)
    add(*(gpt_4o(started_ns=NOVEMBER + n * 86_400 * 10**9) for n in range(4)), book=PriceBook())
    add(gpt_4o(provider="azure.ai.openai", started_ns=NOVEMBER + 1), book=PriceBook())
    start = datetime.fromtimestamp(NOVEMBER // 10**9, UTC)
    assert priced(store, cheap, Selection(since=start + day, until=start + 3 * day)).calls == 2
    assert priced(store, cheap, Selection(provider="anthropic")).calls == 0
    assert priced(store, cheap, Selection(provider="OPENAI", model="gpt*")).calls == 2
    assert priced(store, cheap, Selection(model="gpt_4o")).calls == 0


def test_the_difference_is_said_before_it_is_made(store: Store, add: Callable[..., None], tmp_path: Path) -> None:
    add(
        gpt_4o(),
        gpt_4o(started_ns=NOVEMBER + 1),
        gpt_4o(request_model="acme", started_ns=NOVEMBER + 2),
        book=PriceBook(),
    )
    text = '[[prices]]\nkey = "openai/acme"\nusd_per_mtok = { input = "1" }\n[[self_hosted]]\n'
    text += 'match = { model = "gpt-4o" }\nusd_per_gpu_hour = "3.6"\n'
    (tmp_path / "prices.toml").write_text(text)
    book = PriceBook(None, tmp_path / "prices.toml")
    found = reprice.publish(store.embedded, book.price_list, resolver(book))
    assert [(names.request_model, news) for names, news in found] == [("acme", "new"), ("gpt-4o", "new")]
    difference = reprice.difference(store.embedded, book.price_list)
    models = {row.pop("Model"): row for row in difference.models}
    counts = {"Provider": "openai", "NoLongerPriced": 0}
    one_second = Decimal("0.002")
    assert models["gpt-4o"] == {
        **counts,
        "Calls": 2,
        "Changed": 2,
        "OldCost": Decimal("0.007"),
        "NewCost": one_second,
        "NewlyPriced": 0,
    }
    assert models["acme"] == {
        **counts,
        "Calls": 1,
        "Changed": 1,
        "OldCost": None,
        "NewCost": Decimal("0.001"),
        "NewlyPriced": 1,
    }
    assert store.rows(TOTAL) == [(3, Decimal("0.007"))]
    assert [news for _, news in reprice.publish(store.embedded, book.price_list, resolver(book))] == ["", ""]


def test_what_cannot_be_priced_exactly_keeps_what_it_has(
    store: Store, add: Callable[..., None], make_span: MakeSpan, tmp_path: Path
) -> None:
    reported = gpt_4o(provider="openrouter", request_model="openai/gpt-4o", reported_cost_usd="0.5")
    failed = gpt_4o(started_ns=NOVEMBER + 1, usage=None, error_type="Timeout")
    part = gpt_4o(provider="anthropic", request_model="claude-sonnet-4-5")
    parts = replace(part, started_ns=NOVEMBER + 2, parts=[part, replace(part, request_model="claude-haiku-4-5")])
    in_us = replace(part, started_ns=NOVEMBER + 3, inference_geo="us")
    fast = replace(part, started_ns=NOVEMBER + 4, speed="fast")
    foreign = {"gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 10, "gen_ai.usage.cost": 0.25}
    add(reported, failed, parts, in_us, fast, gpt_4o(server_address="gpu-1", started_ns=NOVEMBER + 5), book=PriceBook())
    store.add(make_span({**foreign, "gen_ai.system": "openai"}, start=NOVEMBER + 6, end=NOVEMBER + 7))
    before = by_start(store)
    (tmp_path / "prices.toml").write_text(
        '[[prices]]\nmatch = { model = "*" }\nusd_per_mtok = { input = "1", output = "1" }\n'
        '[[prices]]\nmatch = { model = "gpt*", server = "gpu-1" }\nusd_per_mtok = { input = "9" }\n'
    )
    book = PriceBook(None, tmp_path / "prices.toml")
    assert priced(store, book).calls == 0
    assert by_start(store) == before
    kept = {row["Reason"]: row["Calls"] for row in reprice.difference(store.embedded, book.price_list).kept}
    assert kept == {
        "its provider said what it cost": 1,
        "another instrumentation said what it cost": 1,
        "its usage is not known by bucket": 1,
        "it was billed in parts": 1,
        "the store does not hold what made it us": 1,
        "the store does not hold what made it fast": 1,
        "the price file asks for its server": 1,
    }


def test_a_killed_repricing_is_finished_by_the_next_one(
    store: Store, add: Callable[..., None], cheap: PriceBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(*(gpt_4o(started_ns=NOVEMBER + n * 86_400 * 10**9) for n in range(3)), book=PriceBook())
    original = by_start(store)
    monkeypatch.setattr(reprice, "_CALLS_AT_ONCE", 1)
    execute, done = store.embedded.execute, list[str]()

    def dies(sql: str, parameters: Any = None) -> None:
        if "INSERT INTO llm_calls" in sql and len(done) == 1:
            raise KeyboardInterrupt
        done.extend(["written"] * ("INSERT INTO llm_calls" in sql))
        execute(sql, parameters)

    reprice.publish(store.embedded, cheap.price_list, resolver(cheap))
    with monkeypatch.context() as patch:
        patch.setattr(store.embedded, "execute", dies)
        with pytest.raises(KeyboardInterrupt):
            reprice.reprice(store.embedded, cheap.price_list)
    broken = store.rows("SELECT max(Revision) FROM reprice_revisions")[0][0]
    assert store.rows(TOTAL) == [(3, Decimal("0.0082"))]
    finished = priced(store, cheap)
    assert (finished.number, finished.calls) == (broken + 1, 2)
    assert store.rows(TOTAL) == [(3, Decimal("0.0036"))]
    assert reprice.revert(store.embedded, finished.number).calls == 2
    assert reprice.revert(store.embedded, broken).calls == 1
    assert by_start(store) == original


def test_it_all_works_over_http(
    store: Store, add: Callable[..., None], make_span: MakeSpan, opened_store: EmbeddedStore, cheap: PriceBook
) -> None:
    add(gpt_4o(), book=PriceBook())
    store.add(make_span({"otel_llm.interaction.id": "i", "otel_llm.interaction.calls": 1, "user.id": "o'neil \\"}))
    with ChServer(opened_store.engine, write=True, token=TOKEN) as served:
        url = at(served.url, "/default", f"default:{TOKEN}")
        with ServerStore(url, bare=True) as server:
            reprice.publish(server, cheap.price_list, resolver(cheap))
            assert reprice.difference(server, cheap.price_list).changed == 1
            revision = reprice.reprice(server, cheap.price_list, Selection(since=datetime(2026, 11, 1, tzinfo=UTC)))
            assert store.rows(TOTAL) == [(1, Decimal("0.0012"))]
            assert reprice.revert(server, revision.number).calls == 1
            assert store.rows(TOTAL) == [(1, Decimal("0.0035"))]
            assert forget.find(server, "o'neil \\")
            forget.forget(server, "o'neil \\")
            assert forget.find(server, "o'neil \\") == []


def test_a_revision_that_does_not_exist(store: Store) -> None:
    with pytest.raises(reprice.UnknownRevisionError, match="There is no revision 99999 to revert"):
        reprice.revert(store.embedded, 99999)
