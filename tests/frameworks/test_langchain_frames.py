"""The table of frames: bounded, for any order of events, in any context."""

from __future__ import annotations

import contextvars
import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace

from examples.offline_provider import OfflineProvider
from otel_llm.call import Call
from otel_llm.engine.frames import Frames
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import model_calls, said, stories, tree

pytestmark = pytest.mark.usefixtures("no_fault")


def frames(limit: int = 10_000) -> Frames:
    """A table."""
    return Frames(trace.get_tracer("test"), limit=limit)


def one_call() -> Call:
    """A call to a model."""
    return Call("chat", "openai", "gpt-4o-mini")


def test_ten_thousand_lost_ends_leave_ten_thousand_frames_and_no_more(spans: Spans) -> None:
    table = frames()
    around = otel_context.get_current()
    for key in range(10_050):
        contextvars.copy_context().run(table.start, key, None, "invoke_agent", "lost")
    assert len(table) == 10_000
    assert tree(spans()) == "\n".join(["invoke_agent lost INTERNAL"] * 50)
    table.end(0)
    table.end("never begun")
    assert len(spans()) == 50
    assert otel_context.get_current() is around


@pytest.mark.parametrize("where", ["all in one context", "each in its own"])
def test_lost_ends_keep_no_memory(where: str, spans: Spans) -> None:
    table = Frames(trace.NoOpTracer(), limit=100)

    def lose(first: int) -> None:
        for key in range(first, first + 1_000, 2):
            table.start(key, None, "invoke_agent", "lost")
            table.start_call(key + 1, key, one_call())

    def kept(first: int) -> int:
        (context if where == "all in one context" else contextvars.copy_context()).run(lose, first)
        spans()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    context = contextvars.copy_context()
    kept(0)
    tracemalloc.start()
    early, *_, late = [kept(first) for first in range(1_000, 5_000, 1_000)]
    tracemalloc.stop()
    assert len(table) == 100
    assert late - early < 50_000


def test_a_lost_call_is_a_call_of_which_nothing_is_known(spans: Spans) -> None:
    table = frames(limit=1)
    contextvars.copy_context().run(table.start_call, 1, None, one_call())
    contextvars.copy_context().run(table.start, 2, None)
    (call,) = model_calls(spans())
    assert said(call, A.GEN_AI_USAGE_INPUT_TOKENS) is None
    assert said(call, A.OTEL_LLM_COST_NANO_USD) is None
    assert said(call, A.OTEL_LLM_LAYER) == "framework"


@pytest.mark.usefixtures("instrumented")
def test_a_call_counts_once_in_a_context_of_somebody_elses(provider: OfflineProvider, spans: Spans) -> None:
    table, client = frames(), openai.OpenAI(base_url=provider.openai_url, api_key="any")
    before = otel_context.get_current()
    table.start_call(1, None, one_call())
    # A copy that was made before the call, as OpenTelemetry's own instrumentation of LangChain attaches it.
    detached = otel_context.attach(otel_context.Context(before))
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Why?"}])
    otel_context.detach(detached)
    table.end(1, read=lambda call: None)
    # What comes after it is none of it.
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Why?"}])
    table.start_call(2, None, one_call())
    table.end(2, read=lambda call: None)
    assert [said(call, A.OTEL_LLM_LAYER) for call in model_calls(spans())] == ["sdk", "sdk", "framework"]


def test_a_frame_finds_its_parent_wherever_it_runs(spans: Spans) -> None:
    table = frames()
    contextvars.copy_context().run(table.start, "agent", None, "invoke_agent", "support")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(table.start, "node", "agent").result()
    contextvars.copy_context().run(table.start, "tool", "node", "execute_tool", "clock")
    assert table.operation("node") == "invoke_agent"
    for key in ("agent", "tool", "node"):
        table.end(key)
    found = spans()
    assert tree(found) == "invoke_agent support INTERNAL\n  execute_tool clock INTERNAL"
    assert {said(span, A.GEN_AI_AGENT_NAME) for span in found if said(span, A.GEN_AI_TOOL_TYPE)} <= {"support"}
    assert len(table) == 0


def test_once_over_a_frame_is_over_for_whoever_is_still_inside(spans: Spans) -> None:
    table, tracer = frames(), trace.get_tracer("app")

    def task() -> None:
        with tracer.start_as_current_span("request"):
            table.start("agent", None, "invoke_agent", "support")
            table.start("tool", "agent", "execute_tool", "clock")
            tracer.start_span("inside").end()
            # As LangChain does in async code: the ends come in copies of the context.
            for key in ("tool", "agent"):
                contextvars.copy_context().run(table.end, key)
            tracer.start_span("outside").end()
            table.start("next", None, "invoke_agent", "next")
            table.end("next")
        assert not trace.get_current_span().get_span_context().is_valid

    contextvars.copy_context().run(task)
    assert stories(spans()) == [
        """\
request INTERNAL
  invoke_agent support INTERNAL
    execute_tool clock INTERNAL
      inside INTERNAL
  outside INTERNAL
  invoke_agent next INTERNAL"""
    ]


def test_a_processor_that_fails_breaks_no_parentage(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    table = frames()
    table.start("agent", None, "invoke_agent", "support")

    with monkeypatch.context() as patch:

        def fails(*_: object, **__: object) -> trace.Span:
            raise RuntimeError("processor")

        patch.setattr(table._tracer, "start_span", fails)  # pyright: ignore[reportPrivateUsage]
        table.start("tool", "agent", "execute_tool", "clock")
    table.start("step", "tool", name="step")
    for key in ("step", "tool", "agent"):
        table.end(key)
    assert tree(spans()) == "invoke_agent support INTERNAL\n  step INTERNAL"


def test_a_failure_is_the_frames_own_and_not_what_was_handled_before_it(spans: Spans) -> None:
    table = frames()
    try:
        raise LookupError("earlier")
    except LookupError:
        table.start("fine", None, name="fine")
        table.fail("fine")
        table.start("told", None, name="told")
        table.fail("told", TimeoutError())
        table.start("raised", None, name="raised")
        try:
            raise ValueError("inside")
        except ValueError:
            table.fail("raised", TimeoutError())
        for key in ("raised", "told", "fine", "never begun"):
            table.fail(key)
            table.end(key)
    assert {span.name: said(span, A.ERROR_TYPE) for span in spans()} == {
        "fine": None,
        "told": "TimeoutError",
        "raised": "ValueError",
    }
