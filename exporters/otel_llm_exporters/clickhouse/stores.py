"""A place that answers questions about calls: a ClickHouse server, `otel-llm serve`, or the database in a folder.

`open_store(home)` finds out which. All speak the same SQL and give the same results.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import urlsplit

from otel_llm_exporters.clickhouse.server import ServerError, connect, errors, sentence, server_url, shown

Value = str | int | float | Decimal | datetime | None
Parameters = Mapping[str, Value]
"""Values of `{name:Type}` in a statement."""

WRITING = {"session_timezone": "UTC"}
"""Settings that every statement runs with: times in parameters are in UTC."""
READING = {
    **WRITING,
    "readonly": "2",
    "do_not_merge_across_partitions_select_final": "1",
    # With FINAL only what is asked of the key: one interaction is found before its granules are read and merged.
    "optimize_move_to_prewhere_if_final": "1",
    "output_format_json_quote_decimals": "1",
    "output_format_json_quote_64bit_integers": "0",
    "output_format_write_statistics": "0",
    "output_format_parallel_formatting": "0",
}
"""Settings that every question is asked with."""
# The right side of a join of Distributed tables is found once and sent to all shards, instead of anew on each.
_ON_CLUSTERS = {"prefer_global_in_and_join": "1", "distributed_product_mode": "global"}
_PATIENCE = 1.0


class StoreError(Exception):
    """The database cannot be used; the message says why, and what to do."""


class BusyError(StoreError):
    """Another process uses the embedded database."""


class QueryError(Exception):
    """A statement failed; the message is one sentence of ClickHouse's, `code` and `name` are its number and name."""

    def __init__(self, message: str, code: int = 0, name: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.name = name


class Result(NamedTuple):
    """What a query found. Values are str, int, float, bool, Decimal, datetime (UTC), None, list and dict."""

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dicts by column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    @classmethod
    def of_json(cls, text: bytes) -> Self:
        """Read what ClickHouse writes as JSONCompact. Raises QueryError when it is something else."""
        try:
            found: Any = json.loads(text) if text else {"meta": [], "data": []}
            columns: list[str] = [column["name"] for column in found["meta"]]
            types: list[str] = [column["type"] for column in found["meta"]]
        except (ValueError, TypeError, KeyError) as error:
            raise QueryError(f"The result is not one table ({error}): send one statement, without FORMAT.") from None
        readers = [_reader(type_) for type_ in types]
        rows = [
            tuple(
                value if value is None or read is None else read(value)
                for read, value in zip(readers, row, strict=True)
            )
            for row in found["data"]
        ]
        return cls(columns, types, rows)


class Store(Protocol):
    """What the commands need of a database. `{name:Type}` in a statement stands for a parameter."""

    def query(self, sql: str, parameters: Parameters | None = None) -> Result:
        """Run a read-only statement. Raises QueryError."""
        ...

    def query_format(self, sql: str, format: str, parameters: Parameters | None = None) -> bytes:  # noqa: A002
        """Run a read-only statement and return what ClickHouse writes in that format. Raises QueryError."""
        ...

    def execute(self, sql: str, parameters: Parameters | None = None) -> None:
        """Run a statement that may write. Raises QueryError."""
        ...


class ServerStore:
    """`with ServerStore(url) as store:` connects to a ClickHouse server that has our tables.

    Raises StoreError when the server does not answer, refuses, or has not the tables of this version; `bare` asks
    nothing of the tables.
    """

    def __init__(self, url: str, *, bare: bool = False) -> None:
        self._url = url
        self._bare = bare

    def __enter__(self) -> Self:
        try:
            self._client: Any = connect(self._url)
        except ServerError as error:
            raise StoreError(str(error)) from None
        with ExitStack() as failing:
            failing.callback(self._client.close)
            if not self._bare:
                self._check()
            failing.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def query(self, sql: str, parameters: Parameters | None = None) -> Result:
        """Run a read-only statement. Raises QueryError, and StoreError when the server is gone."""
        return Result.of_json(self.query_format(sql, "JSONCompact", parameters))

    def query_format(self, sql: str, format: str, parameters: Parameters | None = None) -> bytes:  # noqa: A002
        """Run a read-only statement and return what ClickHouse writes in that format. Raises as `query`."""
        return self._run(f"{sql.strip().rstrip(';')}\n FORMAT {format}", parameters, READING)

    def execute(self, sql: str, parameters: Parameters | None = None) -> None:
        """Run a statement that may write. Raises as `query`."""
        self._run(sql, parameters, WRITING)

    def _run(self, sql: str, parameters: Parameters | None, settings: Mapping[str, str]) -> bytes:
        known = self._client.server_settings
        wanted = {**settings, **_ON_CLUSTERS}
        try:
            with errors(self._url):
                return self._client.raw_query(
                    sql,
                    {name: _text(value) for name, value in parameters.items()} if parameters else None,
                    # What a profile prescribes cannot be set, not even to the same.
                    {name: value for name, value in wanted.items() if name in known and not known[name].readonly},
                )
        except ServerError as error:
            if error.fault == "away":
                raise StoreError(str(error)) from None
            said = error.__context__
            raise QueryError(
                sentence(said), getattr(said, "code", None) or 0, getattr(said, "name", None) or ""
            ) from None

    def _check(self) -> None:
        from otel_llm_exporters.clickhouse.migrations import newest

        where = shown(self._url)
        try:
            ((applied,),) = self.query("SELECT max(Version) FROM schema_migrations").rows
        except QueryError as error:
            if error.name == "ACCESS_DENIED":
                return
            raise StoreError(
                f"{where} has no tables of otel-llm ({error}): create them with `otel-llm schema apply`."
            ) from None
        if applied < newest():
            raise StoreError(
                f"{where} has tables of an older otel-llm: bring them up to date with `otel-llm schema apply`."
            )
        if applied > newest():
            raise StoreError(f"{where} has tables of a newer otel-llm: upgrade this one.")


@dataclass(frozen=True, slots=True)
class Served:
    """A running `otel-llm serve`, as it says itself in the folder of its store."""

    url: str
    pid: int
    token: str
    """Whoever can read it owns the store."""

    def write(self, home: Path) -> Path:
        """Leave it for the other commands; nobody else may read it. Returns where."""
        path = _served_path(home)
        path.unlink(missing_ok=True)
        path.touch(0o600)
        path.write_text(json.dumps(asdict(self)))
        return path

    @classmethod
    def read(cls, home: Path) -> Self | None:
        """What was left there, by a process that may be gone."""
        with suppress(OSError, ValueError, TypeError):
            return cls(**json.loads(_served_path(home).read_text()))
        return None

    def store(self) -> ServerStore:
        """The store behind it."""
        parts = urlsplit(self.url)
        return ServerStore(parts._replace(netloc=f"owner:{self.token}@{parts.netloc}").geturl())


def _served_path(home: Path) -> Path:
    return home / "store" / "serve.json"


def served(home: Path) -> tuple[Served, ServerStore] | None:
    """The `otel-llm serve` of this home and its store, connected; None when none answers."""
    found = Served.read(home)
    if found:
        with suppress(StoreError):
            return found, found.store().__enter__()
    return None


@contextmanager
def open_store(
    home: Path,
    *,
    timeout: float = 60.0,
    on_wait: Callable[[], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_rejected: Callable[[Path], None] | None = None,
) -> Generator[Store]:
    """The server of OTEL_LLM_CLICKHOUSE_URL, else the `otel-llm serve` of this home, else its embedded database.

    `on_wait()` is called once when another process has the embedded database; `on_progress(done, total)` counts the
    spans that are imported into it, and `on_rejected` tells which segments of the spool cannot be. Raises StoreError.
    """
    url = server_url()
    if url:
        with ServerStore(url) as store:
            yield store
        return
    from otel_llm_exporters.clickhouse.embedded import EmbeddedStore

    deadline = time.monotonic() + timeout
    with ExitStack() as stack:
        while True:
            running = served(home)
            if running:
                stack.push(running[1])
                yield running[1]
                return
            store = EmbeddedStore(home, timeout=min(_PATIENCE, timeout), on_wait=on_wait, on_progress=on_progress)
            try:
                stack.enter_context(store)
            except BusyError:
                if time.monotonic() > deadline:
                    raise
                on_wait = None
                continue
            if on_rejected:
                for path in store.imported.rejected:
                    on_rejected(path)
            yield store
            return


def _text(value: Value) -> str | int | float | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return str(value) if isinstance(value, Decimal) else value


def _reader(type_: str) -> Callable[[Any], Any] | None:
    inner = re.sub(r"^(?:LowCardinality\(|Nullable\()+|\)+$", "", type_)
    if inner.startswith("Decimal"):
        return Decimal
    if inner.startswith("DateTime"):
        return lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC)
    return None
