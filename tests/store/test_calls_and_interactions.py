from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, Status, StatusCode, format_span_id, format_trace_id
from store_parts import SECOND, START, MakeSpan, Store, context

from otel_llm_exporters.clickhouse import queries
from otel_llm_exporters.clickhouse.migrations import migrations
from otel_llm_semconv import attributes

Attributes = dict[str, Any]


def priced(call: Attributes, nano_usd: int | None, **more: Any) -> Attributes:
    """A call of another price; None is one that nobody could price."""
    costless = {name: value for name, value in call.items() if "cost" not in name}
    cost = {"otel_llm.cost.status": "unpriced", "otel_llm.cost.unpriced_reason": "unknown model"}
    if nano_usd is not None:
        cost = {"otel_llm.cost.status": "priced", "otel_llm.cost.nano_usd": nano_usd}
    return {**costless, **cost, **more}


# Calls


def test_a_call_has_its_columns(store: Store, make_span: MakeSpan, call_attributes: Attributes) -> None:
    span = make_span(
        {
            **call_attributes,
            "user.id": "u-1",
            "session.id": "s-1",
            "otel_llm.feature": "support",
            "otel_llm.tenant": "acme",
            "otel_llm.endpoint": "/chat",
            "otel_llm.tag.plan": "pro",
            "otel_llm.usage.requests.web_search": 2,
            "otel_llm.usage.cache_write_1h": 7,
            "gen_ai.usage.cache_write.input_tokens": 7,
            "gen_ai.response.time_to_first_chunk": 0.25,
            "gen_ai.request.stream": True,
            "gen_ai.agent.name": "helper",
            "otel_llm.stream.outcome": "completed",
            "otel_llm.service_tier": "flex",
            "otel_llm.price.variant": "flex",
            "otel_llm.price.book": "genai-prices 0.2.3",
        },
        status=Status(StatusCode.OK),
    )
    store.add(span)
    call = store.one("SELECT *, Model, Wasted FROM llm_calls FINAL")
    known = {name: value for name, value in call.items() if value not in ("", None)}
    assert known.pop("IngestedAt") > datetime.now(UTC) - timedelta(minutes=5)
    assert known == {
        "Timestamp": datetime.fromtimestamp(START / SECOND, UTC),
        "TraceId": format_trace_id(context(span).trace_id),
        "SpanId": format_span_id(context(span).span_id),
        "InteractionId": "i-1",
        "InteractionName": "POST /chat",
        "ServiceName": "shop",
        "Environment": "test",
        "Feature": "support",
        "Tenant": "acme",
        "Endpoint": "/chat",
        "UserId": "u-1",
        "SessionId": "s-1",
        "Tags": {"plan": "pro"},
        "SpanName": "chat m-1",
        "ScopeName": "otel_llm",
        "Operation": "chat",
        "Provider": "openai",
        "RequestModel": "m-1",
        "ResponseModel": "m-1-2026",
        "Model": "m-1-2026",
        "ResponseId": "resp-1",
        "ServiceTier": "flex",
        "AgentName": "helper",
        "FinishReason": "stop",
        "Layer": "sdk",
        "DurationNs": 2 * SECOND,
        "TtftNs": SECOND // 4,
        "Attempts": 1,
        "Streaming": True,
        "StreamOutcome": "completed",
        "Status": "Ok",
        "Wasted": False,
        "InputTokens": 1000,
        "UncachedInputTokens": 200,
        "CacheReadTokens": 800,
        "CacheWriteTokens": 7,
        "CacheWrite1hTokens": 7,
        "OutputTokens": 50,
        "ToolRequests": {"web_search": 2},
        "UsageSource": "provider",
        "InputCost": Decimal("0.000234567"),
        "OutputCost": Decimal("0.001"),
        "TotalCost": Decimal("0.001234567"),
        "Currency": "USD",
        "CostStatus": "priced",
        "CostSource": "local",
        "PriceKey": "openai/m-1",
        "PriceVariant": "flex",
        "PriceBook": "genai-prices 0.2.3",
        "Revision": 0,
    }


