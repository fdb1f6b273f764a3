"""The spool: durable segments of spans on disk, until somebody stores them in ClickHouse.

A segment is a file `<unix_ns>-<pid>-<random>-<rows>-<crc32>.native.zst` in `<home>/spool`. It appears complete or not
at all, and it is never changed; the checksum in its name is that of its bytes. One that does not fit its checksum is
put aside in `spool/rejected`, never deleted.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
import weakref
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from otel_llm_exporters.clickhouse.native import Block

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_logger = logging.getLogger(__name__)
_NAME = re.compile(r"(?P<ns>\d+)-\d+-[0-9a-f]+-(?P<rows>\d+)-(?P<crc>[0-9a-f]{8})\.native\.zst")
_FASTEST = 1


def home() -> Path:
    """Return the folder of spool and store: `OTEL_LLM_HOME`, else the platform's data folder."""
    if chosen := os.environ.get("OTEL_LLM_HOME"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("otel-llm", appauthor=False))


def setting(name: str, default: int) -> int:
    """Return a positive whole number from the environment; anything else means `default`, with a warning."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if text.isdecimal() and int(text) > 0:
        return int(text)
    _logger.warning("%s is %r, but it must be a whole number above 0: %d is used.", name, text, default)
    return default


def queue_size() -> int:
    """Return how many spans may wait in memory."""
    return setting("OTEL_LLM_LEDGER_QUEUE_SIZE", 50_000)


def after_fork(method: Callable[[], None]) -> None:
    """Have a bound method called in every child process, as long as its object lives."""
    if hasattr(os, "register_at_fork"):
        weak = weakref.WeakMethod(method)
        os.register_at_fork(after_in_child=lambda: (found := weak()) and found())


class CorruptSegmentError(Exception):
    """The bytes of a segment are not those that were written."""


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of the spool."""

    created_ns: int
    rows: int
    crc32: int
    path: Path

    @property
    def size(self) -> int:
        """Its bytes on disk; 0 when another process took it."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    @staticmethod
    def of(path: Path) -> Segment | None:
        """Return the segment that a path names; None when it names something else."""
        match = _NAME.fullmatch(path.name)
        return match and Segment(int(match["ns"]), int(match["rows"]), int(match["crc"], 16), path)

    def read(self) -> bytes:
        """Return its compressed bytes. Raises CorruptSegmentError; FileNotFoundError when another process took it."""
        data = self.path.read_bytes()
        if zlib.crc32(data) != self.crc32:
            raise CorruptSegmentError(self.path.name)
        return data


class Spool:
    """Writes segments, from any thread, and lists them.

    What the disk refuses is kept in memory, up to `OTEL_LLM_LEDGER_QUEUE_SIZE` spans (50,000), and written as soon
    as it can be. What does not fit there is dropped and counted. Nothing of it raises into the application.
    """

    def __init__(self, home: Path) -> None:
        self.directory = home / "spool"
        self.dropped = 0
        """Spans that are lost, because the disk refused them for too long."""
        self.waiting = 0
        """Spans in memory that the disk has refused so far."""
        self._limit = queue_size()
        self._blocks: deque[Block] = deque()
        self._lock = threading.RLock()
        self._refused = False
        after_fork(self._forget)

    def write(self, block: Block) -> bool:
        """Make a block a durable segment. False when it is not on disk yet, or dropped."""
        if not block.rows:
            return self.retry()
        with self._lock:
            if self.waiting + block.rows > self._limit and not self.retry():
                self.dropped += block.rows
                return False
            self._blocks.append(Block(block.rows, zstd.compress(block.data, _FASTEST)))
            self.waiting += block.rows
            return self.retry()

    def retry(self) -> bool:
        """Write what is waiting in memory. False when something still is."""
        with self._lock:
            while self._blocks:
                try:
                    self._write_segment(self._blocks[0])
                except OSError as error:
                    self._warn(error)
                    return False
                self.waiting -= self._blocks.popleft().rows
            if self._refused:
                self._refused = False
                _logger.info("otel-llm can write to %s again.", self.directory)
            return True

    def close(self) -> None:
        """Write what is waiting, for the last time, and say what is lost."""
        if not self.retry() or self.dropped:
            lost, self.dropped, self.waiting = self.dropped + self.waiting, 0, 0
            self._blocks.clear()
            _logger.error("otel-llm lost %d spans, because it could not write them to %s.", lost, self.directory)

    def segments(self) -> list[Segment]:
        """Return the complete segments, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(segment for path in self.directory.iterdir() if (segment := Segment.of(path)))

    def rejected(self) -> list[Path]:
        """Return the files that were put aside, because they cannot be read."""
        return sorted((self.directory / "rejected").glob("*"))

    def reject(self, segment: Segment) -> Path:
        """Put a segment aside; return where it is now."""
        target = self.directory / "rejected" / segment.path.name
        target.parent.mkdir(exist_ok=True)
        return segment.path.replace(target)

    def _write_segment(self, block: Block) -> None:
        rows, data = block
        stem = f"{time.time_ns()}-{os.getpid()}-{os.urandom(4).hex()}-{rows}-{zlib.crc32(data):08x}"
        # Spans may hold what users typed: nobody else's business.
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self.directory / f"{stem}.native.zst", data)

    def _warn(self, error: OSError) -> None:
        if not self._refused:
            self._refused = True
            _logger.warning(
                "otel-llm cannot write to %s (%s): up to %d spans are kept in memory meanwhile; "
                "make room there, or set OTEL_LLM_HOME to a folder that this process may write to.",
                self.directory,
                error.strerror or error,
                self._limit,
            )

    def _forget(self) -> None:
        # What the parent holds, the parent writes.
        self._lock = threading.RLock()
        self._blocks.clear()
        self.waiting = self.dropped = 0


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that is complete whenever it is seen and survives a power loss. Raises OSError, and leaves none."""
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise


def sync_directory(directory: Path) -> None:
    """Make renames and deletions in a folder survive a power loss, where the platform can."""
    if os.name != "nt":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
