"""The price book: what a call costs, and where its price comes from."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from otel_llm.call import Call, Cost
from otel_llm.pricing.card import RateCard
from otel_llm.pricing.explain import PriceRow, closest, explain
from otel_llm.pricing.lines import PriceLine
from otel_llm.pricing.names import STANDARD, book_key, names_model, variant_context
from otel_llm.pricing.overrides import Facts, PriceFile, PriceFileError, parse_price_file, read_price_file
from otel_llm.pricing.quote import Quote, Sources, add_costs
from otel_llm.pricing.store import read_cards, write_cards

logger = logging.getLogger(__name__)
_KEPT = 4096


class _NotAtHandError(LookupError):
    """The book has not been asked for this key yet."""


class PriceBook:
    """What calls cost. Any thread may use it, also in forked children: it holds no lock.

    `home` is where rate cards are kept for the next process (None: nowhere), `overrides` the user's price file.
    """

    def __init__(self, home: Path | None = None, overrides: Path | None = None) -> None:
        self._home = home
        self._overrides = overrides
        self._sources: Sources | None = None
        # By the key that the book was asked for; a text says why there is no card. The cards in use are kept by the
        # cache of quotes, so this may be emptied at any time.
        self._cards: dict[str, RateCard | str] = {}
        self._quote = lru_cache(maxsize=_KEPT)(self._find)
        self._warned: set[tuple[str, str | None, str]] = set()

    def load(self) -> None:
        """Read the price file and the stored cards, once: some 20 ms. A broken price file is logged and left out."""
        if self._sources is None:
            try:
                user = self.load_overrides()
            except PriceFileError as error:
                logger.error("%s; going on with the bundled prices", error)
                user = PriceFile()
            content = Path(__file__).with_name("supplement.toml").read_bytes()
            supplement = parse_price_file(content, "supplement.toml", f"supplement:{sha256(content).hexdigest()[:12]}")
            sources = Sources(f"genai-prices-{metadata.version('genai-prices')}", user, supplement)
            self._cards.update(self._stored(sources))
            self._sources = sources

    def load_overrides(self) -> PriceFile:
        """The user's price file, an empty one when there is none. Raises PriceFileError."""
        return read_price_file(self._overrides) if self._overrides is not None else PriceFile()

    def ready(self, call: Call) -> bool:
        """Whether `price` would take microseconds. False until `load`, and for a model that was never met before."""
        if self._sources is None:
            return False
        try:
            for billed in _billed(call):
                self._quote_for(billed)
        except _NotAtHandError:
            return False
        return True

    def price_at_hand(self, call: Call) -> Cost | None:
        """What the call costs, if it is `ready`."""
        if self._sources is None:
            return None
        try:
            return self._price(call)
        except _NotAtHandError:
            return None

    def resolve(self, call: Call) -> None:
        """Make it ready. May ask genai-prices, whose import takes 0.2-0.6 s: not for the user's thread."""
        self.load()
        for billed in _billed(call):
            while True:
                try:
                    self._quote_for(billed)
                    break
                except _NotAtHandError as missing:
                    self._obtain(str(missing))

    def price(self, call: Call) -> Cost:
        """What the call costs, with its provenance. That a price is missing is logged once per model and reason."""
        if self._sources is None:
            self.load()
        try:
            return self._price(call)
        except _NotAtHandError:
            self.resolve(call)
            return self._price(call)

    def explain(self, provider: str | None, model: str, at: datetime | None = None) -> list[PriceRow]:
        """Every price that a call to the model could have at this time (default: now), the user's first.

        Without a provider, the model may be `provider/model`, as prices are printed; else its name speaks for one, or
        the user's file does. Empty when nobody knows the model.
        """
        if provider is None:
            found = (self.explain(served_by, name, at) for served_by, name in self._meant(model))
            return next((rows for rows in found if rows), list[PriceRow]())
        call = Call("chat", provider, model)
        self.resolve(call)
        quote, sources = self._quote_for(call), self._sources
        at_ns = int((at or datetime.now(UTC)).timestamp() * 1_000_000) * 1000
        rows = explain(quote.card, quote.facts, sources, at_ns) if sources is not None else []
        # What only changes a price is none.
        return rows if any(row.layer in ("override", "list") for row in rows) else []

    def _meant(self, model: str) -> Iterator[tuple[str, str]]:
        """The provider and model that somebody may mean by a model's name, the likeliest first."""
        from otel_llm.pricing.compile import guess_provider

        served_by, slash, name = model.partition("/")
        if slash:
            yield served_by, name
        yield guess_provider(model) or "", model
        self.load()
        user = self._sources.user if self._sources is not None else PriceFile()
        keys = (rule.key.partition("/") for rule in user.absolute if rule.key)
        yield from ((served_by, model) for served_by, _, name in keys if name.lower() == model.lower())
        yield from ((alias.provider, model) for alias in user.aliases if alias.matches(alias.provider, model))

    def lines(self, call: Call) -> list[PriceLine]:
        """All that a call with these names and tiers can cost, whenever and with whatever usage, as rows."""
        self.resolve(call)
        return list(self._quote_for(call).lines())

    @property
    def price_list(self) -> str:
        """The versions of everything that its prices come from: with the same, they are the same."""
        self.load()
        sources = self._sources
        if sources is None:
            return ""
        files = (file for file in (sources.user, sources.supplement) if file.book)
        return " ".join([sources.book, *(file.book for file in files)])

    def facts(self, call: Call) -> Facts:
        """What the patterns of a price file are matched against for this call."""
        self.resolve(call)
        return self._quote_for(call).facts

    def models(self, provider: str = "") -> list[str]:
        """Every `provider/model` of the book, or those of one provider."""
        from otel_llm.pricing.compile import listed_models

        wanted = book_key(provider, "") if provider else ""
        return [key for key in listed_models() if wanted is not None and key.startswith(wanted)]

    def newest_price(self) -> date:
        """The day on which the newest price of the book began: the book is at least of that day."""
        from otel_llm.pricing.compile import newest_start

        return newest_start(datetime.now(UTC).date())

    def suggest(self, model: str) -> list[str]:
        """Up to five `provider/model` of the book with names like this one, the closest first."""
        from otel_llm.pricing.compile import listed_models

        return closest(model, listed_models())

    def _price(self, call: Call) -> Cost:
        cost = self._cost(call)
        # A call that failed or was stopped early says nothing about prices.
        if cost.reason is not None and call.error_type is None and call.usage_source != "partial":
            self._warn(call, cost.status, cost.reason)
        return cost

    def _cost(self, call: Call) -> Cost:
        reported = None if call.reported_cost_usd is None else _nano_usd(call.reported_cost_usd)
        if reported is not None:
            return Cost("priced", reported, other=reported, source="provider", key=f"{call.provider}/{call.model}")
        if call.parts:
            return add_costs([self._cost(part) for part in _billed(call)])
        return self._quote_for(call).cost(call, call.started_ns or time.time_ns())

    def _quote_for(self, call: Call) -> Quote:
        return self._quote(
            call.provider,
            call.operation,
            call.response_model,
            call.request_model,
            call.server_address,
            call.server_port,
            call.service_tier,
            call.speed,
            call.inference_geo,
        )

    def _find(
        self,
        provider: str,
        operation: str,
        response_model: str | None,
        request_model: str | None,
        server: str | None,
        port: int | None,
        service_tier: str | None,
        speed: str | None,
        geo: str | None,
    ) -> Quote:
        """Everything about a price that depends on names alone. Cached. Raises _NotAtHandError."""
        sources = self._sources
        if sources is None:
            raise _NotAtHandError
        models = [model for model in (response_model, request_model) if model]
        if provider == "aws.bedrock":
            models.reverse()  # regional or global: only the profile that was asked for tells
            if request_model and not names_model(request_model):
                models = [request_model]
        asked = [_key(provider, model, sources.user) for model in models]
        card = self._card(asked)
        tier, speed, geo = ((word or "").lower() for word in (service_tier, speed, geo))
        facts = {
            "key": [*(f"{provider}/{model}" for model in models), *asked, None if isinstance(card, str) else card.key],
            "provider": [provider, *(key.partition("/")[0] for key in asked if key)],
            "model": models,
            "server": [server, f"{server}:{port}"] if server else [],
            "operation": [operation],
            "service_tier": ["standard" if tier in STANDARD else tier],
            "speed": ["standard" if speed in STANDARD else speed],
            "inference_geo": ["global" if geo in STANDARD else geo],
        }
        return Quote(
            f"{provider}/{models[0]}" if models else provider,
            card,
            variant_context(tier, speed),
            "" if geo in STANDARD else geo,
            {name: tuple(word.lower() for word in words if word) for name, words in facts.items()},
            sources,
        )

    def _card(self, asked: Sequence[str | None]) -> RateCard | str:
        """The card of the first of these keys that has one, else why the first has none."""
        reasons: list[str] = []
        for key in asked:
            card = "unknown_provider" if key is None else self._cards.get(key)
            if card is None:
                raise _NotAtHandError(key)
            if not isinstance(card, str):
                return card
            reasons.append(card)
        return reasons[0] if reasons else "no_model"

    def _obtain(self, key: str) -> None:
        """Find out what the book says for a key. Another process may have found out already."""
        sources = self._sources
        if sources is None:
            return
        if len(self._cards) >= _KEPT:
            self._cards.clear()
        stored = self._stored(sources)
        self._cards.update(stored)
        if key in stored:
            return
        try:
            from otel_llm.pricing.compile import compile_card

            self._cards[key] = stored[key] = compile_card(key)
        except (ImportError, AttributeError, TypeError, ValueError, LookupError) as error:
            logger.warning("genai-prices cannot be read for %s: %s: %s", key, type(error).__name__, error)
            self._cards[key] = "book_unreadable"
            return
        if self._home is not None:
            write_cards(self._home / "prices" / f"{sources.book}.json", stored)

    def _stored(self, sources: Sources) -> dict[str, RateCard | str]:
        return read_cards(self._home / "prices" / f"{sources.book}.json") if self._home is not None else {}

    def _warn(self, call: Call, status: str, reason: str) -> None:
        seen = (call.provider, call.model, reason)
        file = self._sources.user if self._sources is not None else PriceFile()
        if file.warn_once and seen in self._warned:
            return
        if len(self._warned) >= _KEPT:
            self._warned.clear()
        self._warned.add(seen)
        logger.log(
            logging.ERROR if file.policy == "error" else logging.WARNING,
            "%s of %s/%s is unknown: %s%s",
            "part of the cost" if status == "partial" else "the cost",
            *seen,
            "" if "usage" in reason else "; a price file that OTEL_LLM_PRICES names can set it",
        )