def test_money_is_exact_to_the_nano_dollar(store: Store, make_span: MakeSpan, call_attributes: Attributes) -> None:
    amounts = [0, 1, 999_999_999, 123_456_789_012_345]
    store.add(*[make_span(priced(call_attributes, nano_usd)) for nano_usd in amounts])
    costs = store.rows("SELECT TotalCost FROM llm_calls FINAL ORDER BY TotalCost")
    assert costs == [(Decimal(nano_usd).scaleb(-9),) for nano_usd in amounts]


def test_what_is_unknown_is_null(store: Store, make_span: MakeSpan) -> None:
    store.add(make_span({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}))
    call = store.one("SELECT * FROM llm_calls FINAL")
    unknown = {name for name, value in call.items() if value is None}
    assert unknown >= {name for name in call if name.endswith(("Tokens", "Cost"))}
    assert unknown >= {"Attempts", "TtftNs"}
    assert (call["CostStatus"], call["UnpricedReason"]) == ("unpriced", "its instrumentation reported no cost")
    assert call["InteractionId"] == call["TraceId"]
    interaction = store.one("SELECT * FROM interactions")
    assert (interaction["Cost"], interaction["InputTokens"], interaction["Attempts"]) == (None, None, None)
    assert (interaction["Calls"], interaction["PricedCalls"], interaction["UnpricedCalls"]) == (1, 0, 1)


SENSELESS = [
    ("otel_llm.cost.nano_usd", "lots", "TotalCost"),
    ("otel_llm.cost.nano_usd", "9" * 40, "TotalCost"),
    ("otel_llm.cost.nano_usd", 2**62, "TotalCost"),
    ("gen_ai.usage.cost.amount", float("nan"), "TotalCost"),
    ("gen_ai.usage.cost.amount", 1e300, "TotalCost"),
    ("otel_llm.cost.input", "free", "InputCost"),
    ("gen_ai.usage.input_tokens", -5, "InputTokens"),
    ("gen_ai.usage.input_tokens", "many", "InputTokens"),
    ("gen_ai.usage.input_tokens", 1.5, "InputTokens"),
    ("gen_ai.usage.output_tokens", 10**30, "OutputTokens"),
    ("otel_llm.attempts", "one", "Attempts"),
    ("gen_ai.response.time_to_first_chunk", "soon", "TtftNs"),
]


def test_a_value_that_makes_no_sense_is_null_and_stops_nothing(store: Store, make_span: MakeSpan) -> None:
    store.add(
        *[
            make_span({"gen_ai.operation.name": "chat", name: value}, name=str(n))
            for n, (name, value, _) in enumerate(SENSELESS)
        ]
    )
    rows = store.embedded.query("SELECT * FROM llm_calls FINAL ORDER BY toUInt32(SpanName)").dicts()
    assert [row[column] for row, (_, _, column) in zip(rows, SENSELESS, strict=True)] == [None] * len(SENSELESS)


def test_odd_values_elsewhere_stop_nothing(store: Store, make_span: MakeSpan) -> None:
    odd = {"gen_ai.response.finish_reasons": "{[", "otel_llm.usage.requests.x": "?", "otel_llm.tag.": "", "user.id": 7}
    store.add(make_span({"gen_ai.operation.name": "chat", **odd}, start=0, end=2**63 - 1))
    call = store.one("SELECT * FROM llm_calls FINAL")
    assert (call["ToolRequests"], call["Tags"], call["UserId"], call["FinishReason"]) == ({"x": 0}, {"": ""}, "7", "")


def test_counts_may_come_as_text_or_floats(store: Store, make_span: MakeSpan) -> None:
    usage = {"gen_ai.usage.input_tokens": "12", "gen_ai.usage.output_tokens": 3.0}
    store.add(make_span({"gen_ai.operation.name": "chat", **usage}))
    assert store.rows("SELECT InputTokens, OutputTokens FROM llm_calls FINAL") == [(12, 3)]


def test_calls_of_every_kind_are_calls(store: Store, make_span: MakeSpan, call_attributes: Attributes) -> None:
    kinds = ("image_generation", "rerank", "transcription")
    store.add(*[make_span(call_attributes | {"gen_ai.operation.name": kind}) for kind in kinds])
    assert store.rows("SELECT Operation FROM llm_calls FINAL ORDER BY Operation") == [(kind,) for kind in kinds]


