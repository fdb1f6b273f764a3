"""`otel-llm serve`: the embedded database as a local ClickHouse server."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import click

from otel_llm.cli.output import console
from otel_llm.settings import home
from otel_llm_exporters.clickhouse.embedded import EmbeddedStore
from otel_llm_exporters.clickhouse.serve import ChServer, is_loopback
from otel_llm_exporters.clickhouse.stores import QueryError, Served, StoreError, served

_INTERVAL = 1.0
_TURN = 60.0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8123, show_default=True, help="0 takes a free one.")
@click.option("--write", is_flag=True, help="Let bearers of the token write, and import spans over the network.")
@click.option(
    "--token",
    envvar="OTEL_LLM_SERVE_TOKEN",
    help="The password to ask for. Needed for --write and for other hosts than this; one is made up if left out.",
)
def serve(host: str, port: int, *, write: bool, token: str | None) -> None:
    """Serve the embedded database to anything that speaks to ClickHouse over HTTP.

    While it runs, it imports the spool every second, and the other commands ask it. Whoever is on this computer may
    read; for anything else a token is needed.
    """
    invented = not token and (write or not is_loopback(host))
    token = secrets.token_urlsafe(24) if invented else token
    owner = secrets.token_urlsafe(24)
    stop = threading.Event()

    def end(_number: int, _frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with _opened(home(), stop) as store:
        try:
            server = ChServer(store.engine, host, port, write=write, token=token, owner=owner)
        except OSError as error:
            raise click.ClickException(
                f"Cannot listen at {host}:{port} ({error.strerror}): choose another with --port."
            ) from None
        with server, _announced(home(), Served(server.url, os.getpid(), owner)):
            click.echo(f"Serving {store.directory} at {server.url}, user default, {_terms(write=write, token=token)}.")
            if invented:
                click.echo(f"The token of this run: {token}")
            _import(store, stop)


@contextmanager
def _opened(folder: Path, stop: threading.Event) -> Generator[EmbeddedStore]:
    running = served(folder)
    if running:
        found, connection = running
        connection.__exit__(None, None, None)
        raise StoreError(f"{found.url} serves {folder} already: use it, or end its process {found.pid}.")
    waiting = console(stderr=True)
    store = EmbeddedStore(
        folder,
        timeout=_TURN,
        on_wait=lambda: waiting.print("Waiting for another otel-llm command to finish ...", style="dim"),
    )
    with store:
        # A statement may name a file relative to where this process is: it shall find none.
        empty = store.directory / "empty"
        empty.mkdir(exist_ok=True)
        os.chdir(empty)
        yield store


@contextmanager
def _announced(folder: Path, announcement: Served) -> Generator[None]:
    path = announcement.write(folder)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _import(store: EmbeddedStore, stop: threading.Event) -> None:
    told = 0
    last = ""
    while not stop.wait(_INTERVAL):
        try:
            store.import_spool()
            last = ""
        except (QueryError, OSError) as error:
            # Once, not every second.
            if str(error) != last:
                last = str(error)
                click.echo(f"The spool cannot be imported: {error}", err=True)
        for path in store.imported.rejected[told:]:
            click.echo(f"A segment of the spool cannot be read and was put aside: {path}.", err=True)
        told = len(store.imported.rejected)


def _terms(*, write: bool, token: str | None) -> str:
    if not token:
        return "no password; read-only"
    return f"password: the token; {'reads and writes' if write else 'read-only'}"
