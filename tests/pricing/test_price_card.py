from __future__ import annotations

import json
import random
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from otel_llm.call import Call, Usage
from otel_llm.pricing.card import BUCKETS, RateCard, Rates, Row, pico_usd, usd

DAY = 86_400 * 10**9


def call(usage: Usage | None, operation: str = "chat") -> Call:
    return Call(operation, "acme", "m", usage=usage)


def test_every_count_of_usage_is_a_bucket() -> None:
    assert set(BUCKETS) == {field.name for field in fields(Usage) if field.type == "int | None"}


@pytest.mark.parametrize(("pico", "nano"), [(0, 0), (499, 0), (500, 1), (1499, 1), (1500, 2), (2500, 3)])
def test_rounds_half_up_to_a_nano_dollar(pico: int, nano: int) -> None:
    assert Rates({"input": pico}).cost(call(Usage(input=1, output=0))).nano_usd == nano


def test_parts_add_up_and_the_total_is_rounded_once() -> None:
    rng = random.Random(7)
    for _ in range(2000):
        prices = {
            name: rng.randrange(1, 5000) for name in ("input", "cache_read", "cache_write", "output", "web_search")
        }
        usage = Usage(*(rng.randrange(4) for _ in range(7)), requests={"web_search": rng.randrange(3)})
        cost = Rates(prices).cost(call(usage))
        writes = usage.cache_write or 0
        exact = (
            (usage.input or 0) * prices["input"]
            + (usage.cache_read or 0) * prices["cache_read"]
            + writes * prices["cache_write"]
            + (usage.output_tokens or 0) * prices["output"]
            + usage.requests["web_search"] * prices["web_search"]
        )
        parts = [cost.input, cost.cache_read, cost.cache_write, cost.output, cost.other]
        assert cost.nano_usd == sum(parts) == int(Fraction(exact, 1000) + Fraction(1, 2))
        assert min(parts) >= 0


def test_a_kind_of_text_costs_what_text_costs_but_sound_and_pictures_have_no_price() -> None:
    rates = Rates({"input": 1000, "output": 2000})
    text = rates.cost(call(Usage(1, 2, 3, 4, 5, output=6, reasoning=7)))
    assert (text.status, text.nano_usd) == ("priced", 15 + 2 * 13)
    sound = rates.cost(call(Usage(input=1, output=1, input_audio=1, output_image=1)))
    assert (sound.status, sound.nano_usd) == ("partial", 3)
    assert sound.reason == "no_price_for:input_audio,no_price_for:output_image"
    only_sound = rates.cost(call(Usage(input=0, output=0, input_audio=9)))
    assert (only_sound.status, only_sound.nano_usd) == ("unpriced", None)


def test_one_hour_writes_prefer_their_own_price_then_that_of_writes() -> None:
    usage = Usage(input=0, cache_write_5m=1, cache_write_1h=10, cache_write_other=100, output=0)
    own = Rates({"input": 1000, "cache_write": 2000, "cache_write_1h": 3000, "output": 0})
    assert own.cost(call(usage)).cache_write == 2 + 30 + 200
    assert Rates({"input": 1000, "cache_write": 2000, "output": 0}).cost(call(usage)).cache_write == 222


def test_unknown_is_never_zero() -> None:
    rates = Rates({"input": 1000, "output": 2000})
    assert rates.cost(call(None)).reason == "no_usage"
    assert rates.cost(call(Usage())).reason == "no_usage"
    assert rates.cost(call(Usage())).nano_usd is None
    half = rates.cost(call(Usage(output=5)))
    assert (half.status, half.nano_usd, half.reason) == ("partial", 10, "no_usage_for:input")
    half = rates.cost(call(Usage(input=5)))
    assert (half.status, half.nano_usd, half.reason) == ("partial", 5, "no_usage_for:output")
    assert rates.cost(call(Usage(input=5), "embeddings")).status == "priced"
    zero = rates.cost(call(Usage(input=0, output=0)))
    assert (zero.status, zero.nano_usd) == ("priced", 0)
    stopped = call(Usage(input=5, output=1))
    stopped.usage_source = "partial"
    cost = rates.cost(stopped)
    assert (cost.status, cost.nano_usd, cost.reason) == ("partial", 7, "partial_usage")
    stopped.usage_source = "estimated"
    assert rates.cost(stopped).status == "priced"


@pytest.mark.parametrize(
    ("cached", "nano", "variant"), [(199_999, 200_000, "standard"), (200_000, 400_002, "standard >200000")]
)
def test_beyond_the_threshold_every_token_costs_more_cached_ones_count(cached: int, nano: int, variant: str) -> None:
    rates = Rates({"input": (1000, ((200_000, 2000),)), "output": 0})
    cost = rates.cost(call(Usage(input=1, cache_read=cached, output=9)))
    assert (cost.nano_usd, cost.variant) == (nano, variant)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.fixture
