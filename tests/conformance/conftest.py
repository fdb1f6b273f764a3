"""What the conformance tests share: the same use of an SDK, bare and instrumented, and the ledger held to the bill."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from examples.offline_provider import OfflineProvider
from otel_llm.engine import counted, pending
from otel_llm.integrations import SDKInstrumentor
from otel_llm.settings import home
from otel_llm_semconv import attributes as A
from tests.conformance.ledger import assert_ledger_equals_bill
from tests.conformance.ways import Seen, Way, collect_garbage
from tests.conftest import Spans

Use = Callable[[Seen], Awaitable[None]]
Twice = Callable[[Way, Use], Awaitable[tuple[Seen, list[ReadableSpan]]]]


def become_another_process(*, elsewhere: bool = False) -> None:
    """Forget all that this process knows of earlier requests; `elsewhere`, of another machine."""
    for memory in (pending._open, pending._seen, counted._claims, counted._highest):  # pyright: ignore[reportPrivateUsage]
        memory.clear()
    if elsewhere:
        shutil.rmtree(home() / "counted", ignore_errors=True)


@pytest.fixture
def audited(provider: OfflineProvider, calls: Spans) -> Callable[[], list[ReadableSpan]]:
    """The calls that were recorded, once they have been held against the bill."""

    def audit() -> list[ReadableSpan]:
        found = [span for span in calls() if A.GEN_AI_OPERATION_NAME in (span.attributes or {})]
        provider.settle()
        assert_ledger_equals_bill(found, provider.bill)
        return found

    return audit


@pytest.fixture
def twice(
    provider: OfflineProvider,
    recorder: InMemorySpanExporter,
    calls: Spans,
    audited: Spans,
    instrumentors: list[SDKInstrumentor],
    no_fault: None,
) -> Iterator[Twice]:
    """Use an SDK without and with instrumentation: the user must see the same. Returns what was seen and recorded."""

    async def run(way: Way, use: Use) -> tuple[Seen, list[ReadableSpan]]:
        bare, seen = Seen(), Seen()
        await _use(use, bare)
        assert not [span for span in calls() if ours(span)]
        recorder.clear()
        provider.settle()
        provider.clear()
        for instrumentor in instrumentors:
            instrumentor.instrument()
        await _use(use, seen)
        seen.must_equal(bare, way)
        return seen, audited()

    yield run
    for instrumentor in instrumentors:
        instrumentor.uninstrument()


def ours(span: ReadableSpan) -> bool:
    """Whether we made the span, and not the SDK."""
    return span.instrumentation_scope is not None and span.instrumentation_scope.name.startswith("otel_llm")


async def _use(use: Use, seen: Seen) -> None:
    try:
        await use(seen)
    except Exception as error:
        if error is not seen.error:
            raise
    await collect_garbage(seen.error)
