"""`otel-llm prices`: what models cost, and whether the prices at hand are any good."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib.metadata import version
from typing import Any

import click
from rich.text import Text

from otel_llm.call import Call
from otel_llm.cli.options import opened_store, with_format
from otel_llm.cli.output import Column, Format, console, emit, number
from otel_llm.cli.reprice import resolver
from otel_llm.pricing import PriceBook
from otel_llm.settings import home, price_file
from otel_llm_exporters.clickhouse import queries
from otel_llm_exporters.clickhouse import reprice as repricing
from otel_llm_exporters.clickhouse.stores import Store


@click.group()
def prices() -> None:
    """The price book."""


@prices.command("list")
@click.argument("pattern", default="*")
@click.option("--provider", default="", help="Only what this provider serves: openai, anthropic, aws.bedrock ...")
@with_format
def list_(pattern: str, provider: str, output: Format) -> None:
    """The models that have a price, with the one that an ordinary call has today.

    PATTERN is a part of the name, or has * in it: `otel-llm prices list 'gpt-5*'`.
    """
    book = _book(stored=False)
    wanted = pattern.lower() if "*" in pattern else f"*{pattern.lower()}*"
    rows: list[dict[str, Any]] = []
    for key in book.models(provider):
        if not fnmatchcase(key.lower(), wanted) and not fnmatchcase(key.partition("/")[2].lower(), wanted):
            continue
        served_by, _, model = key.partition("/")
        ordinary = next(iter(book.explain(served_by, model)), None)
        if ordinary is not None:
            rows.append({name: getattr(ordinary, name) for name in ordinary.__slots__} | {"key": key})
    emit(
        rows,
        [
            Column("model", lambda row: row["key"], style="cyan"),
            *(
                _per_million(title, name)
                for title, name in (("input", "input"), ("cached", "cache_read"), ("output", "output"))
            ),
            Column("since", lambda row: row["valid_from"] or ""),
            Column("book", lambda row: row["book"], style="dim"),
        ],
        output,
        empty=f"No model of the book is called {pattern}.",
    )
    if output == "table" and rows:
        console().print("USD per million tokens; `otel-llm prices show MODEL` says all of one.", style="dim")


@prices.command()
@click.argument("model")
@click.option(
    "--provider", help="Who serves it: openai, anthropic, aws.bedrock ... Guessed from the model if left out."
)
@with_format
def show(model: str, provider: str | None, output: Format) -> None:
    """Every price that a call to MODEL can have today, and where it comes from.

    MODEL may be PROVIDER/MODEL, as `prices list` prints it.
    """
    book = _book()
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
            Column("source", lambda row: Text(row["source"]), style="dim"),
        ],
        output,
    )


@prices.command()
def check() -> None:
    """Check your price file, and whether calls of the store have no price. Exit code 1 when something is wrong."""
    from otel_llm.pricing.check import uses

    book = _book()
    with opened_store() as store:
        calls = _calls(store)
        unpriced = store.query(*queries.unpriced()).dicts()
    screen = console()
    problems = 0
    file = price_file()
    screen.print(f"{file}: valid." if file else "No price file: OTEL_LLM_PRICES is not set.")
    for row in uses(book, calls, datetime.now(UTC).date()):
        reach = f"{number(row.models)} models of the book, {number(row.calls)} calls of the store"
        source = f" ({row.source})" if row.source else ""
        if row.ended:
            screen.print(Text(f"  ended   {row.row}{source}: not since {row.ended}; {reach}", style="dim"))
        elif row.models or row.calls:
            screen.print(Text(f"  in use  {row.row}{source}: {reach}"))
        else:
            problems += 1
            nobody = "no model of the book and no call is called so."
            screen.print(Text(f"  unknown {row.row}{source}: {nobody}", style="yellow"))
    # Where the usage is unknown, no price helps.
    unpriced = [row for row in unpriced if "usage" not in row["Reason"]]
    for row in unpriced:
        problems += 1
        part = "in part " if row["CostStatus"] == "partial" else ""
        screen.print(
            f"{row['Provider']}/{row['Model'] or '?'}: {number(row['Calls'])} calls {part}without a price "
            f"({row['Reason']}).",
            style="yellow",
        )
    if unpriced:
        screen.print("Calls that have a price by now get it with `otel-llm reprice`.", style="dim")
    screen.print(_age(book), style="dim")
    if problems:
        raise SystemExit(1)


@prices.command()
def sync() -> None:
    """Put the prices of all models in the store into its table price_book; says what is new or changed.

    Nothing is downloaded: prices come with genai-prices, and from your price file.
    """
    book = _book()
    with opened_store() as store:
        found = repricing.publish(store, book.price_list, resolver(book))
    fresh = [(names, news) for names, news in found if news]
    emit(
        [{"news": news, **names._asdict()} for names, news in fresh],
        [
            Column("", lambda row: row["news"]),
            Column(
                "model", lambda row: f"{row['provider']}/{row['response_model'] or row['request_model']}", style="cyan"
            ),
            Column("asked for", lambda row: row["request_model"]),
            Column("operation", lambda row: row["operation"]),
            Column("tier", lambda row: row["service_tier"]),
        ],
        "table",
        empty=f"The prices of all {number(len(found))} kinds of calls are up to date.",
    )
    if any(news == "changed" for _, news in fresh):
        console().print("`otel-llm reprice --dry-run` says what that makes of the calls of the past.", style="dim")
    console().print(_age(book), style="dim")


def _book(*, stored: bool = True) -> PriceBook:
    """The prices at hand. A price file that cannot be used is an error here. Raises PriceFileError."""
    book = PriceBook(home() if stored else None, price_file())
    book.load_overrides()
    return book


def _calls(store: Store) -> list[tuple[Call, int]]:
    """The kinds of calls in the store, and how many there are of each."""
    rows = store.query(
        "SELECT Provider, Operation, RequestModel, ResponseModel, ServiceTier, count() "
        "FROM llm_calls FINAL GROUP BY ALL"
    ).rows
    return [
        (Call(operation, provider, asked or None, response_model=answered or None, service_tier=tier or None), count)
        for provider, operation, asked, answered, tier, count in rows
    ]


def _age(book: PriceBook) -> str:
    newest = book.newest_price()
    days = (datetime.now(UTC).date() - newest).days
    return (
        f"genai-prices {version('genai-prices')}: its newest price began on {newest}, {days} days ago; "
        "a newer list is `pip install -U genai-prices`."
    )


def _per_million(title: str, name: str) -> Column:
    return Column(title, lambda row: row["usd_per_mtok"].get(name, ""), right=True)


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
