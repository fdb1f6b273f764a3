"""`otel-llm reprice`: calls of the past by the prices of today."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from otel_llm.call import Call
from otel_llm.cli.options import MOMENT, opened_store
from otel_llm.cli.output import Column, console, emit, money, number, plain
from otel_llm.pricing import PriceBook
from otel_llm.settings import home, price_file
from otel_llm_exporters.clickhouse import reprice as repricing
from otel_llm_exporters.clickhouse.reprice import Difference, Names, Resolve, Selection, UnknownRevisionError


@click.command()
@click.option("--since", type=MOMENT, help="Calls since when: 30d, 12h ago, or a date. All of them if left out.")
@click.option("--until", type=MOMENT, help="Calls before when.")
@click.option("--provider", default="", help="Only this provider; * stands for anything.")
@click.option("--model", default="", help="Only this model; * stands for anything.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--revert", type=click.IntRange(1), metavar="REVISION", help="Take a repricing back.")
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def reprice(
    since: datetime | None,
    until: datetime | None,
    provider: str,
    model: str,
    revert: int | None,
    output: str,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    """Price calls of the past by the prices of today: a newer genai-prices, your price file.

    Shows the difference by model before it writes. A call has the price of its own time, as far as the prices know it.
    What its provider said that it cost stays, and so does a call of which the store does not hold all that decides its
    price. Every repricing has a number, and can be taken back by it.
    """
    if revert is not None:
        _revert(revert)
        return
    selection = Selection(since=since, until=until, provider=provider, model=model)
    book = PriceBook(home(), price_file())
    book.load_overrides()
    with opened_store() as store:
        repricing.publish(store, book.price_list, resolver(book), selection)
        difference = repricing.difference(store, book.price_list, selection)
        revision = None
        if output == "table":
            _show(difference, book.price_list)
        if difference.changed and not dry_run:
            if not yes:
                click.confirm(f"Write {number(difference.changed)} calls?", abort=True, err=True)
            revision = repricing.reprice(store, book.price_list, selection)
    if output == "json":
        written = revision._asdict() if revision else None
        found = {"models": difference.models, "kept": difference.kept, "written": written}
        click.echo(json.dumps(found, default=plain, indent=2))
    elif revision:
        click.echo(
            f"{number(revision.calls)} calls written as revision {revision.number}; "
            f"`otel-llm reprice --revert {revision.number}` takes it back."
        )


def resolver(book: PriceBook) -> Resolve:
    """What the names of calls come to by this book, as rows of `price_book`."""

    def resolve(names: Names) -> Sequence[Mapping[str, object]]:
        call = Call(
            names.operation,
            names.provider,
            names.request_model or None,
            response_model=names.response_model or None,
            service_tier=names.service_tier or None,
        )
        return [line.row() for line in book.lines(call)]

    return resolve


def _revert(revision: int) -> None:
    with opened_store() as store:
        try:
            done = repricing.revert(store, revision)
        except UnknownRevisionError as error:
            raise click.ClickException(str(error)) from None
    click.echo(f"{number(done.calls)} calls have their former cost again, as revision {done.number}.")


def _show(difference: Difference, price_list: str) -> None:
    emit(
        difference.models,
        [
            Column("model", _model, style="cyan"),
            Column("calls", lambda row: number(row["Calls"]), right=True),
            Column("change", lambda row: number(row["Changed"]), right=True),
            Column("cost", lambda row: money(row["OldCost"]), right=True),
            Column("new cost", lambda row: money(row["NewCost"]), right=True, style="green"),
            Column("newly priced", lambda row: number(row["NewlyPriced"] or None), right=True),
            Column("no longer priced", lambda row: number(row["NoLongerPriced"] or None), right=True),
        ],
        "table",
        total=_total(difference.models),
        empty="There is no call that could be priced anew.",
    )
    screen = console()
    for row in difference.kept:
        screen.print(f"{number(row['Calls'])} calls keep what they have: {row['Reason']}", style="dim")
    screen.print(f"prices: {price_list}", style="dim")
    if not difference.changed:
        screen.print("Nothing to change.")


def _model(row: Mapping[str, Any]) -> str:
    return f"{row['Provider']}/{row['Model'] or '?'}" if "Model" in row else "total"


def _total(models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for name in ("Calls", "Changed", "OldCost", "NewCost", "NewlyPriced", "NoLongerPriced"):
        known = [row[name] for row in models if row[name] is not None]
        total[name] = sum(known) if known else None
    return total
