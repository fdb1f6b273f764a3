"""The database in a folder: ClickHouse inside the `otel-llm` command.

Only the command line opens it, once per process. An application that forks must never load chdb.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, NamedTuple, Self, cast

from otel_llm_exporters.clickhouse.drain import Drain, Moved, UnreadableError
from otel_llm_exporters.clickhouse.migrations import APPLIED, migrations
from otel_llm_exporters.clickhouse.native import COLUMNS
from otel_llm_exporters.clickhouse.spool import Spool

Parameters = Mapping[str, str | int | float | Decimal | datetime | None]

_PATIENCE = 0.1
_IMPORT = (
    "INSERT INTO otel_traces ({columns}) FROM INFILE '{path}' SETTINGS insert_deduplication_token = '{token}', "
    "insert_deduplicate = 1, deduplicate_blocks_in_dependent_materialized_views = 1, async_insert = 0, "
    "max_partitions_per_insert_block = 0 FORMAT Native"
)
_READ_ONLY = (
    "readonly=2&session_timezone=UTC&do_not_merge_across_partitions_select_final=1&"
    "output_format_json_quote_decimals=1&output_format_json_quote_64bit_integers=0&output_format_write_statistics=0&"
    "output_format_parallel_formatting=0"
)
_MESSAGE = re.compile(r"DB::Exception: (?!Code: )(?P<text>.*?)[.:]? \([A-Z0-9_]+\)", re.DOTALL)
_NOISE = re.compile(r",? Stack trace|\. Expected one of: ")


class StoreError(Exception):
    """The embedded database cannot be used; the message says why, and what to do."""


class QueryError(Exception):
    """A statement failed; the message is one sentence of ClickHouse's."""


class Result(NamedTuple):
    """What a query found. Values are str, int, float, bool, Decimal, datetime (UTC), None, list and dict."""

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dicts by column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class EmbeddedStore:
    """`with EmbeddedStore(home()) as store:` waits for its turn, opens the database and imports the spool.

    `on_wait()` is called once, when another process has the store; `on_progress(done, total)` counts imported spans.
    Raises StoreError when chdb is missing, the folder cannot be written, or the wait exceeds `timeout` seconds.
    """

    def __init__(
        self,
        home: Path,
        *,
        timeout: float = 60.0,
        on_wait: Callable[[], None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.spool = Spool(home)
        self.directory = home / "store"
        self._drain = Drain(self.spool, self.directory, self._insert)
        self._data = self.directory / "import.native.zst"
        self._timeout = timeout
        self._on_wait = on_wait
        self._on_progress = on_progress

    def __enter__(self) -> Self:
        try:
            engine: Any = import_module("chdb")
        except ImportError:
            raise StoreError("The embedded database is not installed: pip install 'otel-llm[embedded]'.") from None
        path = self.directory / "db"
        with ExitStack() as stack:
            stack.enter_context(self._turn())
            try:
                self._writer = stack.enter_context(closing(_connect(engine, str(path))))
                self._reader = stack.enter_context(closing(_connect(engine, f"{path}?{_READ_ONLY}")))
                self._migrate()
                self.import_spool()
            except (StoreError, QueryError, OSError) as error:
                raise StoreError(f"The store in {self.directory} cannot be used: {_sentence(error)}") from None
            self._opened = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def query(self, sql: str, parameters: Parameters | None = None) -> Result:
        """Run a read-only statement; `{name:Type}` in it stands for a parameter. Raises QueryError."""
        text = self.query_format(sql, "JSONCompact", parameters)
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
        return Result(columns, types, rows)

    def query_format(self, sql: str, format: str, parameters: Parameters | None = None) -> bytes:  # noqa: A002
        """Run a read-only statement and return what ClickHouse writes in that format. Raises QueryError."""
        return _run(self._reader, sql, format, parameters)

    def execute(self, sql: str, parameters: Parameters | None = None) -> None:
        """Run a statement that may write. Raises QueryError."""
        _run(self._writer, sql, "Null", parameters)

    def import_spool(self) -> None:
        """Take what is in the spool now into the tables; `imported` counts it. Raises QueryError, OSError."""
        self._drain.run(self._on_progress)

    @property
    def imported(self) -> Moved:
        """What was taken from the spool so far."""
        return self._drain.moved

    @contextmanager
    def _turn(self) -> Generator[None]:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.directory / ".lock").open("w")
        except OSError as error:
            raise StoreError(
                f"Cannot write to {self.directory} ({error.strerror}): "
                "set OTEL_LLM_HOME to a folder that you may write to."
            ) from None
        with lock:
            started = time.monotonic()
            on_wait = self._on_wait
            while not _locked(lock):
                if time.monotonic() - started > self._timeout:
                    raise StoreError(
                        f"Another otel-llm command has been using {self.directory} for more than "
                        f"{self._timeout:g} s: wait until it has finished, or end it."
                    )
                if on_wait:
                    on_wait()
                    on_wait = None
                time.sleep(_PATIENCE)
            yield

    def _migrate(self) -> None:
        self.execute(APPLIED)
        applied = {row[0] for row in self.query("SELECT Version FROM schema_migrations").rows}
        known = migrations()
        if applied - {migration.version for migration in known}:
            raise QueryError("it was made by a newer otel-llm; upgrade this one.")
        for migration in known:
            if migration.version not in applied:
                for statement in migration.statements:
                    self.execute(statement)
                self.execute(
                    "INSERT INTO schema_migrations (Version, Name) SELECT {version:UInt32}, {name:String}",
                    {"version": migration.version, "name": migration.name},
                )

    def _insert(self, data: bytes, token: str) -> None:
        self._data.write_bytes(data)
        columns = ", ".join(f"`{column}`" for column in COLUMNS)
        try:
            self.execute(_IMPORT.format(columns=columns, path=_quoted(self._data), token=token))
        except QueryError as error:
            if self._is_unreadable():
                raise UnreadableError(str(error)) from None
            raise
        finally:
            self._data.unlink()

    def _is_unreadable(self) -> bool:
        structure = ", ".join(f"`{column}` {codec.type}" for column, codec in COLUMNS.items())
        try:
            self.execute(
                "SELECT * FROM file({path:String}, Native, {structure:String})",
                {"path": str(self._data), "structure": structure},
            )
        except QueryError:
            return True
        return False


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _connect(engine: Any, location: str) -> Any:
    # What went wrong, chdb writes to standard error itself, and says no more than that something did.
    with TemporaryFile() as said:
        standard_error = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            return engine.connect(location)
        except RuntimeError as error:
            said.seek(0)
            raise StoreError(_sentence(said.read().decode(errors="replace") or error)) from None
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


def _run(connection: Any, sql: str, format_: str, parameters: Parameters | None) -> bytes:
    escaped = {name: _escaped(value) for name, value in (parameters or {}).items()}
    try:
        return cast("bytes", connection.query(sql, format_, params=escaped).bytes())
    except RuntimeError as error:
        raise QueryError(_sentence(error)) from None


def _sentence(message: object) -> str:
    match = _MESSAGE.search(str(message))
    text = match["text"] if match else str(message)
    return " ".join(_NOISE.split(text)[0].split())


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace("'", "\\'")


def _escaped(value: str | float | Decimal | datetime | None) -> str:
    if value is None:
        return r"\N"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    # As in ClickHouse's TabSeparated format.
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _reader(type_: str) -> Callable[[Any], Any] | None:
    inner = re.sub(r"^(?:LowCardinality\(|Nullable\()+|\)+$", "", type_)
    if inner.startswith("Decimal"):
        return Decimal
    if inner.startswith("DateTime"):
        return lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC)
    return None
