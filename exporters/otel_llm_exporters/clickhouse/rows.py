"""Spans as rows of the OTel Collector's `otel_traces`.

Written with the standard library only, because it runs inside other people's applications.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.sdk.resources import SERVICE_NAME
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from otel_llm_exporters.clickhouse.formats import Attributes, Block, Row, block

if TYPE_CHECKING:
    from types import MappingProxyType

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link

_logger = logging.getLogger(__name__)
_KINDS = {kind: kind.name.capitalize() for kind in SpanKind}
_STATUSES = {code: code.name.capitalize() for code in StatusCode}
_INT64_MAX = 2**63 - 1
# What a broken span can raise while it is read; one such span must not take the batch with it.
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def encode(spans: Iterable[ReadableSpan]) -> Block:
    """Return the spans as one block. Never raises: a span that cannot be read is left out, with a warning."""
    resources: dict[int, tuple[str, Attributes]] = {}
    rows: list[Row] = []
    for span in spans:
        try:
            rows.append(row(span, resources))
        except _UNREADABLE as error:
            _logger.warning("A span could not be stored, because it cannot be read (%r).", error)
    return block(rows)


def row(span: ReadableSpan, resources: dict[int, tuple[str, Attributes]] | None = None) -> Row:
    """Return a span as values of `COLUMNS`; times are nanoseconds. `resources` remembers those already converted."""
    seen = {} if resources is None else resources
    resource = span.resource
    if (known := seen.get(id(resource))) is None:
        known = seen[id(resource)] = _resource(resource)
    service, resource_attributes = known
    context, parent, scope = span.get_span_context(), span.parent, span.instrumentation_scope
    start = _nanoseconds(span.start_time)
    events, links = span.events, span.links
    return (
        start,
        format_trace_id(context.trace_id) if context else "",
        format_span_id(context.span_id) if context else "",
        format_span_id(parent.span_id) if parent else "",
        context.trace_state.to_header() if context and context.trace_state else "",
        _text(span.name),
        _KINDS.get(span.kind, "Unspecified"),
        service,
        resource_attributes,
        _text(scope.name) if scope else "",
        _text(scope.version) if scope else "",
        _attributes(span.attributes),
        max(0, _nanoseconds(span.end_time) - start),
        _STATUSES.get(span.status.status_code, "Unset"),
        _text(span.status.description),
        *(_events(events) if events else ((), (), ())),
        *(_links(links) if links else ((), (), (), ())),
    )


def _resource(resource: Resource) -> tuple[str, Attributes]:
    attributes = _attributes(resource.attributes)
    return attributes.get(SERVICE_NAME, ""), attributes


def _events(events: Sequence[Event]) -> tuple[list[int], list[str], list[Attributes]]:
    times = [_nanoseconds(event.timestamp) for event in events]
    return times, [_text(event.name) for event in events], [_attributes(event.attributes) for event in events]


def _links(links: Sequence[Link]) -> tuple[list[str], list[str], list[str], list[Attributes]]:
    contexts = [link.context for link in links]
    return (
        [format_trace_id(context.trace_id) for context in contexts],
        [format_span_id(context.span_id) for context in contexts],
        [context.trace_state.to_header() for context in contexts],
        [_attributes(link.attributes) for link in links],
    )


def _attributes(attributes: Mapping[str, Any] | None) -> Attributes:
    if not attributes:
        return {}
    # copy() takes the SDK's inner dict at once; iterating over its container costs several times as much.
    items: dict[str, Any] = cast("MappingProxyType[str, Any]", attributes).copy()
    return {
        key if type(key) is str else _text(key): value if type(value) is str else _TEXTS[type(value)](value)
        for key, value in items.items()
    }


def _text(value: object) -> str:
    """What the Collector writes for an attribute value, as far as JSON and Go agree."""
    return _TEXTS[type(value)](value)


def _integer(value: int) -> str:
    # Python refuses decimal digits of very long integers; hexadecimal ones are always possible.
    return int.__repr__(value) if -_INT64_MAX <= value <= _INT64_MAX else hex(value)


def _float(value: float) -> str:
    text = float.__repr__(value)
    if "e" in text:
        if 1e-6 <= value < 1e-4:
            # Most calls cost as little as this.
            digits, _, power = text.partition("e-")
            return "0." + "0" * (int(power) - 1) + digits.replace(".", "")
        return format(Decimal(text), "f") if 1e-6 <= abs(value) < 1e21 else text
    return text.removesuffix(".0")


def _json(value: object) -> str:
    try:
        return _JSON.encode(value)
    except (TypeError, ValueError, RecursionError):
        return object.__repr__(value)


def _plain(value: object) -> object:
    return dict(cast("Mapping[object, object]", value)) if isinstance(value, Mapping) else _text(value)


class _Texts(dict[type, Callable[[Any], str]]):
    """How a type becomes text: its own entry, else that of its first base class here."""

    def __missing__(self, type_: type) -> Callable[[Any], str]:
        return next((convert for base, convert in self.items() if issubclass(type_, base)), object.__repr__)


_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, skipkeys=True, default=_plain)
_TEXTS = _Texts(
    {
        str: str.__str__,
        bool: lambda value: "true" if value else "false",
        int: _integer,
        float: _float,
        type(None): lambda _: "",
        bytes: lambda value: base64.b64encode(value).decode(),
        tuple: _json,
        list: _json,
        dict: _json,
        Mapping: _json,
    }
)


def _nanoseconds(time: object) -> int:
    """Applications pass all sorts of start times; what is no DateTime64 becomes the nearest one that is."""
    if isinstance(time, int):
        return min(max(time, 0), _INT64_MAX)
    return int(min(max(0.0, time), 9.2e18)) if isinstance(time, float) else 0
