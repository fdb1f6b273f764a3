"""What frameworks do, by the conventions' names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from otel_llm.spec import Activity
from otel_llm_semconv import attributes as A


def workflow(name: str | None, conversation: str | None = None) -> Activity:
    """A run of something that is put together of agents, tools and steps; `name` only where it has a real one."""
    attributes = {A.GEN_AI_WORKFLOW_NAME: name, A.GEN_AI_CONVERSATION_ID: conversation}
    return Activity("invoke_workflow", name, attributes)


def agent(name: str | None, conversation: str | None = None) -> Activity:
    """A run of an agent, with all its turns."""
    return Activity("invoke_agent", name, {A.GEN_AI_AGENT_NAME: name, A.GEN_AI_CONVERSATION_ID: conversation})


def plan(agent: str | None) -> Activity:
    """An agent plans what to do; its call to a model is inside."""
    return Activity("plan", agent, {A.GEN_AI_AGENT_NAME: agent})


def tool(name: str | None, call_id: str | None = None, *, type: str = "function") -> Activity:  # noqa: A002
    """An execution of a tool, on this side: `type` is `function`, `extension` or `datastore`."""
    attributes = {A.GEN_AI_TOOL_NAME: name, A.GEN_AI_TOOL_TYPE: type, A.GEN_AI_TOOL_CALL_ID: call_id}
    return Activity("execute_tool", name, attributes)


def retrieval(source: str | None, top_k: int | None = None) -> Activity:
    """A search for `top_k` documents in `source`."""
    return Activity("retrieval", source, {A.GEN_AI_DATA_SOURCE_ID: source, A.GEN_AI_RETRIEVAL_TOP_K: top_k})


def own_class(instance: Any, packages: Collection[str]) -> str | None:
    """The name of the class of `instance` if it is the user's own, and of none of these packages of a framework."""
    kind = cast("type[Any]", type(instance))
    return None if is_theirs(kind.__module__, packages) else kind.__name__


def is_theirs(module: str | None, packages: Collection[str]) -> bool:
    """Whether a module is part of one of these packages."""
    return (module or "").partition(".")[0] in packages


def step(name: str | None) -> Activity | None:
    """A step of a workflow: a node, a task, a phase; nothing without a name."""
    return Activity(None, name) if name else None
