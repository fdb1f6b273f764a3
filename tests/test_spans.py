"""Attributes are written past the SDK's examination of them: with the same result, or by the SDK itself."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.trace import INVALID_SPAN

from otel_llm.call import AttributeValue
from otel_llm.spans import write

PLAIN: dict[str, AttributeValue] = {"a": "text", "b": 1, "c": 0.5, "d": True, "e": ["x", "y"]}


def span(limits: SpanLimits | None = None) -> Any:
    started = TracerProvider(span_limits=limits).get_tracer("test").start_span("s", attributes={"first": 1, "b": 0})
    assert isinstance(started, ReadableSpan)
    return started


@pytest.mark.parametrize(
    "limits",
    [None, SpanLimits(max_span_attributes=4), SpanLimits(max_span_attributes=0), SpanLimits(max_attribute_length=2)],
    ids=["usual", "few", "none", "short"],
)
def test_a_span_has_what_the_sdk_would_have_given_it(limits: SpanLimits | None) -> None:
    ours, theirs = span(limits), span(limits)
    write(ours, PLAIN)
    theirs.set_attributes(PLAIN)
    assert dict(ours.attributes) == dict(theirs.attributes)
    assert ours.dropped_attributes == theirs.dropped_attributes


def test_the_usual_way_does_not_ask_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = span()
    monkeypatch.setattr(ours, "set_attributes", None)
    write(ours, PLAIN)
    assert ours.attributes["e"] == ("x", "y")


def test_a_container_that_is_unknown_is_the_sdk_s(monkeypatch: pytest.MonkeyPatch) -> None:
    class Another(BoundedAttributes):
        pass

    ours = span()
    monkeypatch.setattr(ours, "_attributes", Another(immutable=False))
    write(ours, PLAIN)
    assert ours.attributes["e"] == ("x", "y")


def test_an_ended_span_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    ours = span()
    ours.end()
    write(ours, PLAIN)
    assert dict(ours.attributes) == {"first": 1, "b": 0}
    assert "ended span" in caplog.text
    write(INVALID_SPAN, PLAIN)
