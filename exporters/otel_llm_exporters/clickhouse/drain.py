"""Moving the segments of a spool into ClickHouse, each exactly once, whoever is killed when.

A group of segments becomes one insert. Which segments these are is on disk before it, and its token is the same when it
runs again; that it is done is on disk before they are deleted. So whenever the process is killed, or the answer to an
insert is lost, each segment is in the tables exactly once, as long as the tables remember the token.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from otel_llm_exporters.clickhouse.formats import Format, groups
from otel_llm_exporters.clickhouse.segment import CorruptSegmentError, Segment, sync_directory, write_durably
from otel_llm_exporters.clickhouse.spool import Spool

# One insert takes as many segments as fit, because each costs the same whether it brings one span or thousands.
_ROWS_AT_ONCE = 20_000
_BYTES_AT_ONCE = 8 << 20

Insert = Callable[[bytes, Format, str], None]
"""Inserts compressed bytes of a format under a deduplication token. Raises UnreadableError when they are none; whatever
else it raises says nothing about them, and leaves them in the spool."""


class UnreadableError(Exception):
    """The database cannot read these bytes, now or ever."""


@dataclass(slots=True)
class Moved:
    """What came out of the spool so far."""

    spans: int = 0
    segments: int = 0
    rejected: list[Path] = field(default_factory=list[Path])
    """Segments that cannot be read, where they were put aside."""


class Drain:
    """Moves what is in `spool`, with its journal in the folder `journal`. One at a time: the caller holds a lock."""

    def __init__(self, spool: Spool, journal: Path, insert: Insert) -> None:
        self.moved = Moved()
        self._spool = spool
        self._journal = journal
        self._begun, self._done = journal / "import-begun", journal / "import-done"
        self._insert = insert

    def run(self, on_progress: Callable[[int, int], None] | None = None) -> None:
        """Move all that is in the spool now. Raises OSError, and what `insert` raises."""
        self._finish_interrupted()
        segments = self._spool.segments()
        total, done = sum(segment.rows for segment in segments), 0
        # Those of one format first: quiet processes and busy ones write theirs in turns.
        by_format = sorted(segments, key=lambda segment: segment.format)
        for group in groups(by_format, _ROWS_AT_ONCE, _BYTES_AT_ONCE):
            self._move(group, _token(group))
            done += sum(segment.rows for segment in group)
            if on_progress:
                on_progress(done, total)

    def _finish_interrupted(self) -> None:
        if self._done.exists():
            self._delete_moved()
        elif self._begun.exists():
            token, *names = self._begun.read_text().split()
            segments = [Segment.of(self._spool.directory / name) for name in names]
            self._move([segment for segment in segments if segment and segment.path.exists()], token)

    def _move(self, segments: Sequence[Segment], token: str) -> None:
        write_durably(self._begun, " ".join([token, *(segment.path.name for segment in segments)]).encode())
        intact = self._read(segments)
        if intact:
            try:
                # Frames of zstd may be concatenated, and so may what is in one format.
                self._insert(b"".join(intact.values()), segments[0].format, token)
            except UnreadableError:
                if len(intact) > 1:
                    # One of them spoils the group: each on its own, then.
                    for segment in intact:
                        self._move([segment], _token([segment]))
                    return
                self.moved.rejected.append(self._spool.reject(*intact))
            else:
                self.moved.segments += len(intact)
                self.moved.spans += sum(segment.rows for segment in intact)
        self._begun.replace(self._done)
        sync_directory(self._journal)
        self._delete_moved()

    def _read(self, segments: Sequence[Segment]) -> Mapping[Segment, bytes]:
        intact: dict[Segment, bytes] = {}
        for segment in segments:
            try:
                intact[segment] = segment.read()
            except FileNotFoundError:
                continue  # it gave way to the bounds of the spool
            except CorruptSegmentError:
                self.moved.rejected.append(self._spool.reject(segment))
        return intact

    def _delete_moved(self) -> None:
        for name in self._done.read_text().split()[1:]:
            (self._spool.directory / name).unlink(missing_ok=True)
        sync_directory(self._spool.directory)
        self._done.unlink()


def _token(segments: Sequence[Segment]) -> str:
    names = " ".join(segment.path.name for segment in segments)
    return segments[0].path.name if len(segments) == 1 else f"{segments[0].path.name}+{zlib.crc32(names.encode()):08x}"
