"""The price book of this process."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from otel_llm.settings import home, price_file

if TYPE_CHECKING:
    from otel_llm.pricing import PriceBook


@cache
def price_book() -> PriceBook:
    """The one price book. It is loaded when the first call is under way, and not before."""
    from otel_llm.pricing import PriceBook

    return PriceBook(home(), price_file())
