"""The price book of this process."""

from __future__ import annotations

from functools import cache

from otel_llm.pricing import PriceBook
from otel_llm.settings import home, price_file


@cache
def price_book() -> PriceBook:
    """The one price book. It is loaded when the first call is under way, and not before."""
    return PriceBook(home(), price_file())
