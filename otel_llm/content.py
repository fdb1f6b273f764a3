"""What was asked and answered, for those who ask for it. Off by default: no prompt leaves the process unasked.

`OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`: `NO_CONTENT` or `false`, `SPAN_ONLY` or `true`, `EVENT_ONLY`,
`SPAN_AND_EVENT`. `OTEL_LLM_REDACT=package.module:function` names a function that gets every text and returns what may
be kept of it. `OTEL_LLM_CONTENT_MAX_LENGTH` bounds each text, in characters (16384).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, cast

from opentelemetry import trace
from opentelemetry.trace import Span

from otel_llm.call import AttributeValue
from otel_llm.guard import logger
from otel_llm.spec import Content
from otel_llm_semconv import attributes as A

Redact = Callable[[str], str]

_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_LENGTH = "OTEL_LLM_CONTENT_MAX_LENGTH"
_DEFAULT_LENGTH = 16_384
# What names things, and is none of the user's words.
_NAMES = frozenset({"type", "role", "id", "name", "finish_reason", "modality", "mime_type", "generic_type", "file_id"})


class _Modes(NamedTuple):
    span: bool
    event: bool


_MODES = {
    "": _Modes(span=False, event=False),
    "no_content": _Modes(span=False, event=False),
    "false": _Modes(span=False, event=False),
    "span_only": _Modes(span=True, event=False),
    "true": _Modes(span=True, event=False),
    "event_only": _Modes(span=False, event=True),
    "span_and_event": _Modes(span=True, event=True),
}


@cache
def modes() -> _Modes:
    """Where content goes; a word that means nothing is said once, and means nowhere."""
    said = os.environ.get(_VARIABLE, "").strip().lower()
    if said not in _MODES:
        logger.warning("%s is %r, but it must be NO_CONTENT, SPAN_ONLY, EVENT_ONLY or SPAN_AND_EVENT", _VARIABLE, said)
    return _MODES.get(said, _MODES[""])


class Capture:
    """The content of one call, while it is under way. Its methods may raise: the caller guards them."""

    def __init__(self, content: Content, body: Mapping[str, Any]) -> None:
        self._content = content
        self._folded: dict[str, Any] = {}
        self._said: dict[str, Any] = content.request(body)

    def event(self, chunk: Any) -> None:
        """Take one event of a stream."""
        self._content.fold(self._folded, chunk)

    def answer(self, body: Any, reasons: Sequence[str]) -> None:
        """Take the whole response; without one, what the events of the stream came to. `reasons` are the call's."""
        messages = self._content.response(self._folded if body is None else body)
        if len(messages) == len(reasons):
            messages = [{**said, "finish_reason": reason} for said, reason in zip(messages, reasons, strict=True)]
        if messages:
            self._said[A.GEN_AI_OUTPUT_MESSAGES] = messages

    def write(self, span: Span, attributes: Mapping[str, AttributeValue]) -> None:
        """Put it onto the span, as JSON, or into an event beside it, as it is and with the span's `attributes`."""
        redact, length = _redaction(), _length()
        said = {name: _kept(value, redact, length) for name, value in self._said.items()}
        if modes().span and span.get_span_context().trace_flags.sampled:
            span.set_attributes({name: json.dumps(value, ensure_ascii=False) for name, value in said.items()})
        if modes().event:
            from opentelemetry._logs import SeverityNumber, get_logger

            get_logger("otel_llm").emit(
                context=trace.set_span_in_context(span),
                severity_number=SeverityNumber.DEBUG,
                event_name=A.GEN_AI_CLIENT_INFERENCE_OPERATION_DETAILS,
                attributes=cast("Any", {**attributes, **said}),
            )


def capture(content: Content | None, body: Mapping[str, Any]) -> Capture | None:
    """The capture of a call; None where it is off, or the dialect has no messages. May raise: the caller guards it."""
    return Capture(content, body) if content is not None and any(modes()) else None


def _kept(value: Any, redact: Redact | None, length: int) -> Any:
    if isinstance(value, str):
        value = value if redact is None else str(redact(value))
        return value if len(value) <= length else value[:length] + "…"
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        return {key: part if key in _NAMES else _kept(part, redact, length) for key, part in found.items()}
    if isinstance(value, (list, tuple)):
        return [_kept(part, redact, length) for part in cast("list[Any]", value)]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return _kept(str(value), redact, length)


@cache
def _redaction() -> Redact | None:
    """The user's own function. Raises what its import raises: then nothing is captured."""
    place = os.environ.get("OTEL_LLM_REDACT", "").strip()
    if not place:
        return None
    module, _, name = place.partition(":")
    return cast("Redact", getattr(import_module(module), name))


@cache
def _length() -> int:
    said = os.environ.get(_LENGTH, "").strip()
    if said and not (said.isdecimal() and int(said)):
        logger.warning("%s is %r, but it must be a whole number above 0: %d is used", _LENGTH, said, _DEFAULT_LENGTH)
    return int(said) if said.isdecimal() and int(said) else _DEFAULT_LENGTH
