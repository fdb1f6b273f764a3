"""What the command line asks. Each query is a file that also runs elsewhere; its result columns are named there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import NamedTuple

Value = str | int | datetime | None

_DIMENSIONS = {
    "user": "UserId",
    "feature": "Feature",
    "endpoint": "Endpoint",
    "model": "Model",
    "provider": "Provider",
    "agent": "AgentName",
    "tenant": "Tenant",
    "session": "SessionId",
    "service": "ServiceName",
    "environment": "Environment",
    "interaction": "InteractionName",
    "operation": "Operation",
    "outcome": "Outcome",
    "day": "toDate(Timestamp)",
}
DIMENSIONS = (*_DIMENSIONS, "tag.<key>")
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
    id_prefix: str = "",
    user: str = "",
    feature: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 20,
) -> Query:
    """Interactions with calls, the latest first; an empty filter lets everything pass."""
    filters: dict[str, Value] = {"user": user, "feature": feature, "since": since, "until": until, "limit": limit}
    return Query(_sql("interactions"), {**filters, "id": id_prefix, "costliest": int(costliest)})


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

    Raises ValueError for an unknown dimension.
    """
    parameters: dict[str, Value] = {"user": user, "feature": feature, "since": since, "until": until, "limit": limit}
    expressions: list[str] = []
    for number, dimension in enumerate(by):
        if dimension.startswith("tag."):
            parameters[f"tag_{number}"] = dimension.removeprefix("tag.")
            expressions.append(f"Tags[{{tag_{number}:String}}] AS dimension_{number},")
        elif dimension in _DIMENSIONS:
            expressions.append(f"{_DIMENSIONS[dimension]} AS dimension_{number},")
        else:
            raise ValueError(f"Cannot group by {dimension!r}: choose from {', '.join(DIMENSIONS)}.")
    joined = "LEFT JOIN interaction_outcomes USING (InteractionId)" if "outcome" in by else ""
    names = "".join(f"dimension_{number}, " for number in range(len(by)))
    sql = _sql("report").replace("/* NAMES */", names).replace("/* DIMENSIONS */", " ".join(expressions))
    sql = sql.replace("/* OUTCOMES */", joined)
    return Query(sql, parameters)


def unpriced(*, since: datetime | None = None, until: datetime | None = None) -> Query:
    """Models whose cost is unknown or partial, and why."""
    return Query(_sql("unpriced"), {"since": since, "until": until})


def status() -> Query:
    """How much the store holds."""
    return Query(_sql("status"), {})
