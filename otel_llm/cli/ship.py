"""`otel-llm ship`: the spool to a ClickHouse server, once or for as long as it runs."""

from __future__ import annotations

import signal
import threading

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from otel_llm.cli.output import console, number
from otel_llm.settings import home
from otel_llm_exporters.clickhouse.server import ServerError, server_url, shown
from otel_llm_exporters.clickhouse.shipper import Shipper
from otel_llm_exporters.clickhouse.spool import Spool


@click.command()
@click.option("--watch", is_flag=True, help="Go on, and wait for a server that is away, until it is ended.")
def ship(*, watch: bool) -> None:
    """Send the spool to the ClickHouse server of OTEL_LLM_CLICKHOUSE_URL.

    Applications with that setting do it themselves. This is for what they left behind, for a job or for a sidecar.
    """
    url = server_url()
    if url is None:
        raise click.ClickException(
            "OTEL_LLM_CLICKHOUSE_URL is not set: say where to, as https://user:password@host:8443/database."
        )
    shipper = Shipper(Spool(home()), url)
    if watch:
        _watch(shipper)
        return
    errors = console(stderr=True)
    bar = Progress(TextColumn("Sending spans"), BarColumn(), MofNCompleteColumn(), console=errors, transient=True)
    task = bar.add_task("", total=None)
    try:
        with bar:
            ours = shipper.ship(lambda done, total: bar.update(task, completed=done, total=total))
    except (ServerError, OSError) as error:
        raise click.ClickException(str(error)) from None
    for path in shipper.moved.rejected:
        errors.print(f"A segment cannot be read and was put aside: {path}.", style="yellow")
    if ours:
        click.echo(f"{number(shipper.moved.spans)} spans sent to {shown(url)}.")
    else:
        click.echo("Another process is sending this spool.")


def _watch(shipper: Shipper) -> None:
    stop = threading.Event()

    def end(_number: int, _frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    shipper.run(lambda error: click.echo(str(error), err=True), stop)
