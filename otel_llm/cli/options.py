"""What several commands have in common: the options that they take, and the store that they ask."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from otel_llm.cli.output import console
from otel_llm.settings import home
from otel_llm_exporters.clickhouse.stores import Parameters, Result, Store, open_store

F = TypeVar("F", bound=Callable[..., Any])

INCOMPLETE = "otel_llm.incomplete"
"""Set in a command's context when its answer is not all: it then ends with exit code 1."""
_EARLIEST, _LATEST = 1970, 2262
"""Years that ClickHouse's nanoseconds can hold."""
_PATIENCE = 1.0
"""Seconds without a word."""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class _Moment(click.ParamType[datetime]):
    """`7d`, `12h`, `30m`, or a date or time as `2026-11-01` or `2026-11-01T12:00`."""

    name = "WHEN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        match = re.fullmatch(r"(\d+)([smhdw])", str(value).strip())
        try:
            if match:
                found = datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
            else:
                found = datetime.fromisoformat(value).astimezone(UTC)
            if not _EARLIEST <= found.year < _LATEST:
                raise OverflowError
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time: say 7d, 12h or 30m for how long ago, or a date such as 2026-11-01.", param, ctx
            )
        return found


MOMENT = _Moment()


def with_format(function: F) -> F:
    """Give a command `--format`, as `output`."""
    option = click.option(
        "--format",
        "output",
        type=click.Choice(["table", "json", "csv"]),
        default="table",
        show_default=True,
        help="How to print it; json and csv are exact.",
    )
    return option(function)


def with_filters(function: F) -> F:
    """Give a command `--user`, `--feature`, `--since` and `--until`."""
    for option in (
        click.option("--until", type=MOMENT, help="Before when."),
        click.option("--since", type=MOMENT, help="Since when: 7d, 12h, 30m ago, or a date."),
        click.option("--feature", default="", help="Only this feature."),
        click.option("--user", default="", help="Only this user."),
    ):
        function = option(function)
    return function


@contextmanager
def opened_store() -> Generator[Store]:
    """The store of this home, with what the spool holds in it. Says what it waits for when that takes a while."""
    errors = console(stderr=True)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=errors, transient=True)
    began = time.monotonic()

    def progress(done: int, total: int) -> None:
        if not bar.tasks and errors.is_terminal and time.monotonic() - began > _PATIENCE:
            bar.start()
            bar.add_task("Importing spans", total=total)
        if bar.tasks:
            bar.update(bar.task_ids[0], completed=done)
            if done == total:
                bar.stop()

    def rejected(path: Path) -> None:
        if (context := click.get_current_context(silent=True)) is not None:
            context.meta[INCOMPLETE] = True
        errors.print(
            f"A segment of the spool cannot be read and was put aside: {path}. "
            "Its spans are missing here; keep the file for a closer look, or delete it.",
            style="yellow",
        )

    waiting = partial(errors.print, "Waiting for another otel-llm command to finish ...", style="dim")
    with open_store(home(), on_wait=waiting, on_progress=progress, on_rejected=rejected) as store:
        yield _Waiting(store, errors) if errors.is_terminal else store


class _Waiting:
    """A store that says in a terminal that a question takes long."""

    def __init__(self, store: Store, errors: Console) -> None:
        self._store = store
        self._errors = errors

    def query(self, sql: str, parameters: Parameters | None = None) -> Result:
        """As the store's own."""
        with self._patience():
            return self._store.query(sql, parameters)

    def query_format(self, sql: str, format: str, parameters: Parameters | None = None) -> bytes:  # noqa: A002
        """As the store's own."""
        with self._patience():
            return self._store.query_format(sql, format, parameters)

    def execute(self, sql: str, parameters: Parameters | None = None) -> None:
        """As the store's own."""
        with self._patience():
            self._store.execute(sql, parameters)

    @contextmanager
    def _patience(self) -> Generator[None]:
        status = self._errors.status("ClickHouse is at work ...")
        timer = threading.Timer(_PATIENCE, status.start)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            status.stop()