def _billed(call: Call) -> Sequence[Call]:
    """The calls whose prices are needed: the call, or its parts with what they share; none if a cost was reported."""
    if call.reported_cost_usd is not None and _nano_usd(call.reported_cost_usd) is not None:
        return ()
    if not call.parts:
        return (call,)
    return [
        replace(
            part,
            started_ns=part.started_ns or call.started_ns,
            server_address=part.server_address or call.server_address,
            server_port=part.server_port or call.server_port,
            service_tier=part.service_tier or call.service_tier,
            speed=part.speed or call.speed,
            inference_geo=part.inference_geo or call.inference_geo,
            usage_source=call.usage_source if part.usage_source == "provider" else part.usage_source,
        )
        for part in call.parts
    ]


def _key(provider: str, model: str, user: PriceFile) -> str | None:
    for alias in user.aliases:
        if alias.matches(provider, model):
            provider, _, model = alias.price_key.partition("/")
            break
    return book_key(provider, model)


def _nano_usd(reported: str) -> int | None:
    """The provider's own decimal string in whole nano-USD; None when it is no sum of money."""
    try:
        amount = Decimal(reported)
    except InvalidOperation:
        return None
    if not amount.is_finite() or amount < 0:
        return None
    return int(amount.scaleb(9).to_integral_value(ROUND_HALF_UP))
