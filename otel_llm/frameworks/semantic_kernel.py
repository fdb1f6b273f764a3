"""Semantic Kernel: its agents, functions, orchestrations, processes and searches. From semantic-kernel 1.37.0 on.

Its own traces of agents come with a second span for every call to a model, and are current across what a stream yields.
So they stay off, and with them those of functions, which are always on, unless the user switched them on: then they are
left as they are, and nothing is added to them.
"""

from __future__ import annotations

import re
import sys
import weakref
from contextlib import nullcontext
from typing import Any

from opentelemetry import trace

from otel_llm.dialects.reading import get, text
from otel_llm.driving import Scope
from otel_llm.frameworks import activities
from otel_llm.frameworks.message_runtime import message_hooks
from otel_llm.late import later
from otel_llm.spec import Activity, Hook, Integration, Step

_FUNCTIONS = "semantic_kernel.utils.telemetry.model_diagnostics.function_tracer"
_LOOP = "semantic_kernel.connectors.ai.chat_completion_client_base"
# Agents, orchestrations and functions that nobody named.
_RANDOM = r"agent_[A-Za-z]{16}|[A-Za-z]+_[0-9a-f]{32}|[A-Za-z]{16}"
_AGENTS = {
    "chat_completion.chat_completion_agent": "ChatCompletionAgent",
    "open_ai.openai_assistant_agent": "OpenAIAssistantAgent",
    "open_ai.openai_responses_agent": "OpenAIResponsesAgent",
    "azure_ai.azure_ai_agent": "AzureAIAgent",
    "bedrock.bedrock_agent": "BedrockAgent",
    "copilot_studio.copilot_studio_agent": "CopilotStudioAgent",
    "autogen.autogen_conversable_agent": "AutoGenConversableAgent",
}


def _traced() -> bool:
    """Whether it traces itself: the user asked for it."""
    settings = get(sys.modules.get(_FUNCTIONS), "MODEL_DIAGNOSTICS_SETTINGS")
    return bool(get(settings, "enable_otel_diagnostics") or get(settings, "enable_otel_diagnostics_sensitive"))


def _named(name: str) -> str | None:
    return None if re.fullmatch(_RANDOM, name) else name


def _agent(agent: Any, _args: Any, _kwargs: Any) -> Activity | None:
    return None if _traced() else activities.agent(_named(agent.name))


def _function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activity | None:
    if _traced():
        return None
    call = text(get(kwargs.get("metadata", args[2] if len(args) > 2 else None), "id"))
    name = function.fully_qualified_name
    if call is not None:
        return activities.tool(name, call)
    return activities.step(name if function.plugin_name else _named(name))


def _orchestration(orchestration: Any, _args: Any, _kwargs: Any) -> Activity:
    return activities.workflow(_named(orchestration.name))


def _result(result: Any, scope: Scope) -> bool:
    """An orchestration goes on after it was invoked, until this event."""
    event = result.event
    told = event.set

    def over() -> None:
        scope.end(result.exception)
        told()

    event.set = over
    weakref.finalize(event, later, scope.end)
    return True


def _group(_chat: Any, _args: Any, _kwargs: Any) -> Activity:
    return activities.workflow(None)


def _process(process: Any, _args: Any, _kwargs: Any) -> Activity:
    return activities.workflow(process.name)


def _search(collection: Any, _args: Any, _kwargs: Any) -> Activity:
    return activities.retrieval(text(collection.collection_name))


def _silent(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return wrapped(*args, **kwargs) if _traced() else nullcontext(trace.INVALID_SPAN)


def _no_span(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return wrapped(*args, **kwargs) if _traced() else trace.INVALID_SPAN


semantic_kernel = Integration(
    name="semantic_kernel",
    distribution="semantic-kernel",
    oldest="1.37.0",
    newest_major=1,
    surfaces="agents, group chats, orchestrations, functions, processes, vector searches",
    hooks=(
        *(
            Step(f"semantic_kernel.agents.{module}", f"{kind}.{method}", _agent)
            for module, kind in _AGENTS.items()
            for method in ("get_response", "invoke", "invoke_stream")
        ),
        *(
            Step("semantic_kernel.functions.kernel_function", f"KernelFunction.{method}", _function)
            for method in ("invoke", "invoke_stream")
        ),
        *(
            Step("semantic_kernel.agents.group_chat.agent_group_chat", f"AgentGroupChat.{method}", _group)
            for method in ("invoke", "invoke_stream")
        ),
        Step(
            "semantic_kernel.agents.orchestration.orchestration_base",
            "OrchestrationBase.invoke",
            _orchestration,
            later=_result,
        ),
        Step("semantic_kernel.processes.local_runtime.local_process", "LocalProcess.internal_execute", _process),
        Step("semantic_kernel.data.vector", "VectorSearch.search", _search),
        Step("semantic_kernel.data.vector", "VectorSearch.hybrid_search", _search),
        *message_hooks(
            "semantic_kernel.agents.runtime.in_process.in_process_runtime",
            "InProcessRuntime",
            "semantic_kernel.agents.runtime.core.telemetry.tracing",
        ),
        Hook(_FUNCTIONS, "start_as_current_span", _silent),
        Hook(_LOOP, "use_span", _silent),
        Hook(_LOOP, "ChatCompletionClientBase._start_auto_function_invocation_activity", _no_span),
    ),
)
