"""Writing a `Call` onto its span: the one place that spells the attributes of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Span

from otel_llm.call import AttributeValue, Call, Cost, Usage
from otel_llm_semconv import attributes as A


def write(span: Span, attributes: Mapping[str, AttributeValue]) -> None:
    """`span.set_attributes(attributes)`, without having every value examined: ours are plain ones.

    That is most of what a span costs. Where attributes are limited, or kept in a way unknown to us, the SDK does it.
    """
    kept: Any = getattr(span, "_attributes", None)
    known: Any = getattr(kept, "_dict", None)
    if (
        kept.__class__ is not BoundedAttributes
        or known.__class__ is not dict
        or kept.max_value_len is not None
        or (kept.maxlen is not None and len(known) + len(attributes) > kept.maxlen)
        or not span.is_recording()
    ):
        span.set_attributes(attributes)
        return
    _put(kept, attributes)


def write_ended(span: ReadableSpan, attributes: Mapping[str, AttributeValue]) -> None:
    """The same onto a span that has ended: the SDK freezes its attributes, and later processors read the same ones.

    May raise, where they are kept in a way unknown to us.
    """
    _put(span._attributes, attributes)  # pyright: ignore[reportPrivateUsage]


def _put(kept: Any, attributes: Mapping[str, AttributeValue]) -> None:
    with kept._lock:
        known = kept._dict
        for name, value in attributes.items():
            known[name] = tuple(value) if type(value) is list else value


def attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    """`span.attributes`, to look something up in: that is several times as slow in the SDK's."""
    kept: Any = span._attributes  # pyright: ignore[reportPrivateUsage]
    known: Any = getattr(kept, "_dict", None)
    return known if known.__class__ is dict else kept or {}


def start_attributes(call: Call) -> dict[str, AttributeValue]:
    """What the span starts with: all that a sampler may want to see, as the SDK looks at each of it for long."""
    attributes: dict[str, AttributeValue] = {
        A.GEN_AI_OPERATION_NAME: call.operation,
        A.GEN_AI_PROVIDER_NAME: call.provider,
    }
    if call.request_model:
        attributes[A.GEN_AI_REQUEST_MODEL] = call.request_model
    if call.server_address:
        attributes[A.SERVER_ADDRESS] = call.server_address
        if call.server_port:
            attributes[A.SERVER_PORT] = call.server_port
    if call.stream:
        attributes[A.GEN_AI_REQUEST_STREAM] = True
    return attributes


def end_attributes(call: Call) -> dict[str, AttributeValue]:
    """What the span has at its end, with the request's parameters. What is unknown is absent."""
    found: dict[str, AttributeValue | None] = {
        A.GEN_AI_RESPONSE_ID: call.response_id,
        A.GEN_AI_RESPONSE_MODEL: call.response_model,
        A.GEN_AI_RESPONSE_FINISH_REASONS: call.finish_reasons or None,
        A.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: call.time_to_first_chunk,
        A.OTEL_LLM_ATTEMPTS: call.attempts,
        A.OTEL_LLM_STREAM_OUTCOME: call.stream_outcome,
        A.OTEL_LLM_SERVICE_TIER: call.service_tier,
        A.OTEL_LLM_LAYER: call.layer,
        A.ERROR_TYPE: call.error_type,
        **call.request,
        **call.response,
    }
    if call.usage is not None:
        found.update(_usage_attributes(call, call.usage))
    if call.cost is not None:
        found.update(_cost_attributes(call.cost))
    return {name: value for name, value in found.items() if value is not None}


def _usage_attributes(call: Call, usage: Usage) -> dict[str, AttributeValue | None]:
    return {
        A.GEN_AI_USAGE_INPUT_TOKENS: usage.input_tokens,
        A.GEN_AI_USAGE_OUTPUT_TOKENS: usage.output_tokens,
        A.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.cache_read,
        A.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS: usage.cache_write,
        A.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: usage.reasoning,
        # Most providers say 0 for the modalities that a call did not use: no news.
        A.GEN_AI_USAGE_AUDIO_INPUT_TOKENS: usage.input_audio or None,
        A.GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS: usage.output_audio or None,
        A.GEN_AI_USAGE_IMAGE_INPUT_TOKENS: usage.input_image or None,
        A.GEN_AI_USAGE_IMAGE_OUTPUT_TOKENS: usage.output_image or None,
        A.OTEL_LLM_USAGE_INPUT: usage.input,
        A.OTEL_LLM_USAGE_OUTPUT: usage.output,
        A.OTEL_LLM_USAGE_CACHE_WRITE_5M: usage.cache_write_5m,
        A.OTEL_LLM_USAGE_CACHE_WRITE_1H: usage.cache_write_1h,
        A.OTEL_LLM_USAGE_CACHE_WRITE_OTHER: usage.cache_write_other,
        A.OTEL_LLM_USAGE_SOURCE: call.usage_source,
        A.OTEL_LLM_USAGE_ESTIMATOR: call.estimator,
        A.OTEL_LLM_USAGE_INCONSISTENT: usage.inconsistent,
        **{A.OTEL_LLM_USAGE_REQUESTS_PREFIX + tool: count for tool, count in usage.requests.items()},
    }


def _cost_attributes(cost: Cost) -> dict[str, AttributeValue | None]:
    found: dict[str, AttributeValue | None] = {
        A.OTEL_LLM_COST_STATUS: cost.status,
        A.OTEL_LLM_COST_UNPRICED_REASON: cost.reason,
        A.OTEL_LLM_PRICE_KEY: cost.key,
        A.OTEL_LLM_PRICE_VARIANT: cost.variant,
        A.OTEL_LLM_PRICE_BOOK: cost.book,
        A.OTEL_LLM_PRICE_VALID_FROM: cost.valid_from,
        A.OTEL_LLM_PRICE_ADJUSTED: cost.adjusted,
    }
    if cost.nano_usd is not None:
        found.update(
            {
                A.GEN_AI_USAGE_COST_AMOUNT: cost.nano_usd / 1e9,
                A.GEN_AI_USAGE_COST_CURRENCY: "USD",
                A.GEN_AI_USAGE_COST_SOURCE: cost.source,
                A.OTEL_LLM_COST_NANO_USD: cost.nano_usd,
            }
        )
        found.update({name: nano / 1e9 for name, nano in _parts(cost) if nano})
    return found


def _parts(cost: Cost) -> tuple[tuple[str, int], ...]:
    return (
        (A.OTEL_LLM_COST_INPUT, cost.input),
        (A.OTEL_LLM_COST_CACHE_READ, cost.cache_read),
        (A.OTEL_LLM_COST_CACHE_WRITE, cost.cache_write),
        (A.OTEL_LLM_COST_OUTPUT, cost.output),
        (A.OTEL_LLM_COST_OTHER, cost.other),
    )
