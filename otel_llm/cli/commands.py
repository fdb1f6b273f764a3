"""The commands. Each opens the store for as long as its question takes, so that several terminals take turns."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from otel_llm.cli.doctor import diagnose
from otel_llm.cli.output import Column, Format, console, emit, money, number, percent, plain, when
from otel_llm.cli.tree import as_dict, draw, grow
from otel_llm.engine.patching import our_version
from otel_llm.pricing import PriceBook, PriceFileError
from otel_llm.settings import home, price_file
from otel_llm_exporters.clickhouse import queries
from otel_llm_exporters.clickhouse.embedded import EmbeddedStore, QueryError, StoreError

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NEWEST = ("last", "latest")
_COSTLIEST = "costliest"


class _Moment(click.ParamType[datetime]):
    """`7d`, `12h`, `30m`, or a date or time as `2026-11-01` or `2026-11-01T12:00`."""

    name = "WHEN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        match = re.fullmatch(r"(\d+)([smhdw])", str(value).strip())
        if match:
            return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except ValueError:
            self.fail(
                f"{value!r} is no time: say 7d, 12h or 30m for how long ago, or a date such as 2026-11-01.", param, ctx
            )


MOMENT = _Moment()


class _Commands(click.Group):
    """Every failure that a person can cause is one sentence on stderr, and exit code 1 (2 for a wrong usage)."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (StoreError, QueryError, PriceFileError) as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            # `otel-llm sql ... | head`: the reader has seen enough.
            sys.stdout = None
            raise SystemExit(0) from None


def _output(function: F) -> F:
    option = click.option(
        "--format",
        "output",
        type=click.Choice(["table", "json", "csv"]),
        default="table",
        show_default=True,
        help="How to print it; json and csv are exact.",
    )
    return option(function)


def _filters(function: F) -> F:
    for option in (
        click.option("--until", type=MOMENT, help="Before when."),
        click.option("--since", type=MOMENT, help="Since when: 7d, 12h, 30m ago, or a date."),
        click.option("--feature", default="", help="Only this feature."),
        click.option("--user", default="", help="Only this user."),
    ):
        function = option(function)
    return function


@contextmanager
def _store() -> Generator[EmbeddedStore]:
    """The embedded store, with what the spool holds in it. Says what it waits for when that takes a while."""
    errors = console(stderr=True)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=errors, transient=True)
    began = time.monotonic()

    def progress(done: int, total: int) -> None:
        if not bar.tasks and errors.is_terminal and time.monotonic() - began > 1:
            bar.start()
            bar.add_task("Importing spans", total=total)
        if bar.tasks:
            bar.update(bar.task_ids[0], completed=done)
            if done == total:
                bar.stop()

    waiting = partial(errors.print, "Waiting for another otel-llm command to finish ...", style="dim")
    with EmbeddedStore(home(), on_wait=waiting, on_progress=progress) as store:
        for rejected in store.imported.rejected:
            errors.print(
                f"A segment of the spool cannot be read and was put aside: {rejected}. "
                "Its spans are missing here; keep the file for a closer look, or delete it.",
                style="yellow",
            )
        yield store


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(our_version(), prog_name="otel-llm")
def main() -> None:
    """What every user action of an AI product cost.

    Run the application with `opentelemetry-instrument python app.py`, then ask here, also while it runs.
    """


