"""Which of all prices counts for one kind of call, and what the call costs by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import gcd

from otel_llm.call import Call, Cost
from otel_llm.pricing.card import DAY_NS, MILLION, RateCard, Rates, iso_date
from otel_llm.pricing.lines import DAY_US, FOREVER, PriceLine
from otel_llm.pricing.overrides import AbsolutePrice, Adjustment, Facts, MachinePrice, PriceFile, in_force


@dataclass(frozen=True, slots=True)
class Sources:
    """Where prices come from besides the cards. The user's file outranks our supplement."""

    book: str
    """`genai-prices-<version>`."""
    user: PriceFile
    supplement: PriceFile


class Quote:
    """All that is decided by a call's names and tiers; its time and its usage decide the rest.

    Layers: the user's absolute price, the supplement's, the list price with adjustments. What the list lacks at that
    time is unpriced: a tier never falls back silently to the standard price.
    """

    __slots__ = ("_absolute", "_adjust", "_context", "_fees", "_geo", "_lately", "_name", "_sources", "card", "facts")

    def __init__(
        self, name: str, card: RateCard | str, context: Mapping[str, str], geo: str, facts: Facts, sources: Sources
    ) -> None:
        layers = (sources.user, sources.supplement)
        self.card = card
        """The list price; a text says why there is none."""
        self.facts = facts
        self._name = name
        self._context = context
        self._geo = geo
        self._sources = sources
        self._lately: tuple[int, int, Rates, list[str]] = (0, 0, Rates({}), [])
        self._absolute = [rules for file in layers if (rules := [r for r in file.absolute if r.matches(facts)])]
        self._fees = [[rule for rule in file.fees if rule.matches(facts)] for file in layers]
        adjust = [[rule for rule in file.adjust if rule.matches(facts)] for file in layers]
        groups = {rule.group for rules in adjust for rule in rules}
        self._adjust = [[[r for r in rules if r.group == group] for rules in adjust] for group in sorted(groups)]

    def cost(self, call: Call, at_ns: int) -> Cost:
        """What the call costs at this time, with its provenance."""
        for rules in self._absolute:
            rule = in_force(rules, at_ns)
            if rule is not None:
                cost = rule.cost(call)
                cost.key, cost.book = rule.key or self._name, rule.book
                cost.valid_from = None if rule.since is None else iso_date(rule.since)
                return cost
        card = self.card
        if isinstance(card, str):
            return Cost("unpriced", reason=card)
        start, end, rates, absent = self._lately
        if not start <= at_ns < end:
            rates, absent = card.rates(at_ns, self._context)
            self._lately = (*card.steady(at_ns), rates, absent)
        if absent or self._geo or self._adjust or (call.usage is not None and call.usage.requests):
            cost = self._adjusted(call, at_ns, rates, absent)
        else:
            cost = rates.cost(call)
            cost.book = self._sources.book
        cost.key = card.key
        cost.valid_from = rates.valid_from
        return cost

    def lines(self) -> Iterator[PriceLine]:
        """All that `cost` can say, at whatever time and of whatever usage, as rows; without knowing the server."""
        facts = {name: words for name, words in self.facts.items() if name != "server"}
        files = (self._sources.user, self._sources.supplement)
        rules = [rule for file in files for rule in (*file.absolute, *file.fees, *file.adjust)]
        if any("server" in rule.match and rule.matches(facts) for rule in rules):
            yield PriceLine(kind="unknown", reason="the price file asks for its server")
            return
        card = self.card
        rows = () if isinstance(card, str) else (*card.rows, *card.variants)
        bounds = [bound for rule in rules if rule.matches(facts) for bound in (rule.since, rule.until)]
        days = {0, *(row.since or 0 for row in rows), *(bound or 0 for bound in bounds)}
        hours = {0, *(edge for row in rows for edge in row.daily or ())} - {DAY_US}
        for day, next_day in pairwise([*sorted(day for day in days if 0 <= day < FOREVER), FOREVER]):
            for hour, next_hour in pairwise([*sorted(hours), DAY_US]):
                for line in self._lines_at(day * DAY_NS + hour * 1000):
                    yield replace(line, valid_from=day, valid_until=next_day, daily_from=hour, daily_until=next_hour)

    def _lines_at(self, at_ns: int) -> Iterator[PriceLine]:
        for rules in self._absolute:
            rule = in_force(rules, at_ns)
            if rule is None:
                continue
            since = None if rule.since is None else iso_date(rule.since)
            line = PriceLine(kind="free", price_key=rule.key or self._name, book=rule.book, price_valid_from=since)
            match rule:
                case MachinePrice():
                    hour, shared = rule.pico_usd_per_hour, rule.concurrency
                    yield replace(line, kind="machine", price_variant="self_hosted", per_hour=hour, concurrency=shared)
                case AbsolutePrice() if any(rule.rates.prices.values()):
                    fees = rule.rates.fees
                    yield from replace(line, kind="tokens", fees=fees, request=fees.get("request", 0)).by_level(
                        rule.rates
                    )
                case _:
                    yield line
            return
        if isinstance(self.card, str):
            yield PriceLine(kind="unpriced", reason=self.card)
            return
        rates, absent = self.card.rates(at_ns, self._context)
        adjust = self._adjustments(at_ns)
        line = PriceLine(
            kind="tokens", book=self._sources.book, price_key=self.card.key, price_valid_from=rates.valid_from
        )
        if lacking := self._lacking(absent, adjust):
            yield replace(line, kind="unpriced", reason=f"variant:{lacking}")
            return
        tools = {*rates.fees, *(tool for layer in self._fees for rule in layer for tool in rule.fees)}
        fees, fee_books = self._fees_at(sorted(tools), at_ns, rates)
        tokens, others, whole = _factors(adjust)
        line = replace(
            line,
            adjusted_by=tuple(dict.fromkeys(rule.book for rule in adjust)),
            price_adjusted=_said_by(adjust) or "",
            request=rates.fees.get("request", 0),
            fees=fees,
            fee_books=fee_books,
            tokens_times=tokens,
            fees_times=others,
            over=whole,
        )
        for level in line.by_level(rates):
            yield replace(level, price_variant=self._variant(level.price_variant, absent))

    def _adjusted(self, call: Call, at_ns: int, rates: Rates, absent: Sequence[str]) -> Cost:
        adjust = self._adjustments(at_ns)
        if lacking := self._lacking(absent, adjust):
            return Cost("unpriced", reason=f"variant:{lacking}", book=self._sources.book)
        fees, fee_books = self._fees_at(call.usage.requests if call.usage is not None else (), at_ns, rates)
        cost = rates.cost(call, fees, *_factors(adjust))
        if cost.variant is not None:
            cost.variant = self._variant(cost.variant, absent)
        books = dict.fromkeys([self._sources.book, *fee_books.values(), *(rule.book for rule in adjust)])
        cost.book = " ".join(books)
        cost.adjusted = _said_by(adjust)
        return cost

    def _lacking(self, absent: Sequence[str], adjust: Sequence[Adjustment]) -> str:
        """The tier or region that neither the list nor an adjustment has a price for."""
        named = {rule.group for rule in adjust}
        if absent and "variant" not in named:
            return absent[0]
        return self._geo if "inference_geo" not in named else ""

    def _variant(self, label: str, absent: Sequence[str]) -> str:
        if absent:
            label = label.replace("standard", " ".join(absent), 1)
        return f"{label} {self._geo}" if self._geo else label

    def _adjustments(self, at_ns: int) -> list[Adjustment]:
        """One of each group: the user's, else the supplement's."""
        chosen = [[in_force(rules, at_ns) for rules in layers] for layers in self._adjust]
        return [rule for user, own in chosen if (rule := user or own) is not None]

    def _fees_at(self, tools: Iterable[str], at_ns: int, rates: Rates) -> tuple[dict[str, int], dict[str, str]]:
        """The fee of each tool, the user's, else the list's, else the supplement's; and the books of those rows."""
        fees: dict[str, int] = {}
        books: dict[str, str] = {}
        for tool in tools:
            user, own = (in_force([r for r in rules if tool in r.fees], at_ns) for rules in self._fees)
            rule = user or (own if tool not in rates.fees else None)
            if rule is not None:
                fees[tool] = rule.fees[tool]
                books[tool] = rule.book
            elif tool in rates.fees:
                fees[tool] = rates.fees[tool]
        return fees, books


