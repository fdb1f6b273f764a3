"""The rate card of one model, in plain integers, and the arithmetic that turns usage into money.

Prices are pico-USD (1e-12) per token or request. A cost is added up exactly and rounded once, half up, to nano-USD.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from operator import attrgetter
from typing import Any

from otel_llm.call import Call, Cost

Price = int | tuple[int, tuple[tuple[int, int], ...]]
"""Pico-USD per unit; or that, and what it becomes for the whole call when its input exceeds so many tokens."""
Prices = Mapping[str, Price]
"""By bucket of `Usage`, `cache_write` for any lifetime, or per-request fee; `request` is billed once per call."""

# Each bucket of Usage, and the price that holds when it has none of its own: a kind of text costs what text costs,
# sound and pictures do not. In the order of Usage's input, then output.
_INPUT = {
    "input": None,
    "cache_read": "input",
    "cache_write_5m": "cache_write",
    "cache_write_1h": "cache_write",
    "cache_write_other": "cache_write",
    "input_audio": None,
    "input_image": None,
}
_OUTPUT = {"output": None, "reasoning": "output", "output_audio": None, "output_image": None}
BUCKETS = (*_INPUT, *_OUTPUT)
TOKEN_PRICES = {**_INPUT, "cache_write": "input", **_OUTPUT}
"""Every price per token that there can be."""

# The part of a Cost that each bucket belongs to; fees are the fifth.
_PARTS = tuple(
    3 if bucket in _OUTPUT else 2 if bucket.startswith("cache_write") else 1 if bucket == "cache_read" else 0
    for bucket in BUCKETS
)
_FEES = 4
_OUTPUT_AT = len(_INPUT)
_counts = attrgetter(*BUCKETS)
_GENERATES = ("chat", "text_completion", "generate_content")
DAY_NS = 86_400 * 10**9
_EVER = 2**63
MILLION = 1_000_000


class Rates:
    """Prices with everything decided but the number of tokens."""

    __slots__ = ("_labels", "_levels", "_starts", "fees", "prices", "valid_from", "variant")

    def __init__(self, prices: Prices, variant: str = "standard", since: int | None = None) -> None:
        self.prices = prices
        self.variant = variant
        self.valid_from = None if since is None else iso_date(since)
        self.fees = {n: price for n, price in prices.items() if n not in TOKEN_PRICES and isinstance(price, int)}
        starts = sorted({start for price in prices.values() if not isinstance(price, int) for start, _ in price[1]})
        self._starts = starts
        self._labels = [variant, *(f"{variant} >{start}" for start in starts)]
        self._levels = [
            tuple(_at_level(_own_or_parents(prices, bucket), start) for bucket in BUCKETS) for start in (-1, *starts)
        ]

    def cost(
        self, call: Call, fees: Mapping[str, int] | None = None, tokens: int = 1, others: int = 1, whole: int = 1
    ) -> Cost:
        """What the call's usage costs, without its provenance.

        `fees` stand in for these prices' own. Tokens are scaled by `tokens / whole`, fees by `others / whole`.
        """
        usage = call.usage
        if usage is None:
            return Cost("unpriced", reason="no_usage")
        counts = _counts(usage)
        level = bisect_left(self._starts, sum(filter(None, counts[:_OUTPUT_AT]))) if self._starts else 0
        prices = self._levels[level]
        pico = [0, 0, 0, 0, self.fees.get("request", 0)]
        lacking: list[str] = []
        for i, count in enumerate(counts):
            if count:
                price = prices[i]
                if price is None:
                    lacking.append(f"no_price_for:{BUCKETS[i]}")
                else:
                    pico[_PARTS[i]] += count * price
        for tool, count in usage.requests.items():
            fee = (self.fees if fees is None else fees).get(tool)
            if fee is not None:
                pico[_FEES] += count * fee
            elif count:
                lacking.append(f"no_price_for:{tool}")
        if counts[0] is None or counts[_OUTPUT_AT] is None:
            lacking += _unreported(call, counts)
        if lacking and not any(pico):
            return Cost("unpriced", reason=",".join(lacking))
        if call.usage_source == "partial":
            lacking.append("partial_usage")
        if whole != 1:
            pico = [part * (others if i == _FEES else tokens) for i, part in enumerate(pico)]
        # Rounding running sums, and not each part, makes the parts add up to the total, which is rounded once.
        unit, half = 1000 * whole, 500 * whole
        a, b, c, d, total = pico
        b += a
        c += b
        d += c
        total = (total + d + half) // unit
        a, b, c, d = (a + half) // unit, (b + half) // unit, (c + half) // unit, (d + half) // unit
        cost = Cost("priced", total, a, b - a, c - b, d - c, total - d, variant=self._labels[level])
        if lacking:
            cost.status, cost.reason = "partial", ",".join(lacking)
        return cost

    def by_level(self) -> list[tuple[str, int, tuple[int | None, ...]]]:
        """Of each long-context level its label, the fewest input tokens, and the price of each of `BUCKETS`."""
        return list(zip(self._labels, (0, *(start + 1 for start in self._starts)), self._levels, strict=True))

    def levels(self) -> list[tuple[str, dict[str, int]]]:
        """The variant label of each long-context level, and its prices per token."""
        return [
            (label, {n: p for n in TOKEN_PRICES if (p := _at_level(self.prices.get(n), start)) is not None})
            for label, start in zip(self._labels, (-1, *self._starts), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """Prices, and when they hold."""

    prices: Prices
    since: int | None = None
    """First day, counted from 1970-01-01 UTC."""
    daily: tuple[int, int] | None = None
    """From and until which microsecond of the UTC day; may pass midnight."""
    when: Mapping[str, str] = field(default_factory=dict[str, str])
    """For which requests: `{"service_tier": "flex"}`. Then only what differs from the standard prices is in it."""

    def holds(self, at_ns: int) -> bool:
        """Whether it is in force at this time (nanoseconds since the epoch)."""
        if self.since is not None:
            return at_ns >= self.since * DAY_NS
        if self.daily is None:
            return True
        start, end = self.daily
        now = at_ns % DAY_NS // 1000
        return start <= now < end if start <= end else now >= start or now < end


class RateCard:
    """All that the book knows of one model's price: every date, hour, variant and long-context tier."""

    __slots__ = ("_decided", "key", "rows", "variants")

    def __init__(self, key: str, rows: Sequence[Row], variants: Sequence[Row] = ()) -> None:
        self.key = key
        """`provider/model` in the book."""
        self.rows = rows
        """The last one that holds wins; the first one when none does."""
        self.variants = variants
        """Of those that apply, the first one that has a price wins, for each price on its own."""
        self._decided: dict[tuple[int, ...], Rates] = {}

    def rates(self, at_ns: int, context: Mapping[str, str]) -> tuple[Rates, list[str]]:
        """The prices at this time for a request that says `context`, and what of that has no price then."""
        at = len(self.rows) - 1
        while at and not self.rows[at].holds(at_ns):
            at -= 1
        applying: list[int] = []
        absent: list[str] = []
        if context:
            applying = [
                i
                for i, row in enumerate(self.variants)
                if row.holds(at_ns) and all(context.get(name) == value for name, value in row.when.items())
            ]
            covered = {name for i in applying for name in self.variants[i].when}
            absent = [value for name, value in context.items() if name not in covered]
        decided = self._decided.get((at, *applying))
        if decided is None:
            decided = _decide(self.rows[at], [self.variants[i] for i in applying])
            self._decided[at, *applying] = decided
        return decided, absent

    def steady(self, at_ns: int) -> tuple[int, int]:
        """From and until when (nanoseconds) the prices of `at_ns` hold; an empty span when the hour matters."""
        rows = (*self.rows, *self.variants)
        if any(row.daily for row in rows):
            return at_ns, at_ns
        starts = [row.since * DAY_NS for row in rows if row.since is not None]
        before, after = [t for t in starts if t <= at_ns], [t for t in starts if t > at_ns]
        return max(before, default=0), min(after, default=_EVER)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            "key": self.key,
            "rows": [[row.prices, row.since, row.daily, row.when] for row in self.rows],
            "variants": [[row.prices, row.since, row.daily, row.when] for row in self.variants],
        }

    @classmethod
    def from_json(cls, data: Any) -> RateCard:
        """The card again. Raises ValueError, TypeError or LookupError when `data` is no such thing."""
        rows, variants = ([_row(row) for row in data[name]] for name in ("rows", "variants"))
        if not rows:
            raise ValueError("a card without prices")
        return cls(str(data["key"]), rows, variants)


