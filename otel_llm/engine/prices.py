"""The price book of this process."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from otel_llm.guard import logger
from otel_llm.pricing import PriceBook, PriceFileError
from otel_llm.settings import home


@cache
def price_book() -> PriceBook:
    """The one price book; a broken price file is reported in one sentence, and the list prices apply."""
    overrides = os.environ.get("OTEL_LLM_PRICES")
    try:
        return PriceBook(home(), Path(overrides) if overrides else None)
    except PriceFileError as error:
        logger.error("%s. List prices apply until it is mended.", error)
        return PriceBook(home(), None)
