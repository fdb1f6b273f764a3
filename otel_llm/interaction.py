"""Interactions: one user action, everything that it caused, and its running bill.

An interaction is opened explicitly (`with interaction(...)`, or the decorator), or it is the server span of a web
request, or the local root span. A span belongs to the interaction of its parent span, so threads, tasks and streams
follow without help as long as OpenTelemetry's context does; beneath a span that nobody here has seen start, to the one
that its trace began with.
"""

from __future__ import annotations

import functools
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary

import wrapt
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from otel_llm.call import AttributeValue, Call, error_type
from otel_llm.driving import drive
from otel_llm.facts import Facts, Sent
from otel_llm.guard import guard
from otel_llm.late import later
from otel_llm.spans import attributes_of, write
from otel_llm_semconv import attributes as A

F = TypeVar("F", bound=Callable[..., Any])

INTERACTION = otel_context.create_key("otel_llm.interaction")
CARRIED = otel_context.create_key("otel_llm.carried")
CALLER: ContextVar[list[dict[str, AttributeValue]] | None] = ContextVar("otel_llm.caller", default=None)
"""Who sent the request that is about to begin. Its root span takes it out, so that nobody else gets it."""
_SLOT = "_otel_llm_interaction"
_DEPTH = "_otel_llm_depth"
_ENTRY_KINDS = (SpanKind.SERVER, SpanKind.CONSUMER)
_began: WeakValueDictionary[int, Interaction] = WeakValueDictionary()
"""With which interaction a trace began here. A span that is not sampled, or another provider's, does not say."""
_SUMMED = 1_024
_AFTERWARDS_NS = 600 * 1_000_000_000
"""What begins later than that after an interaction ended is no longer taken for a part of it."""