def test_what_is_no_call(store: Store, make_span: MakeSpan) -> None:
    others: list[Attributes] = [
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 5},
        {"gen_ai.operation.name": "invoke_workflow"},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t"},
        {"openinference.span.kind": "AGENT", "gen_ai.request.model": "m", "llm.token_count.prompt": 5},
        {"openinference.span.kind": "CHAIN"},
        {"traceloop.span.kind": "workflow", "gen_ai.request.model": "m"},
        {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "otel_llm.layer": "covered"},
        {"gen_ai.request.model": "m", "anthropic.message.count_tokens.input_tokens": 5},
        {"http.route": "/"},
        {},
    ]
    store.add(*[make_span(attributes) for attributes in others])
    assert store.rows("SELECT count() FROM otel_traces") == [(len(others),)]
    assert store.rows("SELECT count() FROM llm_calls") == [(0,)]


def test_spans_of_openllmetry_are_calls(store: Store, make_span: MakeSpan) -> None:
    store.add(
        make_span(
            {
                "gen_ai.system": "Anthropic",
                "llm.request.type": "completion",
                "gen_ai.request.model": "claude",
                "gen_ai.usage.prompt_tokens": 11,
                "gen_ai.usage.completion_tokens": 5,
                "gen_ai.usage.cache_read_input_tokens": 3,
                "traceloop.association.properties.user_id": "u-9",
            }
        )
    )
    call = store.one("SELECT * FROM llm_calls FINAL")
    assert (call["Operation"], call["Provider"], call["RequestModel"]) == ("text_completion", "Anthropic", "claude")
    assert (call["InputTokens"], call["OutputTokens"], call["CacheReadTokens"], call["UserId"]) == (11, 5, 3, "u-9")


def test_spans_of_openinference_are_calls(store: Store, make_span: MakeSpan) -> None:
    llm = {
        "openinference.span.kind": "LLM",
        "llm.provider": "openai",
        "llm.model_name": "gpt",
        "llm.token_count.prompt": 10,
        "llm.token_count.completion": 4,
        "llm.token_count.prompt_details.cache_read": 8,
        "llm.cost.total": 0.00012345,
    }
    store.add(make_span(llm), make_span({"openinference.span.kind": "EMBEDDING", "embedding.model_name": "e"}))
    columns = "Operation, RequestModel, InputTokens, CacheReadTokens, TotalCost, CostStatus, CostSource"
    assert store.rows(f"SELECT {columns} FROM llm_calls FINAL ORDER BY RequestModel") == [
        ("embeddings", "e", None, None, None, "unpriced", ""),
        ("chat", "gpt", 10, 8, Decimal("0.00012345"), "priced", "foreign"),
    ]


def test_spans_with_standard_names_only_are_calls(store: Store, make_span: MakeSpan) -> None:
    standard = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.system": "vertex_ai",
        "gen_ai.request.model": "gemini",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cost": "1.5e-05",
        "gen_ai.agent.name": "helper",
    }
    store.add(make_span(standard))
    columns = "Operation, Provider, RequestModel, InputTokens, OutputTokens, TotalCost, CostSource, AgentName"
    assert store.rows(f"SELECT {columns} FROM llm_calls FINAL") == [
        ("generate_content", "vertex_ai", "gemini", 7, 3, Decimal("0.000015"), "foreign", "helper")
    ]


def test_megabytes_in_attributes_stop_nothing(store: Store, make_span: MakeSpan) -> None:
    large = 'é{["' * 500_000
    names = ["user.id", "gen_ai.usage.input_tokens", "gen_ai.response.finish_reasons", "otel_llm.cost.nano_usd"]
    spans = [make_span({"gen_ai.operation.name": "chat", name: large}, name=name) for name in names]
    store.add(*spans, make_span({"gen_ai.operation.name": "chat", **{f"k{n}": "v" for n in range(100)}}, name="wide"))
    rows = store.embedded.query("SELECT * FROM llm_calls FINAL").dicts()
    calls = {row["SpanName"]: row for row in rows}
    assert set(calls) == {*names, "wide"}
    assert calls["user.id"]["UserId"] == large
    assert calls["gen_ai.usage.input_tokens"]["InputTokens"] is None
    assert calls["otel_llm.cost.nano_usd"]["TotalCost"] is None


