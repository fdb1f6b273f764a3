"""Pricing calls anew, on the server: by another list of prices, as often as wanted, and never beyond recall.

What a call costs is decided by names, of which there are few, by its time and by its usage. `Resolve` says what names
come to, as rows of the table `price_book`; the server does the rest. Calls are never updated: they are inserted again
under a higher revision, and what they were before is kept in `reprice_changes`.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Literal, NamedTuple

from otel_llm_exporters.clickhouse.stores import Store

_ROWS_AT_ONCE = 100
_CALLS_AT_ONCE = 250_000
_DAY = timedelta(days=1)


class Names(NamedTuple):
    """The names of a call that its price depends on; empty where it has none."""

    provider: str
    operation: str
    request_model: str
    response_model: str
    service_tier: str


Resolve = Callable[[Names], Sequence[Mapping[str, object]]]
"""All rows of `price_book` that calls with these names fall into, by column, without `Terms` and `AddedAt`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which calls. `*` in the name of a provider or model stands for anything; empty lets everything pass."""

    since: datetime | None = None
    until: datetime | None = None
    provider: str = ""
    model: str = ""

    def parameters(self) -> dict[str, str | datetime | None]:
        """What the queries want to know."""
        names = {"provider": _like(self.provider), "model": _like(self.model)}
        return {**names, "since": self.since, "until": self.until}


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Difference:
    """What pricing anew would change."""

    models: list[dict[str, Any]]
    """By provider and model: `Calls`, `Changed`, `OldCost`, `NewCost`, `NewlyPriced`, `NoLongerPriced`."""
    kept: list[dict[str, Any]]
    """Calls that keep what they have: `Reason`, `Calls`, `Cost`."""

    @property
    def changed(self) -> int:
        """Calls that would be written."""
        return sum(row["Changed"] for row in self.models)


class Revision(NamedTuple):
    """What was written."""

    number: int
    calls: int


class UnknownRevisionError(Exception):
    """There is no such revision; the message says so."""


def publish(
    store: Store, price_list: str, resolve: Resolve, selection: Selection = EVERYTHING
) -> list[tuple[Names, Literal["new", "changed", ""]]]:
    """Put the prices of all selected calls into `price_book`; the names of these calls, and what is new of them.

    `price_list` names the versions of everything that `resolve` knows. Raises QueryError.
    """
    names = [Names(*row) for row in store.query(_sql("priced_names"), selection.parameters()).rows]
    known = {row[0] for row in store.query("SELECT DISTINCT Terms FROM price_book").rows}
    before = {
        Names(*row[:5]): row[5]
        for row in store.query("SELECT * EXCEPT (PriceList, ResolvedAt) FROM price_terms ORDER BY ResolvedAt").rows
    }
    terms: dict[Names, str] = {}
    lines: list[dict[str, object]] = []
    for name in names:
        found = resolve(name)
        terms[name] = sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
        if terms[name] not in known:
            known.add(terms[name])
            lines += [{"Terms": terms[name], **line} for line in found]
    _insert(store, "price_book", lines)
    columns = ("PriceList", "Provider", "Operation", "RequestModel", "ResponseModel", "ServiceTier", "Terms")
    _insert(store, "price_terms", [dict(zip(columns, (price_list, *name, terms[name]), strict=True)) for name in names])
    return [(name, "new" if name not in before else "changed" if before[name] != terms[name] else "") for name in names]


def difference(store: Store, price_list: str, selection: Selection = EVERYTHING) -> Difference:
    """What pricing these calls by a published list would change. Raises QueryError."""
    parameters = {**selection.parameters(), "list": price_list}
    models, kept = (store.query(_sql(name), parameters).dicts() for name in ("reprice_difference", "reprice_kept"))
    return Difference(models, kept)


def reprice(store: Store, price_list: str, selection: Selection = EVERYTHING) -> Revision:
    """Price these calls by a published list, as a new revision. Raises QueryError."""
    entry = _begin(store, {"list": price_list, "reverts": 0}, selection)
    store.execute(_sql("reprice_note"), {**selection.parameters(), "list": price_list, "revision": entry["revision"]})
    return _apply(store, entry)


def revert(store: Store, revision: int) -> Revision:
    """Give the calls that are at this revision the cost that they had before, as a yet higher revision.

    Calls that a later revision has changed again are left alone. Raises UnknownRevisionError, QueryError.
    """
    last: int = store.query("SELECT max(Revision) FROM reprice_revisions").rows[0][0]
    if not 1 <= revision <= last:
        known = f"the last one is {last}" if last else "no call was ever repriced"
        raise UnknownRevisionError(f"There is no revision {revision} to revert: {known}.")
    entry = _begin(store, {"list": "", "reverts": revision}, EVERYTHING)
    for start, end in _stretches(store, revision):
        days = {"start": start, "end": end}
        store.execute(_sql("reprice_note_back"), {**days, "revision": entry["revision"], "reverted": revision})
    return _apply(store, entry)


def _apply(store: Store, entry: dict[str, Any]) -> Revision:
    revision = entry["revision"]
    for start, end in _stretches(store, revision):
        store.execute(_sql("reprice_apply"), {"revision": revision, "start": start, "end": end})
    calls = sum(row[1] for row in store.query(_sql("reprice_days"), {"revision": revision}).rows)
    store.execute(_RECORD, {**entry, "state": "done", "calls": calls})
    return Revision(revision, calls)


def _stretches(store: Store, revision: int) -> list[tuple[datetime, datetime]]:
    """The days of a revision's changes, in stretches that fit into memory."""
    found: list[tuple[datetime, datetime]] = []
    calls = 0
    for day, count in store.query(_sql("reprice_days"), {"revision": revision}).rows:
        calls += count
        if found and calls <= _CALLS_AT_ONCE:
            found[-1] = (found[-1][0], day + _DAY)
        else:
            found.append((day, day + _DAY))
            calls = count
    return found


