"""One call being recorded: from the moment its request is read to the end of its span."""

from __future__ import annotations

import time
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from otel_llm.call import AttributeValue, Call, Cost, StreamOutcome, error_type, http_status
from otel_llm.content import Capture, capture
from otel_llm.engine.prices import expect, price_book
from otel_llm.facts import Sent, sent
from otel_llm.guard import guard
from otel_llm.interaction import Interaction, interaction_of
from otel_llm.late import later
from otel_llm.metrics import measure
from otel_llm.spans import end_attributes, start_attributes, write
from otel_llm.spec import Dialect, Request
from otel_llm_semconv import attributes as A

_RECORDING = otel_context.create_key("otel_llm.recording")
_LAYER = otel_context.create_key("otel_llm.layer")
_AGENT = otel_context.create_key("otel_llm.agent")
_AGENT_SLOT = "_otel_llm_agent"
_inside: WeakValueDictionary[int, Span] = WeakValueDictionary()
"""Spans that know their agent, by id: one of another provider's, whose parent they are, does not."""

# Who answered 400 to a stream that asked for its usage, and who did not: (address, port, operation, model). A gateway
# has servers of many kinds behind it.
_refuses_usage: dict[tuple[str | None, int | None, str, str | None], bool] = {}
_MOST_REMEMBERED = 1_024


_layer: ContextVar[Layer | None] = ContextVar("otel_llm.layer", default=None)
"""The one whose call is under way, also for others who attach a context of their own in between."""


class Layer:
    """What a framework leaves in the context of its model call, for the SDK's call beneath it to sign."""

    __slots__ = ("_around", "reported")

    def __init__(self, context: Context | None = None) -> None:
        self._around = current_layer(context)
        self.reported = False

    def sign(self) -> None:
        """A call beneath is recorded: neither this layer nor one around it records it again."""
        layer: Layer | None = self
        while layer is not None:
            around, layer._around, layer.reported = layer._around, None, True
            layer = around

    def is_inside(self, other: Layer) -> bool:
        """Whether it is `other`, or was left inside of that."""
        layer: Layer | None = self
        while layer is not None and layer is not other:
            layer = layer._around
        return layer is other


def with_layer(layer: Layer, context: Context | None = None) -> Context:
    """`context` with the framework's mark in it; what is called from here is beneath it in any case."""
    _layer.set(layer)
    return otel_context.set_value(_LAYER, layer, context)


def current_layer(context: Context | None = None) -> Layer | None:
    """The innermost framework's mark in `context`, if any."""
    context = otel_context.get_current() if context is None else context
    found = context.get(_LAYER)
    spans: Any = getattr(trace.get_current_span(context), "layer", None)
    if not isinstance(found, Layer) or (isinstance(spans, Layer) and not found.is_inside(spans)):
        found = spans
    return found if isinstance(found, Layer) else None


def with_agent(name: str | None, context: Context | None = None) -> Context:
    """`context` inside of an agent, whose name its calls carry."""
    return otel_context.set_value(_AGENT, name, context)


def current_agent(context: Context | None = None) -> str | None:
    """The name of the innermost agent of `context`."""
    context = otel_context.get_current() if context is None else context
    found = context.get(_AGENT)
    name, around = _agent_of(trace.get_current_span(context)) or (found, found)
    # Of an agent that a span tells of and one that the context does, whichever is inside of the other.
    name = name if around == found else found
    return name if isinstance(name, str) else None


def mark_agent(span: Span, parent: Span, context: Context | None, agent: object) -> None:
    """Have `span`, which began in `context`, and what is beneath it know its agent: `agent`, or that of its parent."""
    known = _agent_of(parent)
    if agent is not None:
        known = (agent, otel_context.get_value(_AGENT, context))
    if known is not None:
        setattr(span, _AGENT_SLOT, known)
        _inside[span.get_span_context().span_id] = span


def _agent_of(span: Span) -> tuple[object, object] | None:
    known = getattr(span, _AGENT_SLOT, None)
    if known is None and (parent := getattr(span, "parent", None)) is not None:
        known = getattr(_inside.get(parent.span_id), _AGENT_SLOT, None)
    return known


def current_recording(context: Context | None = None) -> Recording | None:
    """The call whose request is under way in `context`, by default the current one, if any."""
    found = otel_context.get_value(_RECORDING, context)
    return found if isinstance(found, Recording) else None