def test_money_of_another_currency_is_no_dollars(store: Store, make_span: MakeSpan) -> None:
    euros = {"gen_ai.usage.cost.amount": 2.5, "gen_ai.usage.cost.currency": "EUR"}
    store.add(make_span({"gen_ai.operation.name": "chat", **euros}))
    assert store.rows("SELECT TotalCost, Currency, UnpricedReason FROM llm_calls FINAL") == [
        (None, "EUR", "the cost is in EUR")
    ]


def test_a_repriced_call_replaces_the_original(store: Store, make_span: MakeSpan, call_attributes: Attributes) -> None:
    span = make_span(call_attributes)
    store.add(span)
    columns = "Timestamp, TraceId, SpanId, InteractionId, ServiceName, Feature"
    store.embedded.execute(
        f"INSERT INTO llm_calls ({columns}, TotalCost, Revision) SELECT {columns}, 9, 1 FROM llm_calls FINAL"
    )
    store.add(span)  # it arrives again, later
    assert store.rows("SELECT TotalCost, Revision FROM llm_calls FINAL") == [(Decimal(9), 1)]


# Interactions


def scene(make_span: MakeSpan, call: Attributes) -> list[ReadableSpan]:
    """A request of which the user is known only after its first call; a nested interaction; an outcome hours later."""
    outer = {"otel_llm.interaction.id": "i-1", "otel_llm.interaction.name": "POST /chat", "otel_llm.feature": "support"}
    inner = {**outer, "otel_llm.interaction.id": "i-2", "otel_llm.interaction.name": "digest"}
    facts = {"otel_llm.interaction.steps": 3, "otel_llm.interaction.fan_out": 2, "otel_llm.interaction.tool_calls": 5}
    bill = {"otel_llm.interaction.calls": 4, **facts, "user.id": "u-1", "http.route": "/chat"}
    end = START + 9 * SECOND
    root = make_span({**outer, **bill}, name="POST /chat", kind=SpanKind.SERVER, end=end)
    proxy = make_span(name="GET", parent=root, start=START + 1)
    early = make_span({**priced(call, 1000), **outer}, parent=root, start=START + SECOND)
    retried = make_span(
        {**priced(call, 3000), **outer, "user.id": "u-1", "otel_llm.attempts": 3},
        parent=root,
        start=START + 2 * SECOND,
        events=[("otel_llm.attempt.failed", {"otel_llm.attempt.status_code": 429}, START + 2 * SECOND)],
    )
    aborted = make_span(
        {**priced(call, 500), **outer, "otel_llm.stream.outcome": "aborted", "otel_llm.usage.source": "estimated"},
        parent=root,
        start=START + 3 * SECOND,
    )
    did = {
        "otel_llm.interaction.steps": 1,
        "otel_llm.interaction.fan_out": 1,
        "otel_llm.interaction.resent_input_tokens": 7,
    }
    nested = make_span(
        {**inner, **did, "otel_llm.interaction.parent.id": "i-1", "otel_llm.interaction.calls": 1},
        name="digest",
        parent=root,
    )
    unpriced = make_span({**priced(call, None), **inner}, parent=nested, start=START + 4 * SECOND)
    outcome = {"otel_llm.interaction.outcome": "resolved", "otel_llm.interaction.success": True}
    told = make_span({"otel_llm.interaction.id": "i-1", **outcome}, name="outcome", start=end, end=end)
    changed = make_span(
        {
            "otel_llm.interaction.id": "i-1",
            "otel_llm.interaction.outcome": "refunded",
            "otel_llm.interaction.success": False,
        },
        name="outcome",
        start=end + 7200 * SECOND,
        end=end + 7200 * SECOND,
    )
    other = make_span({**priced(call, 10**9), "otel_llm.interaction.id": "i-3", "user.id": "u-2"}, start=end)
    return [root, proxy, early, retried, aborted, nested, unpriced, told, changed, other]


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(START / SECOND + seconds, UTC)


