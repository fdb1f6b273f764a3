"""RQ in one process, without a Redis; `tests/zero_code/test_queues.py` has real workers."""

from __future__ import annotations

import pytest

pytest.importorskip("rq")
pytest.importorskip("fakeredis")

from collections.abc import Iterator
from typing import Any

import fakeredis
import rq
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

import otel_llm
from otel_llm.frameworks import QueuesInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.endpoints import work

pytestmark = pytest.mark.usefixtures("instrumented_queues", "no_fault")


@pytest.fixture
def instrumented_queues(spans: Spans) -> Iterator[None]:
    """Task queues are instrumented during the test."""
    QueuesInstrumentor().instrument()
    yield
    QueuesInstrumentor().uninstrument()


def fail() -> None:
    raise ValueError("mine")


seen: list[Any] = []


def note() -> None:
    seen.append(otel_llm.current_interaction())


def said(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(name)


def test_a_job_belongs_to_who_enqueued_it(spans: Spans) -> None:
    connection: Any = fakeredis.FakeStrictRedis()
    queue: Any = rq.Queue("mail", connection=connection)
    own = {"own": 1}
    ids: list[str] = []
    for user in ("ada", "grace"):
        with otel_llm.interaction("order", user_id=user, tags={"plan": "pro & more"}) as it:
            queue.enqueue(work, user, meta=own)
            ids.append(it.id)
    queue.enqueue(work, "nobody")
    queue.enqueue(fail)
    worker: Any = rq.SimpleWorker([queue], connection=connection)
    with otel_llm.interaction("the worker's", user_id="nobody else"):
        worker.work(burst=True, logging_level="CRITICAL")
    assert own == {"own": 1}
    jobs = [span for span in spans() if span.kind is SpanKind.CONSUMER]
    assert [span.name for span in jobs] == ["tests.frameworks.endpoints.work"] * 3 + [f"{__name__}.fail"]
    assert [said(span, A.USER_ID) for span in jobs] == ["ada", "grace", None, None]
    assert [said(span, A.OTEL_LLM_INTERACTION_ID) for span in jobs[:2]] == ids
    assert {said(span, A.MESSAGING_DESTINATION_NAME) for span in jobs} == {"mail"}
    assert [said(span, A.ERROR_TYPE) for span in jobs] == [None] * 3 + ["ValueError"]
    assert jobs[3].status.status_code is StatusCode.ERROR
    for user, id_ in zip(("ada", "grace"), ids, strict=True):
        [done] = [span for span in spans() if span.name == user]
        assert said(done, A.OTEL_LLM_INTERACTION_ID) == id_
        assert said(done, A.OTEL_LLM_TAG_PREFIX + "plan") == "pro & more"


def test_a_job_that_runs_at_once_is_in_the_interaction_itself() -> None:
    queue: Any = rq.Queue("mail", is_async=False, connection=fakeredis.FakeStrictRedis())
    with otel_llm.interaction("order") as it:
        queue.enqueue(note)
    assert seen.pop() is it