def card() -> RateCard:
    hours = 3_600_000_000
    return RateCard(
        "acme/m",
        [
            Row({"input": 1, "output": 10}),
            Row({"input": 2, "output": 20}, since=20_000),
            Row({"input": 3, "output": 30}, daily=(22 * hours, 2 * hours)),
        ],
        [
            Row({"input": 5}, since=20_010, when={"processing": "batch"}),
            Row({"input": 6, "output": 60}, when={"processing": "batch"}),
            Row({"output": 70}, when={"speed": "fast"}),
        ],
    )


@pytest.mark.parametrize(
    ("when", "price", "label", "valid_from"),
    [
        (0, 3, "standard 22:00-02:00", None),
        (19_999 * DAY + DAY // 2, 1, "standard", None),
        (20_000 * DAY + DAY // 2, 2, "standard", "2024-10-04"),
        (20_000 * DAY + DAY - 1, 3, "standard 22:00-02:00", None),
        (20_000 * DAY + 2 * DAY // 24, 2, "standard", "2024-10-04"),
    ],
)
def test_the_last_row_in_force_wins(card: RateCard, when: int, price: int, label: str, valid_from: str | None) -> None:
    rates, absent = card.rates(when, {})
    assert (rates.prices["input"], rates.variant, rates.valid_from, absent) == (price, label, valid_from, [])


@pytest.mark.parametrize(
    ("daily", "clock", "holds"),
    [
        ((1, 4), 0, False),
        ((1, 4), 1, True),
        ((1, 4), 3, True),
        ((1, 4), 4, False),
        ((22, 2), 22, True),
        ((22, 2), 2, False),
    ],
)
def test_hours_begin_inclusive_and_end_exclusive(daily: tuple[int, int], clock: int, holds: bool) -> None:
    hour = 3_600_000_000
    row = Row({}, daily=(daily[0] * hour, daily[1] * hour))
    assert row.holds(20_000 * DAY + clock * hour * 1000) is holds
    assert row.holds(20_000 * DAY + (clock * hour + hour - 1) * 1000) is holds


def test_the_first_variant_wins_for_each_price_on_its_own(card: RateCard) -> None:
    noon = DAY // 2
    assert card.rates(20_000 * DAY + noon, {"processing": "batch"})[0].prices == {"input": 6, "output": 60}
    later, absent = card.rates(20_010 * DAY + noon, {"processing": "batch"})
    assert (later.prices, later.variant, later.valid_from, absent) == (
        {"input": 5, "output": 60},
        "batch",
        "2024-10-14",
        [],
    )
    both, _ = card.rates(20_010 * DAY + noon, {"processing": "batch", "speed": "fast"})
    assert (both.prices, both.variant) == ({"input": 5, "output": 60}, "batch fast")
    assert card.rates(noon, {"service_tier": "flex"})[1] == ["flex"]


def test_a_card_survives_json(card: RateCard) -> None:
    again = RateCard.from_json(json.loads(json.dumps(card.to_json())))
    assert again.to_json() == card.to_json()
    for when in (0, 20_000 * DAY, 20_011 * DAY, 20_011 * DAY + DAY // 2):
        for context in ({}, {"processing": "batch"}, {"speed": "fast"}):
            assert again.rates(when, context)[0].prices == card.rates(when, context)[0].prices
    tiered = RateCard("a/b", [Row({"input": (1, ((5, 2), (9, 3)))})])
    assert RateCard.from_json(json.loads(json.dumps(tiered.to_json()))).rows[0] == tiered.rows[0]


def test_prices_hold_as_long_as_they_are_said_to(card: RateCard) -> None:
    assert card.steady(at("2026-01-01")) == (at("2026-01-01"), at("2026-01-01"))
    dated = RateCard("a/b", card.rows[:2], card.variants)
    assert dated.steady(20_005 * DAY) == (20_000 * DAY, 20_010 * DAY)
    assert dated.steady(20_010 * DAY)[0] == 20_010 * DAY


@pytest.mark.parametrize(("text", "per", "pico"), [("0.20", 10**6, 200_000), ("10", 1000, 10**10), ("0.01", 1, 10**10)])
def test_money_in_and_out_of_integers(text: str, per: int, pico: int) -> None:
    assert pico_usd(Decimal(text), per) == pico
    assert Decimal(usd(pico, per)) == Decimal(text)