def test_an_interaction_is_the_sum_of_its_calls(store: Store, make_span: MakeSpan, call_attributes: Attributes) -> None:
    spans = scene(make_span, call_attributes)
    store.add(*spans)
    store.add(*spans[3:])  # some arrive twice
    assert store.one("SELECT * FROM interactions WHERE InteractionId = 'i-1'") == {
        "InteractionId": "i-1",
        "ParentInteractionId": "",
        "InteractionName": "POST /chat",
        "UserId": "u-1",
        "SessionId": "",
        "Feature": "support",
        "Tenant": "",
        "Endpoint": "/chat",
        "ServiceName": "shop",
        "Start": at(0),
        "End": at(9),
        "Calls": 3,
        "Attempts": 5,
        "Retries": 2,
        "Errors": 0,
        "InputTokens": 3000,
        "OutputTokens": 150,
        "CacheReadTokens": 2400,
        "Cost": Decimal("0.0000045"),
        "EstimatedCost": Decimal("0.0000005"),
        "WastedCost": Decimal("0.0000005"),
        "PricedCalls": 3,
        "PartialCalls": 0,
        "UnpricedCalls": 0,
        "Models": ["m-1-2026"],
        "Steps": 3,
        "FanOut": 2,
        "Depth": 0,
        # The tools of the nested interaction are among those that its root tells of.
        "ToolCalls": None,
        "Loops": None,
        "ResentTokens": None,
        "Outcome": "refunded",
        "Success": False,
    }
    nested = store.one("SELECT * FROM interactions WHERE InteractionId = 'i-2'")
    assert (nested["ParentInteractionId"], nested["Calls"], nested["Cost"], nested["WastedCost"]) == ("i-1", 1, None, 0)
    assert (nested["Outcome"], nested["Success"]) == ("", None)
    assert (nested["Steps"], nested["ToolCalls"], nested["Loops"], nested["ResentTokens"]) == (1, 0, 0, 7)
    alone = store.one("SELECT * FROM interactions WHERE InteractionId = 'i-3'")
    assert (alone["Steps"], alone["FanOut"], alone["ToolCalls"]) == (None, None, None), "no root tells of it"


def test_the_facts_of_several_processes_are_added_up(
    store: Store, make_span: MakeSpan, call_attributes: Attributes
) -> None:
    call = {**call_attributes, "otel_llm.interaction.id": "i-1"}
    for calls, tools, fan_out in ((2, 1, 2), (1, 3, 1)):
        facts = {"calls": calls, "steps": 1, "tool_calls": tools, "fan_out": fan_out, "resent_input_tokens": 10}
        root = {f"otel_llm.interaction.{name}": value for name, value in facts.items()}
        store.add(make_span({"otel_llm.interaction.id": "i-1", **root}), *[make_span(call) for _ in range(calls)])
    row = store.one("SELECT * FROM interactions")
    assert (row["Calls"], row["Steps"], row["FanOut"], row["ToolCalls"], row["ResentTokens"]) == (3, 2, 2, 4, 20)


def test_interactions_are_found_and_ordered(store: Store, make_span: MakeSpan, call_attributes: Attributes) -> None:
    store.add(*scene(make_span, call_attributes))

    def found(**filters: Any) -> list[str]:
        return [row[0] for row in store.embedded.query(*queries.interactions(**filters)).rows]

    assert found() == ["i-3", "i-1", "i-2"]
    assert found(costliest=True) == ["i-3", "i-1", "i-2"]
    assert found(limit=1) == ["i-3"]
    assert found(user="u-1") == ["i-1"]
    assert found(feature="support") == ["i-1", "i-2"]
    assert found(since=at(1)) == ["i-3"]
    assert found(until=at(1)) == ["i-1", "i-2"]
    assert found(id_prefix="i-2") == ["i-2"]
    assert found(user="' OR 1=1 --") == []


def test_the_latest_is_the_one_that_began_last(store: Store, make_span: MakeSpan, call_attributes: Attributes) -> None:
    long = {"otel_llm.interaction.id": "long", "otel_llm.interaction.calls": 1}
    store.add(
        make_span(long, name="long", start=START, end=START + 100 * SECOND),
        make_span({**call_attributes, "otel_llm.interaction.id": "long"}, start=START + 90 * SECOND),
        make_span({**call_attributes, "otel_llm.interaction.id": "short"}, start=START + 50 * SECOND),
    )
    rows = store.embedded.query(*queries.interactions(limit=1)).dicts()
    assert [row["InteractionId"] for row in rows] == ["short"]
    (row,) = store.embedded.query(*queries.interactions(id="long")).dicts()
    assert row["Start"] == at(0)
    assert store.embedded.query(*queries.interactions(id="lon")).rows == []


