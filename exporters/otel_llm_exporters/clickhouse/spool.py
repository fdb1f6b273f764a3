"""The spool: durable segments of spans on disk, until somebody stores them in ClickHouse.

Segments are files in `<home>/spool`. One that does not fit its checksum is put aside in `spool/rejected`, never
deleted. What the bounds of the spool or a disk that refuses cost is counted in `spool/dropped`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from otel_llm_exporters.clickhouse.bounds import Bounds
from otel_llm_exporters.clickhouse.drops import Drop, Drops
from otel_llm_exporters.clickhouse.formats import Block, groups
from otel_llm_exporters.clickhouse.segment import Segment, sync_directory, sync_file, write_durably
from otel_llm_exporters.clickhouse.settings import choice, number

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_logger = logging.getLogger(__name__)
_FASTEST = 1
# A backlog makes larger segments, which are imported faster; but what is written is in memory twice.
_LARGEST_SEGMENT = 4096
_LARGEST_BYTES = 1 << 19
_MEMORY = 3 << 20
_SYNC_INTERVAL = 1.0
_PATIENCE = 1.0


def after_fork(method: Callable[[], None]) -> None:
    """Have a bound method called in every child process, as long as its object lives."""
    if hasattr(os, "register_at_fork"):
        weak = weakref.WeakMethod(method)
        os.register_at_fork(after_in_child=lambda: (found := weak()) and found())


class Spool:
    """Writes segments, from any thread, and lists them.

    What the disk refuses is kept in memory, up to 3 MB and `OTEL_LLM_LEDGER_QUEUE_SIZE` spans (50,000), and written as
    soon as it can be. What does not fit there is dropped and counted. Nothing of it raises into the application.

    `OTEL_LLM_LEDGER_FSYNC`: `always` (each segment is synced as it is written), `interval` (segments are
    synced together, at most every second) or `never`.
    """

    def __init__(self, home: Path) -> None:
        self.directory = home / "spool"
        self.waiting = 0
        """Spans in memory that are not on disk yet."""
        self._drops = Drops(self.directory / "dropped")
        self._bounds = Bounds(self.directory, self._drops)
        self._limit = number("OTEL_LLM_LEDGER_QUEUE_SIZE", 50_000)
        self._fsync = choice("OTEL_LLM_LEDGER_FSYNC", "always", "interval", "never")
        self._unsynced: list[Path] = []
        self._synced = float("-inf")
        self._refused = self._incomplete = False
        self._forget()
        after_fork(self._forget)

    @property
    def dropped(self) -> int:
        """Spans that this process has lost so far, for whatever reason."""
        return self._drops.spans

    def keep(self, block: Block) -> None:
        """Hold a block in memory until `retry` writes it. What there is no room for is dropped."""
        if not block.rows:
            return
        block = block._replace(data=zstd.compress(block.data, _FASTEST))
        if not self._has_room(block):
            self._write_at_once()
        with self._holding:
            if self._has_room(block):
                self._blocks.append(block)
                self.waiting += block.rows
                self._held += len(block.data)
            else:
                self._drops.count("disk", block.rows)
                self._incomplete = True

    def retry(self) -> bool:
        """Write what is waiting in memory. False when something of it is not on disk, or was dropped meanwhile."""
        with self._writing:
            self._incomplete, incomplete = False, self._incomplete
            try:
                durable = self._write_blocks() and not incomplete
                self._sync(pause=_SYNC_INTERVAL)
            except OSError as error:
                self._warn(error.strerror or str(error))
                durable = False
            else:
                self._recover()
            self._drops.report()
            return durable

    def write(self, block: Block) -> bool:
        """Make a block a durable segment. False when something is not on disk yet, or dropped."""
        if self._blocks:
            self.retry()
        self.keep(block)
        return self.retry()

    def close(self) -> None:
        """Write what is waiting, for the last time, and say what is lost."""
        with self._writing:
            self.retry()
            with suppress(OSError):
                self._sync(pause=0)
            if self._blocks:
                self._drops.count("disk", self.waiting)
                self._forget_blocks()
            self._drops.close()

    def segments(self) -> list[Segment]:
        """Return the complete segments, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(segment for path in self.directory.iterdir() if (segment := Segment.of(path)))

    def rejected(self) -> list[Path]:
        """Return the files that were put aside, because they cannot be read."""
        return sorted((self.directory / "rejected").glob("*"))

    def drops(self) -> list[Drop]:
        """Return what was lost, of all processes that share the spool, in the order of time. Raises OSError."""
        return self._drops.read()

    def reject(self, segment: Segment) -> Path:
        """Put a segment aside; return where it is now."""
        target = self.directory / "rejected" / segment.path.name
        target.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # it gave way to the bounds of the spool
            segment.path.replace(target)
        return target

    def _has_room(self, block: Block) -> bool:
        fits = self.waiting + block.rows <= self._limit and self._held + len(block.data) <= _MEMORY
        return fits or not self._blocks

    def _write_at_once(self) -> None:
        """Have the caller wait for a healthy disk, rather than lose a span; once per outage for one that is not."""
        if self._refused:
            return
        if self._writing.acquire(timeout=_PATIENCE):
            try:
                self.retry()
            finally:
                self._writing.release()
        else:
            self._warn(f"no answer for {_PATIENCE:g} s")

    def _write_blocks(self) -> bool:
        admitted = True
        while blocks := next(groups(self._waiting_blocks(), _LARGEST_SEGMENT, _LARGEST_BYTES), None):
            rows = sum(block.rows for block in blocks)
            # Frames of zstd may be concatenated, and so may what is in one format.
            data = b"".join(block.data for block in blocks)
            # Spans may hold what users typed: nobody else's business.
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._bounds.admit(len(data)):
                self._write_segment(Segment.named(self.directory, Block(rows, data, blocks[0].format)), data)
            else:
                self._drops.count("full", rows)
                admitted = False
            with self._holding:
                for _ in blocks:
                    self._blocks.popleft()
                self.waiting -= rows
                self._held -= len(data)
        return admitted

    def _waiting_blocks(self) -> Iterator[Block]:
        # By index: who iterates over a deque may not be disturbed, and others go on adding to it.
        return (self._blocks[index] for index in range(len(self._blocks)))

    def _write_segment(self, segment: Segment, data: bytes) -> None:
        write_durably(segment.path, data, sync=self._fsync == "always")
        if self._fsync == "interval":
            self._unsynced.append(segment.path)

    def _sync(self, pause: float) -> None:
        if self._unsynced and time.monotonic() - self._synced >= pause:
            paths, self._unsynced = self._unsynced, []
            self._synced = time.monotonic()
            for path in paths:
                with suppress(FileNotFoundError):  # already in the database
                    sync_file(path)
            sync_directory(self.directory)

    def _warn(self, why: str) -> None:
        if not self._refused:
            self._refused = True
            _logger.warning(
                "otel-llm cannot write to %s (%s): up to %d spans are kept in memory meanwhile; "
                "make room there, or set OTEL_LLM_HOME to a folder that this process may write to.",
                self.directory,
                why,
                self._limit,
            )

    def _recover(self) -> None:
        if self._refused:
            self._refused = False
            _logger.info("otel-llm can write to %s again.", self.directory)

    def _forget(self) -> None:
        # What the parent holds, the parent writes.
        self._writing = threading.RLock()
        self._holding = threading.RLock()
        self._forget_blocks()
        self._unsynced = []
        self._drops.forget()

    def _forget_blocks(self) -> None:
        self._blocks: deque[Block] = deque()
        self.waiting = self._held = 0