@main.command()
@click.option("--costliest", is_flag=True, help="The costliest first; otherwise the latest.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True)
@_filters
@_output
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
    with _store() as store:
        rows = store.query(*query).dicts()
    emit(
        rows,
        [
            Column("interaction", lambda row: row["InteractionId"][:12], style="cyan"),
            Column("when", lambda row: when(row["Start"])),
            Column("name", lambda row: row["InteractionName"]),
            Column("user", lambda row: row["UserId"]),
            Column("feature", lambda row: row["Feature"]),
            Column("calls", lambda row: number(row["Calls"]), right=True),
            Column("attempts", lambda row: number(row["Attempts"]), right=True),
            Column("tokens in", lambda row: number(row["InputTokens"]), right=True),
            Column("out", lambda row: number(row["OutputTokens"]), right=True),
            Column("cost", _cost, right=True),
            Column("outcome", lambda row: row["Outcome"] or ""),
            Column("models", lambda row: ", ".join(row["Models"]), style="dim"),
        ],
        output,
        empty=_nothing(since, user, feature),
    )


@main.command()
@click.argument("interaction")
@_filters
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(
    interaction: str, user: str, feature: str, since: datetime | None, until: datetime | None, output: str
) -> None:
    """Draw one interaction as a tree: agents, tools, calls, attempts, tokens and dollars.

    INTERACTION is an id or the beginning of one, or `last`, or `costliest` (of the user, feature and time asked for).
    """
    word = interaction.lower()
    wanted = word if word in (*_NEWEST, _COSTLIEST) else ""
    find = queries.interactions(
        costliest=word == _COSTLIEST,
        id_prefix="" if wanted else interaction,
        user=user,
        feature=feature,
        since=since,
        until=until,
        limit=1 if wanted else 2,
    )
    with _store() as store:
        found = store.query(*find).dicts()
        exact = [row for row in found if row["InteractionId"] == interaction] or found
        if not exact:
            raise click.ClickException(
                _nothing(since, user, feature)
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
@_filters
@_output
def report(
    by: str, limit: int, user: str, feature: str, since: datetime | None, until: datetime | None, output: Format
) -> None:
    """What it cost, by user, feature, endpoint, model ..., with how much of it is known."""
    dimensions = [part.strip() for part in by.split(",") if part.strip()]
    try:
        ask = partial(queries.report, user=user, feature=feature, since=since, until=until)
        query, sum_query = ask(dimensions, limit=limit), ask([])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--by") from None
    with _store() as store:
        rows = store.query(*query).dicts()
        total = next(iter(store.query(*sum_query).dicts()), None)
        unpriced = store.query(*queries.unpriced(since=since, until=until)).dicts() if output == "table" else []
    for row in rows:
        for index, dimension in enumerate(dimensions):
            row[dimension] = row.pop(f"dimension_{index}")
    whole = total["Cost"] if total else None
    emit(
        [{**{dimension: row[dimension] for dimension in dimensions}, **row} for row in rows],
        [
            *(_dimension(dimension, first=index == 0) for index, dimension in enumerate(dimensions)),
            Column("cost", _cost, right=True, style="green"),
            Column("share", lambda row: _share(row["Cost"], whole), right=True),
            Column("interactions", lambda row: number(row["Interactions"]), right=True),
            Column("p50", lambda row: _quantile(row["CostP50"]), right=True),
            Column("p95", lambda row: _quantile(row["CostP95"]), right=True),
            Column("calls", lambda row: number(row["Calls"]), right=True),
            Column("retries", lambda row: number(row["Retries"] or None), right=True),
            Column("wasted", lambda row: money(row["WastedCost"]) if row["WastedCalls"] else "", right=True),
            Column("priced", lambda row: percent(row["CallCoverage"]), right=True),
        ],
        output,
        total=total,
        empty=_nothing(since, user, feature),
    )
    if output == "table" and total and total["Calls"]:
        _coverage(total, unpriced)


@main.command()
@click.argument("statement")
@_output
def sql(statement: str, output: Format) -> None:
    """Ask the store in SQL. Tables: llm_calls (read it with FINAL), interactions, attributed_calls, otel_traces."""
    with _store() as store:
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
        findings = diagnose(_store)
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


@main.group()
def prices() -> None:
    """The price book."""


@prices.command("show")
@click.argument("model")
@click.option(
    "--provider", help="Who serves it: openai, anthropic, aws.bedrock ... Guessed from the model if left out."
)
@_output
def prices_show(model: str, provider: str | None, output: Format) -> None:
    """Every price that a call to MODEL can have today, and where it comes from."""
    book = PriceBook(home(), price_file())
    book.load_overrides()
    rows = book.explain(provider, model)
    if not rows:
        close = book.suggest(model)
        hint = f"close to it: {', '.join(close)}" if close else "OTEL_LLM_PRICES can name a file that has it"
        raise click.ClickException(f"The book has no price of {model}{f' at {provider}' if provider else ''}; {hint}.")
    emit(
        [{name: getattr(row, name) for name in row.__slots__} for row in rows],
        [
            Column("price", lambda row: row["key"], style="cyan"),
            Column("for", lambda row: row["variant"] or "all calls"),
            Column("USD per million tokens", lambda row: _listed(row["usd_per_mtok"])),
            Column("per request", lambda row: _listed(row["usd_per_request"])),
            Column("else", lambda row: f"x {row['factor']}" if row["factor"] else row["usd_per_hour"] or ""),
            Column("since", lambda row: row["valid_from"] or ""),
            Column("source", lambda row: row["source"], style="dim"),
        ],
        output,
    )


@contextmanager
def _quietly() -> Generator[None]:
    yield


def _cost(row: Any) -> str:
    known = money(row["Cost"])
    return known if row["Cost"] is None or row["PricedCalls"] == row["Calls"] else f"≥ {known}"


def _quantile(value: Any) -> str:
    return "" if value is None else money(Decimal(str(value)))


def _share(part: Decimal | None, whole: Decimal | None) -> str:
    return percent(float(part / whole)) if part is not None and whole else ""


def _dimension(name: str, *, first: bool) -> Column:
    def show_value(row: Any) -> str:
        if name not in row:
            return "total" if first else ""
        return str(row[name]) or "(unattributed)"

    return Column(name, show_value)


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


def _listed(prices: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in prices.items())