def test_the_tree_has_all_its_spans_once(store: Store, make_span: MakeSpan, call_attributes: Attributes) -> None:
    spans = scene(make_span, call_attributes)
    store.add(*spans)
    store.add(*spans)
    tree = store.embedded.query(*queries.spans("i-1")).dicts()
    # The late outcomes are traces of their own, and part of the story; the other interaction is not.
    assert [span["SpanName"] for span in tree] == [
        "POST /chat",
        "digest",
        "GET",
        *["chat m-1"] * 4,
        "outcome",
        "outcome",
    ]
    assert {span["InteractionId"] for span in tree} == {"i-1", "i-2", ""}
    ids = {span["SpanId"] for span in tree}
    assert sum(span["ParentSpanId"] not in ids for span in tree) == 3
    calls = [span for span in tree if span["IsCall"]]
    assert [call["Cost"] for call in calls] == [Decimal("1E-6"), Decimal("3E-6"), Decimal("5E-7"), None]
    assert calls[1]["Attempts"] == 3
    assert calls[1]["EventNames"] == ["otel_llm.attempt.failed"]
    assert calls[1]["EventAttributes"] == [{"otel_llm.attempt.status_code": "429"}]
    assert calls[3]["UnpricedReason"] == "unknown model"
    assert tree[0]["Cost"] is None
    assert tree[0]["HttpRoute"] == "/chat"
    assert [span["SpanName"] for span in store.embedded.query(*queries.spans("i-2")).dicts()] == [
        "digest",
        "GET",
        "chat m-1",
    ]


def test_the_tree_of_a_trace_that_names_no_interaction(store: Store, make_span: MakeSpan) -> None:
    root = make_span(name="POST /")
    call = make_span({"gen_ai.operation.name": "chat"}, parent=root, start=START + 1)
    store.add(root, call)
    trace_id = format_trace_id(context(root).trace_id)
    assert [row[3] for row in store.embedded.query(*queries.spans(trace_id)).rows] == ["POST /", "chat m-1"]


def test_calls_of_an_interaction_have_the_user_of_it(
    store: Store, make_span: MakeSpan, call_attributes: Attributes
) -> None:
    store.add(*scene(make_span, call_attributes))
    calls = store.embedded.query(*queries.calls("i-1")).dicts()
    assert [call["UserId"] for call in calls] == ["u-1"] * 3
    assert [call["Endpoint"] for call in calls] == ["/chat"] * 3
    assert store.rows("SELECT count() FROM llm_calls FINAL WHERE UserId = 'u-1'") == [(1,)]


# Reports


def test_a_report_says_what_it_cost_and_how_much_of_it_is_known(
    store: Store, make_span: MakeSpan, call_attributes: Attributes
) -> None:
    store.add(*scene(make_span, call_attributes))
    support, other = store.embedded.query(*queries.report(["feature"], limit=5)).dicts()[::-1]
    assert (other["dimension_0"], other["Cost"]) == ("", Decimal(1))
    assert support == {
        "dimension_0": "support",
        "Cost": Decimal("0.0000045"),
        "EstimatedCost": Decimal("0.0000005"),
        "Calls": 4,
        "Interactions": 2,
        "CostP50": Decimal("0.0000045"),
        "CostP95": Decimal("0.0000045"),
        "PricedCalls": 3,
        "PartialCalls": 0,
        "CallCoverage": 0.75,
        "TokenCoverage": 0.75,
        "InputTokens": 4000,
        "OutputTokens": 200,
        "CacheReadTokens": 3200,
        "Errors": 0,
        "WastedCalls": 1,
        "WastedCost": Decimal("0.0000005"),
        "Retries": 2,
        "UnattributedCost": Decimal(1),
        "UnattributedCalls": 1,
    }
    # Whatever the limit leaves out.
    (first,) = store.embedded.query(*queries.report(["user", "model"], limit=1)).dicts()
    assert (first["dimension_0"], first["UnattributedCalls"]) == ("u-2", 1)
    (model,) = store.embedded.query(*queries.report(["model"])).dicts()
    assert "UnattributedCalls" not in model


