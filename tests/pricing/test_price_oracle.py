"""genai-prices itself is the oracle: what it charges, we charge, to the nano-dollar."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

import pytest
from genai_prices import Usage as GenaiUsage
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.data_units import unit_data
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices
from genai_prices.units import UnitRegistry

from otel_llm.call import Call, Usage
from otel_llm.pricing import PriceBook

SNAPSHOT = DataSnapshot(providers=providers, from_auto_update=False)
PER = {unit.price_key: unit.per for unit in UnitRegistry(unit_data).units.values()}
FIRST = ("openai", "anthropic", "groq")
DATES = ("2024-02-01", "2025-06-09", "2025-06-10", "2026-08-17", "2026-10-12", "2026-10-14", "2026-11-20", "2027-02-01")


def price_tables(model: ModelInfo) -> Iterator[ModelPrice]:
    if isinstance(model.prices, ModelPrice):
        yield model.prices
    else:
        yield from (row.prices for row in model.prices)
    yield from (variant.prices for variant in model.price_variants or ())


def numbers(price: Decimal | TieredPrices | None) -> list[Decimal]:
    if isinstance(price, TieredPrices):
        return [price.base, *(tier.price for tier in price.tiers)]
    return [] if price is None else [price]


def is_whole_in_pico(model: ModelInfo) -> bool:
    """Some reseller rows carry float noise or a twelfth of a cent: those are rounded to a pico-dollar per token."""
    return all(
        number.scaleb(12) % PER[name] == 0
        for table in price_tables(model)
        for name, price in vars(table).items()
        for number in numbers(price)
        if PER[name] in (1_000, 1_000_000)
    )


def count(rng: random.Random) -> int:
    return rng.choice((0, 0, 1, rng.randrange(1000), rng.randrange(100_000), rng.randrange(400_000)))


def random_usage(rng: random.Random, priced: set[str]) -> Usage:
    """Counts only what the model has a price for: what it has none for is no matter of the oracle's."""
    usage = Usage(
        input=count(rng),
        cache_read=count(rng),
        cache_write_5m=count(rng),
        cache_write_1h=count(rng),
        cache_write_other=count(rng),
        output=count(rng) if "output_mtok" in priced else 0,
        reasoning=count(rng) if "output_mtok" in priced else 0,
        input_audio=count(rng) if "input_audio_mtok" in priced else None,
        output_audio=count(rng) if "output_audio_mtok" in priced else None,
        input_image=count(rng) if "input_image_mtok" in priced else None,
        output_image=count(rng) if "output_image_mtok" in priced else None,
    )
    if "web_searches_kcount" in priced:
        usage.requests["web_search"] = rng.randrange(5)
    if "storage_searches_kcount" in priced:
        usage.requests["file_search"] = rng.randrange(5)
    return usage


def as_genai(usage: Usage) -> GenaiUsage:
    """The same usage in their terms, where a count includes its kinds."""
    none_of = ("cache_audio_read", "cache_audio_write", "cache_image_read", "cache_image_write")
    return GenaiUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_5m_tokens=usage.cache_write_5m,
        cache_write_1h_tokens=usage.cache_write_1h,
        input_audio_tokens=usage.input_audio,
        input_image_tokens=usage.input_image,
        output_tokens=usage.output_tokens,
        output_reasoning_tokens=usage.reasoning,
        output_audio_tokens=usage.output_audio,
        output_image_tokens=usage.output_image,
        web_searches=usage.requests.get("web_search"),
        storage_searches=usage.requests.get("file_search"),
        **{f"{name}_{ttl}tokens": 0 for name in none_of for ttl in ("", *(["5m_", "1h_"] if "write" in name else []))},
    )


def charged(provider: Provider, model: str, usage: Usage, at: datetime, context: dict[str, str]) -> int:
    total = SNAPSHOT.calc(as_genai(usage), model, provider.id, None, at, context).total_price
    return int(total.scaleb(9).to_integral_value(ROUND_HALF_UP))


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook()


def subjects(rng: random.Random, samples: int) -> Iterator[tuple[Provider, ModelInfo]]:
    """Every model of the three providers with an integration, and of the rest a sample."""
    everything = [(provider, model) for provider in providers for model in provider.models]
    yield from (subject for subject in everything if subject[0].id in FIRST)
    yield from rng.sample([subject for subject in everything if subject[0].id not in FIRST], samples)


def random_context(rng: random.Random, model: ModelInfo) -> dict[str, str]:
    """Mostly what the model has a price for, now and then what it has none for."""
    offered = [variant.when for variant in model.price_variants or ()]
    offered = [when for when in offered if set(when) <= {"service_tier", "speed", "processing"}]
    tier = rng.choice((None, "default", "flex", "priority", "fast", "batch"))
    stray = {} if tier is None else {"processing": "batch"} if tier == "batch" else {"service_tier": tier}
    return dict(rng.choice([{}, {"service_tier": "default"}, *offered, *offered, stray]))


