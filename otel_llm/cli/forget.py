"""`otel-llm forget`: a person leaves, the bill stays."""

from __future__ import annotations

import time

import click

from otel_llm.cli.options import opened_store
from otel_llm.cli.output import console, number
from otel_llm.settings import home
from otel_llm_exporters.clickhouse import forget as forgetting
from otel_llm_exporters.clickhouse.server import ServerError, server_url, shown
from otel_llm_exporters.clickhouse.shipper import Shipper
from otel_llm_exporters.clickhouse.spool import Spool
from otel_llm_exporters.clickhouse.stores import StoreError

_PATIENCE = 30.0


@click.command()
@click.option("--user", required=True, help="The id, as the application says it: user.id.")
@click.option("--dry-run", is_flag=True, help="Say where the id is, and change nothing.")
@click.option("--rejected", is_flag=True, help="Delete files that were put aside in the spool and hold the id.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(user: str, *, dry_run: bool, rejected: bool, yes: bool) -> None:
    """Replace a person's id by a random pseudonym, everywhere; what the person cost stays.

    So do the ids of sessions that were the person's alone. Spans that wait in the spool of this home are stored first.
    It cannot be taken back, and nobody can tell afterwards who the pseudonym was.
    """
    if not user:
        raise click.BadParameter("say whose id.", param_hint="--user")
    screen, spool = console(), Spool(home())
    with opened_store() as store:
        if not dry_run:
            _empty(spool)
        before = forgetting.find(store, user)
        files = list(forgetting.mentions(spool, user))
        for table, column, rows in before:
            screen.print(f"{table}.{column}: {number(rows)} rows")
        for path, certain in files:
            screen.print(f"{path} {'holds the id' if certain else 'cannot be read to its end, and may hold the id'}.")
        if not before and not files:
            screen.print(f"The store knows nobody called {user}.")
        if dry_run:
            return
        if not yes and (before or (rejected and files)):
            click.confirm(f"Forget {user}? This cannot be taken back", abort=True, err=True)
        pseudonym = forgetting.forget(store, user)
        left = forgetting.find(store, user)
    if rejected:
        for path, _ in files:
            path.unlink()
    for table, column, rows in left:
        screen.print(
            f"{table}.{column}: {number(rows)} rows say {user} where that names no person, and stay.", style="yellow"
        )
    kept = [str(path) for path, _ in files if not rejected]
    if kept:
        screen.print(f"Not searched or not forgotten: {', '.join(kept)}; --rejected deletes them.", style="yellow")
    if not left:
        screen.print(
            f"{user} is found nowhere in the store" + (f"; the costs stay with {pseudonym}." if before else ".")
        )


def _empty(spool: Spool) -> None:
    """Wait until what waits in the spool is in the store: it may be about the person."""
    url = server_url()
    if url:
        try:
            Shipper(spool, url).ship()
        except (ServerError, OSError) as error:
            raise StoreError(f"The spool cannot be sent to {shown(url)}, and nothing was changed: {error}") from None
    deadline = time.monotonic() + _PATIENCE
    started = time.time_ns()
    while any(segment.created_ns < started for segment in spool.segments()):
        if time.monotonic() > deadline:
            raise StoreError(f"Segments still wait in {spool.directory}, and nothing was changed: try again.")
        time.sleep(0.1)
