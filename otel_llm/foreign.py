"""Spans of model calls that others made: priced where nobody else counted the call, and marked where somebody did.

OpenTelemetry's own instrumentations, OpenLLMetry, OpenInference, OpenLIT, Logfire, and frameworks that trace themselves
see the same calls as we do: some above our span, some beneath, some beside it. Of all the spans of one call ours is the
call; without ours it is the innermost, which ends first. The others get `otel_llm.layer` = `covered`: they never count.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import StatusCode

from otel_llm.call import Call, Usage
from otel_llm.dialects.reading import text
from otel_llm.engine.prices import expect, price_book
from otel_llm.engine.recording import Layer, current_layer, current_recording, mark_agent
from otel_llm.guard import guard
from otel_llm.interaction import Interaction, interaction_of
from otel_llm.metrics import measure
from otel_llm.providers import provider_named, provider_of
from otel_llm.spans import attributes_of, end_attributes, start_attributes, write_ended
from otel_llm_semconv import attributes as A

_SLOT, _SEEN = "_otel_llm_trail", "_otel_llm_seen"
_OPERATIONS = ("chat", "text_completion", "generate_content", "embeddings")
_KINDS = {"LLM": "chat", "CHAT": "chat", "COMPLETION": "text_completion", "EMBEDDING": "embeddings"}
"""OpenInference's and OpenLLMetry's words for operations."""
_ANSWERS = (
    *(A.GEN_AI_RESPONSE_PREFIX, A.GEN_AI_OUTPUT_MESSAGES, A.GEN_AI_COMPLETION, A.GEN_AI_USAGE_PREFIX),
    *(A.LLM_FINISH_REASON, A.LLM_OUTPUT_MESSAGES, A.LLM_RESPONSE_PREFIX, A.LLM_TOKEN_COUNT_PREFIX),
    A.EMBEDDING_EMBEDDINGS,
)
"""How the names begin by which others tell of an answer."""
_REFUSALS = ("TypeError", "ValueError")
"""What SDKs raise before they ask: what comes of a request has a class of its own."""
_REMEMBERED = 256
_CLOCKS_NS = 2_000_000


class _Seen:
    """A call that counts, as others may know it."""

    __slots__ = ("ended_ns", "id", "models", "started_ns", "told")

    def __init__(self, started_ns: int) -> None:
        self.started_ns = started_ns
        self.ended_ns = 0
        self.id: Any = None
        self.models: set[Any] = set()
        self.told: set[str] = set()
        """Who else has told of it: each does once."""

    def know(self, said: Mapping[str, Any], ended_ns: int = 0) -> None:
        """What its span says so far."""
        self.ended_ns = ended_ns
        self.id = said.get(A.GEN_AI_RESPONSE_ID)
        self.models = {said.get(A.GEN_AI_REQUEST_MODEL), said.get(A.GEN_AI_RESPONSE_MODEL)} - {None}

    def may_be(self, call: Call, ended_ns: int) -> bool:
        """Whether somebody else may tell of this one: it was under way in the same time, at the same model."""
        models = {call.request_model, call.response_model} - {None}
        return (
            call.started_ns - _CLOCKS_NS <= self.started_ns <= ended_ns
            and self.ended_ns <= ended_ns + _CLOCKS_NS
            and (not models or not self.models or not models.isdisjoint(self.models))
        )


class _Trail:
    """What a span of others is beneath, and what was counted beneath it; ours beneath it have it, too.

    It lies by the attributes, which outlive the span.
    """

    __slots__ = ("around", "beneath", "covered", "interaction", "layer")

    def __init__(self, around: _Trail | None) -> None:
        self.around = around
        self.interaction: Interaction | None = None
        self.layer: Layer | None = None
        """What a framework of ours left around it."""
        self.beneath: set[bool] = set()
        """Whether a call that only embeds was counted beneath, and one that infers: a model may embed on its way."""
        self.covered = False
        """It is beneath a call that counts."""

    def sign(self, *, embeds: bool) -> None:
        """A call counts: none around it does, nor what a framework tells of it."""
        trail: _Trail | None = self
        while trail is not None and embeds not in trail.beneath:
            trail.beneath.add(embeds)
            if trail.layer is not None and not embeds:
                trail.layer.sign()
            trail = trail.around


class ForeignCalls(SpanProcessor):
    """Finds the model calls among the spans of others. It has to come before whatever keeps or exports spans."""

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[Interaction, deque[_Seen]] = WeakKeyDictionary()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Know what it is beneath."""
        with guard:
            said = attributes_of(span)
            parent = trace.get_current_span(parent_context)
            trail = _trail_of(parent)
            is_agent = said.get(A.GEN_AI_OPERATION_NAME) == "invoke_agent"
            mark_agent(span, parent, parent_context, said.get(A.GEN_AI_AGENT_NAME) if is_agent else None)
            kept: Any = span._attributes  # pyright: ignore[reportPrivateUsage]
            if not is_ours(span):
                trail = _Trail(trail)
                trail.interaction = interaction_of(span, parent_context)
                trail.layer = current_layer(parent_context)
                trail.covered = current_recording(parent_context) is not None
                if not trail.covered and A.GEN_AI_REQUEST_MODEL in said and (call := _call(said)) is not None:
                    expect(call)
            elif A.GEN_AI_PROVIDER_NAME in said:
                it = interaction_of(span, parent_context)
                # Of a call that is an interaction of its own nobody can tell but inside of it.
                if trail is not None or it is None or it.root is not span:
                    setattr(kept, _SEEN, self._count(trail, it, said, span.start_time or 0))
            if trail is not None:
                setattr(kept, _SLOT, trail)

    def on_end(self, span: ReadableSpan) -> None:
        """Count it, or mark it, if it is a call."""
        with guard:
            if is_ours(span):
                seen: _Seen | None = getattr(span._attributes, _SEEN, None)  # pyright: ignore[reportPrivateUsage]
                if seen is not None:
                    seen.know(attributes_of(span), span.end_time or 0)
                return
            trail, said = _trail_of(span), attributes_of(span)
            call = _call(said)
            if trail is None or call is None:
                return
            call.started_ns, ended_ns = span.start_time or 0, span.end_time or 0
            call.duration_ns = ended_ns - call.started_ns
            scope = span.instrumentation_scope.name if span.instrumentation_scope is not None else ""
            # Some end a span by a time of their own: that of a stream when it was still to be read, for example.
            known_ns = max(ended_ns, time.time_ns())
            if _asked_nobody(span, said) or self._is_counted(trail, call, known_ns, scope):
                write_ended(span, {A.OTEL_LLM_LAYER: "covered"})
                return
            seen = self._count(trail, trail.interaction, said, call.started_ns)
            seen.know(said, ended_ns)
            seen.told.add(scope)
            _price(span, call, trail.interaction)

    def _count(self, trail: _Trail | None, it: Interaction | None, said: Mapping[str, Any], started_ns: int) -> _Seen:
        """The call counts, and none around it."""
        if trail is not None:
            trail.sign(embeds=_embeds(said.get(A.GEN_AI_OPERATION_NAME)))
        seen = _Seen(started_ns)
        seen.know(said)
        if it is not None:
            calls = self._seen.get(it)
            if calls is None:
                calls = self._seen[it] = deque(maxlen=_REMEMBERED)
            calls.append(seen)
        return seen

    def _is_counted(self, trail: _Trail, call: Call, ended_ns: int, scope: str) -> bool:
        if trail.covered or _embeds(call.operation) in trail.beneath:
            return True
        if trail.interaction is None:
            return False
        if call.response_id in trail.interaction.summed:
            return True
        untold = [seen for seen in self._seen.get(trail.interaction, ()) if scope not in seen.told]
        same = [seen for seen in untold if seen.id is not None and seen.id == call.response_id]
        nameless = [seen for seen in untold if None in (seen.id, call.response_id) and seen.may_be(call, ended_ns)]
        found = next(iter((*same, *nameless)), None)
        if found is not None:
            found.told.add(scope)
        return found is not None


