"""The central test: what is recorded of the calls, held against the bill of the provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from examples.offline_provider import BillEntry, Usage
from otel_llm_semconv import attributes as A

_COST_PARTS = (
    A.OTEL_LLM_COST_INPUT,
    A.OTEL_LLM_COST_CACHE_READ,
    A.OTEL_LLM_COST_CACHE_WRITE,
    A.OTEL_LLM_COST_OUTPUT,
    A.OTEL_LLM_COST_OTHER,
)
_INPUT = (
    A.GEN_AI_USAGE_INPUT_TOKENS,
    A.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    A.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    A.GEN_AI_USAGE_AUDIO_INPUT_TOKENS,
    A.OTEL_LLM_USAGE_INPUT,
    A.OTEL_LLM_USAGE_CACHE_WRITE_5M,
    A.OTEL_LLM_USAGE_CACHE_WRITE_1H,
    A.OTEL_LLM_USAGE_CACHE_WRITE_OTHER,
)
_NAMELESS = {
    "embeddings": "embeddings",
    "image_generation": "images",
    "transcription": "transcriptions",
    "translation": "translations",
    "speech": "speech",
    "ocr": "ocr",
    "text_completion": "cohere.generate",
    "generate_content": "decisions",
}
"""Operations whose responses have no id, or whose streams have it at their end, and where the bill has them."""
_WITHOUT_IDS = ("ollama.", "voyageai.", "ibm.watsonx.ai.")
UNFINISHED = ("aborted", "abandoned", "failed")


def assert_ledger_equals_bill(spans: Sequence[ReadableSpan], bill: Sequence[BillEntry]) -> None:
    """Every call once, bucket by bucket and nano-dollar by nano-dollar; what could not be seen is marked as such."""
    recorded: list[dict[str, Any]] = [dict(span.attributes or {}) for span in spans]
    for span in spans:
        assert span.end_time is not None
        assert span.status.status_code is (
            StatusCode.ERROR if A.ERROR_TYPE in (span.attributes or {}) else StatusCode.UNSET
        )
    _identify(recorded, bill)
    by_id = {entry.response_id: entry for entry in bill}
    seen = [call[A.GEN_AI_RESPONSE_ID] for call in recorded if call.get(A.GEN_AI_RESPONSE_ID) in by_id]
    assert len(seen) == len(set(seen)), "a response is counted twice"
    for call in recorded:
        entry = by_id.get(call.get(A.GEN_AI_RESPONSE_ID, ""))
        if entry is None:
            _must_be_marked(call)
        else:
            _must_be_of(call, entry)
            if entry.usage_sent and call.get(A.OTEL_LLM_STREAM_OUTCOME) not in UNFINISHED:
                _must_equal(call, entry)
            else:
                _must_not_exceed(call, entry)
    failed_attempts = sum(event.name == A.OTEL_LLM_ATTEMPT_FAILED for span in spans for event in span.events)
    unseen = len(bill) - len(seen)
    unidentified = sum(call.get(A.GEN_AI_RESPONSE_ID) not in by_id and A.ERROR_TYPE not in call for call in recorded)
    assert unseen <= failed_attempts + unidentified, "a response is missing"


def _identify(recorded: Sequence[dict[str, Any]], bill: Sequence[BillEntry]) -> None:
    """What has no id gets that of an entry with the same usage; what broke off, that of one that did."""
    nameless = [e for e in bill if e.api.endswith(tuple(_NAMELESS.values())) or e.api.startswith(_WITHOUT_IDS)]
    for call in recorded:
        api, counts = _NAMELESS.get(call[A.GEN_AI_OPERATION_NAME]), _counts(call)
        used = {name: number for name, number in counts.items() if number}
        answered = bool(counts) or A.GEN_AI_RESPONSE_MODEL in call
        for entry in nameless:
            alike = bool(api) and entry.api.endswith(str(api))
            alike = alike or (answered and entry.api.startswith(f"{call[A.GEN_AI_PROVIDER_NAME]}."))
            if alike and (
                _billed(entry.usage) == used
                if counts
                else not entry.complete and (entry.stream or not entry.response_model)
            ):
                nameless.remove(entry)
                call[A.GEN_AI_RESPONSE_ID] = entry.response_id
                break


def _must_be_of(call: Mapping[str, Any], entry: BillEntry) -> None:
    assert call[A.GEN_AI_REQUEST_MODEL] == entry.request_model
    assert call.get(A.GEN_AI_RESPONSE_MODEL) == entry.response_model
    assert call.get(A.GEN_AI_REQUEST_STREAM, False) is entry.stream
    assert call[A.OTEL_LLM_ATTEMPTS] > entry.attempt


def _must_equal(call: Mapping[str, Any], entry: BillEntry) -> None:
    assert {name: count for name, count in _counts(call).items() if count} == _billed(entry.usage)
    assert A.GEN_AI_USAGE_INPUT_TOKENS in call or entry.usage.requests
    assert call[A.OTEL_LLM_USAGE_SOURCE] == "provider"
    assert A.OTEL_LLM_USAGE_INCONSISTENT not in call
    assert call.get(A.OTEL_LLM_SERVICE_TIER) == entry.service_tier
    if entry.cost_nano is None:
        assert call[A.OTEL_LLM_COST_STATUS] in ("partial", "unpriced")
    else:
        assert call[A.OTEL_LLM_COST_NANO_USD] == entry.cost_nano
        assert call[A.OTEL_LLM_COST_STATUS] == "priced"
        assert call[A.GEN_AI_USAGE_COST_AMOUNT] == entry.cost_nano / 1e9
        assert sum(round(call.get(part, 0) * 1e9) for part in _COST_PARTS) == entry.cost_nano


def _must_not_exceed(call: Mapping[str, Any], entry: BillEntry) -> None:
    """Only part of the response was seen: what is known of its usage is true, and said to be a part."""
    counts, billed = _counts(call), _billed(entry.usage)
    if counts:
        assert call[A.OTEL_LLM_USAGE_SOURCE] == "partial"
        assert all(count <= billed.get(name, 0) for name, count in counts.items())
        assert all(counts.get(name, 0) == billed.get(name, 0) for name in _INPUT)
        assert call[A.OTEL_LLM_COST_STATUS] in ("partial", "unpriced")
        assert call.get(A.OTEL_LLM_COST_NANO_USD, 0) <= (entry.cost_nano or 0)
    else:
        assert A.OTEL_LLM_USAGE_SOURCE not in call
        assert A.OTEL_LLM_COST_NANO_USD not in call
        assert call[A.OTEL_LLM_COST_STATUS] == "unpriced"


def _must_be_marked(call: Mapping[str, Any]) -> None:
    """Nothing is known of the response: then nothing is said of it."""
    assert not _counts(call)
    assert A.ERROR_TYPE in call or call.get(A.OTEL_LLM_STREAM_OUTCOME) in UNFINISHED
    if A.HTTP_RESPONSE_STATUS_CODE in call:
        assert call[A.OTEL_LLM_COST_STATUS] == "free"
        assert call[A.OTEL_LLM_COST_NANO_USD] == 0
    else:
        assert call[A.OTEL_LLM_COST_STATUS] == "unpriced"
        assert A.OTEL_LLM_COST_NANO_USD not in call


def _counts(call: Mapping[str, Any]) -> dict[str, int]:
    prefixes, others = ("gen_ai.usage.", "otel_llm.usage."), ("gen_ai.usage.cost.", "gen_ai.usage.text.")
    return {
        name: value
        for name, value in call.items()
        # Text tokens are in the other buckets already.
        if name.startswith(prefixes) and type(value) is int and not name.startswith(others)
    }


def _billed(usage: Usage) -> dict[str, int]:
    billed = {
        A.GEN_AI_USAGE_INPUT_TOKENS: usage.input_tokens,
        A.GEN_AI_USAGE_OUTPUT_TOKENS: usage.output_tokens,
        A.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.cache_read,
        A.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS: usage.cache_write,
        A.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: usage.reasoning,
        A.GEN_AI_USAGE_AUDIO_INPUT_TOKENS: usage.input_audio,
        A.GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS: usage.output_audio,
        A.GEN_AI_USAGE_IMAGE_INPUT_TOKENS: usage.input_image,
        A.GEN_AI_USAGE_IMAGE_OUTPUT_TOKENS: usage.output_image,
        A.OTEL_LLM_USAGE_INPUT: usage.input,
        A.OTEL_LLM_USAGE_OUTPUT: usage.output,
        A.OTEL_LLM_USAGE_CACHE_WRITE_5M: usage.cache_write_5m,
        A.OTEL_LLM_USAGE_CACHE_WRITE_1H: usage.cache_write_1h,
        A.OTEL_LLM_USAGE_CACHE_WRITE_OTHER: usage.cache_write_other,
        **{A.OTEL_LLM_USAGE_REQUESTS_PREFIX + tool: count for tool, count in usage.requests.items()},
    }
    return {name: count for name, count in billed.items() if count}
