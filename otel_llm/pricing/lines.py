"""Prices as rows of a table, so that a database can do what `Quote.cost` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from otel_llm.pricing.card import BUCKETS, DAY_NS, Rates, iso_date

FOREVER = 2**16 - 1
"""The last day that a Date of ClickHouse can be."""
DAY_US = DAY_NS // 1000
_ENDLESS = 2**63
_COLUMNS = (
    "Input",
    "CacheRead",
    "CacheWrite5m",
    "CacheWrite1h",
    "CacheWriteOther",
    "InputAudio",
    "InputImage",
    "Output",
    "Reasoning",
    "OutputAudio",
    "OutputImage",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """What a call costs that falls into one stretch of days, of the day, and of input tokens."""

    kind: Literal["tokens", "machine", "free", "unpriced", "unknown"]
    reason: str = ""
    book: str = ""
    adjusted_by: tuple[str, ...] = ()
    price_key: str = ""
    price_variant: str = ""
    price_valid_from: str | None = None
    price_adjusted: str = ""
    prices: tuple[int | None, ...] = (None,) * len(BUCKETS)
    """Pico-USD per token of each of `BUCKETS`."""
    request: int = 0
    fees: Mapping[str, int] = field(default_factory=dict[str, int])
    fee_books: Mapping[str, str] = field(default_factory=dict[str, str])
    tokens_times: int = 1
    fees_times: int = 1
    over: int = 1
    per_hour: int = 0
    concurrency: int = 1
    valid_from: int = 0
    valid_until: int = FOREVER
    daily_from: int = 0
    daily_until: int = DAY_US
    input_from: int = 0
    input_until: int = _ENDLESS

    def by_level(self, rates: Rates) -> Iterator[PriceLine]:
        """The line for each long-context level of these prices, which it takes over."""
        levels = rates.by_level()
        ends = (*(first for _, first, _ in levels[1:]), _ENDLESS)
        for (label, first, prices), end in zip(levels, ends, strict=True):
            yield replace(self, price_variant=label, prices=prices, input_from=first, input_until=end)

    def row(self) -> dict[str, object]:
        """The line by column of the table `price_book`."""
        return {
            "ValidFrom": iso_date(self.valid_from),
            "ValidUntil": iso_date(self.valid_until),
            "DailyFrom": self.daily_from,
            "DailyUntil": self.daily_until,
            "InputFrom": self.input_from,
            "InputUntil": self.input_until,
            "Kind": self.kind,
            "Reason": self.reason,
            "Book": self.book,
            "AdjustedBy": self.adjusted_by,
            "PriceKey": self.price_key,
            "PriceVariant": self.price_variant,
            "PriceValidFrom": self.price_valid_from or "",
            "PriceAdjusted": self.price_adjusted,
            **dict(zip(_COLUMNS, self.prices, strict=True)),
            "Request": self.request,
            "Fees": dict(self.fees),
            "FeeBooks": dict(self.fee_books),
            "TokensTimes": self.tokens_times,
            "FeesTimes": self.fees_times,
            "Over": self.over,
            "PerHour": self.per_hour,
            "Concurrency": self.concurrency,
        }
