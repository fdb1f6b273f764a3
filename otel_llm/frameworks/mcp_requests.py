"""Requests of the Model Context Protocol: what is told of one, and how a server comes to its caller's trace.

The trace context goes along in `_meta`, as the protocol says, and nothing of who the caller is. A server in the same
process goes on where the caller is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_llm.call import AttributeValue, error_type
from otel_llm.dialects.reading import get, text
from otel_llm.driving import within
from otel_llm.guard import guard
from otel_llm.interaction import end_span, fail_span, is_same_tool
from otel_llm_semconv import attributes as A

_tracer = trace.get_tracer("otel_llm.mcp")
_W3C = TraceContextTextMapPropagator()
_asking: WeakValueDictionary[int, Context] = WeakValueDictionary()
"""Where callers of this process wait for their answer, by the id of the span that went along."""


def told_of(method: str, params: Any) -> dict[str, AttributeValue]:
    """The attributes of a request that are known before it is sent."""
    name = text(get(params, "name"))
    found = {
        A.MCP_METHOD_NAME: method,
        A.GEN_AI_OPERATION_NAME: "execute_tool" if method == "tools/call" else None,
        A.GEN_AI_TOOL_NAME: name if method == "tools/call" else None,
        A.GEN_AI_PROMPT_NAME: name if method == "prompts/get" else None,
        A.MCP_RESOURCE_URI: str(get(params, "uri")) if method == "resources/read" and get(params, "uri") else None,
    }
    return {attribute: value for attribute, value in found.items() if value is not None}


def name_of(told: Mapping[str, AttributeValue]) -> str:
    """The name of the span that has these attributes."""
    target = told.get(A.GEN_AI_TOOL_NAME) or told.get(A.GEN_AI_PROMPT_NAME)
    return " ".join(filter(None, (str(told[A.MCP_METHOD_NAME]), text(target))))


def around(told: Mapping[str, AttributeValue]) -> Span | None:
    """The span of an agent framework that is about this very execution of a tool."""
    span = trace.get_current_span()
    said = span.attributes if isinstance(span, ReadableSpan) else None
    return span if A.GEN_AI_TOOL_NAME in told and is_same_tool(told, said) else None


def leave_word(meta: dict[str, Any], inject: Callable[[dict[str, Any]], None] = _W3C.inject) -> None:
    """Tell a server where its caller is, by way of the `_meta` of a request."""
    inject(meta)
    _asking[trace.get_current_span().get_span_context().span_id] = otel_context.get_current()


def sent_from(meta: Mapping[str, Any] | None) -> Context | None:
    """The context to serve a request in; None where it brings none."""
    sender = propagate.extract(meta or {}, Context())
    origin = trace.get_current_span(sender).get_span_context()
    return _asking.get(origin.span_id, sender) if origin.is_valid else None


@contextmanager
def span_of(told: dict[str, AttributeValue], kind: SpanKind) -> Generator[Span]:
    """The span of a request, current in there; of a tool call that an agent's span is about, that one."""
    own, span = False, trace.get_current_span()
    with guard:
        outer = around(told) if kind is SpanKind.CLIENT else None
        own, span = outer is None, outer or _tracer.start_span(name_of(told), kind=kind, attributes=told)
        span.set_attributes(told)
    try:
        with within(trace.set_span_in_context(span)):
            yield span
    finally:
        with guard:
            if own:
                end_span(span)


def fail(span: Span, outcome: Any, but: tuple[str, ...] = ()) -> None:
    """Mark the span if `outcome` is an error: an exception, JSON-RPC's error, a tool's; codes in `but` are none."""
    with guard:
        code, result = get(outcome, "code"), get(outcome, "root") or outcome
        if code is not None and str(code) not in but:
            span.set_attribute(A.RPC_RESPONSE_STATUS_CODE, str(code))
            fail_span(span, str(code))
        elif get(result, "isError") is True:
            fail_span(span, "tool_error")
        elif isinstance(outcome, Exception):
            fail_span(span, error_type(outcome))
