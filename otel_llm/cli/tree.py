"""One interaction as a tree: what happened, in order, with tokens and dollars beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.text import Text

from otel_llm.cli.output import Column, duration, money, number, percent, print_table, when
from otel_llm_semconv import attributes as A

_BAR = 8
_OUTCOMES = {"aborted": "stream closed early", "abandoned": "stream abandoned", "failed": "stream failed"}


@dataclass(slots=True)
class Node:
    """A span and what happened inside it. Cost and calls are of the whole branch."""

    span: Mapping[str, Any]
    children: list[Node] = field(default_factory=lambda: list[Node]())  # noqa: PLW0108 - Node is not defined yet

    @property
    def calls(self) -> int:
        """Calls of the branch."""
        return bool(self.span["IsCall"]) + sum(child.calls for child in self.children)

    @property
    def cost(self) -> Decimal | None:
        """USD of the branch; None when none of its calls has a cost."""
        known = [cost for cost in (self.span["Cost"], *(child.cost for child in self.children)) if cost is not None]
        return sum(known, Decimal(0)) if known else None


def grow(spans: Sequence[Mapping[str, Any]]) -> list[Node]:
    """The trees of the spans: a span whose parent is not among them is a root.

    What tells once more of a call that another span tells is left out; what is beneath it stays.
    """
    nodes = {(span["TraceId"], span["SpanId"]): Node(span) for span in spans}

    def around(node: Node) -> Node | None:
        return nodes.get((node.span["TraceId"], node.span["ParentSpanId"]))

    roots: list[Node] = []
    for node in nodes.values():
        parent = around(node)
        if node.span["IsCovered"] and parent is not None:
            continue
        while parent is not None and parent.span["IsCovered"] and (above := around(parent)) is not None:
            parent = above
        (parent.children if parent is not None else roots).append(node)
    return [node for node in roots if node.calls or len(roots) == 1] or roots


def as_dict(node: Node) -> dict[str, Any]:
    """The branch for JSON: its span's fields, and its children's."""
    span = {name: value for name, value in node.span.items() if value not in (None, "", [], {})}
    return {**span, "BranchCost": node.cost, "BranchCalls": node.calls, "children": [as_dict(c) for c in node.children]}


def draw(console: Console, interaction: Mapping[str, Any], roots: Sequence[Node]) -> None:
    """Print an interaction: its head, its tree, and how much of its cost is known."""
    spans = [node.span for root in roots for _, node in _walk(root, "", "")]
    console.print(_head(interaction, spans))
    whole = sum((root.cost or Decimal(0) for root in roots), Decimal(0))
    rows = [row for root in roots for guide, node in _walk(root, "", "") for row in _rows(guide, node, whole)]
    print_table(console, rows, _COLUMNS)
    for line in _foot(interaction, spans):
        console.print(line, style="dim")


def _head(interaction: Mapping[str, Any], spans: Sequence[Mapping[str, Any]]) -> Text:
    line = Text(interaction["InteractionName"] or "interaction", style="bold")
    for name in ("UserId", "Feature", "Tenant", "SessionId", "Endpoint"):
        if interaction[name]:
            line.append(f"  {name.removesuffix('Id').lower()} ", style="dim").append(interaction[name])
    tags: dict[str, str] = {}
    for span in spans:
        tags |= span["Tags"] if span["InteractionId"] == interaction["InteractionId"] else {}
    for name, value in tags.items():
        line.append(f"  {name} ", style="dim").append(value)
    if interaction["Outcome"]:
        style = "red" if interaction["Success"] is False else "green"
        line.append("  ").append(interaction["Outcome"], style=style)
    line.append(f"\n{interaction['InteractionId']}  {when(interaction['Start'])}", style="dim")
    return line


def _walk(node: Node, here: str, below: str) -> Iterator[tuple[str, Node]]:
    yield here, node
    last = len(node.children) - 1
    for index, child in enumerate(node.children):
        corner, line = ("└─ ", "   ") if index == last else ("├─ ", "│  ")
        yield from _walk(child, below + corner, below + line)


def _rows(guide: str, node: Node, whole: Decimal) -> Iterator[dict[str, str | Text]]:
    span, cost = node.span, node.cost
    shown = money(cost) if node.calls else ""
    if span["CostStatus"] == "partial" and cost is not None:
        shown = f"≥ {shown}"
    share = float(cost / whole) if cost is not None and whole else None
    style = "green" if span["IsCall"] else "bold" if guide == "" else ""
    yield {
        "": Text(guide, style="dim").append(_name(span)),
        "time": duration(span["DurationNs"]),
        "in": number(span["InputTokens"]),
        "cache read": number(span["CacheReadTokens"] or None),
        "write": number(span["CacheWriteTokens"] or None),
        "out": number(span["OutputTokens"]),
        "reasoning": number(span["ReasoningTokens"] or None),
        "cost": Text(shown, style=style if cost is not None else "yellow"),
        "share": Text(_bar(share), style="green").append(percent(share).rjust(8)) if share is not None else "",
    }
    inner = guide.replace("├─ ", "│  ").replace("└─ ", "   ")
    for remark in _remarks(span):
        yield {"": Text(inner + ("│  " if node.children else "   "), style="dim").append(remark, style="yellow")}


def _column(title: str, optional: int, *, right: bool = True) -> Column:
    return Column(title, lambda row: row.get(title, ""), right=right, whole=True, optional=optional)


_COLUMNS = (
    Column("", lambda row: row[""], least=40),
    _column("time", 3),
    _column("in", 1),
    _column("cache read", 5),
    _column("write", 7),
    _column("out", 2),
    _column("reasoning", 6),
    _column("cost", 0),
    _column("share", 4, right=False),
)


def _name(span: Mapping[str, Any]) -> Text:
    error = "red" if span["StatusCode"] == "Error" else ""
    if span["IsCall"]:
        text = Text(span["Operation"] or "call", style=error or "cyan")
        return text.append(f" {span['Model'] or 'unknown model'}", style=error or "default")
    return Text(span["SpanName"], style=error or "bold" if not span["ParentSpanId"] else error)


def _remarks(span: Mapping[str, Any]) -> Iterator[str]:
    """What else happened to the span, one line each."""
    for name, attributes in zip(span["EventNames"], span["EventAttributes"], strict=True):
        if name == A.OTEL_LLM_ATTEMPT_FAILED:
            why = attributes.get(A.OTEL_LLM_ATTEMPT_STATUS_CODE) or attributes.get(A.OTEL_LLM_ATTEMPT_ERROR) or "?"
            yield f"attempt {attributes.get(A.OTEL_LLM_ATTEMPT_NUMBER, '?')} failed: {why}"
    outcome = _OUTCOMES.get(span["StreamOutcome"])
    if outcome:
        yield outcome
    if span["ErrorType"]:
        yield span["ErrorType"]
    if span["IsCall"] and span["UnpricedReason"]:
        yield f"{span['CostStatus']}: {span['UnpricedReason']}"
    if span["IsCall"] and span["UsageSource"] in ("partial", "estimated"):
        yield f"counts are {span['UsageSource']}"
    if span["IsCall"] and span["Layer"] == "framework":
        yield "as the framework reports it"


def _bar(share: float) -> str:
    full = round(share * _BAR)
    return "█" * full + "░" * (_BAR - full)


def _foot(interaction: Mapping[str, Any], spans: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    calls = [span for span in spans if span["IsCall"]]
    yield ", ".join(_facts(interaction, spans, calls))
    priced = sum(span["Cost"] is not None for span in calls)
    books = sorted({span["PriceBook"] for span in calls if span["PriceBook"]})
    yield "; ".join(
        [
            f"priced {percent(priced / len(calls) if calls else 1.0)} of calls",
            *([f"prices: {', '.join(books)}"] if books else []),
        ]
    )


def _facts(
    interaction: Mapping[str, Any], spans: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """What it did, in few words; what did not happen is not mentioned."""
    roots = [span for span in spans if span["Steps"] and span["InteractionId"] == interaction["InteractionId"]]

    def told(name: str) -> list[int]:
        return [root[name] or 0 for root in roots]

    steps = sum(told("Steps"))
    yield _many(len(calls), "model call") + (f" in {_many(steps, 'step')}" if steps else "")
    tools = max(sum(told("ToolCalls")), sum(span["Operation"] == "execute_tool" for span in spans))
    if tools:
        again = _again(sum(told("Loops")), sorted({name for root in roots for name in root["LoopingTools"]}))
        yield _many(tools, "tool call") + again
    if (depth := max(told("Depth"), default=0)) > 1:
        yield f"agents {depth} deep"
    if (fan_out := max(told("FanOut"), default=0)) > 1:
        yield f"up to {fan_out} calls at once"
    if resent := sum(told("ResentTokens")):
        yield f"about {percent(resent / max(resent, sum(told('BillInputTokens'))))} of the input had been sent before"
    if retries := sum((span["Attempts"] or 1) - 1 for span in calls):
        yield _many(retries, "retry", "retries")
    wasted = [span["Cost"] for span in calls if span["Wasted"] and span["Cost"]]
    if wasted:
        yield f"{money(sum(wasted, Decimal(0)))} wasted"


def _again(loops: int, tools: Sequence[str]) -> str:
    if not loops:
        return ""
    times = "twice" if loops == 1 else f"again {loops} times"
    return f" ({', '.join(tools) or 'one'} ran {times} with the same arguments)"


def _many(number: int, one: str, more: str = "") -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"
