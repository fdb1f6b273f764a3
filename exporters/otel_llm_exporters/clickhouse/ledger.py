"""How spans get from the application into the spool.

`LedgerProcessor` takes every span that ends, sampled or not. `ClickHouseSpanExporter` takes what OpenTelemetry's own
processors export, for `OTEL_TRACES_EXPORTER=clickhouse` alone. With both, a span is stored once.

Settings: `OTEL_LLM_LEDGER_INTERVAL` (milliseconds, 1000) and `OTEL_LLM_LEDGER_BATCH_SIZE` (spans, 512), whichever comes
first, and `OTEL_LLM_LEDGER_QUEUE_SIZE` (spans in memory at most, 50000). At exit everything is written. What ends the
process without an exit (`kill -9`, or SIGTERM in an application that does not handle it) loses what ended in the last
interval.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
from collections import deque
from collections.abc import Sequence
from functools import cached_property

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_llm_exporters.clickhouse.native import encode
from otel_llm_exporters.clickhouse.spool import Spool, after_fork, home, queue_size, setting
from otel_llm_semconv import attributes as A

_logger = logging.getLogger(__name__)
_TAKEN = "_otel_llm_ledger"
# A backlog makes larger segments, which compress better and are imported faster.
_LARGEST_SEGMENT = 4096


class LedgerProcessor(SpanProcessor):
    """Writes every span that ends into the spool, from a thread of its own."""

    def __init__(self) -> None:
        self.dropped = 0
        """Spans that are lost, because they ended faster than they could be written."""
        self._interval = setting("OTEL_LLM_LEDGER_INTERVAL", 1000) / 1000
        self._batch_size = setting("OTEL_LLM_LEDGER_BATCH_SIZE", 512)
        self._queue_size = queue_size()
        self._queue: deque[ReadableSpan] = deque()
        self._reset()
        after_fork(self._reset_in_child)
        atexit.register(self.shutdown)

    @cached_property
    def spool(self) -> Spool:
        """Where the segments go. Found when the first span ends: most of a start-up's processes never see one."""
        return Spool(home())

    def on_end(self, span: ReadableSpan) -> None:
        """Take the span; the thread does the rest."""
        context = span.get_span_context()
        if context is not None and not context.trace_flags.sampled and not _counts(span):
            return
        waiting = len(self._queue)
        if waiting >= self._queue_size:
            self.dropped += 1
            return
        setattr(span, _TAKEN, True)
        self._queue.append(span)
        if self._closed:
            self.force_flush()
        elif self._thread is None:
            self._start()
        elif waiting >= self._batch_size and not self._wake.is_set():
            self._wake.set()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Write what has ended so far, in the calling thread. False when some of it is not on disk."""
        with self._writing:
            durable = self.spool.retry()
            while count := min(len(self._queue), _LARGEST_SEGMENT):
                durable = self.spool.write(encode([self._queue[index] for index in range(count)]))
                # Only now: whatever interrupts the lines above must not take the spans with it.
                for _ in range(count):
                    self._queue.popleft()
        return durable

    def shutdown(self) -> None:
        """Write everything. Spans that end later are written at once; a second call does nothing new."""
        self._closed = True
        self._wake.set()
        self.force_flush()
        self.spool.close()
        if self.dropped:
            _logger.error("otel-llm lost %d spans, because they ended faster than they could be written.", self.dropped)
            self.dropped = 0

    def _start(self) -> None:
        with self._writing:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="otel-llm-ledger", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The interpreter is on its way out and allows no new threads.
                self._closed = True
            else:
                self._thread = thread
        if self._closed:
            self.force_flush()

    def _run(self) -> None:
        try:
            while not self._closed:
                self._wake.wait(self._interval)
                self._wake.clear()
                self.force_flush()
        finally:
            self._thread = None

    def _reset(self) -> None:
        self._queue.clear()
        self._thread: threading.Thread | None = None
        self._writing = threading.RLock()
        self._wake = threading.Event()
        self._closed = False

    def _reset_in_child(self) -> None:
        self._reset()
        self.dropped = 0
        # Children of multiprocessing (and Celery's) leave by os._exit, past atexit: only its own finalizers run.
        if util := sys.modules.get("multiprocessing.util"):
            util.register_after_fork(self, _shut_down_at_exit)


def _counts(span: ReadableSpan) -> bool:
    # Of a trace that is not sampled, what cost something is kept, and what caused it: no health checks.
    attributes = span.attributes or {}
    return A.GEN_AI_OPERATION_NAME in attributes or A.OTEL_LLM_INTERACTION_CALLS in attributes


def _shut_down_at_exit(ledger: LedgerProcessor) -> None:
    sys.modules["multiprocessing.util"].Finalize(ledger, ledger.shutdown, exitpriority=0)


class ClickHouseSpanExporter(SpanExporter):
    """Writes each batch as one durable segment of the spool."""

    def __init__(self) -> None:
        self._spool = Spool(home())

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Return SUCCESS once the spans are on disk, or in the ledger's hands. What fails is kept and tried again."""
        own = [span for span in spans if not hasattr(span, _TAKEN)]
        return SpanExportResult.SUCCESS if self._spool.write(encode(own)) else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Write what the disk has refused so far. False when it still refuses."""
        return self._spool.retry()

    def shutdown(self) -> None:
        """Write what the disk has refused so far, for the last time."""
        self._spool.close()