class Interaction:
    """One user action as it runs: who caused it, and what it cost so far."""

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's name
        name: str | None = None,
        parent: Interaction | None = None,
        identity: Mapping[str, AttributeValue] | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self.parent = parent
        self.root: trace.Span | None = None
        self.calls = 0
        self.attempts = 0
        self.nano_usd = 0
        """Cost so far in 1e-9 USD, of the calls that have one."""
        self.priced_calls = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.facts = Facts()
        self.attributes: dict[str, AttributeValue] = dict(parent.identity()) if parent is not None else {}
        """What every span of the interaction carries from its start."""
        self.attributes.update(identity or {})
        self.attributes[A.OTEL_LLM_INTERACTION_ID] = id
        if name:
            self.attributes[A.OTEL_LLM_INTERACTION_NAME] = name
        self.summed: tuple[str, ...] = ()
        """Ids of answers that count in a sum which is still to come: nothing else that tells of one does."""
        self.takes_id = False
        """Whether the id is that of its trace, if it begins one: other services then come to the same."""
        self._endpoint: str | None = None
        self._late = 0
        self._lock = threading.Lock()

    @property
    def cost(self) -> Decimal:
        """Cost so far in USD, of the calls that have a price."""
        return Decimal(self.nano_usd) / 1_000_000_000

    def identity(self) -> dict[str, AttributeValue]:
        """What a nested interaction takes over: everything but the id and the name."""
        own = (A.OTEL_LLM_INTERACTION_ID, A.OTEL_LLM_INTERACTION_NAME)
        return {name: value for name, value in self.attributes.items() if name not in own}

    def attribute(self, **identity: Any) -> None:
        """Say who it is, as soon as it is known: arguments as of `otel_llm.attribute`."""
        with guard:
            found = identity_attributes(**identity)
            self.know(found)
            span = trace.get_current_span()
            if span.is_recording():
                write(span, found)

    def know(self, identity: Mapping[str, AttributeValue]) -> None:
        """Say who it is by attributes, for its root span and those that are to come."""
        self.attributes = {**self.attributes, **identity}
        self._show(identity)

    def outcome(self, outcome: str, *, success: bool | None = None) -> None:
        """Say what became of it, in the application's words."""
        with guard:
            if self.root is not None and self.root.is_recording():
                self.root.set_attributes(_outcome(outcome, success))
            else:
                _report_outcome(self.id, outcome, success)

    def endpoint(self) -> str | None:
        """The route of the web request that it began with, as soon as the framework has matched one."""
        if self._endpoint is None:
            root = self.root
            route = attributes_of(root).get(A.HTTP_ROUTE) if isinstance(root, ReadableSpan) else None
            self._endpoint = route if isinstance(route, str) else self.parent.endpoint() if self.parent else None
        return self._endpoint

    def is_open(self) -> bool:
        """Whether its root span is still running."""
        return self.root is None or self.root.is_recording()

    # What the engine says of it.

    def ended(self, call: Call, sent: Sent | None = None) -> None:
        """Count a call, of this interaction and of those around it, as soon as it ended. Its price may come later."""
        usage = call.usage
        it: Interaction | None = self
        while it is not None:
            with it._lock:
                it.calls += 1
                it.attempts += call.attempts
                it.input_tokens += (usage.input_tokens if usage else None) or 0
                it.output_tokens += (usage.output_tokens if usage else None) or 0
            it = it.parent
        with guard:
            with self._lock:
                again = self.facts.recognize(call, sent)
            it = self
            while it is not None:
                with it._lock:
                    it.facts.add(call, again)
                it = it.parent

    def add(self, call: Call, span: trace.Span) -> dict[str, AttributeValue]:
        """Put the price of a call that ended on the bill, of this interaction and of those around it.

        Returns what of the bill belongs onto the call's own span, because it is the root span.
        """
        cost = call.cost.nano_usd if call.cost is not None else None
        with self._lock:
            self.nano_usd += cost or 0
            self.priced_calls += cost is not None
            self.facts.pay(call)
            bill, is_root = self.bill(), self.root is span
            if not is_root:
                self._show(bill)
        if self.parent is not None:
            self.parent.add(call, span)
        return bill if is_root else {}

    def tool_began(self, name: str) -> None:
        """A tool runs, in this interaction and so in those around it."""
        it: Interaction | None = self
        while it is not None:
            with it._lock:
                it.facts.tool_began(name)
                it._show({A.OTEL_LLM_INTERACTION_TOOL_CALLS: it.facts.tool_calls})
            it = it.parent

    def agent_began(self, depth: int) -> None:
        """An agent runs that is inside of `depth` - 1 others."""
        it: Interaction | None = self
        while it is not None:
            with it._lock:
                it.facts.agent_began(depth)
                it._show({A.OTEL_LLM_INTERACTION_DEPTH: it.facts.depth})
            it = it.parent

    def _show(self, found: Mapping[str, AttributeValue]) -> None:
        if self.root is not None and self.root.is_recording():
            write(self.root, found)

    def bill(self) -> dict[str, AttributeValue]:
        """The attributes of its root span: the bill at a glance."""
        return {
            A.OTEL_LLM_INTERACTION_COST_AMOUNT: self.nano_usd / 1e9,
            A.OTEL_LLM_INTERACTION_COST_COVERAGE: self.priced_calls / self.calls if self.calls else 1.0,
            A.OTEL_LLM_INTERACTION_CALLS: self.calls,
            A.OTEL_LLM_INTERACTION_ATTEMPTS: self.attempts,
            A.OTEL_LLM_INTERACTION_INPUT_TOKENS: self.input_tokens,
            A.OTEL_LLM_INTERACTION_OUTPUT_TOKENS: self.output_tokens,
            **self.facts.attributes(),
        }

    def wait_for_price(self) -> None:
        """A finished call of it waits for its price: its root span must not end before, nor those around it."""
        with self._lock:
            self._late += 1
        if self.parent is not None:
            self.parent.wait_for_price()

    def price_arrived(self) -> None:
        """The price has come."""
        with self._lock:
            self._late -= 1
        if self.parent is not None:
            self.parent.price_arrived()

    @property
    def waits(self) -> bool:
        """Whether finished calls wait for their price."""
        return self._late > 0


@dataclass(frozen=True, slots=True)
class Carried:
    """What came with a request, a message or a new process of the interaction that it is a part of."""

    parent: int
    """The id of the span that sent it: in other contexts it says nothing."""
    identity: Mapping[str, AttributeValue]
    """Attributes; with the interaction's id and name, where those are known."""
    process: bool = False
    """It holds for all that a process does, but for requests that it serves."""


