"""The database in a folder: ClickHouse inside the `otel-llm` command.

Only the command line opens it, once per process. An application that forks must never load chdb.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, Self, cast
from urllib.parse import urlencode

from otel_llm_exporters.clickhouse.drain import Drain, Moved, UnreadableError
from otel_llm_exporters.clickhouse.fence import Fence
from otel_llm_exporters.clickhouse.formats import COLUMNS, Format
from otel_llm_exporters.clickhouse.migrations import apply
from otel_llm_exporters.clickhouse.spool import Spool
from otel_llm_exporters.clickhouse.stores import READING, WRITING, BusyError, Parameters, QueryError, Result, StoreError

_PATIENCE = 0.1
_IMPORT = (
    "INSERT INTO otel_traces ({columns}) FROM INFILE '{path}' SETTINGS insert_deduplication_token = '{token}', "
    "insert_deduplicate = 1, deduplicate_blocks_in_dependent_materialized_views = 1, async_insert = 0, "
    "max_partitions_per_insert_block = 0 FORMAT {format}"
)
_MESSAGE = re.compile(
    r"(?:Code: (?P<code>\d+)\. )?DB::Exception: (?!Code: )(?P<text>.*?)[.:]? "
    r"\((?P<name>[A-Z_]{3,})\)(?= \(version|\s*$)",
    re.DOTALL,
)
_NOISE = re.compile(r",? Stack trace|\. Expected one of: ")


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
        self._data = self.directory / "import.zst"
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
                self.engine = Engine(engine.connect, str(path))
                self._writer = stack.enter_context(closing(_connect(engine, f"{path}?{urlencode(WRITING)}")))
                self._reader = stack.enter_context(closing(_connect(engine, f"{path}?{urlencode(READING)}")))
                apply(self)
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
        return Result.of_json(self.query_format(sql, "JSONCompact", parameters))

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
                    raise BusyError(
                        f"Another otel-llm command has been using {self.directory} for too long: "
                        "wait until it has finished, or end it."
                    )
                if on_wait:
                    on_wait()
                    on_wait = None
                time.sleep(_PATIENCE)
            yield

    def _insert(self, data: bytes, format: Format, token: str) -> None:  # noqa: A002 - ClickHouse's word
        self._data.write_bytes(data)
        columns = ", ".join(f"`{column}`" for column in COLUMNS)
        try:
            self.execute(_IMPORT.format(columns=columns, path=_quoted(self._data), token=token, format=format))
        except QueryError as error:
            if self._is_unreadable(format):
                raise UnreadableError(str(error)) from None
            raise
        finally:
            self._data.unlink()

    def _is_unreadable(self, format: Format) -> bool:  # noqa: A002
        structure = ", ".join(f"`{column}` {codec.type}" for column, codec in COLUMNS.items())
        try:
            self.execute(
                "SELECT * FROM file({path:String}, {format:String}, {structure:String})",
                {"path": str(self._data), "format": format, "structure": structure},
            )
        except QueryError:
            return True
        return False


class Engine:
    """The opened database as an HTTP server needs it: statements of many threads, each with settings of its own."""

    def __init__(self, connect: Callable[[str], Any], location: str) -> None:
        self._connect = connect
        self._location = location

    def run(
        self,
        sql: str,
        format: str,  # noqa: A002
        *,
        settings: Mapping[str, str],
        parameters: Mapping[str, str],
        database: str = "",
        read_only: bool = True,
    ) -> bytes:
        """Run a statement; its own FORMAT outranks `format`. Parameters are as in a URL. Raises QueryError."""
        with self._session(settings, database, read_only=read_only) as session:

            def run(statement: str, format_: str, values: Mapping[str, str]) -> bytes:
                try:
                    return cast("bytes", session.query(statement, format_, params=dict(values)).bytes())
                except RuntimeError as error:
                    raise _query_error(error) from None

            if read_only:
                self._fence.check(lambda sql, values: run(sql, "TSVRaw", values).decode(), sql, parameters, settings)
            return run(sql, format, parameters)

    def insert(
        self,
        into: str,
        format: str,  # noqa: A002
        data: bytes,
        *,
        settings: Mapping[str, str],
        database: str = "",
        read_only: bool = True,
    ) -> int:
        """Insert `data` by the statement `into`, which has no FORMAT; return how many rows. Raises QueryError."""
        if read_only:
            raise QueryError("Cannot execute query in readonly mode", 164, "READONLY")
        with self._session(settings, database, read_only=False) as session:
            try:
                with session.send_insert(into, format) as inserter:
                    inserter.append(data)
                    return inserter.finish().rows_written
            except RuntimeError as error:
                raise _query_error(error) from None

    @cached_property
    def _fence(self) -> Fence:
        listed = self.run(
            "SELECT name FROM system.table_functions", "TSVRaw", settings={}, parameters={}, read_only=False
        )
        return Fence(listed.decode().split())

    @contextmanager
    def _session(self, settings: Mapping[str, str], database: str, *, read_only: bool) -> Generator[Any]:
        with closing(self._connect(self._location + "?readonly=2" * read_only)) as session:
            try:
                if database:
                    session.query(f"USE {_identifier(database)}")
                if settings:
                    # One after the other would do, too; but `readonly` must not stop those behind it.
                    session.query("SET " + ", ".join(f"{_identifier(k)} = '{_quoted(v)}'" for k, v in settings.items()))
            except RuntimeError as error:
                raise _query_error(error) from None
            yield session


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
        raise _query_error(error) from None


def _query_error(error: object) -> QueryError:
    match = _MESSAGE.search(str(error))
    return QueryError(_sentence(error), int(match["code"] or 0) if match else 0, match["name"] if match else "")


def _sentence(message: object) -> str:
    match = _MESSAGE.search(str(message))
    text = match["text"] if match else str(message)
    return " ".join(_NOISE.split(text)[0].split())


def _quoted(text: object) -> str:
    return str(text).replace("\\", "\\\\").replace("'", "\\'")


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _escaped(value: str | float | Decimal | datetime | None) -> str:
    if value is None:
        return r"\N"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    # As in ClickHouse's TabSeparated format.
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
