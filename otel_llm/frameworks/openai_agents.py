"""openai-agents: agents, tools, handoffs and guardrails by the SDK's own spans, runs by the methods that run them.

Its spans are listened to where they begin and end, and not as a trace processor: so they are heard where tracing is
switched off, too, and who exports them is left alone. The model calls are those of the SDKs beneath.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from opentelemetry import trace as otel_trace

from otel_llm.call import Call
from otel_llm.dialects.openai_responses import responses
from otel_llm.dialects.reading import get, text
from otel_llm.engine.frames import Frames
from otel_llm.engine.recording import current_agent
from otel_llm.frameworks import activities
from otel_llm.guard import guard
from otel_llm.spec import Activity, Hook, Integration, Report, Step
from otel_llm_semconv import attributes as A

# What the SDK calls a workflow that nobody named, and one that nobody shall see.
_UNNAMED = ("Agent workflow", "no-op", "")
_MASK = "Agent run"
_MODELS = ("generation", "response")


def _run(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activity | None:
    """One agent is told by its own span; several, that hand over to each other, need one around them."""
    agent, config = kwargs.get("starting_agent", args[0] if args else None), kwargs.get("run_config")
    # A tool that is an agent inherits the name of the run around it.
    name = None if current_agent() else _real(get(config, "workflow_name"))
    if name or get(agent, "handoffs"):
        return activities.workflow(name, text(get(config, "group_id")))
    return None


def _real(name: Any) -> str | None:
    return None if name in _UNNAMED else text(name)


def _activity(span: Any) -> Activity | None:
    data = span.span_data
    match data.type:
        case "agent":
            trace = sys.modules["agents.tracing"].get_current_trace()
            return activities.agent(text(data.name), text(get(trace, "group_id")))
        case "function":
            return activities.tool(text(data.name))
        case "handoff":
            return activities.step("handoff")
        case "mcp_tools":
            return activities.step("tools/list")
        case "guardrail":
            return activities.step(text(data.name))
        case "custom" if data.name != _MASK:
            return activities.step(text(data.name))
        case _:
            return None


def _span_starts(frames: Frames, wrapped: Any, span: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = wrapped(*args, **kwargs)
    with guard:
        # One that is not current has nothing inside. One of Logfire's is current in its place.
        if kwargs.get("mark_as_current", bool(args and args[0])) or _is_logfires(span):
            frames.end(id(span))  # of one whose end got lost
            if span.span_data.type in _MODELS:
                model = text(get(span.span_data, "model"))
                frames.start_call(id(span), None, Call("chat", "openai", request_model=model))
            elif (activity := _activity(span)) is not None:
                frames.start(id(span), None, *activity)
    return result


def _is_logfires(span: Any) -> bool:
    provider: Any = sys.modules["agents.tracing"].get_trace_provider()
    return type(provider).__name__ == "LogfireTraceProviderWrapper" and type(span).__name__ != "NoOpSpan"


def _span_finishes(frames: Frames, wrapped: Any, span: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        data = span.span_data
        told = get(data, "response") or get(data, "usage")
        frames.fail(id(span))
        frames.end(id(span), read=partial(_read, data) if told else None)
    return wrapped(*args, **kwargs)


def _read(data: Any, call: Call) -> None:
    responses.response(call, get(data, "response") or {"model": call.request_model, "usage": data.usage})


def _span_fails(frames: Frames, wrapped: Any, span: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        # What is told to the model, or put into a stream, is raised no further.
        frames.fail(id(span), sys.modules["agents.exceptions"].AgentsException())
    return wrapped(*args, **kwargs)


def _tool_called(wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        inside = sys.modules["agents.tracing"].get_current_span()
        called = text(kwargs.get("tool_call_id", args[1] if len(args) > 1 else None))
        if called and get(inside, "span_data", "type") == "function":
            otel_trace.get_current_span().set_attribute(A.GEN_AI_TOOL_CALL_ID, called)
    return wrapped(*args, **kwargs)


def _trace_enters(frames: Frames, wrapped: Any, trace: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # Only those of the user are entered; those of a run are started.
    with guard:
        frames.end(id(trace))
        frames.start(id(trace), None, *activities.workflow(_real(trace.name), text(get(trace, "group_id"))))
    return wrapped(*args, **kwargs)


def _trace_exits(frames: Frames, wrapped: Any, trace: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        frames.fail(id(trace))
        frames.end(id(trace))
    return wrapped(*args, **kwargs)


_SPANS = {"start": _span_starts, "finish": _span_finishes, "set_error": _span_fails}
_TRACES = {"__enter__": _trace_enters, "__exit__": _trace_exits}

openai_agents = Integration(
    name="openai_agents",
    distribution="openai-agents",
    oldest="0.3.0",
    newest_major=0,
    surfaces="workflows, agents, tools, handoffs, guardrails; model calls of SDKs that are not instrumented themselves",
    hooks=(
        Step("agents.run", "AgentRunner.run", _run),
        Step("agents.run", "AgentRunner._start_streaming", _run),
        Step("agents.run", "start_streaming", _run),
        Hook("agents.tool_context", "ToolContext.from_agent_context", _tool_called),
        *(
            Report(module, f"{kind}.{method}", wrapper)
            for module, kinds, wrappers in (
                ("agents.tracing.spans", ("SpanImpl", "NoOpSpan"), _SPANS),
                ("agents.tracing.traces", ("TraceImpl", "NoOpTrace"), _TRACES),
                # Its traces start those of the SDK, and never enter them.
                ("logfire._internal.integrations.openai_agents", ("LogfireTraceWrapper",), _TRACES),
            )
            for kind in kinds
            for method, wrapper in wrappers.items()
        ),
    ),
)