def begin(tracer: Tracer, request: Request) -> Recording:
    """Start recording a call. May raise: the caller guards it."""
    call = Call(
        operation=request.dialect.operation,
        provider=request.provider,
        stream=request.stream,
        server_address=request.server_address,
        server_port=request.server_port,
    )
    with guard:
        request.dialect.request(call, request.body)
        expect(call)
    recording = Recording(tracer, call, request)
    content = request.dialect.content
    if content is not None:
        with guard:
            recording.capture = capture(content, request.body)
        # A call that is an interaction of its own comes after no other of it.
        if recording.interaction is not None and recording.interaction.root is not recording.span:
            with guard:
                recording.sent = sent(request.body, content, recording.interaction.facts)
    return recording


class Recording:
    """The life of one call. As a context manager it is active while the SDK works; an error in there ends it."""

    __slots__ = (
        "_began",
        "_done",
        "_outer",
        "_retry_plainly",
        "_status",
        "asked",
        "call",
        "capture",
        "interaction",
        "package",
        "request",
        "sent",
        "span",
        "waits_for",
    )

    def __init__(
        self, tracer: Tracer, call: Call, request: Request | None = None, context: Context | None = None
    ) -> None:
        self.call = call
        self.request = request
        self.asked: dict[str, Any] | None = None
        """The request body that asks for the stream's usage, when we ask."""
        self.package = ""
        """The SDK's own package: its exceptions in mid-stream are no exceptions of the caller."""
        self.capture: Capture | None = None
        """What is said in the call, where that is asked for."""
        self.sent: Sent | None = None
        """What of the request tells whether it was sent before."""
        self.waits_for: str | None = None
        """The id under which another request will be told how it ended."""
        self._retry_plainly = False
        self._status: int | None = None
        self._done = False
        self._outer: Context | None = None
        under_way = _layer.get() if context is None else None
        context = otel_context.get_current() if context is None else context
        agent = current_agent(context)
        if agent is not None:
            call.request[A.GEN_AI_AGENT_NAME] = agent
        if not call.started_ns:
            call.started_ns = time.time_ns()
        self._began = time.perf_counter_ns()
        self.span: Span = tracer.start_span(
            f"{call.operation} {call.request_model}" if call.request_model else call.operation,
            context=context,
            kind=SpanKind.CLIENT,
            attributes=start_attributes(call),
            start_time=call.started_ns,
        )
        self.interaction: Interaction | None = interaction_of(self.span, context)
        # Signed at the start: a framework may give up on a stream before the SDK does. A model may embed on its way.
        for layer in (current_layer(context), under_way):
            if layer is not None and call.operation not in ("embeddings", "rerank"):
                layer.sign()
        if request is not None and request.stream and request.with_body is not None and not self._known_to_refuse():
            self.asked = request.dialect.ask_usage(request.body)

    def elapsed_ns(self) -> int:
        """Nanoseconds since the call began."""
        return time.perf_counter_ns() - self._began

    # The request is under way.

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments to call the SDK with: the caller's, or the same with the question for usage."""
        if self.request is None or self.request.with_body is None:
            return args, kwargs
        # A connection may keep this recording, and the arguments may know the stream: then nobody could drop it.
        with_body, self.request.with_body = self.request.with_body, None
        if self.asked is not None:
            with guard:
                return with_body(self.asked)
            self.asked = None
        return args, kwargs

    def __enter__(self) -> Self:
        # Re-attaching what was there, and not a token, cannot fail in another context.
        self._outer = otel_context.get_current()
        inner = trace.set_span_in_context(self.span, self._outer)
        otel_context.attach(otel_context.set_value(_RECORDING, self, inner))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_: TracebackType | None
    ) -> bool:
        if self._outer is not None:
            otel_context.attach(self._outer)
        if error is None:
            return False
        if self._minds(http_status(error)):
            self.asked, self._retry_plainly = None, True
            self.retried(error)
            return True
        self.call.usage = None  # there is no answer, whatever the request tells of it
        self.fail(error)
        return False

    def attempt_failed(self, error: BaseException | None = None) -> None:
        """Note a failed HTTP request inside the call, as an event."""
        with guard:
            attributes: dict[str, AttributeValue] = {A.OTEL_LLM_ATTEMPT_NUMBER: self.call.attempts}
            status = self._status
            if status is None and error is not None:
                status = http_status(error)
            if status is not None:
                attributes[A.OTEL_LLM_ATTEMPT_STATUS_CODE] = status
            elif error is not None:
                attributes[A.OTEL_LLM_ATTEMPT_ERROR] = error_type(error)
            self._status = None
            self.span.add_event(A.OTEL_LLM_ATTEMPT_FAILED, attributes)

    def attempt_answered(self, status: int) -> None:
        """Remember the HTTP status of an attempt that the SDK is about to give up."""
        self._status = status

    def retried(self, error: BaseException | None) -> None:
        """Count one more attempt; the one before failed with `error` or with the status noted before."""
        self.attempt_failed(error)
        self.call.attempts += 1

    # The end.

    def usage_accepted(self) -> None:
        """Remember whether this server answers streams that ask for their usage: it just answered one."""
        if self.asked is not None or self._retry_plainly:
            if len(_refuses_usage) >= _MOST_REMEMBERED:
                _refuses_usage.clear()
            _refuses_usage[self._whom] = self._retry_plainly

    def fail(self, error: BaseException) -> None:
        """End with `error`, the caller's own exception, which goes on its way."""
        with guard:
            if isinstance(error, Exception):
                self.call.error_type = error_type(error)
                self.attempt_failed(error)
                status = http_status(error)
                # gRPC ends a stream with a status, too: what came before it is billed.
                if status is not None and self.call.time_to_first_chunk is None:
                    self.call.response[A.HTTP_RESPONSE_STATUS_CODE] = status
                self.finish("failed" if self.call.stream else None)
            else:
                # Cancelled or interrupted by the caller: that is no failure of the call.
                self.finish("aborted")

    def refused(self, status: int) -> None:
        """End with an HTTP status that the SDK has not turned into an error yet: the caller gets to see it."""
        with guard:
            self.call.usage = None
            self._status = status
            self.attempt_failed()
            self.call.error_type = str(status)
            self.call.response[A.HTTP_RESPONSE_STATUS_CODE] = status
        self.finish("failed" if self.call.stream else None)

    def read(self, dialect: Dialect, body: Any) -> None:
        """Take a whole answer. May raise: the caller guards it."""
        dialect.response(self.call, body)
        if self.capture is not None:
            self.capture.answer(body, self.call.finish_reasons)

    def finish(self, outcome: StreamOutcome | None = None) -> None:
        """End the call: price it, add it to its interaction, write it onto its span. Once; later ones do nothing."""
        if self._done:
            return
        self._done = True
        call = self.call
        call.stream_outcome = outcome
        if not call.duration_ns:
            call.duration_ns = self.elapsed_ns()
        if self.interaction is not None:
            self.interaction.ended(call, self.sent)
        with guard:
            if call.usage is None and call.error_type and call.response.get(A.HTTP_RESPONSE_STATUS_CODE):
                # Providers do not bill a request that they answered with an error status.
                call.cost = Cost(status="free", nano_usd=0, reason="http_error")
            else:
                call.cost = price_book().price_at_hand(call)
                if call.cost is None:
                    if self.interaction is not None:
                        self.interaction.wait_for_price()
                    later(self._finish_late)
                    return
        self._write()

    def _finish_late(self) -> None:
        try:
            with guard:
                self.call.cost = price_book().price(self.call)
            self._write()
        finally:
            if self.interaction is not None:
                self.interaction.price_arrived()

    def _write(self) -> None:
        call = self.call
        attributes: dict[str, AttributeValue] = {}
        try:
            with guard:
                if call.error_type is not None:
                    # No description: an error's text may quote the prompt or a key.
                    self.span.set_status(StatusCode.ERROR)
                attributes = end_attributes(call)
                write(self.span, attributes)
                if self.interaction is not None and (bill := self.interaction.add(call, self.span)):
                    write(self.span, bill)
            if self.capture is not None:
                with guard:
                    self.capture.write(self.span, start_attributes(call) | attributes)
        finally:
            with guard:
                self.span.end(call.started_ns + call.duration_ns)
        with guard:
            measure(call)

    # Asking a stream for its usage.

    @property
    def _whom(self) -> tuple[str | None, int | None, str, str | None]:
        call = self.call
        return call.server_address, call.server_port, call.operation, call.request_model

    def _known_to_refuse(self) -> bool:
        return _refuses_usage.get(self._whom, False)

    def _minds(self, status: int | None) -> bool:
        """Whether the server may have minded the question for usage, so that the plain request deserves a try."""
        return self.asked is not None and status in (400, 422) and self._whom not in _refuses_usage

    def refusal(self, result: Any) -> Any:
        """The open response in `result`, if its status says that the plain request deserves a try, which follows."""
        if self.asked is None or self.request is None:
            return None
        with guard:
            response = self.request.transport(result)
            if response is not None and self._minds(response.status_code):
                self.asked, self._retry_plainly = None, True
                self.attempt_answered(response.status_code)
                self.retried(None)
                return response
        return None