def _begin(store: Store, what: Mapping[str, Any], selection: Selection) -> dict[str, Any]:
    """Take the next revision, and say so. Of several that want the same one, the lowest claim gets it."""
    entry: dict[str, Any] = {
        **what,
        "claim": str(uuid.uuid4()),
        "since": selection.since,
        "until": selection.until,
        "provider": selection.provider,
        "model": selection.model,
    }
    while True:
        entry["revision"] = store.query(_NEXT).rows[0][0]
        store.execute(_RECORD, {**entry, "state": "begun", "calls": 0})
        if store.query(_FIRST, {"revision": entry["revision"]}).rows[0][0] == entry["claim"]:
            return entry


_NEXT = """
SELECT 1 + greatest((SELECT max(Revision) FROM reprice_revisions), (SELECT max(Revision) FROM llm_calls))
"""
_FIRST = "SELECT toString(min(Claim)) FROM reprice_revisions WHERE Revision = {revision:UInt32}"
_RECORD = """
INSERT INTO reprice_revisions (Revision, State, Claim, PriceList, Since, Until, Provider, Model, Reverts, Calls)
SELECT {revision:UInt32}, {state:String}, {claim:String}, {list:String},
    {since:Nullable(DateTime64(6, 'UTC'))}, {until:Nullable(DateTime64(6, 'UTC'))},
    {provider:String}, {model:String}, {reverts:UInt32}, {calls:UInt64}
"""
_COLUMNS = "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
_INSERT = """
INSERT INTO {table} ({columns}) SELECT {values}
FROM (SELECT arrayJoin(JSONExtract({{rows:String}}, 'Array(Tuple({types}))')) AS row)
"""


def _insert(store: Store, table: str, rows: Sequence[Mapping[str, object]]) -> None:
    if not rows:
        return
    columns = list(rows[0])
    types = dict(store.query(_COLUMNS, {"table": table}).rows)
    statement = _INSERT.format(
        table=table,
        columns=", ".join(columns),
        values=", ".join(f"row.{name}" for name in columns),
        types=", ".join(f"{name} {types[name]}" for name in columns),
    )
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        some = json.dumps(rows[first : first + _ROWS_AT_ONCE], separators=(",", ":"))
        store.execute(statement, {"rows": some})


def _like(pattern: str) -> str:
    escaped = pattern.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return escaped.replace("*", "%") or "%"


@cache
def _sql(name: str) -> str:
    text = files("otel_llm_exporters.clickhouse").joinpath("queries", f"{name}.sql").read_text("utf-8")
    return re.sub(r"/\* include (\w+) \*/", lambda found: _sql(found[1]), text)
