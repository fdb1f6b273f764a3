"""pydantic-ai and pydantic-graph: runs of agents and graphs, and what they execute. From pydantic-ai 1.0.12 on.

pydantic-ai traces itself where the user asks for it. That is left as it is: it cannot be had without a span of its own
for every call to a model, and it puts the agent's name into the baggage of every request.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from otel_llm.call import AttributeValue
from otel_llm.dialects.reading import get, text
from otel_llm.frameworks import activities
from otel_llm.spec import Activity, Integration, Step
from otel_llm_semconv import attributes as A


def _agent(agent: Any, _args: Any, kwargs: Mapping[str, Any]) -> Activity | None:
    return None if _traced(agent, kwargs) else activities.agent(agent.name)


def _conversation(run: Any) -> Mapping[str, AttributeValue | None]:
    return {A.GEN_AI_CONVERSATION_ID: text(get(run, "conversation_id"))}


def _traced(agent: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether it traces itself."""
    asked = agent.instrument if agent.instrument is not None else get(agent, "_instrument_default")
    capabilities = [*(get(agent, "_root_capability", "capabilities") or ()), *(kwargs.get("capabilities") or ())]
    parts = [kwargs.get("model") or agent.model, *capabilities]
    return bool(asked) or any(type(part).__name__ in ("InstrumentedModel", "Instrumentation") for part in parts)


def _tool(_toolset: Any, args: tuple[Any, ...], _kwargs: Any) -> Activity | None:
    # The answer in a given shape is a tool in name only.
    name, _, run, tool = args
    if tool.tool_def.kind == "output" or not isinstance(run.tracer, trace.NoOpTracer):
        return None
    around = trace.get_current_span()
    told = around.attributes or {} if isinstance(around, ReadableSpan) else {}
    # A combination of combinations executes it once.
    return activities.tool(name, run.tool_call_id) if told.get(A.GEN_AI_TOOL_CALL_ID) != run.tool_call_id else None


def _graph(graph: Any, _args: Any, _kwargs: Any) -> Activity | None:
    return activities.workflow(graph.name) if _told(graph) else None


def _node(run: Any, args: tuple[Any, ...], _kwargs: Any) -> Activity | None:
    node = run.graph.nodes[args[0].node_id]
    return activities.step(node.label or node.id) if _told(run.graph) and hasattr(node, "call") else None


def _old_node(run: Any, args: tuple[Any, ...], _kwargs: Any) -> Activity | None:
    return activities.step((args[0] if args else run.next_node).get_node_id()) if _told(run.graph) else None


def _told(graph: Any) -> bool:
    # Not that of an agent; and Logfire, once it is configured, tells them all.
    logfire = get(sys.modules.get("logfire"), "DEFAULT_LOGFIRE_INSTANCE", "config", "_initialized")
    return graph.auto_instrument and not logfire


pydantic_ai = Integration(
    name="pydantic_ai",
    distribution="pydantic-ai-slim",
    oldest="1.0.12",
    newest_major=2,
    surfaces="agents, tools, graphs",
    hooks=(
        Step("pydantic_ai.agent", "Agent.iter", _agent, _conversation),
        Step("pydantic_ai.toolsets.combined", "CombinedToolset.call_tool", _tool),
        Step("pydantic_graph.graph_builder", "Graph.iter", _graph),
        Step("pydantic_graph.graph_builder", "_GraphIterator._run_task", _node),
        Step("pydantic_graph.graph", "Graph.iter", _graph),
        Step("pydantic_graph.graph", "GraphRun.next", _old_node),
    ),
)
