"""One file of the spool: `<unix_ns>-<pid>-<random>-<rows>-<crc32>.native.zst`, or `.rowbinary.zst`.

It appears complete or not at all, and it is never changed; the checksum in its name is that of its bytes.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from otel_llm_exporters.clickhouse.formats import FORMATS, Block, Format

TEMPORARY = ".tmp"
_SUFFIXES: dict[str, Format] = {name.lower(): name for name in FORMATS}
_NAME = re.compile(
    rf"(?P<ns>\d+)-\d+-[0-9a-f]+-(?P<rows>\d+)-(?P<crc>[0-9a-f]{{8}})\.(?P<format>{'|'.join(_SUFFIXES)})\.zst"
)


class CorruptSegmentError(Exception):
    """The bytes of a segment are not those that were written."""


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of the spool."""

    created_ns: int
    rows: int
    crc32: int
    path: Path
    format: Format

    @property
    def created(self) -> datetime:
        """When it was written, in UTC."""
        return datetime.fromtimestamp(self.created_ns / 1e9, UTC)

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
        return match and Segment(
            int(match["ns"]), int(match["rows"]), int(match["crc"], 16), path, _SUFFIXES[match["format"]]
        )

    @staticmethod
    def named(directory: Path, block: Block) -> Segment:
        """Return a new segment for a block of compressed bytes, not written yet."""
        created_ns, crc32 = time.time_ns(), zlib.crc32(block.data)
        number = f"{created_ns}-{os.getpid()}-{os.urandom(4).hex()}-{block.rows}-{crc32:08x}"
        path = directory / f"{number}.{block.format.lower()}.zst"
        return Segment(created_ns, block.rows, crc32, path, block.format)

    def read(self) -> bytes:
        """Return its compressed bytes. Raises CorruptSegmentError; FileNotFoundError when another process took it."""
        data = self.path.read_bytes()
        if zlib.crc32(data) != self.crc32:
            raise CorruptSegmentError(self.path.name)
        return data


def write_durably(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file that is complete whenever it is seen, and survives a power loss if `sync`.

    Raises OSError, and leaves no file then.
    """
    temporary = path.with_suffix(TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if sync:
            sync_directory(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise


def sync_directory(directory: Path) -> None:
    """Make renames and deletions in a folder survive a power loss, where the platform can."""
    if os.name != "nt":
        sync_file(directory)


def sync_file(path: Path) -> None:
    """Make what was written to a file survive a power loss. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
