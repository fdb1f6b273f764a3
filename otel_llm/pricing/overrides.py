"""A file of prices: the user's (`OTEL_LLM_PRICES`), and our own supplement to the book. TOML, strictly checked.

    [[aliases]]                      # what a deployment or gateway name means
    provider = "azure.ai.openai"
    match = "my-prod-*"
    price_key = "azure/gpt-4o"

    [[prices]]                       # an absolute price; one that names no service_tier holds for all of them
    key = "acme/llama-70b"           # gen_ai.provider.name/model, an alias's price_key, or the book's own key
    from = 2026-06-01                # UTC days; `to` is the first day on which it no longer holds
    usd_per_mtok = { input = "0.20", cache_read = "0.05", output = "0.60" }
    source = "contract 4711"

    [[prices]]                       # without usd_per_mtok: fees on top of what tokens cost
    match = { provider = "openai", model = "gpt-*" }
    usd_per_request = { code_interpreter = "0.03" }

    [[adjust]]                       # list price times parts per million; `fees = false` leaves fees as they are
    match = { provider = "openai" }
    multiply_ppm = 850000
    source = "EA -15 %"

    [[self_hosted]]                  # how long the call took, at the price of the machine; or usd_per_mtok
    match = { provider = "ollama", server = "gpu-1" }
    usd_per_gpu_hour = "2.49"
    gpus = 8
    concurrency = 16                 # calls that share the machine

    [unpriced]
    policy = "error"                 # log calls without a price as errors; "mark", the default, as warnings
    warn_once = true                 # per provider, model and reason

Patterns (`*`, `?`, `[...]`) ignore case. Of the rows that match a call at its time, the one with the latest `from`
wins, and among equals the first in the file. An adjustment that names a service_tier or speed, one that names
an inference_geo and one that names neither are chosen apart and multiply each other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from otel_llm.call import Call, Cost
from otel_llm.pricing.card import DAY_NS, MILLION, TOKEN_PRICES, Rates, epoch_day, pico_usd

Facts = Mapping[str, tuple[str, ...]]
"""What patterns are matched against: everything, in lower case, that a call's provider, model, ... is called by."""
_FACTS = ("provider", "model", "server", "operation", "service_tier", "speed", "inference_geo")

T = TypeVar("T")


