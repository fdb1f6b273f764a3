"""Which of all prices counts for one kind of call, and what the call costs by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from otel_llm.call import Call, Cost
from otel_llm.pricing.card import MILLION, RateCard, Rates, iso_date
from otel_llm.pricing.overrides import Adjustment, Facts, PriceFile, in_force


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

    def _adjusted(self, call: Call, at_ns: int, rates: Rates, absent: Sequence[str]) -> Cost:
        adjust = self._adjustments(at_ns)
        named = {rule.group for rule in adjust}
        if absent and "variant" not in named:
            return Cost("unpriced", reason=f"variant:{absent[0]}", book=self._sources.book)
        if self._geo and "inference_geo" not in named:
            return Cost("unpriced", reason=f"variant:{self._geo}", book=self._sources.book)
        fees, fee_books = self._fees_at(call, at_ns, rates)
        tokens = others = 1
        for rule in adjust:
            tokens *= rule.multiply_ppm
            others *= rule.multiply_ppm if rule.fees_too else MILLION
        cost = rates.cost(call, fees, tokens, others, MILLION ** len(adjust))
        if cost.variant is not None and absent:
            cost.variant = cost.variant.replace("standard", " ".join(absent), 1)
        if cost.variant is not None and self._geo:
            cost.variant += f" {self._geo}"
        books = dict.fromkeys([self._sources.book, *fee_books, *(rule.book for rule in adjust)])
        cost.book = " ".join(books)
        cost.adjusted = "; ".join(rule.source for rule in adjust if rule.multiply_ppm != MILLION) or None
        return cost

    def _adjustments(self, at_ns: int) -> list[Adjustment]:
        """One of each group: the user's, else the supplement's."""
        chosen = [[in_force(rules, at_ns) for rules in layers] for layers in self._adjust]
        return [rule for user, own in chosen if (rule := user or own) is not None]

    def _fees_at(self, call: Call, at_ns: int, rates: Rates) -> tuple[dict[str, int], list[str]]:
        """The fee of each tool that was used, the user's, else the list's, else the supplement's; and their books."""
        fees: dict[str, int] = {}
        books: list[str] = []
        for tool in call.usage.requests if call.usage is not None else ():
            user, own = (in_force([r for r in rules if tool in r.fees], at_ns) for rules in self._fees)
            rule = user or (own if tool not in rates.fees else None)
            if rule is not None:
                fees[tool] = rule.fees[tool]
                books.append(rule.book)
            elif tool in rates.fees:
                fees[tool] = rates.fees[tool]
        return fees, books


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
