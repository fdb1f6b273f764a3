"""What calls measure: durations, tokens, cost. Only where the application has a meter provider; nothing is set up here.

`OTEL_LLM_METRICS` chooses the names: `legacy` (of semantic conventions up to 1.41, the default), `latest`, `both` or
`none`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from otel_llm.call import AttributeValue, Call, Usage
from otel_llm.guard import logger
from otel_llm_semconv import attributes as A

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, MeterProvider

Attributes = dict[str, AttributeValue]

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(4**power for power in range(14))
_USD = tuple(round(10.0**power * step, 6) for power in range(-5, 2) for step in (1, 2.5, 5))
_NAMES = {"legacy": ("legacy",), "latest": ("latest",), "both": ("legacy", "latest"), "none": ()}
_known: dict[int, tuple[MeterProvider, _Meters]] = {}


def measure(call: Call, provider: MeterProvider | None = None) -> None:
    """Record a call that ended. May raise: the caller guards it."""
    names = _names()
    provider = provider or (_provider() if names else None)
    if provider is None:
        return
    meters = _meters(provider)
    shared = _shared(call)
    if "legacy" in names:
        meters.legacy(call, shared)
    if "latest" in names:
        meters.latest(call, shared, both=len(names) > 1)
    meters.money(call, shared)


def _provider() -> MeterProvider | None:
    # Who never imported the package has no provider, and shall not pay for one.
    metrics = sys.modules.get("opentelemetry.metrics")
    if metrics is None:
        return None
    provider: MeterProvider = metrics.get_meter_provider()
    # The API's own providers stand in for one that nobody set, and the SDK's without readers measures for nobody.
    if type(provider).__module__.startswith("opentelemetry.metrics") or not getattr(provider, "_metric_readers", True):
        return None
    return provider


@cache
def _names() -> tuple[str, ...]:
    said = os.environ.get("OTEL_LLM_METRICS", "").strip().lower() or "legacy"
    if said not in _NAMES:
        logger.warning("OTEL_LLM_METRICS is %r, but it must be one of %s: legacy is used", said, ", ".join(_NAMES))
    return _NAMES.get(said, _NAMES["legacy"])


def _meters(provider: MeterProvider) -> _Meters:
    # By identity: Logfire's has none of its own to be hashed by. It is kept, so that its id stays its own.
    known = _known.get(id(provider))
    if known is None:
        known = _known[id(provider)] = (provider, _Meters(provider))
    return known[1]


class _Meters:
    """The instruments of one provider."""

    def __init__(self, provider: MeterProvider) -> None:
        self._meter = provider.get_meter("otel_llm")
        self._histograms: dict[str, Histogram] = {}
        self._counters: dict[str, Counter] = {}

    def legacy(self, call: Call, shared: Attributes) -> None:
        self._histogram(A.GEN_AI_CLIENT_OPERATION_DURATION, call.duration_ns / 1e9, _timed(call, shared))
        self._histogram(A.GEN_AI_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK, call.time_to_first_chunk, shared)
        if call.usage is not None:
            for kind, count in (("input", call.usage.input_tokens), ("output", call.usage.output_tokens)):
                attributes = shared | {A.GEN_AI_TOKEN_TYPE: kind}
                self._histogram(A.GEN_AI_CLIENT_TOKEN_USAGE, count, attributes, "{token}", _TOKENS)

    def latest(self, call: Call, shared: Attributes, *, both: bool) -> None:
        if call.operation in ("embeddings", "rerank"):
            if not both:
                self._histogram(A.GEN_AI_CLIENT_OPERATION_DURATION, call.duration_ns / 1e9, _timed(call, shared))
            return
        self._histogram(A.GEN_AI_CLIENT_INFERENCE_DURATION, call.duration_ns / 1e9, _timed(call, shared))
        self._histogram(A.GEN_AI_CLIENT_INFERENCE_TIME_TO_FIRST_CHUNK, call.time_to_first_chunk, shared)
        usage = call.usage
        if usage is None:
            return
        for name, count in (
            (A.GEN_AI_CLIENT_INFERENCE_OPERATION_INPUT_TOKENS, usage.input_tokens),
            (A.GEN_AI_CLIENT_INFERENCE_OPERATION_OUTPUT_TOKENS, usage.output_tokens),
        ):
            self._histogram(name, count, shared, "{token}", _TOKENS)
        for name, modality, count in _by_modality(usage):
            self._count(name, count, shared | {A.GEN_AI_TOKEN_MODALITY: modality}, "{token}")

    def money(self, call: Call, shared: Attributes) -> None:
        if call.cost is None:
            return
        if call.cost.nano_usd is not None:
            self._histogram(A.GEN_AI_CLIENT_OPERATION_COST, call.cost.nano_usd / 1e9, shared, "USD", _USD)
        elif call.cost.reason is not None:
            reason = {A.OTEL_LLM_COST_UNPRICED_REASON: call.cost.reason}
            self._count(A.OTEL_LLM_UNPRICED_CALLS, 1, shared | reason, "{call}")

    def _histogram(
        self,
        name: str,
        value: float | None,
        attributes: Attributes,
        unit: str = "s",
        bounds: Sequence[float] = _SECONDS,
    ) -> None:
        if value is None:
            return
        found = self._histograms.get(name)
        if found is None:
            found = self._meter.create_histogram(name, unit, explicit_bucket_boundaries_advisory=bounds)
            self._histograms[name] = found
        found.record(value, attributes)

    def _count(self, name: str, value: int | None, attributes: Attributes, unit: str) -> None:
        if not value:
            return
        found = self._counters.get(name)
        if found is None:
            found = self._counters[name] = self._meter.create_counter(name, unit)
        found.add(value, attributes)


def _shared(call: Call) -> Attributes:
    found: dict[str, AttributeValue | None] = {
        A.GEN_AI_OPERATION_NAME: call.operation,
        A.GEN_AI_PROVIDER_NAME: call.provider,
        A.GEN_AI_REQUEST_MODEL: call.request_model,
        A.GEN_AI_RESPONSE_MODEL: call.response_model,
        A.SERVER_ADDRESS: call.server_address,
        A.SERVER_PORT: call.server_port,
    }
    return {name: value for name, value in found.items() if value is not None}


def _timed(call: Call, shared: Attributes) -> Attributes:
    return shared if call.error_type is None else shared | {A.ERROR_TYPE: call.error_type}


def _by_modality(usage: Usage) -> Iterable[tuple[str, str, int | None]]:
    """Metric, modality, tokens. Providers do not say whether what they cached was text."""
    read, written = usage.cache_read or 0, usage.cache_write or 0
    plain = not (usage.input_audio or usage.input_image)
    cached = "text" if plain else "unknown"
    yield A.GEN_AI_CLIENT_INFERENCE_USAGE_INPUT_TOKENS, "text", (usage.input or 0) + plain * (read + written)
    yield A.GEN_AI_CLIENT_INFERENCE_USAGE_INPUT_TOKENS, "unknown", (not plain) * (read + written)
    yield A.GEN_AI_CLIENT_INFERENCE_USAGE_INPUT_TOKENS, "audio", usage.input_audio
    yield A.GEN_AI_CLIENT_INFERENCE_USAGE_INPUT_TOKENS, "image", usage.input_image
    yield A.GEN_AI_CLIENT_INFERENCE_USAGE_CACHE_READ_INPUT_TOKENS, cached, read
    yield A.GEN_AI_CLIENT_INFERENCE_USAGE_CACHE_WRITE_INPUT_TOKENS, cached, written
    text = (usage.output or 0) + (usage.reasoning or 0)
    yield A.GEN_AI_CLIENT_INFERENCE_USAGE_OUTPUT_TOKENS, "text", text
    yield A.GEN_AI_CLIENT_INFERENCE_USAGE_OUTPUT_TOKENS, "audio", usage.output_audio
    yield A.GEN_AI_CLIENT_INFERENCE_USAGE_OUTPUT_TOKENS, "image", usage.output_image
    yield A.GEN_AI_CLIENT_INFERENCE_USAGE_REASONING_OUTPUT_TOKENS, "text", usage.reasoning
