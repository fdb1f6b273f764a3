from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from store_parts import MakeSpan

from otel_llm_exporters.clickhouse import bounds
from otel_llm_exporters.clickhouse.formats import Block
from otel_llm_exporters.clickhouse.rows import encode
from otel_llm_exporters.clickhouse.segment import CorruptSegmentError, Segment
from otel_llm_exporters.clickhouse.settings import duration, home, number
from otel_llm_exporters.clickhouse.spool import Spool


class Disk:
    """Stands between the spool and the disk, and can be full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.fsyncs = 0
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, descriptor: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.fsyncs += 1
        self._fsync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_segment_is_durable_and_says_what_is_in_it(tmp_path: Path, make_span: MakeSpan, disk: Disk) -> None:
    spool = Spool(tmp_path)
    assert spool.write(encode([make_span(), make_span()]))
    (segment,) = spool.segments()
    assert segment.rows == 2
    assert f"-{os.getpid()}-" in segment.path.name
    assert segment.read()
    assert disk.fsyncs == 2  # the file, and the folder that names it
    assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700
    assert [path.name for path in spool.directory.iterdir()] == [segment.path.name]


def test_only_complete_segments_are_listed_oldest_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert spool.segments() == []
    for _ in range(3):
        spool.write(Block(1, b"x", "Native"))
    (spool.directory / "1790000000-1-ab-5-00000000.native.tmp").write_bytes(b"torn")
    (spool.directory / "notes.txt").write_text("mine")
    segments = spool.segments()
    assert len(segments) == 3
    assert [segment.created_ns for segment in segments] == sorted(segment.created_ns for segment in segments)


def test_changed_bytes_are_noticed_and_put_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.write(Block(1, b"some spans", "Native"))
    (segment,) = spool.segments()
    segment.path.write_bytes(segment.path.read_bytes()[:-1])
    with pytest.raises(CorruptSegmentError):
        segment.read()
    aside = spool.reject(segment)
    assert spool.rejected() == [aside]
    assert spool.segments() == []


def test_a_full_disk_costs_one_warning_and_no_span(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path)
    disk.full = True
    assert not any(spool.write(Block(10, b"spans", "Native")) for _ in range(5))
    assert spool.waiting == 50
    assert list(spool.directory.iterdir()) == []
    (warning,) = caplog.records
    assert str(spool.directory) in warning.message
    assert "No space left on device" in warning.message
    assert "OTEL_LLM_HOME" in warning.message
    disk.full = False
    assert spool.retry()
    assert spool.waiting == spool.dropped == 0
    assert sum(segment.rows for segment in spool.segments()) == 50


def test_memory_is_bounded_and_the_loss_is_counted(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_LLM_LEDGER_QUEUE_SIZE", "25")
    spool = Spool(tmp_path)
    disk.full = True
    for _ in range(4):
        assert not spool.write(Block(10, b"spans", "Native"))
    assert (spool.waiting, spool.dropped) == (20, 20)
    spool.close()
    assert caplog.records[-1].levelno == logging.ERROR
    assert "lost 40 spans" in caplog.records[-1].message


def test_a_folder_that_cannot_be_is_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("not a folder")
    spool = Spool(tmp_path / "file")
    assert not spool.write(Block(1, b"span", "Native"))
    assert spool.segments() == []
    assert "Not a directory" in caplog.text


def test_home_is_the_setting_or_the_platforms_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LLM_HOME", "~/here")
    assert home() == Path.home() / "here"
    monkeypatch.delenv("OTEL_LLM_HOME")
    assert home().name == "otel-llm"


@pytest.mark.parametrize(("text", "value"), [("", 7), (" 12 ", 12), ("0", 7), ("-1", 7), ("soon", 7), ("1.5", 7)])
def test_a_setting_that_makes_no_sense_is_named_and_ignored(
    text: str, value: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_LLM_LEDGER_INTERVAL", text)
    assert number("OTEL_LLM_LEDGER_INTERVAL", 7) == value
    assert ("OTEL_LLM_LEDGER_INTERVAL" in caplog.text) == (value == 7 and text != "")


def test_a_name_that_is_no_segment(tmp_path: Path) -> None:
    assert Segment.of(tmp_path / "1-2-3.native.zst") is None


# fsync


def test_with_an_interval_segments_are_synced_together(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_LLM_LEDGER_FSYNC", "interval")
    spool = Spool(tmp_path)
    for _ in range(4):
        assert spool.write(Block(1, b"span", "Native"))
    assert len(spool.segments()) == 4
    assert disk.fsyncs == 2  # the first, and its folder
    spool.segments()[2].path.unlink()  # imported meanwhile
    spool.close()
    assert disk.fsyncs == 2 + 2 + 1


def test_never_is_never(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LLM_LEDGER_FSYNC", "never")
    spool = Spool(tmp_path)
    assert spool.write(Block(1, b"span", "Native"))
    spool.close()
    assert disk.fsyncs == 0
    assert len(spool.segments()) == 1


def test_a_policy_that_does_not_exist_is_named_and_always_is_used(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_LLM_LEDGER_FSYNC", "sometimes")
    spool = Spool(tmp_path)
    spool.write(Block(1, b"a", "Native"))
    spool.write(Block(1, b"b", "Native"))
    assert disk.fsyncs == 4
    (warning,) = caplog.records
    assert "OTEL_LLM_LEDGER_FSYNC is 'sometimes'" in warning.message
    assert "always or interval or never" in warning.message


# Bounds


def random_block(rows: int = 10) -> Block:
    """About 10,000 bytes that cannot be compressed."""
    return Block(rows, os.urandom(10_000), "Native")


def size(spool: Spool) -> int:
    return sum(segment.size for segment in spool.segments())


def test_a_full_spool_takes_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_LLM_SPOOL_MAX_BYTES", "25000")
    spool = Spool(tmp_path)
    assert [spool.write(random_block()) for _ in range(5)] == [True, True, False, False, False]
    assert (len(spool.segments()), spool.dropped, spool.waiting) == (2, 30, 0)
    assert size(spool) <= 25_000
    (said,) = caplog.records  # once per episode
    assert "OTEL_LLM_SPOOL_MAX_BYTES" in said.message
    assert str(spool.directory) in said.message
    (first,) = Spool(tmp_path).drops()  # the first loss is in the file at once
    assert (first.reason, first.spans, first.segments) == ("full", 10, 0)
    spool.close()
    assert sum(drop.spans for drop in Spool(tmp_path).drops()) == 30
    assert "lost 30 spans" in caplog.records[-1].message


def test_room_that_somebody_makes_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LLM_SPOOL_MAX_BYTES", "25000")
    monkeypatch.setattr(bounds, "_RECOUNT_FULL", 0.0)
    monkeypatch.setattr(bounds, "_SHARE_OF_TIME", 0)
    spool = Spool(tmp_path)
    assert [spool.write(random_block()) for _ in range(3)] == [True, True, False]
    spool.segments()[0].path.unlink()
    assert spool.write(random_block())


def test_the_oldest_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LLM_SPOOL_MAX_BYTES", "35000")
    monkeypatch.setenv("OTEL_LLM_SPOOL_FULL", "drop-oldest")
    spool, other = Spool(tmp_path), Spool(tmp_path)
    written: list[Segment] = []
    for number_ in range(8):
        writer = other if number_ % 3 == 2 else spool
        assert writer.write(random_block())
        written.append(spool.segments()[-1])
    assert spool.segments() == written[-len(spool.segments()) :]
    assert len(spool.segments()) in (3, 4)  # one does not see at once what the other writes
    gone = 8 - len(spool.segments())
    assert spool.dropped + other.dropped == 10 * gone
    spool.close()
    other.close()
    assert sum(drop.segments for drop in spool.drops()) == gone


def test_a_segment_larger_than_the_spool_drives_nothing_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LLM_SPOOL_MAX_BYTES", "25000")
    monkeypatch.setenv("OTEL_LLM_SPOOL_FULL", "drop-oldest")
    spool = Spool(tmp_path)
    assert spool.write(random_block())
    assert not spool.write(Block(7, os.urandom(30_000), "Native"))
    assert spool.dropped == 7
    assert len(spool.segments()) == 1


def test_what_is_too_old_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    spool.write(Block(3, b"spans", "Native"))
    (segment,) = spool.segments()
    week_old = segment.created_ns - 7 * 86_400 * 10**9
    segment.path.rename(segment.path.with_name(segment.path.name.replace(str(segment.created_ns), str(week_old))))
    Spool(tmp_path).write(Block(1, b"span", "Native"))
    assert [segment.rows for segment in spool.segments()] == [3, 1]
    monkeypatch.setenv("OTEL_LLM_SPOOL_MAX_AGE", "6d")
    young = Spool(tmp_path)
    assert young.write(Block(2, b"spans", "Native"))
    assert [segment.rows for segment in spool.segments()] == [1, 2]
    (drop,) = spool.drops()
    assert (drop.reason, drop.spans, drop.segments) == ("age", 3, 1)


def test_the_folder_is_not_listed_for_every_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[Path] = []
    scandir = os.scandir

    def counted(path: Path) -> Any:
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    spool = Spool(tmp_path)
    for _ in range(50):
        spool.write(Block(1, b"span", "Native"))
    assert len(listed) == 1


def test_what_a_killed_writer_left_is_swept_up(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.write(Block(1, b"span", "Native"))
    old, fresh = (spool.directory / f"{n}-1-ab-5-00000000.native.tmp" for n in (1, 2))
    old.write_bytes(b"torn")
    fresh.write_bytes(b"being written")
    os.utime(old, (0, 0))
    Spool(tmp_path).write(Block(1, b"span", "Native"))
    assert (old.exists(), fresh.exists()) == (False, True)


def test_a_torn_line_of_the_drops_is_skipped(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert spool.drops() == []
    spool.directory.mkdir()
    (spool.directory / "dropped").write_text(
        '{"at": "2026-11-20T10:00:00+00:00", "reason": "full", "spans": 5, "segments": 1}\n{"at": "2026-11\n7\n[]\n'
    )
    assert [drop.spans for drop in spool.drops()] == [5]


@pytest.mark.parametrize(
    ("text", "seconds"), [("", None), ("90s", 90), ("45m", 2700), ("12H", 43_200), ("30d", 2_592_000), ("0d", None)]
)
def test_durations(text: str, seconds: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LLM_SPOOL_MAX_AGE", text)
    assert duration("OTEL_LLM_SPOOL_MAX_AGE") == seconds


@pytest.mark.parametrize("text", ["30", "1w", "soon", "-1d", "1.5d"])
def test_a_duration_that_makes_no_sense_is_named(
    text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_LLM_SPOOL_MAX_AGE", text)
    assert duration("OTEL_LLM_SPOOL_MAX_AGE") is None
    assert "OTEL_LLM_SPOOL_MAX_AGE" in caplog.text
