"""The price book of this process."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from otel_llm.call import Call
from otel_llm.late import later
from otel_llm.settings import home, price_file

if TYPE_CHECKING:
    from otel_llm.pricing import PriceBook


@cache
def price_book() -> PriceBook:
    """The one price book. It is loaded when the first call is under way, and not before."""
    from otel_llm.pricing import PriceBook

    return PriceBook(home(), price_file())


def expect(call: Call) -> None:
    """The call is under way: while the provider thinks, there is time to look its price up."""
    book = price_book()
    if not book.ready(call):
        later(partial(book.resolve, replace(call)))
