from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path

import pytest
from store_parts import MakeSpan

from otel_llm_exporters.clickhouse.native import Block, encode
from otel_llm_exporters.clickhouse.spool import CorruptSegmentError, Segment, Spool, home, setting


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
        spool.write(Block(1, b"x"))
    (spool.directory / "1790000000-1-ab-5-00000000.native.tmp").write_bytes(b"torn")
    (spool.directory / "notes.txt").write_text("mine")
    segments = spool.segments()
    assert len(segments) == 3
    assert [segment.created_ns for segment in segments] == sorted(segment.created_ns for segment in segments)


def test_changed_bytes_are_noticed_and_put_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.write(Block(1, b"some spans"))
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
    assert not any(spool.write(Block(10, b"spans")) for _ in range(5))
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
        assert not spool.write(Block(10, b"spans"))
    assert (spool.waiting, spool.dropped) == (20, 20)
    spool.close()
    assert caplog.records[-1].levelno == logging.ERROR
    assert "lost 40 spans" in caplog.records[-1].message


def test_a_folder_that_cannot_be_is_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("not a folder")
    spool = Spool(tmp_path / "file")
    assert not spool.write(Block(1, b"span"))
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
    assert setting("OTEL_LLM_LEDGER_INTERVAL", 7) == value
    assert ("OTEL_LLM_LEDGER_INTERVAL" in caplog.text) == (value == 7 and text != "")


def test_a_name_that_is_no_segment(tmp_path: Path) -> None:
    assert Segment.of(tmp_path / "1-2-3.native.zst") is None
