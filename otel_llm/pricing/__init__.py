"""What a call costs: a price book compiled from genai-prices, the user's own prices, and integer arithmetic."""

from otel_llm.pricing.book import PriceBook
from otel_llm.pricing.explain import PriceRow
from otel_llm.pricing.overrides import PriceFileError

__all__ = ["PriceBook", "PriceFileError", "PriceRow"]
