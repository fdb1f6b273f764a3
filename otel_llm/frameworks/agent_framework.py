"""Microsoft's Agent Framework: its agents, tools and workflows. From agent-framework-core 1.0.0 on.

Its own traces have a second span for every call to a model, the agent's tokens beside those of its calls, and spans for
each edge and message of a workflow; there is no switch for these. So they are off, unless the user asked for them:
then they are left as they are, and nothing is added to them.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from typing import Any

from otel_llm.dialects.reading import get, text
from otel_llm.driving import Scope, telling, within
from otel_llm.frameworks import activities
from otel_llm.late import later
from otel_llm.spec import Activity, Arrival, Hook, Integration, Step

_OWN = "agent_framework.observability"
_UNNAMED = "WorkflowBuilder-"
_ASKED = ("ENABLE_INSTRUMENTATION", "ENABLE_SENSITIVE_DATA")
_streams: weakref.WeakKeyDictionary[Any, Scope] = weakref.WeakKeyDictionary()


def _quieten(module: Any, _frames: Any) -> Callable[[], None] | None:
    settings = module.OBSERVABILITY_SETTINGS
    if not settings.enable_instrumentation or any(name in os.environ for name in _ASKED):
        return None
    settings.enable_instrumentation = False

    def undo() -> None:
        settings.enable_instrumentation = True

    return undo


def _traced() -> bool:
    """Whether it traces itself: the user asked for it."""
    return bool(get(sys.modules.get(_OWN), "OBSERVABILITY_SETTINGS", "ENABLED"))


def _agent(agent: Any, _args: Any, kwargs: dict[str, Any]) -> Activity | None:
    conversation = text(get(kwargs, "session", "service_session_id"))
    return None if _traced() else activities.agent(agent.name, conversation)


def _tool(tool: Any, _args: Any, kwargs: dict[str, Any]) -> Activity | None:
    return None if _traced() else activities.tool(tool.name, text(kwargs.get("tool_call_id")))


def _workflow(workflow: Any, _args: Any, _kwargs: Any) -> Activity | None:
    name = text(workflow.name)
    named = name is not None and not name.startswith(_UNNAMED)
    return None if _traced() else activities.workflow(name if named else None)


def _executor(executor: Any, _args: Any, _kwargs: Any) -> Activity | None:
    # Those of the framework run an agent or another workflow, which tells itself, or are plumbing.
    kind = executor.__class__
    theirs = kind.__module__.startswith("agent_framework") and kind.__name__ != "FunctionExecutor"
    return None if _traced() or theirs else activities.step(executor.id)


def _function(function: Any, _args: Any, _kwargs: Any) -> Activity | None:
    return None if _traced() else activities.step(function.name)


def _stream(result: Any, scope: Scope) -> bool:
    """A stream is inside while it is pulled, and whoever pulls it is not."""
    if not hasattr(result, "get_final_response"):
        return False
    _streams[result] = scope
    weakref.finalize(result, later, scope.end)
    return True


async def _pull(wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    scope = _streams.get(stream)
    if scope is None:
        return await wrapped(*args, **kwargs)

    def ended(error: BaseException) -> None:
        scope.end(None if isinstance(error, StopAsyncIteration) else error)

    with telling(ended), within(scope.inside()):
        result = await wrapped(*args, **kwargs)
    if wrapped.__name__ == "close":
        scope.end(kwargs.get("exc", args[0] if args else None))
    return result


agent_framework = Integration(
    name="agent_framework",
    distribution="agent-framework-core",
    oldest="1.0.0",
    newest_major=1,
    surfaces="agents, tools, workflows and their steps",
    hooks=(
        Arrival(_OWN, _quieten),
        Step(_OWN, "AgentTelemetryLayer.run", _agent, later=_stream),
        *(
            Hook("agent_framework._types", f"ResponseStream.{method}", _pull)
            for method in ("__anext__", "get_final_response", "close")
        ),
        Step("agent_framework._tools", "FunctionTool.invoke", _tool),
        Step("agent_framework._workflows._workflow", "Workflow._run_workflow_with_tracing", _workflow),
        Step("agent_framework._workflows._executor", "Executor.execute", _executor),
        Step("agent_framework._workflows._functional", "FunctionalWorkflow._run_core", _workflow),
        Step("agent_framework._workflows._functional", "StepWrapper.__call__", _function),
    ),
)
