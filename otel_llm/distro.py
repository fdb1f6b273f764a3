"""What `opentelemetry-instrument` loads: no settings needed.

Without settings there is a tracer provider whose spans go to the ledger. As soon as a setting asks for an exporter
(`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_EXPORTER` ...), OpenTelemetry's own configurator does what it always does,
and the ledger is attached beside it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, cast
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.distro import BaseDistro  # pyright: ignore[reportMissingTypeStubs]
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util._importlib_metadata import (  # read once per process, and not once more for us
    entry_points,  # pyright: ignore[reportUnknownVariableType]
)
from opentelemetry.util.types import Attributes

from otel_llm.engine.propagation import join_parent_process, propagate_by
from otel_llm.foreign import ForeignCalls, is_ours
from otel_llm.guard import guard, logger
from otel_llm.interaction import InteractionProcessor
from otel_llm.late import drain, end_before_others
from otel_llm.providers import is_provider
from otel_llm_semconv import attributes as A

_OTLP_HTTP_PORT = 4318
_SIGNALS = ("TRACES", "METRICS", "LOGS")
_PRICES_BEFORE_FORK = 2.0
_LAST_PRICES = 10.0
"""Seconds at the most: a call that waits for its price on a busy machine is in no segment yet."""
_LAST_WORDS = 1.0
_LAST_PATIENCE = 5.0


class Distro(BaseDistro):
    """The distribution: sets defaults only for what nobody set."""

    def _configure(self, **kwargs: Any) -> None:
        otlp = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT") for signal in ("", "TRACES_"))
        os.environ.setdefault("OTEL_TRACES_EXPORTER", "otlp" if otlp else "none")
        if urlsplit(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")).port == _OTLP_HTTP_PORT:
            os.environ.setdefault("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        for kind in ("METRICS", "LOGS"):
            own = os.environ.get(f"OTEL_EXPORTER_OTLP_{kind}_ENDPOINT")
            os.environ.setdefault(f"OTEL_{kind}_EXPORTER", "otlp" if own else "none")


class Configurator:
    """Sets up the tracer provider, and the ledger on it."""

    def configure(self, **kwargs: Any) -> None:
        """Called by `opentelemetry-instrument`, with the version of the auto-instrumentation."""
        if all(os.environ.get(f"OTEL_{kind}_EXPORTER") == "none" for kind in _SIGNALS) and not os.environ.get(
            "OTEL_CONFIG_FILE"
        ):
            # Importing OpenTelemetry's configurator (metrics, logs) is most of the start-up that it would cost.
            trace.set_tracer_provider(TracerProvider())
        else:
            from opentelemetry.sdk._configuration import _OTelSDKConfigurator  # pyright: ignore[reportPrivateUsage]

            cast("Any", _OTelSDKConfigurator()).configure(**kwargs)
        attach()


def attach(provider: trace.TracerProvider | None = None) -> None:
    """Attach interactions and the ledger to `provider`, by default the global one. Twice is once.

    Called when another distribution was chosen, too. A provider that is not the SDK's is left alone, with one warning.
    """
    with guard:
        provider = provider or trace.get_tracer_provider()
        if not isinstance(provider, TracerProvider):
            logger.warning("otel-llm found no OpenTelemetry SDK tracer provider to attach to: calls are not recorded")
            return
        if getattr(provider, "_otel_llm_attached", False):
            return
        provider._otel_llm_attached = True  # pyright: ignore[reportAttributeAccessIssue]
        provider.sampler = RecordCalls(provider.sampler)
        propagate_by(is_provider)
        if provider is trace.get_tracer_provider():
            join_parent_process()
        # First in line, and a span of ours always starts: another processor that raises cannot keep it from the ledger.
        ledgers = _ledgers()
        _prepend(provider, [InteractionProcessor(), ForeignCalls(), *ledgers])
        if ledgers:
            _write_at_every_end(ledgers)
        end_before_others()


def _ledgers() -> list[SpanProcessor]:
    found: list[SpanProcessor] = []
    for entry in entry_points(group="otel_llm_ledger"):
        with guard:
            found.append(entry.load()())
    return found


def _write_at_every_end(ledgers: Sequence[SpanProcessor]) -> None:
    """Have the ledgers write at the ends of a process that are no exit of the interpreter."""

    def write(*_: Any, **__: Any) -> None:
        with guard:
            drain(_LAST_PRICES)
            for ledger in ledgers:
                ledger.force_flush()

    def in_child() -> None:
        # Children of multiprocessing and of Celery's pool leave by os._exit, each past some hook of its own.
        loaded = cast("dict[str, Any]", sys.modules)
        if util := loaded.get("multiprocessing.util"):
            util.register_after_fork(write, partial(util.Finalize, callback=write, exitpriority=1))
        if signals := loaded.get("celery.signals"):
            signals.worker_process_shutdown.connect(write, weak=False, dispatch_uid=__name__)

    if hasattr(os, "register_at_fork"):
        # A thread that is loading prices would leave half a module to the child.
        os.register_at_fork(before=lambda: drain(_PRICES_BEFORE_FORK) and None, after_in_child=in_child)
    _write_at_sigterm(write)


def _write_at_sigterm(write: Callable[[], None]) -> None:
    """Where nothing handles SIGTERM, write before it ends the process; the exit status stays the same.

    Python handles signals between two steps of its main thread: one that comes in the instant before that waits for
    something is handled after it, here as in every program with a handler.
    """

    def on_sigterm(number: int, _: FrameType | None) -> None:
        # Whoever installed a handler later and calls ours from it decides what becomes of the process.
        ends = signal.getsignal(number) is on_sigterm
        if ends:
            signal.signal(number, signal.SIG_DFL)
        done = threading.Event()

        def end() -> None:
            if ends:
                os.kill(os.getpid(), number)
            done.set()

        def finish() -> None:
            write()
            end()

        # Not in this thread: it may have been interrupted where it holds the very locks that are needed now.
        with guard:
            threading.Thread(target=finish, name="otel-llm-sigterm", daemon=True).start()
            if not done.wait(_LAST_WORDS):
                # A disk that hangs must not keep the process alive.
                last = threading.Timer(_LAST_PATIENCE, end)
                last.daemon = True
                last.start()

    with suppress(ValueError):  # not in the main thread, or not in the main interpreter
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, on_sigterm)


def _prepend(provider: TracerProvider, processors: list[SpanProcessor]) -> None:
    active = provider._active_span_processor  # pyright: ignore[reportPrivateUsage]
    earlier = getattr(active, "_span_processors", ())
    for processor in processors:
        provider.add_span_processor(processor)
    with guard:
        active._span_processors = (*processors, *earlier)  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]
    start = active.on_start

    def on_start(span: Span, parent_context: Context | None = None) -> None:
        if not is_ours(span):
            start(span, parent_context)
            return
        with guard:
            start(span, parent_context)

    active.on_start = on_start


class RecordCalls(Sampler):
    """Another sampler's decisions, but calls to models, and the requests that cause them, are recorded in any case.

    A call of a trace that is not sampled reaches the ledger, and no exporter: cost is complete at any sampling rate,
    and so is its attribution.
    """

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """The inner decision; a dropped call or request is recorded, unsampled."""
        result = self._inner.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        counts = kind in (SpanKind.SERVER, SpanKind.CONSUMER) or A.GEN_AI_OPERATION_NAME in (attributes or {})
        if result.decision is Decision.DROP and counts:
            return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)
        return result

    def get_description(self) -> str:
        """For humans."""
        return f"RecordCalls({self._inner.get_description()})"
