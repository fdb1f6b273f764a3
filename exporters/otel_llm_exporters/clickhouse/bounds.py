"""How large and how old the spool may become, and what gives way."""

from __future__ import annotations

import heapq
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from otel_llm_exporters.clickhouse.drops import Drops
from otel_llm_exporters.clickhouse.segment import TEMPORARY, Segment
from otel_llm_exporters.clickhouse.settings import choice, duration, number

_GIB = 1 << 30
_RECOUNT = 10.0
_RECOUNT_FULL = 1.0
# Whoever counts a million files for three seconds does so every five minutes.
_SHARE_OF_TIME = 100
_OLDEST_AT_ONCE = 4096
_ABANDONED = 3600.0


class Bounds:
    """`OTEL_LLM_SPOOL_MAX_BYTES`, `OTEL_LLM_SPOOL_MAX_AGE` and `OTEL_LLM_SPOOL_FULL` of one folder.

    The folder is counted now and then, not for every segment, so processes that share it may together exceed the size
    by what they write within ten seconds. One thread at a time.
    """

    def __init__(self, directory: Path, drops: Drops) -> None:
        self._directory = directory
        self._drops = drops
        self._max_bytes = number("OTEL_LLM_SPOOL_MAX_BYTES", _GIB)
        self._max_age = duration("OTEL_LLM_SPOOL_MAX_AGE")
        self._oldest_gives_way = choice("OTEL_LLM_SPOOL_FULL", "drop-new", "drop-oldest") == "drop-oldest"
        self._used = 0
        self._oldest: deque[Segment] = deque()
        self._counted = float("-inf")
        self._cost = 0.0

    def admit(self, size: int) -> bool:
        """Whether a new segment of that many bytes may be written; older ones have made room for it if they should.

        Raises OSError.
        """
        full = self._used + size > self._max_bytes
        rest = max(_RECOUNT_FULL if full else _RECOUNT, self._cost * _SHARE_OF_TIME)
        if time.monotonic() - self._counted > rest:
            self._count()
        if self._oldest_gives_way and size <= self._max_bytes:
            self._make_room(size)
        if self._used + size > self._max_bytes:
            return False
        self._used += size
        return True

    def _count(self) -> None:
        began = time.monotonic()
        self._used = 0
        kept = self._keep_young()
        if self._oldest_gives_way:
            self._oldest = deque(heapq.nsmallest(_OLDEST_AT_ONCE, kept))
        else:
            deque(kept, maxlen=0)
        self._counted = time.monotonic()
        self._cost = self._counted - began

    def _keep_young(self) -> Iterator[Segment]:
        """Add up what is there; delete what is too old."""
        now = time.time()
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another process took it
                    segment = Segment.of(Path(entry.path))
                    if segment is None:
                        if entry.name.endswith(TEMPORARY) and now - entry.stat().st_mtime > _ABANDONED:
                            Path(entry.path).unlink()  # its writer was killed
                    elif self._max_age and now - segment.created_ns / 1e9 > self._max_age:
                        segment.path.unlink()
                        self._drops.count("age", segment.rows, 1)
                    else:
                        self._used += entry.stat().st_size
                        yield segment

    def _make_room(self, size: int) -> None:
        while self._used + size > self._max_bytes:
            if not self._oldest:
                self._count()
                if not self._oldest:
                    return
            segment = self._oldest.popleft()
            with suppress(FileNotFoundError):  # another process took it
                freed = segment.path.stat().st_size
                segment.path.unlink()
                self._used -= freed
                self._drops.count("full", segment.rows, 1)