def is_ours(span: ReadableSpan) -> bool:
    """Whether one of our tracers made it."""
    scope = span.instrumentation_scope
    return scope is not None and scope.name.startswith("otel_llm")


def _trail_of(span: Any) -> _Trail | None:
    return getattr(getattr(span, "_attributes", None), _SLOT, None)


def _embeds(operation: Any) -> bool:
    return operation in ("embeddings", "rerank")


def _call(said: Mapping[str, Any]) -> Call | None:
    """The call that a span tells of, by whatever names; None when it is no call. As `llm_calls` decides, too."""
    first = partial(_first, said)
    kind = _kind(said)
    operation = first(A.GEN_AI_OPERATION_NAME) or _KINDS.get(kind)
    if operation is None and not kind and A.GEN_AI_REQUEST_MODEL in said:
        operation = "chat"
    if operation not in _OPERATIONS:
        return None
    named = (text(first(A.GEN_AI_PROVIDER_NAME, A.GEN_AI_SYSTEM, A.LLM_PROVIDER, A.LLM_SYSTEM)) or "").lower()
    host, port = first(A.SERVER_ADDRESS), first(A.SERVER_PORT)
    call = Call(operation, provider_of(host, port, provider_named(named)), layer="foreign")
    call.request_model = text(first(A.GEN_AI_REQUEST_MODEL, A.LLM_MODEL_NAME, A.EMBEDDING_MODEL_NAME))
    call.response_model = text(first(A.GEN_AI_RESPONSE_MODEL))
    call.response_id = text(first(A.GEN_AI_RESPONSE_ID))
    tiers = A.OTEL_LLM_SERVICE_TIER, A.OPENAI_RESPONSE_SERVICE_TIER, A.ANTHROPIC_RESPONSE_SERVICE_TIER
    call.service_tier = text(first(*tiers))
    call.error_type = text(first(A.ERROR_TYPE))
    if first(A.GEN_AI_USAGE_COST_SOURCE) == "provider" and first(A.GEN_AI_USAGE_COST_CURRENCY) in (None, "USD"):
        call.reported_cost_usd = str(first(A.GEN_AI_USAGE_COST_AMOUNT))
    call.usage = _usage(said)
    return call


