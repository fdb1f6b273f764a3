"""crewai: crews and flows are workflows; their tasks and methods are steps. From crewai 1.12 on.

Its event bus tells all this, too, but in threads of its own, where nothing could be current for what happens inside.
Its own tracing sends what it records, prompts and all, to its makers' platform and nowhere else.
"""

from __future__ import annotations

import sys
from typing import Any

from otel_llm.engine.frames import unless_begun
from otel_llm.frameworks import activities
from otel_llm.guard import guard
from otel_llm.spec import Activity, Hook, Integration, Step

_AGENTS = ("execute_task", "aexecute_task", "kickoff", "kickoff_async")
_TOOLS = {
    "crewai.tools.base_tool": ("BaseTool.run", "BaseTool.arun", "Tool.run", "Tool.arun"),
    "crewai.tools.structured_tool": ("CrewStructuredTool.invoke", "CrewStructuredTool.ainvoke"),
}


def _crew(crew: Any, *_: Any) -> Activity | None:
    # What streams begins with the caller's first question for more: then it is run again, as what does not stream.
    if getattr(crew, "stream", False):
        return None
    return unless_begun(activities.workflow(crew.name if crew.name != "crew" else None))


def _flow(flow: Any, *_: Any) -> Activity | None:
    own = _own_flow(flow)
    if own is None or getattr(flow, "stream", False):
        return None
    return unless_begun(activities.workflow(flow.name or own))


def _method(flow: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activity | None:
    return activities.step(str(kwargs.get("method_name") or args[0])) if _own_flow(flow) else None


def _task(task: Any, *_: Any) -> Activity | None:
    return activities.step(task.name)


def _agent(agent: Any, *_: Any) -> Activity | None:
    # As it was written, before `{topic}` in it became the topic.
    role = getattr(agent, "_original_role", None) or agent.role
    return unless_begun(activities.agent(" ".join(role.split())))


def _tool(tool: Any, *_: Any) -> Activity | None:
    return unless_begun(activities.tool(tool.name))


def _knowledge(knowledge: Any, *_: Any) -> Activity:
    return activities.retrieval(getattr(knowledge.storage, "collection_name", None))


def _own_flow(flow: Any) -> str | None:
    """The name of the class of a flow of the user's own: agents and memories of the newer versions are flows, too."""
    return activities.own_class(flow, ("crewai",))


def _own_telemetry(wrapped: Any, telemetry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Up to 1.15 it wants the global tracer provider: ours would send its spans, or it would get the user's spans."""
    with guard:
        if hasattr(sys.modules[type(telemetry).__module__], "trace"):
            telemetry.ready = False
    return wrapped(*args, **kwargs)


crewai = Integration(
    name="crewai",
    distribution="crewai",
    oldest="1.12.2",
    newest_major=1,
    surfaces="crews, flows, their methods, tasks, agents, tools, knowledge",
    hooks=(
        *(Step("crewai.crew", f"Crew.{name}", _crew) for name in ("kickoff", "akickoff")),
        *(Step("crewai.flow.flow", f"Flow.{name}", _flow) for name in ("kickoff_async", "resume_async")),
        Step("crewai.flow.flow", "Flow._execute_method", _method),
        *(Step("crewai.task", f"Task.{name}", _task) for name in ("_execute_core", "_aexecute_core")),
        *(Step("crewai.agent.core", f"Agent.{name}", _agent) for name in _AGENTS),
        Step("crewai.lite_agent", "LiteAgent.kickoff", _agent),
        *(Step(module, method, _tool) for module, methods in _TOOLS.items() for method in methods),
        *(Step("crewai.knowledge.knowledge", f"Knowledge.{name}", _knowledge) for name in ("query", "aquery")),
        Hook("crewai.telemetry.telemetry", "Telemetry.set_tracer", _own_telemetry),
    ),
)
