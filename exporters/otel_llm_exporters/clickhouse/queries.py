"""What the command line asks. Each query is a file that also runs elsewhere; its result columns are named there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import NamedTuple

Value = str | int | datetime | None

_OF_CALL = {
    "model": "call.Model",
    "provider": "call.Provider",
    "agent": "call.AgentName",
    "service": "call.ServiceName",
    "environment": "call.Environment",
    "operation": "call.Operation",
    "outcome": "said.Outcome",
    "day": "toDate(call.Timestamp)",
}
_OF_INTERACTION = {
    "user": "UserId",
    "feature": "Feature",
    "endpoint": "Endpoint",
    "tenant": "Tenant",
    "session": "SessionId",
    "interaction": "InteractionName",
}
"""What a call that does not say it leaves to its interaction."""
DIMENSIONS = (*_OF_INTERACTION, *_OF_CALL, "tag.<key>")
"""What a report can be grouped by."""


class Query(NamedTuple):
    """A statement and its parameters, as `EmbeddedStore.query` takes them."""

    sql: str
    parameters: dict[str, Value]


@cache
def _sql(name: str) -> str:
    return files("otel_llm_exporters.clickhouse").joinpath("queries", f"{name}.sql").read_text("utf-8")


def interactions(
    *,
    costliest: bool = False,
    id: str = "",  # noqa: A002
    id_prefix: str = "",
    user: str = "",
    feature: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 20,
) -> Query:
    """Interactions with calls, the latest first; an empty filter lets everything pass."""
    filters: dict[str, Value] = {"user": user, "feature": feature, "since": since, "until": until, "limit": limit}
    parameters = {**filters, "id": id, "prefix": id_prefix, "costliest": int(costliest)}
    candidates = [sql for name, sql in _CANDIDATES.items() if parameters.get(name)]
    if not (candidates or costliest or id_prefix or until):
        candidates = [_LATEST]
    sql = _sql("interactions").replace("/* CANDIDATES */", "".join(f"\n    AND {sql}" for sql in candidates))
    return Query(sql, parameters)


_WHO = """InteractionId IN
    (
        SELECT InteractionId FROM llm_calls WHERE {column} = {parameter}
        UNION ALL
        SELECT InteractionId FROM interaction_roots WHERE {column} = {parameter}
    )"""
# Which interactions may be wanted, found without putting all of them together.
_CANDIDATES = {
    "id": "InteractionId = {id:String}",
    "user": _WHO.format(column="UserId", parameter="{user:String}"),
    "feature": _WHO.format(column="Feature", parameter="{feature:String}"),
    "since": "InteractionId IN (SELECT InteractionId FROM llm_calls WHERE Timestamp >= {since:DateTime64(6)})",
}
# One that began later than some others did has calls after these began.
_LATEST = """InteractionId IN
    (
        WITH some AS
        (
            SELECT InteractionId
            FROM llm_calls
            GROUP BY InteractionId
            ORDER BY max(Timestamp) DESC
            LIMIT {limit:UInt64}
        )
        SELECT InteractionId
        FROM llm_calls
        WHERE Timestamp >= (SELECT min(Timestamp) FROM llm_calls WHERE InteractionId IN some)
            OR Timestamp >= (SELECT minOrNull(Timestamp) FROM interaction_roots WHERE InteractionId IN some)
    )"""


def spans(interaction_id: str) -> Query:
    """All spans that the tree of an interaction is drawn from, by start time."""
    return Query(_sql("spans"), {"id": interaction_id})


def calls(interaction_id: str) -> Query:
    """The calls of an interaction with all their columns."""
    return Query(_sql("calls"), {"id": interaction_id})


def report(
    by: Sequence[str],
    *,
    user: str = "",
    feature: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 1000,
) -> Query:
    """Cost by one or more of `DIMENSIONS`, which are the first columns; by none, one row with the total.

    By what an interaction says, every row also has what in all of them is attributed to nobody: `UnattributedCost` and
    `UnattributedCalls`, beyond the limit, too.
    Raises ValueError for an unknown dimension.
    """
    parameters: dict[str, Value] = {"user": user, "feature": feature, "since": since, "until": until, "limit": limit}
    expressions: list[str] = []
    filters = {_OF_INTERACTION[name] for name, wanted in (("user", user), ("feature", feature)) if wanted}
    lacking = {f"call.{column} = ''" for column in filters}
    for number, dimension in enumerate(by):
        if dimension.startswith("tag."):
            tag = f"{{tag_{number}:String}}"
            parameters[f"tag_{number}"] = dimension.removeprefix("tag.")
            lacking.add(f"NOT mapContains(call.Tags, {tag})")
            expressions.append(f"if(mapContains(call.Tags, {tag}), call.Tags, whole.Tags)[{tag}]")
        elif dimension in _OF_INTERACTION:
            lacking.add(f"call.{_OF_INTERACTION[dimension]} = ''")
            expressions.append(_said(_OF_INTERACTION[dimension]))
        elif dimension in _OF_CALL:
            expressions.append(_OF_CALL[dimension])
        else:
            raise ValueError(f"Cannot group by {dimension!r}: choose from {', '.join(DIMENSIONS)}.")
    names = [f"dimension_{number}" for number in range(len(by))]
    parts = {
        "NAMES": "".join(f"{name}, " for name in names),
        "SUMS": "".join(f"sums.{name} AS {name}, " for name in names),
        "ANY": "".join(f"any({name}) AS {name}, " for name in names),
        "DIMENSIONS": "".join(f"{expression} AS {name}, " for expression, name in zip(expressions, names, strict=True)),
        "USER": _said("UserId") if user else "''",
        "FEATURE": _said("Feature") if feature else "''",
        "OUTCOMES": _OUTCOMES if "outcome" in by else "",
        "IDENTITIES": _IDENTITIES.replace("/* LACKING */", " OR ".join(sorted(lacking))) if lacking else "",
        "UNATTRIBUTED": _unattributed([name for name, of in zip(names, by, strict=True) if of in _OF_INTERACTION]),
        "JOIN": "INNER" if by else "CROSS",
        "USING": f"USING ({', '.join(names)})" if by else "",
    }
    return Query(re.sub(r"/\* ([A-Z]+) \*/", lambda found: parts[found[1]], _sql("report")), parameters)


def _said(column: str) -> str:
    return f"if(call.{column} != '', call.{column}, whole.{column})"


def _unattributed(names: Sequence[str]) -> str:
    nobody = " OR ".join(f"sums.{name} = ''" for name in names)
    return "".join(
        f",\n    sumIf(ifNull({of}, 0), {nobody}) OVER () AS Unattributed{of}" for of in ("Cost", "Calls") if names
    )


_OUTCOMES = "LEFT JOIN interaction_outcomes AS said ON call.InteractionId = said.InteractionId"
# Only of the interactions that are asked, because most calls say it themselves.
_IDENTITIES = """LEFT JOIN
    (
        SELECT *
        FROM interaction_identities
        WHERE InteractionId IN
        (
            SELECT InteractionId
            FROM llm_calls AS call
            WHERE (/* LACKING */)
                AND ({since:Nullable(DateTime64(6))} IS NULL OR Timestamp >= {since:Nullable(DateTime64(6))})
                AND ({until:Nullable(DateTime64(6))} IS NULL OR Timestamp < {until:Nullable(DateTime64(6))})
        )
    ) AS whole ON if(/* LACKING */, call.InteractionId, '') = whole.InteractionId"""


def unpriced(
    *, user: str = "", feature: str = "", since: datetime | None = None, until: datetime | None = None
) -> Query:
    """Models whose cost is unknown or partial, and why; of a user or a feature, by the calls that say it themselves."""
    return Query(_sql("unpriced"), {"user": user, "feature": feature, "since": since, "until": until})


def status() -> Query:
    """How much the store holds."""
    return Query(_sql("status"), {})
