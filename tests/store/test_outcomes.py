"""What became of interactions: said late, again, differently, or of nothing; and what an outcome costs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from store_parts import SECOND, START, MakeSpan, Store

from otel_llm_exporters.clickhouse import queries

HOUR = 3600 * SECOND


class Product:
    """An application: interactions with calls, and what is said of them later."""

    def __init__(self, store: Store, make_span: MakeSpan, call: dict[str, Any]) -> None:
        self._store, self._make_span, self._call = store, make_span, call

    def interaction(self, name: str, nano_usd: int | None, *, feature: str = "support", calls: int = 1) -> None:
        identity = {"otel_llm.interaction.id": name, "otel_llm.interaction.name": "answer", "otel_llm.feature": feature}
        call = {**self._call, **identity, "otel_llm.cost.nano_usd": nano_usd}
        if nano_usd is None:
            call = {**self._call, **identity, "otel_llm.cost.status": "unpriced"}
            for gone in ("otel_llm.cost.nano_usd", "gen_ai.usage.cost.amount"):
                del call[gone]
        self._store.add(*(self._make_span(call, start=START + n) for n in range(calls)))

    def say(self, name: str, outcome: str, success: bool | None = None, *, hours: int = 1) -> None:
        said: dict[str, Any] = {"otel_llm.interaction.id": name, "otel_llm.interaction.outcome": outcome}
        if success is not None:
            said["otel_llm.interaction.success"] = success
        at = START + hours * HOUR
        self._store.add(self._make_span(said, name="outcome", start=at, end=at))


@pytest.fixture
def product(store: Store, make_span: MakeSpan, call_attributes: dict[str, Any]) -> Product:
    return Product(store, make_span, call_attributes)


def test_the_last_word_counts_whenever_it_arrives(store: Store, product: Product) -> None:
    product.interaction("i-1", 1_000_000, calls=2)
    product.say("i-1", "refunded", success=False, hours=5)
    product.say("i-1", "resolved", success=True, hours=2)
    product.say("i-1", "resolved", success=True, hours=2)
    row = store.one("SELECT * FROM outcomes")
    assert (row["Outcome"], row["Success"], row["Reports"]) == ("refunded", False, 3)
    assert (row["InteractionName"], row["Feature"], row["Calls"]) == ("answer", "support", 2)
    assert row["Cost"] == Decimal("0.002")
    assert store.one("SELECT Outcome, Success FROM interactions") == {"Outcome": "refunded", "Success": False}
    product.say("i-1", "closed", hours=9)
    assert store.one("SELECT Outcome, Success FROM outcomes") == {"Outcome": "closed", "Success": None}


def test_an_outcome_of_nothing_known_has_no_cost_and_waits_for_its_calls(store: Store, product: Product) -> None:
    product.say("i-9", "resolved", success=True)
    orphan = store.one("SELECT InteractionId, Outcome, Calls, Cost, Start FROM outcomes")
    assert orphan == {"InteractionId": "i-9", "Outcome": "resolved", "Calls": 0, "Cost": None, "Start": None}
    assert store.rows("SELECT * FROM cost_per_outcome") == []
    product.interaction("i-9", 5_000_000)
    assert store.rows("SELECT Outcome, Cost FROM cost_per_outcome") == [("resolved", Decimal("0.005"))]


def test_a_success_costs_what_the_failures_cost_too(store: Store, product: Product) -> None:
    for name, nano_usd in (("i-1", 1_000_000), ("i-2", 2_000_000), ("i-3", 4_000_000), ("i-4", 8_000_000)):
        product.interaction(name, nano_usd)
    product.interaction("i-5", None)
    product.interaction("j-1", 7_000_000, feature="digest")
    product.say("i-1", "resolved", success=True)
    product.say("i-2", "resolved", success=True)
    product.say("i-3", "gave up", success=False)
    found = store.embedded.query("SELECT * FROM cost_per_outcome WHERE Feature = 'support' ORDER BY Outcome").dicts()
    rows = {row["Outcome"]: row for row in found}
    assert {name: (row["Interactions"], row["Cost"]) for name, row in rows.items()} == {
        "": (2, Decimal("0.008")),
        "gave up": (1, Decimal("0.004")),
        "resolved": (2, Decimal("0.003")),
    }
    assert rows["resolved"]["CostPerInteraction"] == Decimal("0.0015")
    assert {row["CostPerSuccess"] for row in found} == {Decimal("0.0075")}
    assert rows[""]["PricedCalls"] == 1
    (digest,) = store.embedded.query("SELECT * FROM cost_per_outcome WHERE Feature = 'digest'").dicts()
    assert (digest["Cost"], digest["CostPerSuccess"]) == (Decimal("0.007"), None)


def test_a_report_by_outcome_adds_up_to_the_bill(store: Store, product: Product) -> None:
    for name in ("i-1", "i-2", "i-3"):
        product.interaction(name, 1_000_000, calls=2)
    product.say("i-1", "resolved", success=True)
    product.say("i-1", "reopened", success=False, hours=3)
    product.say("i-2", "resolved", success=True)
    rows = store.embedded.query(*queries.report(["outcome"])).rows
    assert {row[0]: row[1] for row in rows} == {outcome: Decimal("0.002") for outcome in ("", "resolved", "reopened")}
    ((total, *_),) = store.embedded.query(*queries.report([])).rows
    assert total == Decimal("0.006")
