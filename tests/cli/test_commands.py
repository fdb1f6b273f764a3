"""The command line, as people and pipes use it: real processes on a real store."""

from __future__ import annotations

import csv
import io
import os
import pty
import subprocess
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest

from examples.offline_provider import BillEntry
from otel_llm.cli.tree import Node, _facts, grow  # pyright: ignore[reportPrivateUsage]
from tests.cli.conftest import BIN, Command


def usd(bill: list[BillEntry]) -> Decimal:
    return Decimal(sum(entry.cost_nano or 0 for entry in bill if entry.complete)) / 10**9


def test_the_report_is_the_bill(otel_llm: Command, bill: list[BillEntry]) -> None:
    rows = otel_llm.json("report", "--by", "feature,model")
    assert sum(Decimal(row["Cost"] or 0) for row in rows) == usd(bill)
    assert sum(row["Calls"] for row in rows) == len(bill)
    by = {(row["feature"], row["model"]): row for row in rows}
    assert by["lab", "acme-preview-1"]["Cost"] is None
    assert by["support", "gpt-4o-2024-08-06"]["Retries"] == 1
    assert by["digest", "gpt-4o-mini-2024-07-18"]["WastedCalls"] == 1


def test_a_report_can_be_by_tag_and_filtered(otel_llm: Command) -> None:
    rows = otel_llm.json("report", "--by", "tag.plan", "--user", "ada")
    assert [row["tag.plan"] for row in rows] == ["pro"]
    assert otel_llm.json("report", "--by", "user", "--until", "2020-01-01") == []


def test_csv_is_exact(otel_llm: Command, bill: list[BillEntry]) -> None:
    rows = list(csv.DictReader(io.StringIO(otel_llm("report", "--by", "user", "--format", "csv"))))
    assert sum(Decimal(row["Cost"] or 0) for row in rows) == usd(bill)


def test_interactions_are_listed(otel_llm: Command) -> None:
    latest = otel_llm.json("interactions")
    assert [row["InteractionName"] for row in latest] == ["lab.preview", "digest.write", "support.answer"]
    costliest = otel_llm.json("interactions", "--costliest", "--limit", "1")
    assert costliest[0]["InteractionName"] == "support.answer"
    assert costliest[0]["Outcome"] == "answered"
    assert otel_llm.json("interactions", "--user", "ada", "--since", "1h")[0]["UserId"] == "ada"
    table = otel_llm("interactions")
    assert "support.answer" in table
    assert "\x1b" not in table, "no colour in a pipe"


def test_show_draws_the_tree(otel_llm: Command) -> None:
    text = otel_llm("show", "costliest")
    assert "support.answer" in text
    assert "├─ chat gpt-4o-2024-08-06" in text
    assert "└─ chat gpt-4o-mini-2024-07-18" in text
    assert "attempt 1 failed: 429" in text
    assert "\n2 model calls in 2 steps, 1 retry\npriced 100 % of calls; prices: " in text
    tree = otel_llm.json("show", "last", "--user", "ada")
    root = tree["spans"][0]
    assert root["BranchCalls"] == 2
    assert Decimal(root["BranchCost"]) == sum(Decimal(call["Cost"]) for call in root["children"])


def test_what_an_agent_did_reads_well() -> None:
    call = {"IsCall": True, "Steps": None, "Operation": "chat", "Attempts": 1, "Wasted": False, "Cost": Decimal("0.5")}
    told = {"Steps": 3, "FanOut": 3, "Depth": 2, "ToolCalls": 5, "ResentTokens": 61, "BillInputTokens": 100}
    root = {"IsCall": False, "Operation": "", "InteractionId": "i", "Loops": 1, "LoopingTools": ["search"], **told}
    calls = [call] * 5 + [{**call, "Attempts": 3}, {**call, "Wasted": True}]

    def said(**other: Any) -> str:
        return ", ".join(_facts({"InteractionId": "i"}, [{**root, **other}, *calls], calls))

    assert said() == (
        "7 model calls in 3 steps, 5 tool calls (search ran twice with the same arguments), agents 2 deep, "
        "up to 3 calls at once, about 61.0 % of the input had been sent before, 2 retries, $0.5000 wasted"
    )
    assert "(find, search ran again 4 times with the same" in said(Loops=4, LoopingTools=["search", "find"])
    nothing: dict[str, Any] = dict.fromkeys((*told, "Loops")) | {"LoopingTools": []}
    assert said(**nothing) == "7 model calls, 2 retries, $0.5000 wasted"


