"""How spans get from the application into the spool.

`LedgerProcessor` takes every span that ends, sampled or not. `ClickHouseSpanExporter` takes what OpenTelemetry's own
processors export, for `OTEL_TRACES_EXPORTER=clickhouse` alone. With both, a span is stored once.

A span is on disk 0.1 seconds after its interaction has ended (0.5 in a process where they keep ending), and at the
latest after `OTEL_LLM_LEDGER_INTERVAL` (milliseconds, 1000) or `OTEL_LLM_LEDGER_BATCH_SIZE` (spans, 512), whichever
comes first. At exit everything is written. What ends the process without an exit (`kill -9`) loses what had not come
that far.

With `OTEL_LLM_CLICKHOUSE_URL` the segments go on to that server, from a thread of their own: `shipper.py`.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_llm_exporters.clickhouse.rows import encode
from otel_llm_exporters.clickhouse.server import server_url
from otel_llm_exporters.clickhouse.settings import home, number
from otel_llm_exporters.clickhouse.spool import Spool, after_fork
from otel_llm_semconv import attributes as A

if TYPE_CHECKING:
    from otel_llm_exporters.clickhouse.shipper import Shipper

_TAKEN = "_otel_llm_ledger"
# A process that ends hundreds of interactions in a second must not sync a file for each: segments of interactions come
# a tenth of a second after the first of them ended, and half a second apart.
_GATHER, _APART = 0.1, 0.5
_LIVE_BYTES = 2 << 20
_SPAN_BYTES = 6 << 10
"""Of a live span, beside what it says."""
_FEWEST, _FIRST_GUESS = 4, 64
# Encoding needs several times the memory of what it encodes, and an application's thread that helps some milliseconds.
_BLOCKS = 2

# How long an exit waits for a server; what is not sent by then, the next process sends.
_FAREWELL = 5.0

_SOON, _NOW = 1, 2


class LedgerProcessor(SpanProcessor):
    """Writes every span that ends into the spool, from a thread of its own.

    Spans wait as objects in 2 MB at most, by the size of those before them, then as compressed blocks in the spool's
    memory. When they end faster than they can be encoded, the threads that end them help.
    """

    def __init__(self) -> None:
        self._interval = number("OTEL_LLM_LEDGER_INTERVAL", 1000) / 1000
        self._batch_size = number("OTEL_LLM_LEDGER_BATCH_SIZE", 512)
        self._most = _FIRST_GUESS
        self._reset()
        after_fork(self._reset_in_child)
        atexit.register(self.shutdown)

    @cached_property
    def spool(self) -> Spool:
        """Where the segments go. Found when the first span ends: most of a start-up's processes never see one."""
        return Spool(home())

    def on_end(self, span: ReadableSpan) -> None:
        """Take the span; the thread does the rest."""
        attributes = span.attributes or {}
        ends_interaction = A.OTEL_LLM_INTERACTION_CALLS in attributes
        context = span.get_span_context()
        # Of a trace that is not sampled, what cost something is kept, and what caused it: no health checks.
        sampled = context is None or context.trace_flags.sampled
        if not sampled and not ends_interaction and A.GEN_AI_OPERATION_NAME not in attributes:
            return
        setattr(span, _TAKEN, True)
        self._queue.append(span)
        if self._closed:
            self.force_flush()
        elif self._thread is None:
            self._start()
        waiting = len(self._queue)
        if waiting >= self._most:
            self._encode()
        if waiting >= min(self._batch_size, self._most):
            self._want(_NOW)
        elif ends_interaction:
            self._want(_SOON)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Write what has ended so far, in the calling thread. False when something of it is not on disk."""
        if self.spool.waiting:
            self.spool.retry()
        # What ends meanwhile is not waited for: an application may never fall silent. The lock is taken in any case.
        left = len(self._queue) - self._encode()
        while left > 0 and (taken := self._encode()):
            left -= taken
        return self.spool.retry()

    def shutdown(self) -> None:
        """Write everything. Spans that end later are written at once; a second call does nothing new."""
        ships = self._thread is not None and not self._closed
        self._closed = True
        self._want(_NOW)
        self.force_flush()
        self.spool.close()
        # The thread of a process that lived for a moment may not have come to it.
        if ships and (shipper := self._shipping()):
            shipper.close(_FAREWELL)
            self._shipper = None

    def _encode(self) -> int:
        """Turn spans into a block in the spool's memory; return how many."""
        # Held until they are in the spool: whoever flushes waits for those that others encode.
        with self._encoding:
            spans = [self._queue.popleft() for _ in range(min(len(self._queue), self._most // _BLOCKS))]
            if not spans:
                return 0
            with ExitStack() as interrupted:
                # An interrupt must not take them along.
                interrupted.callback(self._queue.extendleft, reversed(spans))
                block = encode(spans)
                interrupted.pop_all()
            # Text with an emoji in it takes up to four times what it takes encoded.
            self._most = max(_FEWEST, _LIVE_BYTES // (_SPAN_BYTES + 4 * len(block.data) // len(spans)))
            self.spool.keep(block)
            return len(spans)

    def _want(self, due: int) -> None:
        # Of a queue that a finalizer may use while this very thread does; an Event could be locked then.
        if due > self._due:
            self._due = due
            self._wake.put(due)

    def _start(self) -> None:
        with self._encoding:
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
            self._shipping()
            written = float("-inf")
            while not self._closed:
                with suppress(Empty):
                    if self._wake.get(timeout=self._interval) == _SOON:
                        pause = max(_GATHER, written + _APART - time.monotonic())
                        self._wake.get(timeout=min(pause, self._interval))
                self._due = 0
                self.force_flush()
                written = time.monotonic()
        finally:
            self._thread = None

    def _shipping(self) -> Shipper | None:
        """The shipper of this process, at work; None without a server."""
        with self._encoding:
            if self._shipper is None and (url := server_url()):
                from otel_llm_exporters.clickhouse.shipper import Shipper

                shipper = Shipper(self.spool, url)
                with suppress(RuntimeError):  # no new threads any more: the next process sends
                    shipper.start()
                    self._shipper = shipper
            return self._shipper

    def _reset(self) -> None:
        self._queue: deque[ReadableSpan] = deque()
        self._thread: threading.Thread | None = None
        self._shipper: Shipper | None = None
        self._encoding = threading.RLock()
        self._wake: SimpleQueue[int] = SimpleQueue()
        self._due = 0
        self._closed = False

    def _reset_in_child(self) -> None:
        self._reset()
        # Children of multiprocessing (and Celery's) leave by os._exit, past atexit: only its own finalizers run.
        if util := sys.modules.get("multiprocessing.util"):
            util.register_after_fork(self, _shut_down_at_exit)


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
