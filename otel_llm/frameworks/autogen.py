"""AutoGen: its agents, teams and tools, and the messages of its runtime. From autogen-agentchat 0.6.2 on.

Its own traces cannot be had without a span for every message and for every agent that is made, and are current across
what a stream yields. So they are off; but a runtime that the user gave a tracer provider keeps its own.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from opentelemetry import trace

from otel_llm.dialects.reading import get, text
from otel_llm.frameworks import activities
from otel_llm.frameworks.message_runtime import message_hooks
from otel_llm.spec import Activity, Hook, Integration, Step


def _agent(agent: Any, _args: Any, _kwargs: Any) -> Activity:
    return activities.agent(agent.name)


def _member(container: Any, _args: Any, _kwargs: Any) -> Activity | None:
    # A team tells itself.
    member = container._agent
    return activities.agent(member.name) if hasattr(member, "on_messages_stream") else None


def _team(team: Any, _args: Any, _kwargs: Any) -> Activity:
    name, kind = text(get(team, "_name")), team.__class__
    return activities.workflow(None if name in [base.__name__ for base in kind.__mro__] else name)


def _tool(tool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activity:
    return activities.tool(tool.name, text(kwargs.get("call_id", args[2] if len(args) > 2 else None)))


def _remote_tool(_workbench: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activity:
    return activities.tool(text(args[0] if args else kwargs.get("name")), text(kwargs.get("call_id")))


def _silent(_wrapped: Any, _instance: Any, _args: Any, _kwargs: Any) -> Any:
    return nullcontext(trace.INVALID_SPAN)


_AGENTS = "autogen_agentchat.agents._base_chat_agent"
_MEMBERS = "autogen_agentchat.teams._group_chat._chat_agent_container"
_TOOLS = "autogen_core.tools._base"
_MCP = "autogen_ext.tools.mcp._workbench"

autogen = Integration(
    name="autogen",
    distribution="autogen-agentchat",
    oldest="0.6.2",
    newest_major=0,
    surfaces="agents, teams, tools; messages keep their interaction",
    hooks=(
        Step(_AGENTS, "BaseChatAgent.run", _agent),
        Step(_AGENTS, "BaseChatAgent.run_stream", _agent),
        Step(_MEMBERS, "ChatAgentContainer.handle_request", _member),
        Step("autogen_agentchat.teams._group_chat._base_group_chat", "BaseGroupChat.run_stream", _team),
        Step(_TOOLS, "BaseTool.run_json", _tool),
        Step(_TOOLS, "BaseStreamTool.run_json_stream", _tool),
        Step(_MCP, "McpWorkbench.call_tool", _remote_tool),
        *message_hooks(
            "autogen_core._single_threaded_agent_runtime",
            "SingleThreadedAgentRuntime",
            "autogen_core._telemetry._tracing",
        ),
        Hook(_AGENTS, "trace_create_agent_span", _silent),
        Hook(_AGENTS, "trace_invoke_agent_span", _silent),
        Hook(_MEMBERS, "trace_invoke_agent_span", _silent),
        Hook(_TOOLS, "trace_tool_span", _silent),
        Hook(_MCP, "trace_tool_span", _silent),
    ),
)
