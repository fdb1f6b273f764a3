"""What a price file is good for: which models and calls each of its rows is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from otel_llm.call import Call
from otel_llm.pricing.book import PriceBook
from otel_llm.pricing.card import epoch_day, iso_date, usd
from otel_llm.pricing.names import provider_names
from otel_llm.pricing.overrides import AbsolutePrice, Adjustment, Facts, Fees, MachinePrice, Rule

_NOT_STORED = ("server", "speed", "inference_geo")


@dataclass(frozen=True, slots=True)
class RowUse:
    """One row of a price file."""

    row: str
    """What it says, in short."""
    source: str
    models: int
    """Models of the book that it is about."""
    calls: int
    """Calls, of those asked about, that its names are about; at whatever time and at whatever server."""
    ended: str | None = None
    """The first day on which it no longer holds, when that is past."""


def uses(book: PriceBook, calls: Sequence[tuple[Call, int]], today: date) -> list[RowUse]:
    """Whom each row of the user's price file concerns: models of the book, and these kinds and numbers of calls.

    Raises PriceFileError.
    """
    file = book.load_overrides()
    aliases = [
        RowUse(
            f"alias {alias.provider}/{alias.model} = {alias.price_key}",
            "",
            len(book.explain(alias.price_key.partition("/")[0], alias.price_key.partition("/")[2])),
            sum(count for call, count in calls if any(alias.matches(call.provider, m) for m in _models(call))),
        )
        for alias in file.aliases
    ]
    listed = list(_listed())
    asked = [({n: f for n, f in book.facts(call).items() if n not in _NOT_STORED}, count) for call, count in calls]
    rules = [
        RowUse(
            _in_short(rule),
            rule.source,
            sum(rule.matches(facts) for facts in listed),
            sum(count for facts, count in asked if rule.matches(facts)),
            iso_date(rule.until) if rule.until is not None and rule.until <= epoch_day(today) else None,
        )
        for rule in (*file.absolute, *file.fees, *file.adjust)
    ]
    return aliases + rules


def _models(call: Call) -> list[str]:
    return [model for model in (call.response_model, call.request_model) if model]


def _listed() -> list[Facts]:
    """Every model of the book, by all names that its provider may go by."""
    from otel_llm.pricing.compile import listed_models

    found: list[Facts] = []
    for key in listed_models():
        provider, _, model = key.lower().partition("/")
        names = provider_names(provider)
        found.append({"key": tuple(f"{name}/{model}" for name in names), "provider": names, "model": (model,)})
    return found


def _in_short(rule: Rule) -> str:
    match rule:
        case AbsolutePrice():
            what = "price"
        case MachinePrice():
            what = f"{usd(rule.pico_usd_per_hour)} USD per hour"
        case Fees():
            what = f"fees of {', '.join(rule.fees)}"
        case Adjustment():
            what = f"x {usd(rule.multiply_ppm * 10**6)}"
        case _:
            what = "row"
    return f"{what} for {' '.join(f'{name}={pattern}' for name, pattern in rule.match.items()) or 'all calls'}"
