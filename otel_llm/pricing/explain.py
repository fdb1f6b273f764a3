"""Prices laid out for people: what `otel-llm prices show` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from otel_llm.pricing.card import MILLION, RateCard, iso_date, usd
from otel_llm.pricing.overrides import AbsolutePrice, Adjustment, Facts, Fees, MachinePrice, Rule
from otel_llm.pricing.quote import Sources

# What the question settles; a row's other patterns are conditions that the answer states.
_ASKED = ("key", "provider", "model", "operation")


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One price, in exact decimal strings of USD."""

    layer: Literal["override", "list", "fees", "adjust"]
    """An override counts before the list; fees and adjustments change what the list says."""
    key: str
    variant: str
    """Which calls it is for: `standard`, `batch`, `standard >200000`, or the conditions of a file's row."""
    book: str
    source: str
    valid_from: str | None = None
    usd_per_mtok: Mapping[str, str] = field(default_factory=dict[str, str])
    usd_per_request: Mapping[str, str] = field(default_factory=dict[str, str])
    usd_per_hour: str | None = None
    """Of a self-hosted model's machines, all calls that share them together."""
    factor: str | None = None
    """What an adjustment multiplies the list price by."""


def explain(card: RateCard | str, facts: Facts, sources: Sources, at_ns: int) -> list[PriceRow]:
    """Every price that a call of these facts can have at this time: the user's, the list's, then what changes it."""
    asked = {name: facts[name] for name in _ASKED}

    def rows(rules: Iterable[Rule]) -> Iterator[PriceRow]:
        return (_of_rule(rule, asked) for rule in rules if rule.holds(at_ns) and rule.matches(asked))

    files = (sources.user, sources.supplement)
    return [
        *(row for file in files for row in rows(file.absolute)),
        *([] if isinstance(card, str) else _of_card(card, at_ns, sources.book)),
        *(row for file in files for row in rows((*file.fees, *file.adjust))),
    ]


def closest(model: str, keys: Sequence[str]) -> list[str]:
    """Up to five of the keys (`provider/model`) whose model names are the closest to this one."""
    import difflib

    by_name: dict[str, list[str]] = {}
    for key in keys:
        by_name.setdefault(key.partition("/")[2].lower(), []).append(key)
    close = difflib.get_close_matches(model.lower(), by_name, n=5)
    return [key for name in close for key in by_name[name]][:5]


def _of_card(card: RateCard, at_ns: int, book: str) -> Iterator[PriceRow]:
    variants = dict.fromkeys(tuple(row.when.items()) for row in card.variants if row.prices)
    for when in [(), *variants]:
        rates, absent = card.rates(at_ns, dict(when))
        fees = {name: usd(fee) for name, fee in rates.fees.items()}
        for variant, tokens in [] if absent else rates.levels():
            yield PriceRow("list", card.key, variant, book, book, rates.valid_from, _per_million(tokens), fees)


def _of_rule(rule: Rule, asked: Facts) -> PriceRow:
    conditions = " ".join(f"{name}={pattern}" for name, pattern in rule.match.items() if name not in _ASKED)
    since = None if rule.since is None else iso_date(rule.since)
    row = PriceRow("override", asked["key"][0], conditions, rule.book, rule.source, since)
    match rule:
        case AbsolutePrice():
            tokens = _per_million(rule.rates.levels()[0][1])
            fees = {name: usd(fee) for name, fee in rule.rates.fees.items()}
            return replace(row, key=rule.key or row.key, usd_per_mtok=tokens, usd_per_request=fees)
        case MachinePrice():
            shared = f"{conditions} concurrency={rule.concurrency}".strip()
            return replace(row, variant=shared, usd_per_hour=usd(rule.pico_usd_per_hour))
        case Fees():
            return replace(row, layer="fees", usd_per_request={name: usd(fee) for name, fee in rule.fees.items()})
        case Adjustment():
            return replace(row, layer="adjust", factor=usd(rule.multiply_ppm * MILLION))
        case _:
            return row


def _per_million(tokens: Mapping[str, int]) -> dict[str, str]:
    return {name: usd(price, MILLION) for name, price in tokens.items()}
