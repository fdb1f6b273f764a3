"""Rate cards out of genai-prices: the only module that imports it, which costs 0.2-0.6 s and 12-29 MB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, time
from decimal import Decimal

# The bundled data itself and not the library's current snapshot, which any other library may replace at run time.
from genai_prices.data import providers
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from otel_llm.pricing.card import MILLION, Price, RateCard, Row, epoch_day, pico_usd

# Names of prices there -> here. Units that no Usage counts (pixels, video) are left out.
_NAMES = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "input_image_mtok": "input_image",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
    "web_searches_kcount": "web_search",
    "social_searches_kcount": "x_search",
    "storage_searches_kcount": "file_search",
    "code_executions_kcount": "code_execution",
    "requests_kcount": "request",
    "rerank_searches_kcount": "search_units",
    "input_mchars": "characters",
    "input_document_kpages": "pages",
    "input_annotated_document_kpages": "annotated_pages",
    "audio_hours": "audio_ms",
}
_PER: Mapping[str, int] = {unit["price_key"]: unit["per"] for unit in unit_data.values()} | {"audio_hours": 3_600_000}
# Cached sound and pictures are in the cache reads. What they cost more than those is a fee on top.
_SURCHARGES = {"cache_audio_read_mtok": "cached_audio", "cache_image_read_mtok": "cached_image"}


def compile_card(key: str) -> RateCard | str:
    """The card of `provider/model`, or in one word why there is none."""
    provider_id, _, model_ref = key.partition("/")
    provider = next((provider for provider in providers if provider.id == provider_id), None)
    if provider is None:
        return "unknown_provider"
    model = provider.find_model(model_ref, all_providers=providers)
    if model is None:
        return "unknown_model"
    conditional = [ConditionalPrice(prices=model.prices)] if isinstance(model.prices, ModelPrice) else model.prices
    # Where a model puts out nothing but pictures, the list has them as its output.
    pictures = model.id.startswith("gpt-image-") and not any(row.prices.output_image_mtok for row in conditional)
    rows = [_row(row.prices, row.constraint, pictures=pictures) for row in conditional]
    if not any(price for row in rows for price in row.prices.values()):
        return "no_price"
    # A model found through a reseller (Azure has OpenAI's): the variants are its maker's, not the reseller's.
    own = any(model is listed for listed in provider.models)
    variants = (
        [_row(v.prices, v.constraint, v.when, pictures=pictures) for v in model.price_variants or ()] if own else []
    )
    owner = _owner(model).id
    if owner == "google":
        rows, variants = _alike(rows, rows), _alike(variants, rows)
    return RateCard(f"{owner}/{model.id}", rows, variants)


def guess_provider(model: str) -> str | None:
    """The provider id that a model's name speaks for, the maker's before any reseller's."""
    matching = (p.id for p in providers if p.model_match is not None and p.model_match.is_match(model.lower()))
    return next(matching, None) or next((p.id for p in providers if p.find_model(model)), None)


def listed_models() -> list[str]:
    """Every `provider/model` of the book."""
    return [f"{provider.id}/{model.id}" for provider in providers for model in provider.models]


def newest_start(today: date) -> date:
    """The latest day, up to today, on which a price of the data begins."""
    return max(
        row.constraint.start_date
        for provider in providers
        for model in provider.models
        for row in (*([] if isinstance(model.prices, ModelPrice) else model.prices), *(model.price_variants or ()))
        if isinstance(row.constraint, StartDateConstraint) and row.constraint.start_date <= today
    )


def _owner(model: ModelInfo) -> Provider:
    return next(provider for provider in providers if any(model is listed for listed in provider.models))


# Google's list has one price for all kinds, but where it says otherwise.
_LIKE_TEXT = {"input_image": "input", "input_audio": "input", "output_audio": "output", "cached_audio": "no surcharge"}


def _alike(rows: list[Row], standard: list[Row]) -> list[Row]:
    """The rows, with the price of text for each kind that has none of its own in the standard ones."""
    kinds = {kind: like for kind, like in _LIKE_TEXT.items() if not any(kind in row.prices for row in standard)}
    text = [{"no surcharge": 0, **row.prices} for row in rows]
    return [
        replace(row, prices={kind: known[like] for kind, like in kinds.items() if like in known} | dict(row.prices))
        for row, known in zip(rows, text, strict=True)
    ]


def _row(
    prices: ModelPrice,
    constraint: StartDateConstraint | TimeOfDateConstraint | None,
    when: Mapping[str, str] | None = None,
    *,
    pictures: bool = False,
) -> Row:
    found: dict[str, Price] = {
        _NAMES[name]: _price(price, _PER[name])
        for name, price in vars(prices).items()
        if price is not None and name in _NAMES
    }
    read = found.get("cache_read")
    for name, fee in _SURCHARGES.items():
        price = getattr(prices, name, None)
        if isinstance(price, Decimal) and isinstance(read, int) and pico_usd(price, MILLION) >= read:
            found[fee] = pico_usd(price, MILLION) - read
    if pictures and "output" in found:
        found.setdefault("output_image", found["output"])
    match constraint:
        case None:
            return Row(found, when=when or {})
        case StartDateConstraint():
            return Row(found, since=epoch_day(constraint.start_date), when=when or {})
        case TimeOfDateConstraint():
            daily = (_microsecond(constraint.start_time), _microsecond(constraint.end_time))
            return Row(found, daily=daily, when=when or {})
        case _:
            # A later version of the library may know more; leaving it out would price at the wrong time.
            raise TypeError(f"unknown price constraint {constraint!r}")


def _price(price: Decimal | TieredPrices, per: int) -> Price:
    if isinstance(price, TieredPrices):
        return pico_usd(price.base, per), tuple((tier.start, pico_usd(tier.price, per)) for tier in price.tiers)
    return pico_usd(price, per)


def _microsecond(clock: time) -> int:
    offset = clock.utcoffset()
    seconds = clock.hour * 3600 + clock.minute * 60 + clock.second - (offset.total_seconds() if offset else 0)
    return int(seconds % 86_400) * 1_000_000 + clock.microsecond
