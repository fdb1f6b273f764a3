"""The commands. Each opens the store for as long as its question takes, so that several terminals take turns."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import click

from otel_llm.cli.doctor import diagnose
from otel_llm.cli.forget import forget
from otel_llm.cli.options import INCOMPLETE, opened_store, with_filters, with_format
from otel_llm.cli.outcome import outcome
from otel_llm.cli.output import Column, Format, console, emit, money, number, percent, plain, when
from otel_llm.cli.prices import prices
from otel_llm.cli.reprice import reprice
from otel_llm.cli.schema import schema
from otel_llm.cli.serve import serve
from otel_llm.cli.ship import ship
from otel_llm.cli.tree import as_dict, draw, grow
from otel_llm.engine.patching import our_version
from otel_llm.pricing import PriceFileError
from otel_llm_exporters.clickhouse import queries
from otel_llm_exporters.clickhouse.stores import QueryError, StoreError

_NEWEST = ("last", "latest")
_COSTLIEST = "costliest"


class _Commands(click.Group):
    """Every failure that a person can cause is one sentence on stderr, and exit code 1 (2 for a wrong usage)."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
        except (StoreError, QueryError, PriceFileError) as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            # `otel-llm sql ... | head`: the reader has seen enough.
            sys.stdout = None
            raise SystemExit(0) from None
        except OSError as error:
            # A full disk behind `otel-llm report > file`: Python would try once more at its end.
            sys.stdout = None
            where = error.filename or "the answer"
            raise click.ClickException(f"{where} cannot be written or read: {error.strerror}.") from None
        if ctx.meta.get(INCOMPLETE):
            raise SystemExit(1)
        return result


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(our_version(), prog_name="otel-llm")
def main() -> None:
    """What every user action of an AI product cost.

    Run the application with `opentelemetry-instrument python app.py`, then ask here, also while it runs.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of another time has no such letters, and still gets its answer.
            stream.reconfigure(errors="replace")
    # What a server minds, the commands say themselves.
    logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())


@main.command()
@click.option("--costliest", is_flag=True, help="The costliest first; otherwise the latest.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True)
@with_filters
@with_format
def interactions(
    costliest: bool,
    limit: int,
    user: str,
    feature: str,
    since: datetime | None,
    until: datetime | None,
    output: Format,
) -> None:
    """List the last, or the costliest, interactions."""
    query = queries.interactions(costliest=costliest, user=user, feature=feature, since=since, until=until, limit=limit)
    with opened_store() as store:
        rows = store.query(*query).dicts()
    emit(
        rows,
        [
            Column("interaction", lambda row: row["InteractionId"][:12], style="cyan", whole=True),
            Column("when", lambda row: when(row["Start"]), whole=True, optional=1),
            Column("name", lambda row: row["InteractionName"]),
            Column("user", lambda row: row["UserId"]),
            Column("feature", lambda row: row["Feature"], optional=2),
            Column("calls", lambda row: number(row["Calls"]), right=True),
            Column("retries", lambda row: number(row["Retries"] or None), right=True, optional=6),
            Column("steps", lambda row: number(row["Steps"]), right=True, optional=9),
            Column("tools", lambda row: number(row["ToolCalls"] or None), right=True, optional=8),
            Column("loops", lambda row: number(row["Loops"] or None), right=True, optional=7),
            Column("tokens in", lambda row: number(row["InputTokens"]), right=True, optional=4),
            Column("sent before", _sent_before, right=True, optional=10),
            Column("out", lambda row: number(row["OutputTokens"]), right=True, optional=5),
            Column("cost", _cost, right=True),
            Column("outcome", lambda row: row["Outcome"] or "", optional=3),
            Column("models", lambda row: ", ".join(row["Models"]), style="dim", optional=11),
        ],
        output,
        empty=_nothing(since or until, user, feature),
    )


@main.command()
@click.argument("interaction")
@with_filters
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(
    interaction: str, user: str, feature: str, since: datetime | None, until: datetime | None, output: str
) -> None:
    """Draw one interaction as a tree: agents, tools, calls, attempts, tokens and dollars.

    INTERACTION is an id or the beginning of one, or `last`, or `costliest` (of the user, feature and time asked for).
    """
    word = interaction.lower()
    wanted = word if word in (*_NEWEST, _COSTLIEST) else ""
    ask = partial(queries.interactions, user=user, feature=feature, since=since, until=until)
    with opened_store() as store:
        if wanted:
            exact = store.query(*ask(costliest=word == _COSTLIEST, limit=1)).dicts()
        else:
            exact = store.query(*ask(id=interaction)).dicts() or store.query(*ask(id_prefix=interaction)).dicts()
        if not exact:
            raise click.ClickException(
                _nothing(since or until, user, feature)
                if wanted
                else f"There is no interaction {interaction}: list them with `otel-llm interactions`."
            )
        if len(exact) > 1:
            raise click.ClickException(f"More than one interaction begins with {interaction}: give more of its id.")
        spans = store.query(*queries.spans(exact[0]["InteractionId"])).dicts()
    roots = grow(spans)
    if output == "json":
        click.echo(json.dumps({**exact[0], "spans": [as_dict(root) for root in roots]}, default=plain, indent=2))
    else:
        draw(console(), exact[0], roots)


@main.command()
@click.option("--by", default="feature", show_default=True, help=f"Comma-separated: {', '.join(queries.DIMENSIONS)}.")
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="Rows at most.")
@with_filters
@with_format
def report(
    by: str, limit: int, user: str, feature: str, since: datetime | None, until: datetime | None, output: Format
) -> None:
    """What it cost, by user, feature, endpoint, model ..., with how much of it is known."""
    dimensions = list(dict.fromkeys(part.strip() for part in by.split(",")))
    try:
        ask = partial(queries.report, user=user, feature=feature, since=since, until=until)
        query, sum_query = ask(dimensions, limit=limit), ask([])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--by") from None
    with opened_store() as store:
        rows = store.query(*query).dicts()
        total = next(iter(store.query(*sum_query).dicts()), None)
        unpriced = []
        if output == "table":
            unpriced = store.query(*queries.unpriced(user=user, feature=feature, since=since, until=until)).dicts()
    nobody: dict[str, Any] = {}
    for row in rows:
        nobody = {name: row.pop(name) for name in ("UnattributedCost", "UnattributedCalls") if name in row}
        for index, dimension in enumerate(dimensions):
            row[dimension] = row.pop(f"dimension_{index}")
    whole = total["Cost"] if total else None
    emit(
        [{**{dimension: row[dimension] for dimension in dimensions}, **row} for row in rows],
        [
            *(_dimension(dimension, first=index == 0) for index, dimension in enumerate(dimensions)),
            Column("cost", _cost, right=True, style="green"),
            Column("share", lambda row: _share(row["Cost"], whole), right=True, optional=2),
            Column("interactions", lambda row: number(row["Interactions"]), right=True),
            Column("p50", lambda row: _quantile(row["CostP50"]), right=True, optional=5),
            Column("p95", lambda row: _quantile(row["CostP95"]), right=True, optional=1),
            Column("calls", lambda row: number(row["Calls"]), right=True),
            Column("retries", lambda row: number(row["Retries"] or None), right=True, optional=4),
            Column(
                "wasted", lambda row: money(row["WastedCost"]) if row["WastedCalls"] else "", right=True, optional=3
            ),
            Column("priced", lambda row: percent(row["CallCoverage"]), right=True),
        ],
        output,
        total=total,
        empty=_nothing(since or until, user, feature),
    )
    if output == "table" and total and total["Calls"]:
        _coverage(total, unpriced)
        if nobody:
            share = _share(nobody["UnattributedCost"], total["Cost"])
            console().print(
                f"unattributed: {f'{share} of the cost, ' if share else ''}"
                f"{percent(nobody['UnattributedCalls'] / total['Calls'])} of the calls",
                style="dim",
            )


@main.command()
@click.argument("statement")
@with_format
def sql(statement: str, output: Format) -> None:
    """Ask the store in SQL. Tables: llm_calls (read it with FINAL), interactions, attributed_calls, otel_traces."""
    with opened_store() as store:
        result = store.query(statement)
    if output == "table":
        rows = [dict(zip(map(str, range(len(row))), row, strict=True)) for row in result.rows]
        columns = [
            Column(name, partial(_sql_value, str(index)), right=_is_number(kind))
            for index, (name, kind) in enumerate(zip(result.columns, result.types, strict=True))
        ]
        emit(rows, columns, output, empty="No rows.")
    else:
        emit(result.dicts(), [], output)


@main.command()
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def doctor(output: str) -> None:
    """Say what is instrumented, what is in spool and store, what has no price, and why something is not traced."""
    with console(stderr=True).status("Looking at the SDKs ...") if console(stderr=True).is_terminal else _quietly():
        findings = diagnose(opened_store)
    if output == "json":
        click.echo(json.dumps([finding.as_dict() for finding in findings], default=plain, indent=2))
    else:
        screen = console()
        section = ""
        for finding in findings:
            if finding.section != section:
                section = finding.section
                screen.print(f"\n[bold]{section}[/bold]")
            screen.print(finding.line())
        screen.print()
    if any(finding.level == "bad" for finding in findings):
        raise SystemExit(1)


main.add_command(forget)
main.add_command(outcome)
main.add_command(prices)
main.add_command(reprice)
main.add_command(schema)
main.add_command(serve)
main.add_command(ship)


@contextmanager
def _quietly() -> Generator[None]:
    yield


def _cost(row: Any) -> str:
    known = money(row["Cost"])
    return known if row["Cost"] is None or row["PricedCalls"] == row["Calls"] else f"≥ {known}"


def _sent_before(row: Any) -> str:
    return percent(row["ResentTokens"] / row["InputTokens"]) if row["ResentTokens"] and row["InputTokens"] else ""


def _quantile(value: Any) -> str:
    return "" if value is None else money(Decimal(str(value)))


def _share(part: Decimal | None, whole: Decimal | None) -> str:
    return percent(float(part / whole)) if part is not None and whole else ""


def _dimension(name: str, *, first: bool) -> Column:
    def show_value(row: Any) -> str:
        if name not in row:
            return "total" if first else ""
        return str(row[name]) or "(unattributed)"

    return Column(name, show_value, least=20)


def _coverage(total: Any, unpriced: Sequence[Any]) -> None:
    screen = console()
    tokens = percent(total["TokenCoverage"])
    screen.print(
        f"priced {percent(total['CallCoverage'])} of calls{f', {tokens} of tokens' if tokens else ''}", style="dim"
    )
    for row in unpriced[:5]:
        what = "partly priced" if row["CostStatus"] == "partial" else "unpriced"
        screen.print(
            f"{what}: {row['Provider']}/{row['Model'] or '?'}, {number(row['Calls'])} calls ({row['Reason']})",
            style="dim",
        )
    if total["EstimatedCost"]:
        screen.print(f"of the cost, {money(total['EstimatedCost'])} rests on partial or estimated counts", style="dim")


def _nothing(since: datetime | None, user: str, feature: str) -> str:
    if since or user or feature:
        return "No interaction matches."
    return (
        "No interaction yet: start an application with `opentelemetry-instrument python app.py`; or `otel-llm doctor`."
    )


def _sql_value(key: str, row: Any) -> str:
    value = row[key]
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=plain, ensure_ascii=False)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ").removesuffix("+00:00")
    return "NULL" if value is None else plain(value) if isinstance(value, Decimal) else str(value)


def _is_number(kind: str) -> bool:
    return re.match(r"(?:LowCardinality\(|Nullable\()*(?:U?Int|Float|Decimal)", kind) is not None
