"""What of an interaction leaves the process, and how it comes in again.

To other services it goes as W3C trace context, by OpenTelemetry's own instrumentations of HTTP clients, with what of
the identity OTEL_LLM_BAGGAGE names. To processes and task queues of the application all of it goes, in a text of ours
beside the trace context. To providers of models nothing goes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from opentelemetry import baggage, propagate, trace
from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_llm.call import AttributeValue
from otel_llm.engine.recording import current_recording
from otel_llm.guard import guard, logger
from otel_llm.interaction import CARRIED, Carried, interaction_of
from otel_llm.settings import BAGGAGE_SETTING, SettingError, baggage_names, propagates_to_providers
from otel_llm_semconv import attributes as A

CARRIER = "otel_llm_interaction"
"""The key of our own text in a carrier."""
_W3C = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
_INTERACTION = (A.OTEL_LLM_INTERACTION_ID, A.OTEL_LLM_INTERACTION_NAME)


def carried(context: Context | None = None, *, whole: bool = True) -> dict[str, str]:
    """What has to go along for `context`, by default the current one, to go on elsewhere; empty outside of a trace.

    Not `whole`: the identity only as far as OTEL_LLM_BAGGAGE names it.
    """
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context)
    it = interaction_of(trace.get_current_span(context), context)
    if it is not None and "traceparent" in carrier:
        names = it.attributes if whole else (*_INTERACTION, *_names())
        carrier[CARRIER] = urlencode({name: it.attributes[name] for name in names if name in it.attributes})
    return carrier


def resumed(carrier: Mapping[str, Any], *, process: bool = False) -> Context:
    """The context to go on in with what came in `carrier`; if that is the current interaction's, the current one.

    `process`: it holds for all that this process does, but for requests that it serves.
    """
    identity: dict[str, AttributeValue] = dict(parse_qsl(carrier.get(CARRIER) or ""))
    it = interaction_of(trace.get_current_span(), None)
    if it is not None and it.is_open() and it.id == identity.get(A.OTEL_LLM_INTERACTION_ID):
        return otel_context.get_current()
    context = _W3C.extract(carrier, Context())
    parent = trace.get_current_span(context).get_span_context().span_id
    return otel_context.set_value(CARRIED, Carried(parent, identity, process), context)


def join_parent_process() -> None:
    """Go on in what the environment brings, if this process was started within an interaction."""
    fields = (*_W3C.fields, CARRIER)
    carrier = {name: os.environ[name.upper()] for name in fields if name.upper() in os.environ}
    if "traceparent" in carrier:
        otel_context.attach(resumed(carrier, process=True))


def environment() -> dict[str, str]:
    """The environment variables by which a child process joins; empty outside of a trace."""
    return {name.upper(): value for name, value in carried(whole=False).items()}


class Propagator(TextMapPropagator):
    """Another propagator: providers of models get nothing from it, other services what OTEL_LLM_BAGGAGE names, too."""

    def __init__(self, inner: TextMapPropagator, is_provider: Callable[[str | None], bool]) -> None:
        self._inner = inner
        self._is_provider = is_provider

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """As the inner one, unless what is sent is a call to a model."""
        with guard:
            if not propagates_to_providers() and self._is_to_provider(context):
                return
            context = _with_baggage(context)
        self._inner.inject(carrier, context, setter)

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """As the inner one, and what of its baggage OTEL_LLM_BAGGAGE names is the identity of what is served."""
        found = self._inner.extract(carrier, context, getter)
        with guard:
            return _from_baggage(found)
        return found

    @property
    def fields(self) -> set[str]:
        """As the inner one."""
        return self._inner.fields

    def _is_to_provider(self, context: Context | None) -> bool:
        if current_recording(context) is not None:
            return True
        # What else goes to a provider, a list of its models for example, is known by its address.
        span = trace.get_current_span(context)
        said = (span.attributes if isinstance(span, ReadableSpan) else None) or {}
        url = urlsplit(str(said.get(A.URL_FULL) or said.get(A.HTTP_URL) or ""))
        return self._is_provider(url.hostname)


def propagate_by(is_provider: Callable[[str | None], bool]) -> None:
    """Put our propagator around the global one. Twice is once."""
    inner = propagate.get_global_textmap()
    if not isinstance(inner, Propagator):
        propagate.set_global_textmap(Propagator(inner, is_provider))


def _with_baggage(context: Context | None) -> Context | None:
    names = _names()
    it = interaction_of(trace.get_current_span(context), context) if names else None
    if it is not None:
        for name in (A.OTEL_LLM_INTERACTION_ID, *names):
            if name in it.attributes:
                context = baggage.set_baggage(name, str(it.attributes[name]), context)
    return context


def _from_baggage(context: Context) -> Context:
    names = _names()
    if not names:
        return context
    known = baggage.get_all(context)
    identity = {name: str(known[name]) for name in (A.OTEL_LLM_INTERACTION_ID, *names) if name in known}
    parent = trace.get_current_span(context).get_span_context().span_id
    return otel_context.set_value(CARRIED, Carried(parent, identity), context) if identity else context


def _names() -> tuple[str, ...]:
    """The attributes that OTEL_LLM_BAGGAGE names."""
    return _parsed(os.environ.get(BAGGAGE_SETTING, ""))


@cache
def _parsed(text: str) -> tuple[str, ...]:
    try:
        return baggage_names(text)
    except SettingError as error:
        logger.warning("%s", error)
        return ()
