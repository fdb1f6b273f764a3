"""smolagents: agents, their plans and steps, and the tools that they call, from code too."""

from __future__ import annotations

from typing import Any

from otel_llm.dialects.reading import get, text
from otel_llm.frameworks import activities
from otel_llm.spec import Activity, Integration, Step


def _agent(agent: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Activity:
    return activities.agent(text(get(agent, "name")))


def _plan(agent: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Activity:
    return activities.plan(text(get(agent, "name")))


def _step(_agent: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Activity | None:
    return activities.step("step")


def _tool(tool: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Activity:
    return activities.tool(text(get(tool, "name")))


def _code(_executor: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Activity:
    # As smolagents names it to the model.
    return activities.tool("python_interpreter")


_AGENTS = "smolagents.agents"
smolagents = Integration(
    name="smolagents",
    distribution="smolagents",
    oldest="1.20.0",
    newest_major=1,
    surfaces="agents, managed agents, plans, steps, tools, code that agents write",
    hooks=(
        Step(_AGENTS, "MultiStepAgent.run", _agent),
        Step(_AGENTS, "MultiStepAgent._generate_planning_step", _plan),
        Step(_AGENTS, "ToolCallingAgent._step_stream", _step),
        Step(_AGENTS, "CodeAgent._step_stream", _step),
        Step("smolagents.tools", "Tool.__call__", _tool),
        Step("smolagents.local_python_executor", "LocalPythonExecutor.__call__", _code),
        Step("smolagents.remote_executors", "RemotePythonExecutor.__call__", _code),
    ),
)