def is_offered(name: str, value: str, model: ModelInfo, at: datetime) -> bool:
    return value == "default" or any(
        variant.when == {name: value} and (variant.constraint is None or variant.constraint.active(at))
        for variant in model.price_variants or ()
    )


@pytest.mark.parametrize("seed", range(5))
def test_charges_what_genai_prices_charges(book: PriceBook, seed: int) -> None:
    rng = random.Random(seed)
    compared = variants = 0
    for provider, model in subjects(rng, 500):
        table = next(price_tables(model))
        priced = {name for name, price in vars(table).items() if price is not None}
        found = provider.find_model(model.id, all_providers=providers)
        if found is not model or "input_mtok" not in priced or not is_whole_in_pico(model):
            continue
        at = datetime.fromisoformat(rng.choice(DATES)).replace(
            hour=rng.randrange(24), minute=rng.randrange(60), tzinfo=UTC
        )
        context = random_context(rng, model)
        call = Call(
            "chat",
            provider.id,
            model.id,
            started_ns=int(at.timestamp()) * 10**9,
            usage=random_usage(rng, priced),
            service_tier=context.get("processing") or context.get("service_tier"),
            speed=context.get("speed"),
        )
        cost = book.price(call)
        missing = [value for name, value in context.items() if not is_offered(name, value, model, at)]
        if missing and (provider.id, missing) != ("groq", ["flex"]):
            assert (cost.status, cost.nano_usd, cost.reason) == ("unpriced", None, f"variant:{missing[0]}"), model.id
            continue
        assert call.usage is not None
        expected = charged(provider, model.id, call.usage, at, context)
        assert cost.nano_usd == expected, (provider.id, model.id, at, context, call.usage)
        assert (cost.status, cost.key) == ("priced", f"{provider.id}/{model.id}")
        assert cost.input + cost.cache_read + cost.cache_write + cost.output + cost.other == expected
        compared += 1
        variants += bool(context)
    assert compared > 400
    assert variants > 50


def test_charges_a_twelfth_of_a_cent_as_near_as_a_pico_dollar_per_token_allows(book: PriceBook) -> None:
    provider = next(provider for provider in providers if provider.id == "openrouter")
    usage = Usage(input=12_345, cache_write_other=6_789_012, output=345)
    cost = book.price(Call("chat", "openrouter", "google/gemini-2.5-flash", usage=usage))
    expected = charged(provider, "google/gemini-2.5-flash", usage, datetime.now(UTC), {})
    assert cost.nano_usd is not None
    assert abs(cost.nano_usd - expected) <= 6_789_012 * Decimal("0.0005") + 1


@pytest.mark.parametrize("model", ["gpt-5.2", "gpt-4o", "claude-sonnet-5", "grok-4"])
def test_a_reseller_charges_its_makers_standard_price_and_no_variant(book: PriceBook, model: str) -> None:
    azure = next(provider for provider in providers if provider.id == "azure")
    at = datetime(2026, 11, 1, tzinfo=UTC)
    usage = Usage(input=100, output=7)
    call = Call("chat", "azure.ai.openai", model, started_ns=int(at.timestamp()) * 10**9, usage=usage)
    assert book.price(call).nano_usd == charged(azure, model, usage, at, {})
    call.service_tier = "priority"
    # genai-prices would charge the standard price here.
    assert charged(azure, model, usage, at, {"service_tier": "priority"}) == charged(azure, model, usage, at, {})
    assert book.price(call).reason == "variant:priority"


def test_prices_of_the_book_are_all_of_a_kind_that_usage_can_count() -> None:
    """A new unit of genai-prices that splits a count of ours would silently be charged at the unsplit price."""
    known = {
        *("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok"),
        *("input_audio_mtok", "output_audio_mtok", "input_image_mtok", "output_image_mtok", "output_reasoning_mtok"),
        *("web_searches_kcount", "storage_searches_kcount", "requests_kcount"),
    }
    # Counted nowhere: cached sound and pictures, video, citations, seconds, characters, pages, messages.
    not_counted = {
        *(
            "cache_audio_read_mtok",
            "cache_image_read_mtok",
            "input_video_mtok",
            "output_video_mtok",
            "output_citation_mtok",
        ),
        *("audio_hours", "input_audio_hours", "input_document_kpages", "input_annotated_document_kpages"),
        *("input_mchars", "input_text_messages_kcount"),
    }
    used = {
        name
        for provider in providers
        for model in provider.models
        for table in price_tables(model)
        for name, price in vars(table).items()
        if price is not None
    }
    assert used <= known | not_counted
