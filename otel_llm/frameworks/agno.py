"""agno: agents, teams (agents that have members), and workflows with their steps. From agno 2.2 on."""

from __future__ import annotations

import copy
from typing import Any

import wrapt

from otel_llm.call import AttributeValue
from otel_llm.dialects.reading import text
from otel_llm.engine.frames import Frames
from otel_llm.frameworks import activities
from otel_llm.guard import guard
from otel_llm.spec import Activity, Integration, Report, Step
from otel_llm_semconv import attributes as A

_RUNS = ("run", "arun", "continue_run", "acontinue_run")
_EXECUTIONS = ("execute", "aexecute", "execute_stream", "aexecute_stream")
_PARTS = ("Step", "Steps", "Parallel", "Loop", "Condition", "Router")
_FAILURES = ("RunError", "TeamRunError", "WorkflowError")
_SEARCHES = ("search", "asearch", "async_search")


def _agent(agent: Any, _args: Any, kwargs: dict[str, Any]) -> Activity:
    return activities.agent(agent.name, _session(agent, kwargs))


def _workflow(workflow: Any, _args: Any, kwargs: dict[str, Any]) -> Activity:
    return activities.workflow(workflow.name, _session(workflow, kwargs))


def _part(part: Any, *_: Any) -> Activity | None:
    return activities.step(part.name if part.name != "<lambda>" else None)


def _knowledge(knowledge: Any, *_: Any) -> Activity:
    return activities.retrieval(knowledge.name)


def _session(runner: Any, kwargs: dict[str, Any]) -> str | None:
    return text(kwargs.get("session_id") or runner.session_id)


def _ended(run: Any) -> dict[str, AttributeValue | None]:
    """What fails is returned as well, or is the last event of a stream, and only its message is told."""
    failed = getattr(run, "status", None) == "ERROR" or getattr(run, "event", None) in _FAILURES
    return {A.ERROR_TYPE: "_OTHER" if failed else None}


def _tool_call(frames: Frames, wrapped: Any, call: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The function of the tool is watched itself: around it, its errors are caught, and its generators not yet read."""

    def read(*_: Any) -> Activity:
        return activities.tool(call.function.name, text(call.call_id))

    with guard:
        call.function = copy.copy(call.function)
        step = frames.step(Step("agno.tools.function", "Function.entrypoint", read))
        call.function.entrypoint = wrapt.FunctionWrapper(call.function.entrypoint, step)
    return wrapped(*args, **kwargs)


agno = Integration(
    name="agno",
    distribution="agno",
    oldest="2.2.13",
    newest_major=3,
    surfaces="agents, teams, workflows, their steps, tools, knowledge",
    hooks=(
        *(Step("agno.agent.agent", f"Agent.{name}", _agent, _ended) for name in _RUNS),
        *(Step("agno.team.team", f"Team.{name}", _agent, _ended) for name in _RUNS),
        *(Step("agno.workflow.workflow", f"Workflow.{name}", _workflow, _ended) for name in _RUNS),
        *(Step(f"agno.workflow.{part.lower()}", f"{part}.{name}", _part) for part in _PARTS for name in _EXECUTIONS),
        *(Report("agno.tools.function", f"FunctionCall.{name}", _tool_call) for name in ("execute", "aexecute")),
        *(Step("agno.knowledge.knowledge", f"Knowledge.{name}", _knowledge) for name in _SEARCHES),
    ),
)