def test_quantiles_are_those_of_interactions(store: Store, make_span: MakeSpan, call_attributes: Attributes) -> None:
    store.add(
        *[
            make_span(priced(call_attributes, n * 10**9, **{"otel_llm.interaction.id": f"i-{n}"}))
            for n in range(100)
            for _ in range(2)
        ]
    )
    (row,) = store.embedded.query(*queries.report([])).dicts()
    assert (row["Interactions"], row["Calls"], row["CostP50"], row["CostP95"]) == (100, 200, Decimal(100), Decimal(190))


def test_a_report_groups_by_several_things_and_tags(
    store: Store, make_span: MakeSpan, call_attributes: Attributes
) -> None:
    for plan, model in (("pro", "a"), ("pro", "b"), ("free", "a")):
        store.add(
            make_span(
                priced(call_attributes, 1000, **{"otel_llm.tag.it's": plan, "gen_ai.response.model": model}),
            )
        )
    result = store.embedded.query(*queries.report(["tag.it's", "model"]))
    assert sorted(row[:2] for row in result.rows) == [("free", "a"), ("pro", "a"), ("pro", "b")]
    assert store.embedded.query(*queries.report(["model"], user="nobody")).rows == []
    (total,) = store.embedded.query(*queries.report([], user="nobody")).dicts()
    assert (total["Calls"], total["Cost"], total["CallCoverage"]) == (0, None, None)


def test_a_report_knows_what_the_interaction_knows(
    store: Store, make_span: MakeSpan, call_attributes: Attributes
) -> None:
    spans = scene(make_span, call_attributes)
    tagged = {"otel_llm.interaction.id": "i-1", "otel_llm.interaction.calls": 3, "otel_llm.tag.plan": "pro"}
    store.add(*spans, make_span(tagged, name="POST /chat", start=START + 5))

    def found(by: str, **filters: Any) -> dict[str, tuple[int, int]]:
        rows = store.embedded.query(*queries.report([by], **filters)).dicts()
        return {row["dimension_0"]: (row["Calls"], row["Interactions"]) for row in rows}

    assert found("user") == {"u-1": (3, 1), "u-2": (1, 1), "": (1, 1)}
    assert found("endpoint") == {"/chat": (3, 1), "": (2, 2)}
    assert found("tag.plan") == {"pro": (3, 1), "": (2, 2)}
    assert found("model", user="u-1") == {"m-1-2026": (3, 1)}
    assert found("user", since=at(1.5), until=at(3.5)) == {"u-1": (2, 1)}


def test_every_dimension_works(store: Store, make_span: MakeSpan, call_attributes: Attributes) -> None:
    store.add(*scene(make_span, call_attributes))
    for dimension in queries.DIMENSIONS:
        rows = store.embedded.query(*queries.report([dimension])).dicts()
        assert sum(row["Calls"] for row in rows) == 5, dimension
        assert sum(row["Cost"] or 0 for row in rows) == Decimal("1.0000045"), dimension


def test_a_dimension_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Cannot group by 'UserId\) --': choose from user, feature, .*tag\.<key>\."):
        queries.report(["UserId) --"])


def test_a_group_without_any_cost_has_none(store: Store, make_span: MakeSpan, call_attributes: Attributes) -> None:
    store.add(make_span(priced(call_attributes, None)))
    (row,) = store.embedded.query(*queries.report(["model"])).dicts()
    assert (row["Cost"], row["CostP50"], row["CallCoverage"], row["TokenCoverage"]) == (None, None, 0, 0)
    assert (row["WastedCost"], row["EstimatedCost"]) == (0, 0)