class PriceFileError(ValueError):
    """A price file that cannot be used; the message says in one sentence where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What all rows have in common: for which calls, from when until when, and who says so."""

    match: Mapping[str, str]
    since: int | None
    until: int | None
    source: str
    book: str
    """The file, as a Cost names it."""

    def matches(self, facts: Facts) -> bool:
        """Whether it is for a call of these facts, at whatever time; a fact that is not given is no obstacle."""
        return all(
            any(fnmatchcase(fact, pattern) for fact in facts[name])
            for name, pattern in self.match.items()
            if name in facts
        )

    def holds(self, at_ns: int) -> bool:
        """Whether it is in force at this time (nanoseconds since the epoch)."""
        day = at_ns // DAY_NS
        return (self.since is None or self.since <= day) and (self.until is None or day < self.until)


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of a model of the book."""

    provider: str
    model: str
    price_key: str

    def matches(self, provider: str, model: str) -> bool:
        """Whether it is for this provider and model, as the call names them."""
        return fnmatchcase(provider.lower(), self.provider) and fnmatchcase(model.lower(), self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsolutePrice(Rule):
    """A price per token and request, whatever the list says."""

    key: str | None
    rates: Rates

    def cost(self, call: Call) -> Cost:
        """The cost of the call's usage; `free` when every price of the row is zero."""
        return self.rates.cost(call) if any(self.rates.prices.values()) else Cost("free", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePrice(Rule):
    """The price of the machines that a self-hosted model runs on, for as long as the call took."""

    key: None = None
    pico_usd_per_hour: int
    concurrency: int

    def cost(self, call: Call) -> Cost:
        """The cost of the call's wall time."""
        if not call.duration_ns:
            return Cost("unpriced", reason="no_duration")
        unit = 3_600 * 10**12 * self.concurrency
        total = (self.pico_usd_per_hour * call.duration_ns + unit // 2) // unit
        return Cost("priced" if self.pico_usd_per_hour else "free", total, other=total, variant="self_hosted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees(Rule):
    """Fees per request, in pico-USD."""

    fees: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment(Rule):
    """A discount or surcharge on list prices."""

    multiply_ppm: int
    fees_too: bool

    @property
    def group(self) -> str:
        """Of each group of adjustments one applies."""
        if "inference_geo" in self.match:
            return "inference_geo"
        return "variant" if "service_tier" in self.match or "speed" in self.match else ""


@dataclass(frozen=True, slots=True)
class PriceFile:
    """The rows of one file."""

    aliases: tuple[Alias, ...] = ()
    absolute: tuple[AbsolutePrice | MachinePrice, ...] = ()
    fees: tuple[Fees, ...] = ()
    adjust: tuple[Adjustment, ...] = ()
    policy: str = "mark"
    warn_once: bool = True
    book: str = ""
    """The file, as a Cost names it; empty when there is none."""


AnyRule = TypeVar("AnyRule", bound=Rule)


def in_force(rules: Iterable[AnyRule], at_ns: int) -> AnyRule | None:
    """The one of these that counts at this time: the latest to begin, among equals the first."""
    holding = (rule for rule in rules if rule.holds(at_ns))
    return max(holding, key=lambda rule: -1 if rule.since is None else rule.since, default=None)


def read_price_file(path: Path) -> PriceFile:
    """The rows of the file. Raises PriceFileError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PriceFileError(f"{path}: cannot be read ({error.strerror}), check OTEL_LLM_PRICES") from None
    return parse_price_file(content, path.name, f"overrides:{sha256(content).hexdigest()[:12]}")


def parse_price_file(content: bytes, name: str, book: str) -> PriceFile:
    """The rows of a file with this content; `name` is for messages, `book` for costs. Raises PriceFileError."""
    try:
        data = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PriceFileError(f"{name}: is not valid TOML: {error}") from None
    file = _Table(data, f"{name}:", book)
    file.get("version", _version)
    aliases = tuple(_alias(row) for row in file.rows("aliases"))
    priced = [_prices(row) for row in file.rows("prices")]
    hosted = [_self_hosted(row) for row in file.rows("self_hosted")]
    adjust = tuple(_adjustment(row) for row in file.rows("adjust"))
    unpriced = _Table(file.get("unpriced", _table) or {}, f"{name}: [unpriced]", book)
    policy, warn_once = unpriced.get("policy", _policy), unpriced.get("warn_once", _flag)
    unpriced.done()
    file.done()
    return PriceFile(
        aliases,
        (*(row for row in priced if isinstance(row, AbsolutePrice)), *hosted),
        tuple(row for row in priced if isinstance(row, Fees)),
        adjust,
        policy or "mark",
        warn_once is not False,
        book,
    )


def _alias(row: _Table) -> Alias:
    alias = Alias(row.need("provider", _text).lower(), row.need("match", _text).lower(), row.need("price_key", _key))
    row.done()
    return alias


def _prices(row: _Table) -> AbsolutePrice | Fees:
    key = row.get("key", _key)
    tokens = row.get("usd_per_mtok", _each_price(MILLION, TOKEN_PRICES))
    fees = row.get("usd_per_request", _each_price(1, None)) or {}
    rule = row.rule({"key": key.lower()} if key else None)
    if tokens:
        return AbsolutePrice(key=key, rates=Rates(tokens | fees, since=rule["since"]), **rule)
    if not fees:
        row.fail("needs usd_per_mtok or usd_per_request")
    return Fees(fees=fees, **rule)


def _self_hosted(row: _Table) -> AbsolutePrice | MachinePrice:
    per_hour = row.get("usd_per_gpu_hour", _price(1))
    tokens = row.get("usd_per_mtok", _each_price(MILLION, TOKEN_PRICES))
    gpus, concurrency = row.get("gpus", _count) or 1, row.get("concurrency", _count) or 1
    rule = row.rule()
    if per_hour is not None and not tokens:
        return MachinePrice(pico_usd_per_hour=per_hour * gpus, concurrency=concurrency, **rule)
    if per_hour is not None or not tokens:
        row.fail("needs either usd_per_gpu_hour or usd_per_mtok")
    return AbsolutePrice(key=None, rates=Rates(tokens, "self_hosted", rule["since"]), **rule)


def _adjustment(row: _Table) -> Adjustment:
    ppm, fees = row.need("multiply_ppm", _count), row.get("fees", _flag)
    return Adjustment(multiply_ppm=ppm, fees_too=fees is not False, **row.rule())


class _Table:
    """A TOML table that is read once, key by key; what is wrong with it is said in one sentence."""

    def __init__(self, data: Mapping[str, Any], where: str, book: str) -> None:
        self._data = dict(data)
        self._known: list[str] = []
        self._where = where
        self._book = book

    def get(self, name: str, read: Callable[[Any], T]) -> T | None:
        """The value of a key, None when it is not there."""
        self._known.append(name)
        value = self._data.pop(name, None)
        if value is None:
            return None
        try:
            return read(value)
        except _WrongError as wrong:
            self.fail(f"{name}{wrong.below} must be {wrong.wanted}, not {wrong.value!r}")

    def need(self, name: str, read: Callable[[Any], T]) -> T:
        """The value of a key that must be there."""
        value = self.get(name, read)
        if value is None:
            self.fail(f"needs {name}")
        return value

    def rows(self, name: str) -> list[_Table]:
        """The tables of an array of tables."""
        file = self._where.partition(":")[0]
        found = enumerate(self.get(name, _tables) or [], 1)
        return [_Table(row, f"{file}: [[{name}]] {number}:", self._book) for number, row in found]

    def rule(self, match: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What every row has, as arguments of a Rule; `match` stands in for a missing one. Ends the row."""
        if (given := self.get("match", _match)) is not None:
            match = given
        since, until = self.get("from", _day), self.get("to", _day)
        source = self.get("source", _text) or self._where.rstrip(":")
        if match is None:
            self.fail("needs match")
        if since is not None and until is not None and until <= since:
            self.fail("to must be later than from")
        self.done()
        return {"match": match, "since": since, "until": until, "source": source, "book": self._book}

    def done(self) -> None:
        """Refuse keys that nobody asked for: they are misspelt."""
        if self._data:
            self.fail(f"has no {', '.join(self._data)}, only {', '.join(self._known)}")

    def fail(self, what: str) -> NoReturn:
        """Raise the error."""
        raise PriceFileError(f"{self._where} {what}") from None


class _WrongError(Exception):
    def __init__(self, wanted: str, value: object, below: str = "") -> None:
        super().__init__(wanted)
        self.wanted, self.value, self.below = wanted, value, below


def _check(good: bool, wanted: str, value: Any, below: str = "") -> None:
    if not good:
        raise _WrongError(wanted, value, below)


def _text(value: Any) -> str:
    _check(isinstance(value, str) and value.strip() != "", "a text", value)
    return value


def _key(value: Any) -> str:
    _check("/" in _text(value), 'a text such as "openai/gpt-4o"', value)
    return value


def _flag(value: Any) -> bool:
    _check(isinstance(value, bool), "true or false", value)
    return value


def _count(value: Any) -> int:
    _check(type(value) is int and value > 0, "a whole number above 0", value)
    return value


def _policy(value: Any) -> str:
    _check(value in ("mark", "error"), '"mark" or "error"', value)
    return value


def _version(value: Any) -> int:
    _check(value == 1, "1", value)
    return value


def _day(value: Any) -> int:
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            raise _WrongError("a date such as 2026-06-01", value) from None
    _check(isinstance(value, date) and not isinstance(value, datetime), "a date such as 2026-06-01", value)
    return epoch_day(value)


def _table(value: Any) -> dict[str, Any]:
    _check(isinstance(value, dict), "a table", value)
    return value


def _tables(value: Any) -> list[dict[str, Any]]:
    _check(isinstance(value, list), "tables in double brackets", value)
    return [_table(row) for row in cast("list[Any]", value)]


def _match(value: Any) -> dict[str, str]:
    for name, pattern in _table(value).items():
        _check(name in _FACTS, f"one of {', '.join(_FACTS)}", name, " key")
        _check(isinstance(pattern, str), 'a pattern such as "gpt-*"', pattern, f".{name}")
    return {name: pattern.lower() for name, pattern in value.items()}


def _price(per: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        try:
            price = Decimal(value) if isinstance(value, str) else Decimal("NaN")
        except InvalidOperation:
            price = Decimal("NaN")
        _check(price.is_finite() and price >= 0, 'a decimal string such as "0.20"', value)
        pico = pico_usd(price, per)
        _check(Decimal(pico) * per == price.scaleb(12), "no finer than 1e-12 USD for one", value)
        return pico

    return read


def _each_price(per: int, names: Container[str] | None) -> Callable[[Any], dict[str, int]]:
    def read(value: Any) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, price in _table(value).items():
            _check(names is None or name in names, "one of " + ", ".join(TOKEN_PRICES), name, " key")
            try:
                found[name] = _price(per)(price)
            except _WrongError as wrong:
                raise _WrongError(wrong.wanted, price, f".{name}") from None
        return found

    return read
