"""A person is forgotten: who it was is gone from everywhere, what it cost is not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from store_parts import SECOND, START, MakeSpan, Store

from otel_llm.cli.reprice import resolver
from otel_llm.pricing import PriceBook
from otel_llm_exporters.clickhouse import forget, reprice
from otel_llm_exporters.clickhouse.rows import encode
from otel_llm_exporters.clickhouse.stores import QueryError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ADA = "ada@example.org"
BY_USER = "SELECT UserId, sum(TotalCost), count() FROM attributed_calls GROUP BY UserId ORDER BY UserId"


@pytest.fixture(autouse=True)
def nobody_yet(store: Store) -> None:
    for table in ("forgetting", "reprice_revisions", "reprice_changes", "price_book", "price_terms"):
        store.embedded.execute(f"TRUNCATE TABLE {table}")


@pytest.fixture
def add(store: Store, make_span: MakeSpan, call_attributes: dict[str, Any]) -> Callable[..., None]:
    def add(number: int, **attributes: Any) -> None:
        said = {name.replace("__", "."): value for name, value in attributes.items()}
        call = {**call_attributes, "otel_llm.interaction.id": f"i-{number}", **said}
        store.add(make_span(call, start=START + number * SECOND, end=START + (number + 1) * SECOND))

    return add


@pytest.fixture
def people(add: Callable[..., None], store: Store, make_span: MakeSpan) -> None:
    """Ada in all the places where she may be, and Grace beside her."""
    add(1, user__id=ADA, session__id="s-1", otel_llm__tag__email=ADA, otel_llm__tag__plan="pro")
    add(2, enduser__id=ADA, session__id="shared")
    add(3, traceloop__association__properties__user_id=ADA, traceloop__association__properties__session_id="s-1")
    add(4, session__id="s-2", otel_llm__interaction__id="i-nameless")
    add(5, user__id="grace", session__id="shared", otel_llm__tag__plan="pro")
    add(6, user__id="grace", otel_llm__tenant=ADA, otel_llm__feature=ADA)
    root = {"otel_llm.interaction.id": "i-nameless", "otel_llm.interaction.calls": 1, "user.id": ADA}
    event = ("otel_llm.attempt.failed", {"who": ADA}, START)
    store.add(make_span(root, name="POST /chat", events=[event]))
    store.add(make_span({"app.owner": ADA, "otel_llm.interaction.id": ADA, "otel_llm.interaction.outcome": "ok"}))


@pytest.mark.usefixtures("people")
def test_the_person_is_nowhere_and_the_money_is(store: Store) -> None:
    assert {row[0]: row[2] for row in store.rows(BY_USER)} == {ADA: 4, "grace": 2}
    places = {(place.table, place.column) for place in forget.find(store.embedded, ADA)}
    assert {("llm_calls", "Feature"), ("llm_calls", "Tags"), ("otel_traces", "Events.Attributes")} <= places
    pseudonym = forget.forget(store.embedded, ADA)
    assert forget.find(store.embedded, ADA) == []
    one = Decimal("0.001234567")
    assert store.rows(BY_USER) == [(pseudonym, 4 * one, 4), ("grace", 2 * one, 2)]
    # Of what is left, nothing tells the person from her sessions; but a session that she shared is not hers alone.
    sessions = {row[0] for row in store.rows("SELECT DISTINCT SessionId FROM llm_calls FINAL")}
    assert sessions == {pseudonym, "shared", ""}
    assert store.rows("SELECT Tags FROM llm_calls FINAL WHERE InteractionId = 'i-1'") == [
        ({"email": pseudonym, "plan": "pro"},)
    ]
    assert store.rows("SELECT count() FROM llm_calls FINAL") == [(6,)]
    assert forget.find(store.embedded, "s-1") == forget.find(store.embedded, "s-2") == []


@pytest.mark.usefixtures("people")
def test_another_person_gets_another_name(store: Store) -> None:
    pseudonyms = {forget.forget(store.embedded, ADA), forget.forget(store.embedded, "grace")}
    assert len(pseudonyms) == 2
    assert {row[0] for row in store.rows(BY_USER)} == pseudonyms
    assert all(name.startswith("forgotten-") and len(name) == 18 for name in pseudonyms)


def test_an_id_that_is_a_number_leaves_numbers_alone(store: Store, add: Callable[..., None]) -> None:
    add(1, user__id="50", otel_llm__tag__seat="50")
    before = store.rows("SELECT OutputTokens, TotalCost FROM llm_calls FINAL")
    pseudonym = forget.forget(store.embedded, "50")
    assert store.rows("SELECT UserId, Tags['seat'] FROM llm_calls FINAL") == [(pseudonym, pseudonym)]
    assert store.rows("SELECT OutputTokens, TotalCost FROM llm_calls FINAL") == before
    assert store.one("SELECT SpanAttributes['gen_ai.usage.output_tokens'] AS n FROM otel_traces") == {"n": "50"}
    assert [place.column for place in forget.find(store.embedded, "50")] == ["SpanAttributes"]


def test_an_id_with_quotes_and_backslashes(store: Store, add: Callable[..., None]) -> None:
    user = "o'neil\\ {id:String} \t-- %"
    add(1, user__id=user)
    assert len(forget.find(store.embedded, user)) == 2
    forget.forget(store.embedded, user)
    assert forget.find(store.embedded, user) == []


def test_repricing_does_not_bring_the_person_back(
    store: Store, add: Callable[..., None], tmp_path: Path, make_span: MakeSpan
) -> None:
    (tmp_path / "prices.toml").write_text(
        '[[prices]]\nkey = "openai/m-1"\nusd_per_mtok = { input = "1", output = "1" }\n'
    )
    book = PriceBook(None, tmp_path / "prices.toml")
    add(1, user__id=ADA, otel_llm__feature=ADA, otel_llm__interaction__id=ADA)
    reprice.publish(store.embedded, book.price_list, resolver(book))
    revision = reprice.reprice(store.embedded, book.price_list)
    assert revision.calls == 1
    pseudonym = forget.forget(store.embedded, ADA)
    assert forget.find(store.embedded, ADA) == []
    assert reprice.revert(store.embedded, revision.number).calls == 1
    assert forget.find(store.embedded, ADA) == []
    assert store.rows(BY_USER) == [(pseudonym, Decimal("0.001234567"), 1)]


@pytest.mark.usefixtures("people")
def test_what_was_broken_off_is_finished_under_the_same_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = store.embedded.execute

    def breaks(sql: str, parameters: Any = None) -> None:
        if "ALTER TABLE interaction_roots" in sql:
            raise QueryError("gone")
        execute(sql, parameters)

    with monkeypatch.context() as patch:
        patch.setattr(store.embedded, "execute", breaks)
        with pytest.raises(QueryError):
            forget.forget(store.embedded, ADA)
    (half,) = {row[0] for row in store.rows("SELECT DISTINCT UserId FROM llm_calls FINAL") if "forgotten" in row[0]}
    assert forget.forget(store.embedded, ADA) == half
    assert forget.find(store.embedded, ADA) == []
    assert {row[0] for row in store.rows(BY_USER)} == {half, "grace"}


def test_files_that_were_put_aside_are_searched(
    store: Store, make_span: MakeSpan, call_attributes: dict[str, Any]
) -> None:
    folder = store.spool.directory / "rejected"
    folder.mkdir(parents=True, exist_ok=True)

    def put_aside(name: str, data: bytes) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    spans = [make_span({**call_attributes, "user.id": ADA}) for _ in range(50)]
    data = zstd.compress(encode(spans).data)
    named = put_aside("1.native.zst", data)
    late = put_aside("2.native.zst", zstd.compress(b"nothing") + data)
    put_aside("3.native.zst", zstd.compress(b"nobody in particular"))
    torn = put_aside("4.native.zst", zstd.compress(bytes(range(256)) * 999)[:40])
    assert list(forget.mentions(store.spool, ADA)) == [(named, True), (late, True), (torn, False)]