def test_unpriced_models_are_listed_with_the_reason(
    store: Store, make_span: MakeSpan, call_attributes: Attributes
) -> None:
    partial = {
        **priced(call_attributes, 5),
        "otel_llm.cost.status": "partial",
        "otel_llm.cost.unpriced_reason": "audio",
    }
    store.add(
        make_span(call_attributes),
        make_span(priced(call_attributes, None)),
        make_span(priced(call_attributes, None), start=START + 1),
        make_span(partial),
    )
    rows = store.embedded.query(*queries.unpriced()).dicts()
    assert [(row["Model"], row["CostStatus"], row["Reason"], row["Calls"]) for row in rows] == [
        ("m-1-2026", "unpriced", "unknown model", 2),
        ("m-1-2026", "partial", "audio", 1),
    ]


def test_the_status_counts_what_is_there(store: Store, make_span: MakeSpan, call_attributes: Attributes) -> None:
    (empty,) = store.embedded.query(*queries.status()).dicts()
    assert (empty["Spans"], empty["Calls"], empty["FirstCall"]) == (0, 0, None)
    store.add(*scene(make_span, call_attributes))
    (row,) = store.embedded.query(*queries.status()).dicts()
    assert (row["Spans"], row["Calls"], row["PricedCalls"], row["Interactions"]) == (10, 5, 4, 3)
    assert (row["FirstCall"], row["LastCall"]) == (at(1), at(9))
    assert row["Bytes"] > 0
    assert row["SchemaVersion"] == migrations()[-1].version


# The files


def test_sql_uses_no_name_of_ours_that_the_vocabulary_does_not_have() -> None:
    known = {value for name, value in vars(attributes).items() if name.isupper()}
    package = files("otel_llm_exporters.clickhouse")
    used = {
        name
        for folder in ("schema", "queries")
        for file in package.joinpath(folder).iterdir()
        for name in re.findall(r"'(otel_llm\.[^']+)'", file.read_text("utf-8"))
    }
    assert len(used) > 30
    assert used <= known


def test_otel_traces_is_what_the_collector_inserts_into(store: Store) -> None:
    columns = store.rows("SELECT name, type FROM system.columns WHERE table = 'otel_traces' AND database = 'default'")
    from otel_llm_exporters.clickhouse.formats import COLUMNS

    assert columns == [(name, codec.type) for name, codec in COLUMNS.items()]


# Views for dashboards


@pytest.mark.parametrize(
    ("view", "columns"),
    [
        ("cost_by_day", ""),
        ("cost_by_user", "UserId"),
        ("cost_by_feature", "Feature"),
        ("cost_by_endpoint", "ServiceName, Endpoint"),
        ("cost_by_model", "Provider, Model"),
        ("cost_by_agent", "ServiceName, AgentName"),
    ],
)
def test_a_view_of_costs_adds_up_to_the_bill(
    store: Store, make_span: MakeSpan, call_attributes: Attributes, view: str, columns: str
) -> None:
    spans = scene(make_span, {**call_attributes, "gen_ai.agent.name": "helper"})
    later = make_span({**priced(call_attributes, 7), "user.id": "u-1"}, start=START + 86_400 * SECOND)
    store.add(*spans, later)
    store.add(*spans[:5])  # some arrive twice
    figures = ["Cost", "Calls", "PricedCalls", "InputTokens", "OutputTokens", "CacheReadTokens", "Errors"]
    totals = ", ".join(f"sum({figure})" for figure in figures)
    assert store.rows(f"SELECT {totals} FROM {view}") == [(Decimal("1.000004507"), 6, 5, 6000, 300, 4800, 0)]
    assert store.embedded.query(f"SELECT * FROM {view}").columns == [
        "Day",
        *columns.split(", ") * bool(columns),
        *("Cost", "Calls", "PricedCalls", "Interactions", "InputTokens", "OutputTokens", "CacheReadTokens", "Errors"),
    ]
    assert len(store.rows(f"SELECT DISTINCT Day FROM {view}")) == 2


def test_a_view_of_costs_knows_what_the_interaction_knows(
    store: Store, make_span: MakeSpan, call_attributes: Attributes
) -> None:
    store.add(*scene(make_span, call_attributes))
    assert store.rows("SELECT UserId, Calls, Interactions, Cost FROM cost_by_user ORDER BY UserId") == [
        ("", 1, 1, None),
        ("u-1", 3, 1, Decimal("0.0000045")),
        ("u-2", 1, 1, Decimal(1)),
    ]