class interaction:  # noqa: N801 - reads as a verb at the call site
    """Open an interaction: `with interaction("support.answer", user_id="u-42") as it:`, or as a decorator.

    The decorator works on functions, coroutine functions, generators and async generators; every call of them is an
    interaction of its own. Nothing of it raises into the caller.
    """

    def __init__(
        self,
        name: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        feature: str | None = None,
        tenant: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._who: dict[str, Any] = {
            "user_id": user_id,
            "session_id": session_id,
            "feature": feature,
            "tenant": tenant,
            "tags": tags,
        }
        self._it: Interaction | None = None
        self._outer: Context | None = None

    def __enter__(self) -> Interaction:
        it = self._begin()
        self._outer = otel_context.get_current()
        with guard:
            otel_context.attach(_inside(it, self._outer))
        return it

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_: TracebackType | None
    ) -> None:
        with guard:
            # Only where it is still ours: a generator may be closed in another context than it began in.
            if self._outer is not None and otel_context.get_value(INTERACTION) is self._it:
                otel_context.attach(self._outer)
        self._end(error)

    def __call__(self, function: F) -> F:
        """Decorate `function`: every call of it is an interaction."""

        def wrapper(wrapped: Callable[..., Any], _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return drive(wrapped, args, kwargs, lambda: _Opened(self._name, **self._who))

        return cast("F", wrapt.FunctionWrapper(cast("Callable[..., Any]", function), cast("Any", wrapper)))

    def _begin(self) -> Interaction:
        outer = current_interaction()
        it = Interaction(uuid.uuid4().hex, self._name, outer)
        it.takes_id = True
        with guard:
            it.attributes.update(identity_attributes(**self._who))
            it.attributes.setdefault(A.OTEL_LLM_FEATURE, self._name)
            parent = {A.OTEL_LLM_INTERACTION_PARENT_ID: outer.id} if outer is not None else None
            context = otel_context.set_value(INTERACTION, it)
            it.root = _tracer().start_span(self._name, context=context, attributes=parent)
        self._it = it
        return it

    def _end(self, error: BaseException | None) -> None:
        it = self._it
        if it is None or it.root is None:
            return
        with guard:
            end_span(it.root, error)


class _Opened(interaction):
    """An interaction that a function runs inside of."""

    def __init__(self, name: str, **who: Any) -> None:
        super().__init__(name, **who)
        self._opened = self._begin()

    def inside(self) -> Context:
        return _inside(self._opened)

    def end(self, error: BaseException | None = None, result: Any = None) -> None:
        self._end(error)


def current_interaction() -> Interaction | None:
    """The interaction that the calling code runs in: its id, its calls and its cost so far; None outside of one."""
    with guard:
        return interaction_of(trace.get_current_span(), None)
    return None


def attribute(
    *,
    user_id: str | None = None,
    session_id: str | None = None,
    feature: str | None = None,
    tenant: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Say who the current interaction is for, from an auth middleware for example. Outside of one it does nothing."""
    it = current_interaction()
    if it is not None:
        it.attribute(user_id=user_id, session_id=session_id, feature=feature, tenant=tenant, tags=tags)


def outcome(outcome: str, *, success: bool | None = None, interaction_id: str | None = None) -> None:
    """Say what became of an interaction: the current one, or one that ended, here or elsewhere, by its id."""
    with guard:
        if interaction_id is not None:
            _report_outcome(interaction_id, outcome, success)
            return
        it = current_interaction()
        if it is not None:
            it.outcome(outcome, success=success)


def interaction_of(span: trace.Span, context: Context | None) -> Interaction | None:
    """The interaction that `span` belongs to; for a span that is not recorded, the one of `context` or of its trace."""
    found = getattr(span, _SLOT, None) or otel_context.get_value(INTERACTION, context)
    if isinstance(found, Interaction):
        return found
    origin = span.get_span_context()
    return None if origin.is_remote else _began.get(origin.trace_id)


def sum_up(response_id: str | None, context: Context | None) -> None:
    """The answer of this id counts in a sum that is still to come, in the interaction of `context`."""
    with guard:
        it = interaction_of(trace.get_current_span(context), context)
        if it is not None and response_id is not None and response_id not in it.summed:
            it.summed = (*it.summed[1 - _SUMMED :], response_id)


def end_span(span: trace.Span, error: BaseException | None = None) -> None:
    """End `span` now, failed if there is an `error`; cancelled or interrupted by the caller is no failure.

    The root span of an interaction is closed when all calls of that have their price.
    """
    ended = time.time_ns()
    if isinstance(error, Exception):
        fail_span(span, error_type(error))
    it = interaction_of(span, None)
    if it is not None and it.root is span and it.waits:
        later(functools.partial(span.end, ended))
    else:
        span.end(ended)


def fail_span(span: trace.Span, kind: str) -> None:
    """Mark `span` as failed, by an error of this `kind`."""
    span.set_status(StatusCode.ERROR)
    span.set_attribute(A.ERROR_TYPE, kind)


class InteractionProcessor(SpanProcessor):
    """Gives every span its interaction, and its identity, from its start."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Find the span's interaction, or begin one with it, and stamp it."""
        with guard:
            parent = trace.get_current_span(parent_context)
            it = _interaction_for(span, parent, parent_context)
            setattr(span, _SLOT, it)
            attributes = it.attributes
            if it.root is None:
                trace_id = span.get_span_context().trace_id
                if not _began.setdefault(trace_id, it).is_open():
                    _began[trace_id] = it
                it.root = span
            else:
                endpoint = it.endpoint()
                if endpoint is not None:
                    attributes = {**attributes, A.OTEL_LLM_ENDPOINT: endpoint}
            write(span, attributes)
            _note(it, span, parent)


def _note(it: Interaction, span: Span, around: Any) -> None:
    """Tell the span's interaction of an agent or a tool, whoever reports it."""
    said = attributes_of(span)
    operation, depth = said.get(A.GEN_AI_OPERATION_NAME), getattr(around, _DEPTH, 0)
    depth += operation == "invoke_agent"
    if depth:
        setattr(span, _DEPTH, depth)
    if operation == "invoke_agent":
        it.agent_began(depth)
    elif operation == "execute_tool" and not is_same_tool(said, getattr(around, "attributes", None)):
        it.tool_began(str(said.get(A.GEN_AI_TOOL_NAME) or span.name.removeprefix("execute_tool ")))


def is_same_tool(said: Mapping[str, Any], around: Mapping[str, Any] | None) -> bool:
    """Whether a span and the one around it are about one execution: its client's, its server's."""
    names = (A.GEN_AI_OPERATION_NAME, A.GEN_AI_TOOL_NAME)
    return around is not None and all(around.get(name) == said.get(name) for name in names)


def _interaction_for(span: Span, parent: trace.Span, context: Context | None) -> Interaction:
    named = otel_context.get_value(INTERACTION, context)
    origin = parent.get_span_context()
    if isinstance(named, Interaction) and named.root is None:
        # The root span of an interaction that is being opened.
        if not origin.is_valid and named.takes_id:
            named.id = named.attributes[A.OTEL_LLM_INTERACTION_ID] = _id_of_trace(span)
        return named
    found = None if origin.is_remote else interaction_of(parent, context)
    if found is not None and not _is_over(found, parent, span):
        return found
    # A root. What ended, and what belongs to a whole process, is not the request's that is served there.
    carried = otel_context.get_value(CARRIED, context) if found is None and origin.is_remote else None
    identity: dict[str, AttributeValue] = {}
    alone = found is not None
    if isinstance(carried, Carried) and carried.parent == origin.span_id:
        alone = carried.process and span.kind is SpanKind.SERVER
        identity = {} if alone else dict(carried.identity)
    if caller := CALLER.get():
        identity |= caller.pop()
    # Every process that takes part in the trace comes to the same id.
    own_id = uuid.uuid4().hex if alone else str(identity.pop(A.OTEL_LLM_INTERACTION_ID, _id_of_trace(span)))
    return Interaction(own_id, str(identity.pop(A.OTEL_LLM_INTERACTION_NAME, span.name)), identity=identity)


def _id_of_trace(span: Span) -> str:
    return format(span.get_span_context().trace_id, "032x")


def _is_over(it: Interaction, parent: trace.Span, span: Span) -> bool:
    """Whether what begins with `span` is no longer a part of `it`, which ended."""
    if it.is_open():
        return False
    if span.kind in _ENTRY_KINDS:
        # A server may run the next request in the context of one that ended: nothing of that may leak.
        return True
    ended = it.root.end_time if isinstance(it.root, ReadableSpan) else None
    late = ended is not None and (span.start_time or 0) - ended > _AFTERWARDS_NS
    return late and not parent.is_recording()


def _inside(it: Interaction, context: Context | None = None) -> Context:
    inner = otel_context.set_value(INTERACTION, it, context)
    return trace.set_span_in_context(it.root, inner) if it.root is not None else inner


def identity_attributes(
    *,
    user_id: str | None = None,
    session_id: str | None = None,
    feature: str | None = None,
    tenant: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> dict[str, AttributeValue]:
    """The attributes that say it."""
    named = {
        A.USER_ID: user_id,
        A.SESSION_ID: session_id,
        A.OTEL_LLM_FEATURE: feature,
        A.OTEL_LLM_TENANT: tenant,
        **{A.OTEL_LLM_TAG_PREFIX + key: value for key, value in (tags or {}).items()},
    }
    return {name: str(value) for name, value in named.items() if value is not None}


def _outcome(outcome: str, success: bool | None) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {A.OTEL_LLM_INTERACTION_OUTCOME: outcome}
    if success is not None:
        found[A.OTEL_LLM_INTERACTION_SUCCESS] = success
    return found


def _report_outcome(interaction_id: str, outcome: str, success: bool | None) -> None:
    """A span of its own carries an outcome that comes after the root span ended."""
    it = Interaction(interaction_id)
    context = otel_context.set_value(INTERACTION, it, Context())
    _tracer().start_span("outcome", context=context, attributes=_outcome(outcome, success)).end()


def _tracer() -> trace.Tracer:
    return trace.get_tracer("otel_llm")