def test_show_takes_the_beginning_of_an_id(otel_llm: Command) -> None:
    known = otel_llm.json("interactions", "--limit", "1")[0]["InteractionId"]
    assert known in otel_llm("show", known[:10])
    assert otel_llm("show", "nonsense", code=1).count("\n") == 1


def test_show_names_its_tags(otel_llm: Command) -> None:
    assert otel_llm("show", "last", "--feature", "support").splitlines()[0] == (
        "support.answer  user ada  feature support  plan pro  answered"
    )


@pytest.mark.parametrize("question", [("sql", "SELECT sum(sleepEachRow(0.5)) FROM numbers(3)"), ("sql", "SELECT 1")])
def test_a_terminal_is_told_that_an_answer_takes_long(otel_llm: Command, question: tuple[str, ...]) -> None:
    ours, theirs = pty.openpty()
    environment = otel_llm.environment | {"TERM": "xterm"}
    with subprocess.Popen([BIN / "otel-llm", *question], env=environment, stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        said = b""
        with suppress(OSError), open(ours, "rb", buffering=0) as screen:  # noqa: PTH123 - it is a descriptor
            while piece := screen.read(65_536):
                said += piece
    assert running.returncode == 0
    assert ("ClickHouse is at work" in said.decode()) is ("sleep" in question[1])


def test_show_says_what_is_unknown(otel_llm: Command) -> None:
    assert "unpriced: unknown_model" in otel_llm("show", "last", "--feature", "lab")
    assert "stream closed early" in otel_llm("show", "last", "--feature", "digest")


def test_sql_answers_and_refuses(otel_llm: Command, bill: list[BillEntry]) -> None:
    rows = otel_llm.json("sql", "SELECT count() AS calls, sum(TotalCost) AS usd FROM llm_calls FINAL")
    assert rows == [{"calls": len(bill), "usd": format(usd(bill), "f")}] or Decimal(rows[0]["usd"]) == usd(bill)
    assert "calls" in otel_llm("sql", "SELECT count() AS calls FROM interactions")
    assert otel_llm("sql", "SELEC 1", code=1).startswith("Error: Syntax error")
    assert "DB::Exception" not in otel_llm("sql", "SELECT nothing FROM llm_calls", code=1)
    otel_llm("sql", "DROP TABLE llm_calls", code=1)
    assert otel_llm.json("sql", "SELECT count() AS calls FROM llm_calls FINAL") == [{"calls": len(bill)}]


def test_prices_are_shown(otel_llm: Command) -> None:
    rows = otel_llm.json("prices", "show", "gpt-4o-mini")
    assert rows[0]["usd_per_mtok"]["input"] == "0.15"
    assert "gpt-4o" in otel_llm("prices", "show", "gtp-4o", code=1)


def test_doctor_is_content(otel_llm: Command) -> None:
    findings = otel_llm.json("doctor")
    assert not [finding for finding in findings if finding["level"] == "bad"]
    texts = " ".join(finding["text"] for finding in findings)
    assert "openai" in texts
    assert "unpriced: openai/acme-preview-1" in texts
    tested = [finding["text"] for finding in findings if finding["section"] == "Frameworks"]
    assert any(text.startswith("langchain-core ") and "is instrumented (tested from" in text for text in tested)
    assert "dspy" in tested[-1].removeprefix("Not installed: ").rstrip(".").split(", ")


def test_help_is_for_people(otel_llm: Command) -> None:
    for command in ("interactions", "show", "report", "sql", "doctor", "prices"):
        assert command in otel_llm("--help")


def test_what_tells_of_a_call_once_more_is_not_in_the_tree() -> None:
    def span(id_: str, parent: str, *, covered: bool = False, call: bool = False) -> dict[str, Any]:
        cost = Decimal(1) if call else None
        return {
            "TraceId": "t",
            "SpanId": id_,
            "ParentSpanId": parent,
            "IsCovered": covered,
            "IsCall": call,
            "Cost": cost,
        }

    def told(node: Node) -> Any:
        return {node.span["SpanId"]: [told(child) for child in node.children]}

    inner = [
        span("theirs", "root", covered=True),
        span("also", "theirs", covered=True),
        span("call", "also", call=True),
    ]
    assert [told(root) for root in grow([span("root", ""), *inner])] == [{"root": [{"call": []}]}]
    assert [told(root) for root in grow(inner)] == [{"theirs": [{"call": []}]}]
