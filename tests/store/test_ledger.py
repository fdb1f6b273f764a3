from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from store_parts import MakeSpan

from otel_llm_exporters.clickhouse import ClickHouseSpanExporter, LedgerProcessor
from otel_llm_exporters.clickhouse.spool import Spool
from otel_llm_semconv import attributes as A


def stored(home: Path) -> int:
    return sum(segment.rows for segment in Spool(home).segments())


def run(home: Path, code: str, *, expect: int = 0) -> str:
    """Run an application that has a provider with a ledger."""
    setup = """
        import multiprocessing, os, resource, signal, sys, time, threading
        from opentelemetry.sdk.trace import TracerProvider
        from otel_llm_exporters.clickhouse import LedgerProcessor
        provider = TracerProvider(shutdown_on_exit=False)  # the ledger looks after itself
        ledger = LedgerProcessor()
        provider.add_span_processor(ledger)
        tracer = provider.get_tracer("t")
        def spans(count):
            for _ in range(count):
                tracer.start_span("s").end()
    """
    script = textwrap.dedent(setup) + textwrap.dedent(code)
    environment = {**os.environ, "OTEL_LLM_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == expect, done.stderr
    return done.stderr


def test_20000_spans_at_once_are_all_durable(ledger_home: Path, make_span: MakeSpan) -> None:
    ended = [make_span({"n": n}) for n in range(200)] * 100
    ledger = LedgerProcessor()
    threads = [threading.Thread(target=lambda: [ledger.on_end(span) for span in ended[:5000]]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.shutdown()
    assert stored(ledger_home) == 20_000
    assert ledger.spool.dropped == 0


def test_spans_are_on_disk_after_an_interval(
    ledger_home: Path, make_span: MakeSpan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_LLM_LEDGER_INTERVAL", "10")
    ledger = LedgerProcessor()
    ledger.on_end(make_span())
    soon_stored(ledger_home, 1)
    ledger.shutdown()


def test_a_full_batch_does_not_wait_for_the_interval(
    ledger_home: Path, make_span: MakeSpan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_LLM_LEDGER_INTERVAL", "3600000")
    monkeypatch.setenv("OTEL_LLM_LEDGER_BATCH_SIZE", "5")
    ledger = LedgerProcessor()
    for _ in range(5):
        ledger.on_end(make_span())
    soon_stored(ledger_home, 5)
    ledger.shutdown()


def test_flush_and_shutdown_write_at_once_and_late_spans_too(ledger_home: Path, make_span: MakeSpan) -> None:
    ledger = LedgerProcessor()
    ledger.on_end(make_span())
    assert ledger.force_flush()
    assert stored(ledger_home) == 1
    ledger.on_end(make_span())
    ledger.shutdown()
    ledger.shutdown()
    assert stored(ledger_home) == 2
    ledger.on_end(make_span())
    assert stored(ledger_home) == 3


def test_flush_says_when_something_is_not_on_disk(ledger_home: Path, make_span: MakeSpan) -> None:
    (ledger_home / "spool").write_text("in the way")
    ledger = LedgerProcessor()
    ledger.on_end(make_span())
    assert not ledger.force_flush()
    (ledger_home / "spool").unlink()
    assert ledger.force_flush()
    assert stored(ledger_home) == 1


def test_spans_that_end_faster_than_they_can_be_written_wait_as_bytes(
    ledger_home: Path, make_span: MakeSpan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_LLM_LEDGER_INTERVAL", "3600000")
    ledger = LedgerProcessor()
    monkeypatch.setattr(ledger, "_start", lambda: None)
    for _ in range(2000):
        ledger.on_end(make_span({"text": "x" * 10_000}))
    assert ledger.spool.waiting > 1800
    assert stored(ledger_home) == 0
    assert ledger.force_flush()
    assert stored(ledger_home) == 2000


def soon_stored(home: Path, count: int) -> float:
    """Seconds until that many spans are on disk."""
    began = time.monotonic()
    while stored(home) < count and time.monotonic() - began < 60:
        time.sleep(0.005)
    assert stored(home) == count
    return time.monotonic() - began


def test_the_end_of_an_interaction_does_not_wait_for_the_interval(
    ledger_home: Path, make_span: MakeSpan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_LLM_LEDGER_INTERVAL", "3600000")
    ledger = LedgerProcessor()
    for done in range(3):
        ledger.on_end(make_span({A.GEN_AI_OPERATION_NAME: "chat"}))
        ledger.on_end(make_span({A.OTEL_LLM_INTERACTION_CALLS: 1}))
        soon_stored(ledger_home, 2 * done + 2)
    ledger.shutdown()


def test_many_interactions_share_segments(
    ledger_home: Path, make_span: MakeSpan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_LLM_LEDGER_INTERVAL", "3600000")
    ledger = LedgerProcessor()
    began = time.monotonic()
    for _ in range(50):
        ledger.on_end(make_span({A.OTEL_LLM_INTERACTION_CALLS: 1}))
        time.sleep(0.005)
    soon_stored(ledger_home, 50)
    assert len(Spool(ledger_home).segments()) <= 2 + (time.monotonic() - began) / 0.5
    ledger.shutdown()


class RecordOnly(Sampler):
    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        return SamplingResult(Decision.RECORD_ONLY, args[4])

    def get_description(self) -> str:
        return "record only"


def test_of_traces_that_are_not_sampled_calls_and_their_roots_are_taken(ledger_home: Path) -> None:
    provider = TracerProvider(sampler=RecordOnly(), shutdown_on_exit=False)
    provider.add_span_processor(LedgerProcessor())
    tracer = provider.get_tracer("t")
    tracer.start_span("call", attributes={A.GEN_AI_OPERATION_NAME: "chat"}).end()
    tracer.start_span("root", attributes={A.OTEL_LLM_INTERACTION_CALLS: 1}).end()
    tracer.start_span("GET /health").end()
    provider.shutdown()
    assert stored(ledger_home) == 2


def test_ledger_and_exporter_store_a_span_once(ledger_home: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(LedgerProcessor())
    provider.add_span_processor(BatchSpanProcessor(ClickHouseSpanExporter()))
    for _ in range(10):
        provider.get_tracer("t").start_span("s").end()
    provider.shutdown()
    assert stored(ledger_home) == 10


def test_the_exporter_alone_stores_every_batch(ledger_home: Path, make_span: MakeSpan) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = ClickHouseSpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("t").start_span("s").end()
    assert stored(ledger_home) == 1
    assert exporter.export([make_span(), make_span()]) is SpanExportResult.SUCCESS
    assert stored(ledger_home) == 3


def test_the_exporter_keeps_what_the_disk_refuses(ledger_home: Path, make_span: MakeSpan) -> None:
    (ledger_home / "spool").write_text("in the way")
    exporter = ClickHouseSpanExporter()
    assert exporter.export([make_span()]) is SpanExportResult.FAILURE
    assert not exporter.force_flush()
    (ledger_home / "spool").unlink()
    exporter.shutdown()
    assert stored(ledger_home) == 1


@pytest.mark.parametrize(
    ("group", "name", "cls"),
    [
        ("opentelemetry_traces_exporter", "clickhouse", ClickHouseSpanExporter),
        ("otel_llm_ledger", "clickhouse", LedgerProcessor),
    ],
)
def test_entry_points_make_them_without_arguments(ledger_home: Path, group: str, name: str, cls: type) -> None:
    (entry,) = entry_points(group=group, name=name)
    assert isinstance(entry.load()(), cls)


def test_at_exit_nothing_is_lost(tmp_path: Path) -> None:
    run(tmp_path, "spans(700)")
    assert stored(tmp_path) == 700


def test_exit_by_an_exception_loses_nothing(tmp_path: Path) -> None:
    run(tmp_path, "spans(3); raise SystemExit(3)", expect=3)
    assert stored(tmp_path) == 3


def test_a_kill_loses_no_more_than_the_last_interval(tmp_path: Path) -> None:
    run(
        tmp_path,
        "spans(10); ledger.force_flush(); spans(5); os.kill(os.getpid(), signal.SIGKILL)",
        expect=-signal.SIGKILL,
    )
    assert 10 <= stored(tmp_path) <= 15


def test_a_forked_child_has_its_own_spans_and_the_parent_keeps_its(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        spans(10)  # still in the queue, most likely
        for _ in range(3):
            if os.fork() == 0:
                spans(4)
                sys.exit()
        for _ in range(3):
            os.wait()
        spans(1)
        """,
    )
    assert stored(tmp_path) == 10 + 3 * 4 + 1
    assert len({segment.path.name.split("-")[1] for segment in Spool(tmp_path).segments()}) == 4


def test_a_fork_while_the_ledger_writes_does_not_hang(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        threading.Thread(target=lambda: [spans(50) for _ in range(60)], daemon=False).start()
        for _ in range(20):
            if os.fork() == 0:
                spans(1)
                ledger.force_flush()
                os._exit(0)
            os.wait()
        """,
    )
    assert stored(tmp_path) == 60 * 50 + 20


def test_children_of_multiprocessing_lose_nothing(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        children = [multiprocessing.get_context("fork").Process(target=spans, args=(5,)) for _ in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        """,
    )
    assert stored(tmp_path) == 10


def test_a_disk_that_refuses_never_reaches_the_application(tmp_path: Path) -> None:
    warnings = run(
        tmp_path,
        """
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        spans(600)
        assert not ledger.force_flush()
        spans(600)
        assert not ledger.force_flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        """,
    )
    assert stored(tmp_path) == 1200
    assert warnings.count("\n") == 1
    assert "File too large" in warnings


MEMORY = """
    def memory(name):
        return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))
    def calls(count):
        for n in range(count):
            attributes = {f"otel_llm.attribute.{i}": f"value {n} {i}" if i % 2 else n * i for i in range(30)}
            attributes["text"] = emoji + os.urandom(length // 2).hex()
            tracer.start_span("chat m", attributes=attributes).end()
    def busy(count):
        threads = [threading.Thread(target=calls, args=(count,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    busy(300)
    ledger.force_flush()
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
    before = memory("VmRSS")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads its memory from /proc")
@pytest.mark.parametrize(
    "trouble",
    ["shutil.rmtree(spool); open(spool, 'w')", "segment.os.fsync = lambda _: time.sleep(3600)"],
    ids=["refuses", "hangs"],
)
@pytest.mark.parametrize(("length", "emoji"), [(2000, ""), (20_000, "\N{GRINNING FACE}")], ids=["2 KB", "20 KB"])
def test_the_memory_of_the_application_stays_small_whatever_the_disk_does(
    tmp_path: Path, trouble: str, length: int, emoji: str
) -> None:
    said = run(
        tmp_path,
        f"""
        import shutil, otel_llm_exporters.clickhouse.segment as segment
        spool = str(ledger.spool.directory)
        length, emoji = {length}, {emoji!r}
        {textwrap.indent(textwrap.dedent(MEMORY), " " * 8).strip()}
        {trouble}
        busy(3000)
        print(memory("VmHWM") - before, ledger.spool.dropped, ledger.spool.waiting, file=sys.stderr)
        os._exit(0)
        """,
    )
    grown, dropped, waiting = map(int, said.splitlines()[-1].split())
    assert grown < 10_000_000
    assert dropped > 0
    assert 5000 < dropped + waiting <= 6000
    assert said.count("otel-llm cannot write") == 1
