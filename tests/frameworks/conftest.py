"""What the tests of agent frameworks share: spans told as a tree, and money held against the provider's bill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import distributions
from os import devnull
from typing import Any, Protocol

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import FrameworkInstrumentor
from otel_llm.integrations import SDKInstrumentor
from otel_llm_semconv import attributes as A
from tests.conformance.surfaces import got
from tests.conftest import Spans
from tests.matrix import BESIDE

_BUCKETS = {
    "input": A.OTEL_LLM_USAGE_INPUT,
    "cache_read": A.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    "cache_write_5m": A.OTEL_LLM_USAGE_CACHE_WRITE_5M,
    "cache_write_1h": A.OTEL_LLM_USAGE_CACHE_WRITE_1H,
    "cache_write_other": A.OTEL_LLM_USAGE_CACHE_WRITE_OTHER,
    "output": A.OTEL_LLM_USAGE_OUTPUT,
    "reasoning": A.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
    "input_tokens": A.GEN_AI_USAGE_INPUT_TOKENS,
    "output_tokens": A.GEN_AI_USAGE_OUTPUT_TOKENS,
}


def said(span: ReadableSpan, name: str) -> Any:
    """One attribute of a span."""
    return (span.attributes or {}).get(name)


def id_of(span: ReadableSpan) -> int:
    """Its id."""
    return span.get_span_context().span_id  # pyright: ignore[reportOptionalMemberAccess]


def trace_of(span: ReadableSpan) -> int:
    """The id of its trace."""
    return span.get_span_context().trace_id  # pyright: ignore[reportOptionalMemberAccess]


def model_calls(spans: Iterable[ReadableSpan]) -> list[ReadableSpan]:
    """The spans of model calls, in order."""
    return sorted((s for s in spans if said(s, A.GEN_AI_PROVIDER_NAME)), key=lambda s: s.start_time or 0)


def tree(spans: Sequence[ReadableSpan], past: Sequence[ReadableSpan] = ()) -> str:
    """The spans as a story: one line each, `name KIND`, beneath its parent. What ran together is sorted.

    What is beneath one of `past` is beneath what that is beneath.
    """
    known = {id_of(span) for span in spans}
    passed = {id_of(span): span.parent for span in past}

    def parent_of(span: ReadableSpan) -> int | None:
        parent = span.parent
        while parent is not None and parent.span_id in passed:
            parent = passed[parent.span_id]
        return parent.span_id if parent is not None and parent.span_id in known else None

    def together(span: ReadableSpan, earlier: list[ReadableSpan]) -> bool:
        operation = said(span, A.GEN_AI_OPERATION_NAME)
        overlaps = (span.start_time or 0) < max(other.end_time or 0 for other in earlier)
        return overlaps or (operation is not None and operation == said(earlier[-1], A.GEN_AI_OPERATION_NAME))

    def below(parent: int | None) -> list[ReadableSpan]:
        found = [span for span in spans if parent_of(span) == parent]
        groups: list[list[ReadableSpan]] = []
        for span in sorted(found, key=lambda span: span.start_time or 0):
            if groups and together(span, groups[-1]):
                groups[-1].append(span)
            else:
                groups.append([span])
        return [span for group in groups for span in sorted(group, key=lambda span: span.name)]

    def lines(parent: int | None, depth: int) -> list[str]:
        return [
            line
            for span in below(parent)
            for line in ("  " * depth + f"{span.name} {span.kind.name}", *lines(id_of(span), depth + 1))
        ]

    return "\n".join(lines(None, 0))


def stories(spans: Sequence[ReadableSpan]) -> list[str]:
    """The tree of each trace."""
    traces = {trace_of(span) for span in spans}
    return [tree([span for span in spans if trace_of(span) == one]) for one in sorted(traces)]


def _counts(call: ReadableSpan, names: Iterable[str]) -> Iterable[int]:
    return (said(call, name) or 0 for name in names)


def held_against_bill(spans: Sequence[ReadableSpan], provider: OfflineProvider, *, layer: str = "sdk") -> None:
    """Every call that the provider charged is there once, with its numbers, and nothing else has any."""
    provider.settle()
    calls, bill = model_calls(spans), provider.bill
    assert {said(call, A.OTEL_LLM_LAYER) for call in calls} == {layer}
    ours = [
        (said(call, A.GEN_AI_RESPONSE_ID), said(call, A.OTEL_LLM_COST_NANO_USD), *_counts(call, _BUCKETS.values()))
        for call in calls
    ]
    # OpenAI's embeddings have no id.
    ids = [None if entry.api == "openai.embeddings" else entry.response_id for entry in bill]
    theirs = [
        (response_id, entry.cost_nano, *(getattr(entry.usage, bucket) for bucket in _BUCKETS))
        for response_id, entry in zip(ids, bill, strict=True)
    ]
    if layer == "framework":
        # LangChain drops the id of a streamed response.
        ours, theirs = [(None, *rest) for _, *rest in ours], [(None, *rest) for _, *rest in theirs]
    assert Counter(ours) == Counter(theirs)
    for span in spans:
        if span not in calls:
            money = [name for name in span.attributes or {} if name.startswith("gen_ai.usage.")]
            assert not money, f"{span.name} counts again: {money}"


# Beside somebody else's instrumentations: `pytest tests/frameworks/test_crewai.py --beside openinference`.


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Beside others, only the stories are told again."""
    if config.getoption("--beside"):
        items[:] = [item for item in items if "tell" in getattr(item, "fixturenames", ())]


