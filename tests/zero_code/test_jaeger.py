"""The demo in a real Jaeger: one tree per user action, and its bill, as anybody sees it who reads OTLP."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.jaeger import Jaeger, NoJaeger, built, running
from tests.test_docs import blocks
from tests.zero_code.conftest import INSTRUMENT, Workplace, ledger

ROOT = Path(__file__).resolve().parents[2]
ACTIONS = {"support.answer": 3, "digest.write": 2, "trip.plan": 2, "lab.preview": 1}
SAID = ("order 4711", "travel handbook", "weekly digest", "Oslo", "held in customs", "[[offline", "within 30 days")
"""Of prompts, tools and answers."""


@pytest.fixture
def jaeger(tmp_path: Path) -> Iterator[Jaeger]:
    try:
        built()
    except NoJaeger as reason:
        pytest.skip(str(reason))
    with running(tmp_path / "jaeger.log") as jaeger:
        yield jaeger


def tags(span: dict[str, Any]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def parent(span: dict[str, Any]) -> str:
    return next((reference["spanID"] for reference in span["references"] if reference["refType"] == "CHILD_OF"), "")


def drawn(trace: dict[str, Any]) -> list[str]:
    """A line for each span, as deep as it is, with its money; in the order that they began."""

    def lines(above: str, depth: int) -> Iterator[str]:
        for span in sorted(trace["spans"], key=lambda span: span["startTime"]):
            if parent(span) == above:
                money = [f"{name} = {value}" for name, value in tags(span).items() if name.endswith("cost.amount")]
                yield " ".join(["  " * depth + span["operationName"], *money])
                yield from lines(span["spanID"], depth + 1)

    return list(lines("", 0))


def test_the_demo(jaeger: Jaeger, workplace: Workplace, provider: OfflineProvider) -> None:
    # The frameworks of the demo are compiled where they are installed.
    shared = {name: value for name, value in workplace.environment.items() if name != "PYTHONPYCACHEPREFIX"}
    settings = {
        "EXAMPLE_OFFLINE": "1",
        "ANTHROPIC_API_KEY": "offline",
        "ANTHROPIC_BASE_URL": provider.url,
        "OTEL_SERVICE_NAME": "demo-shop",
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run(
        [*INSTRUMENT, sys.executable, "-m", "examples.agent_app"],
        cwd=workplace.folder,
        env=shared | settings,
        timeout=300,
        check=True,
    )
    provider.settle()
    stored = ledger(workplace.home)
    end = time.monotonic() + 20
    while sum(len(trace["spans"]) for trace in jaeger.traces("demo-shop")) < len(stored) and time.monotonic() < end:
        time.sleep(0.1)
    traces = jaeger.traces("demo-shop")

    # Every span of the ledger is there, once, beneath the same parent.
    assert Counter(
        (trace["traceID"], span["spanID"], parent(span), span["operationName"])
        for trace in traces
        for span in trace["spans"]
    ) == Counter((span.trace, span.id, span.parent, span.name) for span in stored)

    # One tree per user action, with the bill on its root.
    roots: list[str] = []
    for trace in traces:
        (root,) = [span for span in trace["spans"] if not parent(span)]
        roots.append(root["operationName"])
        known = {span["spanID"] for span in trace["spans"]}
        assert {parent(span) for span in trace["spans"]} <= known | {""}
        said = [tags(span) for span in trace["spans"]]
        assert len({(own[A.OTEL_LLM_INTERACTION_ID], own[A.USER_ID], own[A.OTEL_LLM_FEATURE]) for own in said}) == 1
        calls = [own for own in said if A.GEN_AI_PROVIDER_NAME in own]
        if any(own.get(A.OTEL_LLM_STREAM_OUTCOME) == "abandoned" for own in calls):
            continue  # only the garbage collector tells of its end, after that of the root
        bill = tags(root)
        assert bill[A.OTEL_LLM_INTERACTION_CALLS] == len(calls)
        if root["operationName"] == "support.answer":
            did = ("STEPS", "TOOL_CALLS", "DEPTH", "FAN_OUT", "RETRIES")
            assert [bill[getattr(A, f"OTEL_LLM_INTERACTION_{fact}")] for fact in did] == [3, 3, 1, 1, 1]
            share = bill[A.OTEL_LLM_INTERACTION_RESENT_INPUT_TOKENS] / bill[A.OTEL_LLM_INTERACTION_INPUT_TOKENS]
            assert 0.4 < share < 0.7
        nano = sum(own.get(A.OTEL_LLM_COST_NANO_USD, 0) for own in calls)
        assert bill[A.OTEL_LLM_INTERACTION_COST_AMOUNT] == pytest.approx(nano / 1e9)
    assert Counter(roots) == ACTIONS

    # What the provider charged.
    calls = [own for trace in traces for span in trace["spans"] if A.GEN_AI_PROVIDER_NAME in (own := tags(span))]
    ours = {own[A.GEN_AI_RESPONSE_ID]: own.get(A.OTEL_LLM_COST_NANO_USD) for own in calls}
    theirs = {entry.response_id: entry.cost_nano for entry in provider.bill}
    (abandoned,) = [own for own in calls if own.get(A.OTEL_LLM_STREAM_OUTCOME) == "abandoned"]
    assert ours == theirs | {abandoned[A.GEN_AI_RESPONSE_ID]: None}
    assert len(calls) == len(provider.bill)

    # What the page shows.
    (shown,) = [block.splitlines() for block in blocks("docs/jaeger.md", "")]
    squeezed = sorted(re.sub(r"(?<=\S) +", " ", line) for line in shown)
    support = [sorted(drawn(trace)) for trace in traces if drawn(trace)[0].startswith("support.answer")]
    assert support == [squeezed] * 3

    # And nothing of what was said.
    assert not [words for words in SAID if words in json.dumps(traces, ensure_ascii=False)]
