"""Metrics of calls, as a reader of the application's own meter provider gets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from examples.offline_provider import OfflineProvider
from otel_llm import metrics
from otel_llm_semconv import attributes as A
from tests.conftest import Spans

LEGACY = {
    A.GEN_AI_CLIENT_OPERATION_DURATION,
    A.GEN_AI_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK,
    A.GEN_AI_CLIENT_TOKEN_USAGE,
}
LATEST = {
    A.GEN_AI_CLIENT_INFERENCE_DURATION,
    A.GEN_AI_CLIENT_INFERENCE_TIME_TO_FIRST_CHUNK,
    A.GEN_AI_CLIENT_INFERENCE_OPERATION_INPUT_TOKENS,
    A.GEN_AI_CLIENT_INFERENCE_OPERATION_OUTPUT_TOKENS,
    A.GEN_AI_CLIENT_INFERENCE_USAGE_INPUT_TOKENS,
    A.GEN_AI_CLIENT_INFERENCE_USAGE_OUTPUT_TOKENS,
    A.GEN_AI_CLIENT_INFERENCE_USAGE_CACHE_READ_INPUT_TOKENS,
    A.GEN_AI_CLIENT_INFERENCE_USAGE_REASONING_OUTPUT_TOKENS,
}
MONEY = {A.GEN_AI_CLIENT_OPERATION_COST, A.OTEL_LLM_UNPRICED_CALLS}

Points = Callable[[], dict[str, list[Any]]]


@pytest.fixture(params=["legacy", "latest", "both", "none", ""])
def names(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("OTEL_LLM_METRICS", request.param)
    forget: Any = metrics._names  # pyright: ignore[reportPrivateUsage]
    forget.cache_clear()
    yield request.param
    forget.cache_clear()


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Points:
    """The data points by metric, of a meter provider that the application has set."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "_provider", lambda: provider)

    def read() -> dict[str, list[Any]]:
        data = reader.get_metrics_data()
        if data is None:
            return {}
        made = [metric for r in data.resource_metrics for scope in r.scope_metrics for metric in scope.metrics]
        return {metric.name: list(metric.data.data_points) for metric in made}

    return read


def ask(provider: OfflineProvider, script: str, model: str = "gpt-4o-mini", **options: Any) -> None:
    client: Any = openai.OpenAI(base_url=provider.openai_url, api_key="offline", max_retries=0)
    answer: Any = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": f"[[offline:{script}]] Why?"}], **options
    )
    if options.get("stream"):
        list(answer)


@pytest.mark.usefixtures("instrumented", "no_fault")
def test_names(provider: OfflineProvider, names: str, points: Points, calls: Spans) -> None:
    usage = "tokens in=1000 out=50; cache hit 800; reasoning 20"
    ask(provider, usage)
    ask(provider, usage, stream=True)
    ask(provider, usage, model="nobody-knows-it")
    client = openai.OpenAI(base_url=provider.openai_url, api_key="offline")
    client.embeddings.create(model="text-embedding-3-small", input="Why?")
    assert len(calls()) == 4
    wanted: dict[str, set[str]] = {
        "legacy": LEGACY | MONEY,
        "latest": LATEST | MONEY | {A.GEN_AI_CLIENT_OPERATION_DURATION},
        "both": LEGACY | LATEST | MONEY,
        "none": set(),
    }
    assert points().keys() == wanted[names or "legacy"]


@pytest.mark.usefixtures("instrumented", "no_fault")
def test_values(provider: OfflineProvider, points: Points, calls: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_names", lambda: ("legacy", "latest"))
    for _ in range(2):
        ask(provider, "tokens in=1000 out=50; cache hit 800; reasoning 20")
    with pytest.raises(openai.RateLimitError):
        ask(provider, "429")
    spans = calls()
    found = points()
    durations = found[A.GEN_AI_CLIENT_OPERATION_DURATION]
    assert {point.attributes.get(A.ERROR_TYPE): point.count for point in durations} == {
        None: 2,
        "openai.RateLimitError": 1,
    }
    spent = sum((span.end_time or 0) - (span.start_time or 0) for span in spans) / 1e9
    assert sum(point.sum for point in durations) == pytest.approx(spent)
    tokens = {point.attributes[A.GEN_AI_TOKEN_TYPE]: point.sum for point in found[A.GEN_AI_CLIENT_TOKEN_USAGE]}
    assert tokens == {"input": 2000, "output": 100}
    counted = {
        name: {point.attributes[A.GEN_AI_TOKEN_MODALITY]: point.value for point in found[name]}
        for name in LATEST
        if ".usage." in name
    }
    assert counted == {
        A.GEN_AI_CLIENT_INFERENCE_USAGE_INPUT_TOKENS: {"text": 2000},
        A.GEN_AI_CLIENT_INFERENCE_USAGE_OUTPUT_TOKENS: {"text": 100},
        A.GEN_AI_CLIENT_INFERENCE_USAGE_CACHE_READ_INPUT_TOKENS: {"text": 1600},
        A.GEN_AI_CLIENT_INFERENCE_USAGE_REASONING_OUTPUT_TOKENS: {"text": 40},
    }
    cost = sum(point.sum for point in found[A.GEN_AI_CLIENT_OPERATION_COST])
    said: list[Any] = [(span.attributes or {}).get(A.GEN_AI_USAGE_COST_AMOUNT, 0) for span in spans]
    assert cost == pytest.approx(sum(said))
    [point] = [point for point in found[A.GEN_AI_CLIENT_OPERATION_DURATION] if A.ERROR_TYPE not in point.attributes]
    assert dict(point.attributes) == {
        A.GEN_AI_OPERATION_NAME: "chat",
        A.GEN_AI_PROVIDER_NAME: "openai",
        A.GEN_AI_REQUEST_MODEL: "gpt-4o-mini",
        A.GEN_AI_RESPONSE_MODEL: (spans[0].attributes or {})[A.GEN_AI_RESPONSE_MODEL],
        A.SERVER_ADDRESS: "127.0.0.1",
        A.SERVER_PORT: urlsplit(provider.url).port,
    }


@pytest.mark.usefixtures("instrumented", "no_fault")
def test_unpriced_calls_are_counted_with_the_reason(provider: OfflineProvider, points: Points, calls: Spans) -> None:
    ask(provider, "tokens in=10 out=5", model="nobody-knows-it")
    calls()
    [point] = points()[A.OTEL_LLM_UNPRICED_CALLS]
    assert point.value == 1
    assert point.attributes[A.OTEL_LLM_COST_UNPRICED_REASON]
    assert A.GEN_AI_CLIENT_OPERATION_COST not in points()


def test_without_a_code_change(provider: OfflineProvider, tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(
        "import openai\n"
        "openai.OpenAI().chat.completions.create(model='gpt-4o-mini', messages=[{'role': 'user', 'content': 'Why?'}])\n"
    )
    done = subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "opentelemetry-instrument", sys.executable, script],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "OTEL_LLM_HOME": str(tmp_path / "home"),
            "OTEL_METRICS_EXPORTER": "console",
            "OPENAI_API_KEY": "any",
            "OPENAI_BASE_URL": provider.openai_url,
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    scopes = [scope for r in json.loads(done.stdout)["resource_metrics"] for scope in r["scope_metrics"]]
    [ours] = [scope for scope in scopes if scope["scope"]["name"] == "otel_llm"]
    assert {metric["name"] for metric in ours["metrics"]} >= {
        A.GEN_AI_CLIENT_OPERATION_DURATION,
        A.GEN_AI_CLIENT_TOKEN_USAGE,
    }
