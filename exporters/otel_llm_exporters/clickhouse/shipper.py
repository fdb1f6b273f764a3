"""Sending the spool to a ClickHouse server, from the application or from `otel-llm ship`.

All processes that share a spool may try; one of them at a time does. What fails stays in the spool: the next try comes
after 1, 2, 4 ... 60 seconds, give or take a half, and the last failure is in `<home>/shipping/error.json` meanwhile.
"""

from __future__ import annotations

import fcntl
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from otel_llm_exporters.clickhouse.drain import Drain, Moved, UnreadableError
from otel_llm_exporters.clickhouse.formats import COLUMNS, Format
from otel_llm_exporters.clickhouse.server import ServerError, connect, errors, shown
from otel_llm_exporters.clickhouse.spool import Spool, after_fork

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_logger = logging.getLogger(__name__)
_INTERVAL = 1.0
_LONGEST_PAUSE = 60.0
_PATIENCE = 5
# Said explicitly, because servers differ in what they take for granted.
_SETTINGS: dict[str, Any] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "distributed_foreground_insert": 1,
    "max_partitions_per_insert_block": 0,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the spool is not empty."""

    when: float
    """Seconds since the epoch."""
    message: str
    segment: str
    """The segment that was being sent, or the first of several."""
    tries: int

    @property
    def at(self) -> datetime:
        """The same, in UTC."""
        return datetime.fromtimestamp(self.when, UTC)


class Shipper:
    """Sends what is in a spool to the server of a URL."""

    def __init__(self, spool: Spool, url: str) -> None:
        self._url = url
        self._directory = spool.directory.parent / "shipping"
        self._drain = Drain(spool, self._directory, self._insert)
        self._client: Client | None = None
        self._sending = ""
        self._tries = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock: IO[str] | None = None
        after_fork(self._forget)

    @property
    def moved(self) -> Moved:
        """What it sent so far, and what it put aside."""
        return self._drain.moved

    def ship(self, on_progress: Callable[[int, int], None] | None = None) -> bool:
        """Send everything. False when another process is at it. Raises ServerError, OSError; all is kept then."""
        rejected = len(self.moved.rejected)
        with self._turn() as ours:
            if not ours:
                return False
            try:
                self._drain.run(on_progress)
            except (ServerError, OSError) as error:
                self._tries += 1
                self._disconnect()
                self._note(error)
                raise
            finally:
                for path in self.moved.rejected[rejected:]:
                    _logger.error("A segment cannot be read by %s and was put aside: %s", shown(self._url), path)
            self._tries = 0
            (self._directory / "error.json").unlink(missing_ok=True)
        return True

    def pause(self) -> float:
        """How many seconds to wait before the next try."""
        if not self._tries:
            return _INTERVAL
        return min(_LONGEST_PAUSE, 2.0 ** (self._tries - 1)) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter

    # In the background of an application.

    def start(self) -> None:
        """Go on sending from a thread until `close`."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="otel-llm-shipper", daemon=True)
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Try for the last time, unless the server was away the last time, for at most `timeout` seconds."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def run(self, on_failure: Callable[[Exception], None], stop: threading.Event) -> None:
        """Send again and again until `stop` is set, and once more then."""
        while True:
            last = stop.wait(self.pause())
            if not (last and self._tries):
                try:
                    self.ship()
                except (ServerError, OSError) as error:
                    on_failure(error)
            if last:
                self._disconnect()
                return

    def _run(self) -> None:
        self.run(self._warn, self._stop)

    def _warn(self, error: Exception) -> None:
        # Once per outage; the file says how it goes on.
        if self._tries == 1:
            _logger.warning("The spans wait in the spool: %s", error)

    # One insert.

    def _insert(self, data: bytes, format: Format, token: str) -> None:  # noqa: A002 - ClickHouse's word
        self._sending = token
        if self._client is None:
            self._client = connect(self._url)
        client: Any = self._client
        settings = {name: value for name, value in _SETTINGS.items() if name in client.server_settings}
        try:
            with errors(self._url):
                client.raw_insert(
                    "otel_traces",
                    list(COLUMNS),
                    data,
                    {**settings, "insert_deduplication_token": token},
                    fmt=format,
                    compression="zstd",
                )
        except ServerError as error:
            # An error that no name of ours explains may pass. If it stays, what the segments hold is its cause.
            if error.fault == "unreadable" or (error.fault == "statement" and self._tries >= _PATIENCE):
                raise UnreadableError(str(error)) from None
            raise
        self._sending = ""

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _note(self, error: Exception) -> None:
        failure = Failure(time.time(), str(error), self._sending.partition("+")[0], self._tries)
        (self._directory / "error.json").write_text(json.dumps(asdict(failure)))

    @contextmanager
    def _turn(self) -> Generator[bool]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._directory / ".lock").open("w") as self._lock:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                # Closing is not enough: a process that was forked meanwhile has it open, too.
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _forget(self) -> None:
        if self._lock is not None:
            self._lock.close()


def last_failure(home: Path) -> Failure | None:
    """Why the last try to send the spool of `home` failed; None when it did not."""
    try:
        return Failure(**json.loads((home / "shipping" / "error.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