def pico_usd(usd: Decimal, per: int = 1) -> int:
    """USD per `per` units as pico-USD per unit, rounded half up."""
    return int((usd.scaleb(12) / per).to_integral_value(ROUND_HALF_UP))


def usd(pico: int, per: int = 1) -> str:
    """Pico-USD per unit as the exact decimal string of USD per `per` units."""
    return format((Decimal(pico) * per).scaleb(-12).normalize(), "f")


def iso_date(day: int) -> str:
    """`2026-10-14`, of a day counted from 1970-01-01."""
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def epoch_day(day: date) -> int:
    """The day counted from 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def _decide(row: Row, variants: Sequence[Row]) -> Rates:
    prices = dict(row.prices)
    for variant in reversed(variants):
        prices.update(variant.prices)
    label = " ".join(dict.fromkeys(word for variant in variants for word in variant.when.values())) or "standard"
    if row.daily:
        label += f" {_clock(row.daily[0])}-{_clock(row.daily[1])}"
    return Rates(prices, label, max((used.since for used in (row, *variants) if used.since is not None), default=None))


def _own_or_parents(prices: Prices, name: str) -> Price | None:
    found = prices.get(name)
    parent = TOKEN_PRICES[name]
    return _own_or_parents(prices, parent) if found is None and parent is not None else found


def _at_level(price: Price | None, start: int) -> int | None:
    if price is None or isinstance(price, int):
        return price
    base, tiers = price
    return max((tier for tier in tiers if tier[0] <= start), default=(0, base))[1]


def _unreported(call: Call, counts: Sequence[int | None]) -> list[str]:
    generates = call.operation in _GENERATES
    # Sound may be billed by its length, and a search by itself.
    counted = not generates and call.usage is not None and bool(call.usage.requests)
    no_input = not counted and all(count is None for count in counts[:_OUTPUT_AT])
    no_output = generates and all(count is None for count in counts[_OUTPUT_AT:])
    if no_input and no_output:
        return ["no_usage"]
    return ["no_usage_for:input"] * no_input + ["no_usage_for:output"] * no_output


def _clock(microseconds: int) -> str:
    return f"{microseconds // 3_600_000_000:02}:{microseconds // 60_000_000 % 60:02}"


def _row(data: Any) -> Row:
    prices, since, daily, when = data
    return Row(
        {str(name): _price(price) for name, price in dict(prices).items()},
        None if since is None else int(since),
        None if daily is None else (int(daily[0]), int(daily[1])),
        {str(name): str(value) for name, value in dict(when).items()},
    )


def _price(data: Any) -> Price:
    if isinstance(data, int):
        return data
    base, tiers = data
    return int(base), tuple((int(start), int(price)) for start, price in tiers)
