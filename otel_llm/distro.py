"""What `opentelemetry-instrument` loads: no settings needed.

Without settings there is a tracer provider whose spans go to the ledger. As soon as a setting asks for an exporter
(`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_EXPORTER` ...), OpenTelemetry's own configurator does what it always does,
and the ledger is attached beside it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.distro import BaseDistro  # pyright: ignore[reportMissingTypeStubs]
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util._importlib_metadata import (  # read once per process, and not once more for us
    EntryPoint,
    entry_points,  # pyright: ignore[reportUnknownVariableType]
)
from opentelemetry.util.types import Attributes

from otel_llm.guard import guard, logger
from otel_llm.interaction import InteractionProcessor
from otel_llm_semconv import attributes as A

_OTLP_HTTP_PORT = 4318
_SIGNALS = ("TRACES", "METRICS", "LOGS")


class Distro(BaseDistro):
    """The distribution: sets defaults only for what nobody set."""

    def _configure(self, **kwargs: Any) -> None:
        otlp = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT") for signal in ("", "TRACES_"))
        os.environ.setdefault("OTEL_TRACES_EXPORTER", "otlp" if otlp else "none")
        if urlsplit(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")).port == _OTLP_HTTP_PORT:
            os.environ.setdefault("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        for signal in ("METRICS", "LOGS"):
            own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
            os.environ.setdefault(f"OTEL_{signal}_EXPORTER", "otlp" if own else "none")

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Load one of an `opentelemetry_instrumentor`. One of ours that fails does not keep the next from loading."""
        load = cast("Any", super()).load_instrumentor
        if entry_point.name.startswith("otel_llm_"):
            with guard:
                load(entry_point, **kwargs)
        else:
            load(entry_point, **kwargs)


class Configurator:
    """Sets up the tracer provider, and the ledger on it."""

    def configure(self, **kwargs: Any) -> None:
        """Called by `opentelemetry-instrument`, with the version of the auto-instrumentation."""
        if all(os.environ.get(f"OTEL_{signal}_EXPORTER") == "none" for signal in _SIGNALS) and not os.environ.get(
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
        # First in line: another processor that raises cannot keep a span from the ledger.
        _prepend(provider, [InteractionProcessor(), *_ledgers()])


def _ledgers() -> list[SpanProcessor]:
    found: list[SpanProcessor] = []
    for entry in entry_points(group="otel_llm_ledger"):
        with guard:
            found.append(entry.load()())
    return found


def _prepend(provider: TracerProvider, processors: list[SpanProcessor]) -> None:
    active = provider._active_span_processor  # pyright: ignore[reportPrivateUsage]
    earlier = getattr(active, "_span_processors", ())
    for processor in processors:
        provider.add_span_processor(processor)
    with guard:
        active._span_processors = (*processors, *earlier)  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]


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
