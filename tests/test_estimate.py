"""Estimates: only where they are asked for, marked as what they are, and never by a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from examples.offline_provider import OfflineProvider
from otel_llm import estimate
from otel_llm_semconv import attributes as A
from tests.conftest import Spans

pytestmark = pytest.mark.usefixtures("instrumented")


def read_a_bit(provider: OfflineProvider) -> None:
    client: Any = openai.OpenAI(base_url=provider.openai_url, api_key="offline")
    text = "One two three. [[offline: say four five six seven eight nine; chunks 6; slow chunks 60ms]]"
    stream = client.chat.completions.create(
        model="gpt-4o-mini", stream=True, messages=[{"role": "user", "content": text}]
    )
    for _, _chunk in zip(range(3), stream, strict=False):
        pass
    stream.close()


def lengths(_encoding: str) -> estimate.Count:
    """Counts characters."""
    return len


def test_a_stream_that_ended_early_is_estimated_and_marked(
    provider: OfflineProvider, calls: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_LLM_ESTIMATE", "o200k_base")
    monkeypatch.setattr(estimate, "counter", lengths)
    read_a_bit(provider)
    attributes = calls()[0].attributes or {}
    assert attributes[A.OTEL_LLM_USAGE_SOURCE] == "estimated"
    assert attributes[A.OTEL_LLM_USAGE_ESTIMATOR] == "tiktoken/o200k_base"
    assert attributes[A.GEN_AI_USAGE_INPUT_TOKENS] > 10  # pyright: ignore[reportOperatorIssue]
    assert attributes[A.GEN_AI_USAGE_OUTPUT_TOKENS] > 0  # pyright: ignore[reportOperatorIssue]
    assert A.OTEL_LLM_COST_NANO_USD in attributes


def test_without_ranks_at_hand_nothing_is_estimated_or_downloaded(
    provider: OfflineProvider,
    calls: Spans,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_LLM_ESTIMATE", "o200k_base")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    estimate.counter.cache_clear()
    read_a_bit(provider)
    assert A.GEN_AI_USAGE_OUTPUT_TOKENS not in (calls()[0].attributes or {})
    assert "TIKTOKEN_CACHE_DIR" in caplog.text
    estimate.counter.cache_clear()


def test_off_by_default(provider: OfflineProvider, calls: Spans) -> None:
    read_a_bit(provider)
    assert A.GEN_AI_USAGE_OUTPUT_TOKENS not in (calls()[0].attributes or {})
