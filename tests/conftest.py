"""What the tests share: a home of their own, recorded spans, instrumented SDKs and a provider to call."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from examples.offline_provider import OfflineProvider
from otel_llm import distro, guard, late
from otel_llm.call import Call
from otel_llm.engine import recording
from otel_llm.engine.prices import price_book
from otel_llm.integrations import SDKInstrumentor
from otel_llm_semconv import attributes as A
from tests.matrix import BESIDE

SETTINGS = (
    "OTEL_",
    "OPENAI_",
    "ANTHROPIC_",
    "GROQ_",
    "MISTRAL_",
    "TOGETHER_",
    "FIREWORKS_",
    "CEREBRAS_",
    "CO_API_",
    "OLLAMA_",
    "VOYAGE_",
    "HF_TOKEN",
    "AZURE_",
    "REPLICATE_",
    "AWS_",
    "GOOGLE_",
    "XAI_",
    "WATSONX_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
)
"""What would let the machine that runs the tests decide their outcome."""

Spans = Callable[[], list[ReadableSpan]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Whose instrumentations are at work, too."""
    parser.addoption("--beside", choices=BESIDE, help="only tests of stories, with a project's instrumentations on")


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No test touches the user's own data."""
    for name in [name for name in os.environ if name.upper().startswith(SETTINGS)]:
        del os.environ[name]
    home = tmp_path_factory.mktemp("otel-llm")
    os.environ["OTEL_LLM_HOME"] = str(home)
    return home


@pytest.fixture(scope="session")
def recorder(home: Path) -> InMemorySpanExporter:
    """The global tracer provider as the distribution sets it up, with memory in place of the ledger."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distro, "_ledgers", list)
        distro.attach(provider)
    trace.set_tracer_provider(provider)
    price_book().resolve(Call("chat", "openai", "gpt-4o-mini"))
    return exporter


@pytest.fixture
def spans(
    recorder: InMemorySpanExporter, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> Iterator[Spans]:
    """The spans that have ended since the test began; where others are at work, too, without theirs.

    Afterwards: nothing was left open or logged as broken.
    """
    beside = request.config.getoption("--beside")

    def ended() -> list[ReadableSpan]:
        assert late.drain()
        return [span for span in recorder.get_finished_spans() if not beside or not is_of_others(span)]

    gc.freeze()  # so that collecting what this test drops is quick, and finds nothing else
    assert late.drain()
    recorder.clear()
    guard._seen.clear()  # pyright: ignore[reportPrivateUsage]
    recording._refuses_usage.clear()  # pyright: ignore[reportPrivateUsage]
    with caplog.at_level(logging.WARNING):
        yield ended
        assert late.drain()
    detached = [record for record in caplog.records if "detach context" in record.getMessage()]
    # Beside other instrumentations it may be theirs.
    assert not detached or beside, detached[0].getMessage()


def is_of_others(span: ReadableSpan) -> bool:
    """Whether another instrumentation made it."""
    scopes = ("openinference.", "opentelemetry.instrumentation.", "traceloop.", "openlit.", "logfire", "pydantic-")
    return span.instrumentation_scope is not None and span.instrumentation_scope.name.startswith(scopes)


@pytest.fixture
def calls(spans: Spans) -> Spans:
    """The spans of model calls that have ended since the test began, in the order of their beginnings.

    The first to end waits for the prices, and so ends after later ones.
    """
    return lambda: sorted(
        (span for span in spans() if A.GEN_AI_PROVIDER_NAME in (span.attributes or {})),
        key=lambda span: span.start_time or 0,
    )


@pytest.fixture
def no_fault(spans: Spans, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Afterwards: the guard had nothing to catch."""
    yield
    spans()
    caught = [record.getMessage() for record in caplog.records if record.name == guard.logger.name]
    assert not caught


@pytest.fixture(scope="session")
def instrumentors(recorder: InMemorySpanExporter) -> list[SDKInstrumentor]:
    """The instrumentors of all SDKs, none of them at work."""
    return [kind() for kind in SDKInstrumentor.__subclasses__()]


@pytest.fixture
def instrumented(instrumentors: list[SDKInstrumentor]) -> Iterator[None]:
    """Every SDK is instrumented during the test."""
    for instrumentor in instrumentors:
        instrumentor.instrument()
    yield
    for instrumentor in instrumentors:
        instrumentor.uninstrument()


@pytest.fixture(scope="session")
def running_provider() -> Iterator[OfflineProvider]:
    """One provider for all tests."""
    with OfflineProvider() as provider:
        yield provider


@pytest.fixture
def provider(running_provider: OfflineProvider) -> Iterator[OfflineProvider]:
    """The provider, with an empty bill."""
    running_provider.settle()
    running_provider.clear()
    yield running_provider
    running_provider.settle()