def _asked_nobody(span: ReadableSpan, said: Mapping[str, Any]) -> bool:
    """Whether a span tells of no answer, and of no request either: the SDK refused its arguments.

    Nor is it a request where a span has no more than OpenInference's kind of a call, which prepares one, say, or no
    more than a model's name: Anthropic's SDK names one where it counts tokens, and where it begins a session.
    """
    if any(name.startswith(_ANSWERS) for name in said):
        return False
    if A.GEN_AI_OPERATION_NAME in said or span.status.status_code is StatusCode.ERROR:
        return said.get(A.ERROR_TYPE) in _REFUSALS
    return A.OPENINFERENCE_SPAN_KIND in said or not _kind(said)


def _kind(said: Mapping[str, Any]) -> str:
    return str(_first(said, A.OPENINFERENCE_SPAN_KIND, A.TRACELOOP_SPAN_KIND, A.LLM_REQUEST_TYPE) or "").upper()


def _usage(said: Mapping[str, Any]) -> Usage | None:
    def tokens(*names: str) -> int | None:
        found = _first(said, *names)
        return found if isinstance(found, int) and found >= 0 else None

    total = tokens(A.GEN_AI_USAGE_INPUT_TOKENS, A.GEN_AI_USAGE_PROMPT_TOKENS, A.LLM_TOKEN_COUNT_PROMPT)
    output = tokens(A.GEN_AI_USAGE_OUTPUT_TOKENS, A.GEN_AI_USAGE_COMPLETION_TOKENS, A.LLM_TOKEN_COUNT_COMPLETION)
    if total is None and output is None:
        return None
    usage = Usage(
        cache_read=tokens(
            A.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
            A.TRACELOOP_CACHE_READ_INPUT_TOKENS,
            A.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_READ,
        ),
        cache_write_5m=tokens(A.ANTHROPIC_USAGE_CACHE_CREATION_EPHEMERAL_5M_INPUT_TOKENS),
        cache_write_1h=tokens(A.ANTHROPIC_USAGE_CACHE_CREATION_EPHEMERAL_1H_INPUT_TOKENS),
        reasoning=tokens(
            A.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
            A.GEN_AI_USAGE_REASONING_TOKENS,
            A.LLM_TOKEN_COUNT_COMPLETION_DETAILS_REASONING,
        ),
        input_audio=tokens(A.GEN_AI_USAGE_AUDIO_INPUT_TOKENS, A.LLM_TOKEN_COUNT_PROMPT_DETAILS_AUDIO),
        output_audio=tokens(A.GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS, A.LLM_TOKEN_COUNT_COMPLETION_DETAILS_AUDIO),
    )
    written = tokens(
        A.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
        A.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS,
        A.TRACELOOP_CACHE_CREATION_INPUT_TOKENS,
        A.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_WRITE,
    )
    if written is not None:
        usage.cache_write_other = written - (usage.cache_write_5m or 0) - (usage.cache_write_1h or 0)
    if total is not None:
        parts = usage.input_tokens or 0
        if parts > total:
            usage.inconsistent = f"{parts} tokens of the cache and of sound in an input of {total}"
        # Some tell of the input without its cached part, as Anthropic does.
        usage.input = total - parts if parts <= total else total
    if output is not None:
        usage.output = max(0, output - (usage.reasoning or 0) - (usage.output_audio or 0))
    return usage


def _first(said: Mapping[str, Any], *names: str) -> Any:
    return next((value for name in names if (value := said.get(name)) not in (None, "")), None)


def _price(span: ReadableSpan, call: Call, it: Interaction | None) -> None:
    if call.usage is None and call.error_type is None and span.status.status_code is StatusCode.ERROR:
        call.error_type = "_OTHER"
    # The span ends now: where its price was not looked up while the provider thought, it is here.
    call.cost = price_book().price(call)
    found = start_attributes(call) | end_attributes(call)
    if it is not None:
        it.ended(call)
        found |= it.add(call, it.root if it.root is not None and _is_root(span, it.root) else trace.INVALID_SPAN)
    known = span.attributes or {}
    del found[A.OTEL_LLM_ATTEMPTS]  # nobody else counts them
    write_ended(span, {name: value for name, value in found.items() if name not in known})
    measure(call)


def _is_root(span: ReadableSpan, root: trace.Span) -> bool:
    return span.context is not None and root.get_span_context().span_id == span.context.span_id
