"""`otel-llm schema`: the tables of a ClickHouse server."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from otel_llm.cli.output import Column, Format, emit, when
from otel_llm_exporters.clickhouse import migrations
from otel_llm_exporters.clickhouse.migrations import Shape
from otel_llm_exporters.clickhouse.server import server_url, shown
from otel_llm_exporters.clickhouse.stores import QueryError, ServerStore, StoreError

F = TypeVar("F", bound=Callable[..., Any])


class _Days(click.ParamType[int]):
    """`400d`."""

    name = "DAYS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([1-9]\d{0,4})d", str(value).strip())
        if not match:
            self.fail(f"{value!r} is no time: say how many days, as 400d.", param, ctx)
        return int(match[1])


def _shaping(function: F) -> F:
    for option in (
        click.option("--retention", type=_Days(), help="Delete rows after so long, as 400d; else they are kept."),
        click.option("--cluster", default="", help="Replicate and distribute the tables over this cluster."),
        click.option("--database", default="", help="Where the tables are; as the URL says if left out."),
    ):
        function = option(function)
    return function


@click.group()
def schema() -> None:
    """The tables of a ClickHouse server: OTEL_LLM_CLICKHOUSE_URL. (The embedded database takes care of itself.)"""


@schema.command("print")
@_shaping
def print_(database: str, cluster: str, retention: int | None) -> None:
    """Print the SQL, for `clickhouse-client --multiquery < file` and for whoever has to approve it."""
    shape = Shape(cluster, database or (_database(server_url() or "") if cluster else ""), retention or 0)
    click.echo(migrations.script(shape), nl=False)


@schema.command()
@_shaping
@click.option("--backfill", is_flag=True, help="Make calls of the spans that a Collector brought before, once.")
def apply(database: str, cluster: str, retention: int | None, *, backfill: bool) -> None:
    """Bring the tables of the server up to date. It may run at any time, twice, and on a database in use."""
    url = _url(database)
    shape = Shape(cluster, _database(url), retention or 0)
    with ServerStore(_in_database(url, "default"), bare=True) as store:
        migrations.create_database(store, shape)
    with ServerStore(url, bare=True) as store:
        taken = migrations.apply(store, shape)
        names = ", ".join(f"{migration.version} {migration.name}" for migration in taken)
        click.echo(f"{shown(url)}: applied {names}." if taken else f"{shown(url)} is up to date.")
        if backfill:
            days = migrations.backfill(store)
            click.echo("Backfilled before; nothing to do." if days is None else f"Backfilled {days} days of spans.")


@schema.command()
@click.option("--database", default="", help="Where the tables are; as the URL says if left out.")
@click.option("--format", "output", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def status(database: str, output: Format) -> None:
    """Which steps the server has taken, and which are missing (exit code 1)."""
    url = _url(database)
    with ServerStore(url, bare=True) as store:
        try:
            taken = migrations.applied(store)
        except QueryError as error:
            if error.name != "UNKNOWN_TABLE":
                raise
            taken = {}
    known = {migration.version: migration.name for migration in migrations.migrations()}
    rows = [
        {"Version": version, "Name": name, "AppliedAt": taken.get(version), "Known": version in known}
        for version, name in sorted({**dict.fromkeys(taken, "of a newer otel-llm"), **known}.items())
    ]
    emit(
        rows,
        [
            Column("version", lambda row: str(row["Version"]), right=True),
            Column("step", lambda row: row["Name"]),
            Column("applied", lambda row: when(row["AppliedAt"]) if row["AppliedAt"] else "missing"),
        ],
        output,
    )
    if any(row["AppliedAt"] is None for row in rows):
        raise SystemExit(1)


def _url(database: str) -> str:
    url = server_url()
    if url is None:
        raise StoreError(
            "OTEL_LLM_CLICKHOUSE_URL is not set: say which server, as https://user:password@host:8443/database."
        )
    return _in_database(url, database) if database else url


def _in_database(url: str, database: str) -> str:
    return urlsplit(url)._replace(path=f"/{database}").geturl()


def _database(url: str) -> str:
    return urlsplit(url).path.strip("/") or "default"