_INSTRUMENTORS: dict[str, tuple[str, str]] = {
    "openinference": ("openinference-instrumentation-", "openinference-semantic-conventions"),
    "openllmetry": ("opentelemetry-instrumentation-", "opentelemetry-semantic-conventions-ai"),
    "official": ("opentelemetry-instrumentation-", "opentelemetry-util-genai"),
}
"""Projects whose instrumentations are found by their entry points: how their distributions begin, and what all need."""
_APART = {
    "openinference": ("agno", "autogen", "crewai", "google_adk", "llama_index"),
    "openllmetry": ("langchain_graphs",),
    "official": ("langchain_graphs",),
    "logfire": ("pydantic_ai",),
    "openlit": ("agent_framework", "langchain_graphs", "openai_agents"),
}
"""Frameworks, by their tests, of which a project has a tree of its own, in which calls hang beside ours: with parents
that it keeps itself, not those that are current, with spans that end after the story or never, with ADK's own spans,
which we use, taken away, or with those by which pydantic-ai traces itself."""


class _ToldError(Exception):
    """All that a story is to show beside others has been shown."""


class _Story(str):
    """A tree that ends the test when it has been compared."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        if str.__eq__(self, other) is True:
            raise _ToldError
        return False


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """A story that was told beside others has passed."""
    try:
        return (yield)
    except _ToldError:
        return True


def _switch_on(begins: str, needs: str) -> None:
    entries = [
        entry
        for found in distributions()
        if found.name.startswith(begins) and any(need.startswith(needs) for need in found.requires or ())
        for entry in found.entry_points
        if entry.group == "opentelemetry_instrumentor"
    ]
    for entry in entries:
        instrumentor = entry.load()()
        instrumentor.instrument()
        assert instrumentor.is_instrumented_by_opentelemetry, entry


def _logfire(names: Iterable[str], recorder: InMemorySpanExporter) -> None:
    # It has a provider of its own, whose spans are kept, too.
    logfire: Any = import_module("logfire")
    keep = SimpleSpanProcessor(recorder)
    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[keep])
    for name in names:
        getattr(logfire, f"instrument_{name}")()


def _openlit(names: Iterable[str], _: InMemorySpanExporter) -> None:
    kinds: Any = import_module("openlit._instrumentors")
    # Not those of HTTP and of databases, which take long; and no prices from the network.
    others = [name for name in kinds.MODULE_NAME_MAP if name not in names]
    openlit: Any = import_module("openlit")
    openlit.init(disable_metrics=True, disable_events=True, disabled_instrumentors=others, pricing_json=devnull)
    for name in names:
        assert kinds.get_instrumentor_class(name)().is_instrumented_by_opentelemetry, name


@pytest.fixture(scope="session")
def theirs(request: pytest.FixtureRequest, recorder: InMemorySpanExporter) -> Iterator[set[str] | None]:
    """Where the tests run beside a project, its instrumentations are at work. Takes the names of spans that they make.

    None without such a project.
    """
    project: str | None = request.config.getoption("--beside")
    if project is None:
        yield None
        return
    if project in _INSTRUMENTORS:
        _switch_on(*_INSTRUMENTORS[project])
    else:
        tests = request.session.items[0].path.stem.removeprefix("test_")
        framework = next(name for name in BESIDE[project] if tests.startswith(name))
        {"logfire": _logfire, "openlit": _openlit}[project](BESIDE[project][framework], recorder)
    made: set[str] = set()
    yield made
    assert made


class Books(Protocol):
    """Who keeps the bill of a story."""

    def clear(self) -> None:
        """Forget what was billed so far."""
        ...

    def hold(self, spans: Sequence[ReadableSpan]) -> int:
        """Hold the spans against the bill; how many calls there were."""
        ...


class _Provider:
    def __init__(self, provider: OfflineProvider) -> None:
        self._provider = provider

    def clear(self) -> None:
        self._provider.settle()
        self._provider.clear()

    def hold(self, spans: Sequence[ReadableSpan]) -> int:
        held_against_bill(spans, self._provider)
        return len(self._provider.bill)


@pytest.fixture
def books(provider: OfflineProvider) -> Books:
    """Those of the offline provider."""
    return _Provider(provider)


Tell = Callable[[Callable[[], Any]], Awaitable[str]]


@pytest.fixture
def tell(
    request: pytest.FixtureRequest,
    books: Books,
    spans: Spans,
    recorder: InMemorySpanExporter,
    instrumentors: list[SDKInstrumentor],
    no_fault: None,
    theirs: set[str] | None,
) -> Iterator[Tell]:
    """Run a program without and with instrumentation, inside of the interaction `ask` of the user `u-1`.

    What it returns (awaited, where that can be) must be the same. Then: one interaction, every span of it in one trace
    and of that user, the ledger equal to the bill. Returns the tree. Beside others, of which nothing counts, it is the
    same but for what they put in between, and the test ends there.
    """
    beside, name = request.config.getoption("--beside"), request.path.stem.removeprefix("test_")
    every = [*instrumentors, *(kind() for kind in FrameworkInstrumentor.__subclasses__())]

    async def run(act: Callable[[], Any]) -> str:
        bare = await got(act())
        books.clear()
        for instrumentor in every:
            instrumentor.instrument()
        spans()
        recorder.clear()
        with otel_llm.interaction("ask", user_id="u-1") as it:
            assert await got(act()) == bare
        ended = spans()
        others = [span for span in recorder.get_finished_spans() if span not in ended]
        if theirs is not None:
            theirs.update(span.name for span in others)
        assert not [span.name for span in others if said(span, A.OTEL_LLM_COST_STATUS)]
        assert {(said(span, A.OTEL_LLM_INTERACTION_ID), said(span, A.USER_ID)) for span in ended} == {(it.id, "u-1")}
        assert len({trace_of(span) for span in ended}) == 1
        assert it.calls == books.hold(ended)
        if beside and name in _APART.get(beside, ()):
            raise _ToldError
        return tree(ended) if theirs is None else _Story(tree(ended, past=others))

    yield run
    for instrumentor in every:
        instrumentor.uninstrument()