def _factors(adjust: Sequence[Adjustment]) -> tuple[int, int, int]:
    """What to multiply tokens by, and fees, and what to divide both by."""
    tokens = others = 1
    for rule in adjust:
        tokens *= rule.multiply_ppm
        others *= rule.multiply_ppm if rule.fees_too else MILLION
    whole = MILLION ** len(adjust)
    shared = gcd(tokens, others, whole)
    return tokens // shared, others // shared, whole // shared


def _said_by(adjust: Sequence[Adjustment]) -> str | None:
    return "; ".join(rule.source for rule in adjust if rule.multiply_ppm != MILLION) or None


def add_costs(costs: Sequence[Cost]) -> Cost:
    """The cost of a call that was billed in parts: `partial` when only some are known, each provenance named once."""
    known = [cost for cost in costs if cost.nano_usd is not None]
    reason = ",".join(dict.fromkeys(cost.reason for cost in costs if cost.reason)) or None
    if not known:
        return Cost("unpriced", reason=reason)
    whole = all(cost.status in ("priced", "free") for cost in costs)
    total = Cost("priced" if whole else "partial", 0, reason=reason)
    for cost in known:
        total.nano_usd = (total.nano_usd or 0) + (cost.nano_usd or 0)
        total.input += cost.input
        total.cache_read += cost.cache_read
        total.cache_write += cost.cache_write
        total.output += cost.output
        total.other += cost.other
    for name in ("key", "variant", "book", "valid_from", "adjusted"):
        said = dict.fromkeys(text for cost in known if (text := getattr(cost, name)))
        setattr(total, name, ", ".join(said) or None)
    return total
