"""langchain and langgraph: their callbacks as frames. From langchain-core 0.3.10 on.

One handler hears of every run. Graphs and chains are workflows and agents, the nodes of a graph are steps; what is only
plumbing (prompts, parsers, lambdas, writes to channels, the inner nodes of an agent) passes on where it is.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

from otel_llm.dialects.langchain import call_of, from_cache, response
from otel_llm.dialects.reading import get, text
from otel_llm.engine.frames import Frames
from otel_llm.frameworks import activities
from otel_llm.guard import guard
from otel_llm.spec import Arrival, Hook, Integration
from otel_llm_semconv import attributes as A

# Names of classes, which stand where nobody gave a name.
_UNNAMED = re.compile(r"Runnable|(AgentExecutor|LLMChain|LangGraph|VectorStoreRetriever)$")
_INNER_NODES = ("agent", "model", "tools")
_HIDDEN = "langsmith:hidden"


class _Callbacks:
    """The events of all runs, inline: in the thread or the task of the run itself."""

    run_inline = True

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def on_chain_start(self, _what: Any, _input: Any, **run: Any) -> None:
        with guard:
            name, tags, parent = run.get("name"), run.get("tags") or (), run.get("parent_run_id")
            known: dict[str, Any] = run.get("metadata") or {}
            agent, created = known.get("lc_agent_name"), known.get("ls_integration") == "langchain_create_agent"
            thread = text(known.get("thread_id"))
            start = partial(self._frames.start, run["run_id"], parent)
            if any(tag.startswith("graph:step") for tag in tags):
                inner = self._frames.operation(parent) == "invoke_agent" or name in _INNER_NODES or _HIDDEN in tags
                start(name=None if inner else name)
            elif created and name == (agent or "LangGraph"):
                start(*activities.agent(agent, thread))
            elif parent not in self._frames and run.get("run_type") not in ("prompt", "parser"):
                start(*activities.workflow(_real(name), thread))
            else:
                start()

    def on_tool_start(self, what: Any, _input: Any, **run: Any) -> None:
        with guard:
            name, call = run.get("name") or get(what, "name"), text(run.get("tool_call_id"))
            self._frames.start(run["run_id"], run.get("parent_run_id"), *activities.tool(name, call))

    def on_retriever_start(self, what: Any, _query: Any, **run: Any) -> None:
        with guard:
            name = _real(run.get("name") or get(what, "name"))
            self._frames.start(run["run_id"], run.get("parent_run_id"), *activities.retrieval(name))

    def on_chat_model_start(self, _what: Any, _messages: Any, *, operation: str = "chat", **run: Any) -> None:
        with guard:
            call = call_of(operation, run.get("metadata") or {})
            self._frames.start_call(run["run_id"], run.get("parent_run_id"), call)

    def on_llm_start(self, what: Any, prompts: Any, **run: Any) -> None:
        self.on_chat_model_start(what, prompts, operation="text_completion", **run)

    def on_llm_end(self, result: Any, *, run_id: Any, **_: Any) -> None:
        with guard:
            self._frames.end(run_id, read=None if from_cache(result) else lambda call: response(call, result))

    def on_llm_error(self, error: BaseException, *, run_id: Any, **run: Any) -> None:
        self._frames.end(run_id, error, read=lambda call: response(call, run.get("response")))

    def on_chain_end(self, output: Any, *, run_id: Any, **_: Any) -> None:
        self._frames.end(run_id)

    def on_tool_end(self, output: Any, *, run_id: Any, **_: Any) -> None:
        self._frames.end(run_id, attributes={A.GEN_AI_TOOL_CALL_ID: text(get(output, "tool_call_id"))})

    def on_chain_error(self, error: BaseException, *, run_id: Any, **_: Any) -> None:
        # An interrupt that asks a human, or a jump to another graph, is no failure.
        control = any(kind.__name__ == "GraphBubbleUp" for kind in type(error).__mro__)
        self._frames.end(run_id, None if control else error)

    on_retriever_end, on_tool_error, on_retriever_error = on_chain_end, on_chain_error, on_chain_error

    # A run's config can be copied and pickled without us; a pickled handler comes out deaf.

    def __deepcopy__(self, _memo: Any = None) -> Any:
        return self

    __copy__ = __deepcopy__

    def __reduce__(self) -> Any:
        return type(self).__bases__[-1], ()


def _real(name: str | None) -> str | None:
    return None if name is None or _UNNAMED.match(name) else name


async def _on_llm_start(wrapped: Any, manager: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # This one method of LangChain's forgets all other handlers when one is inline (seen up to langchain-core 1.7.2).
    others = copy.copy(manager)
    others.handlers = [handler for handler in manager.handlers if not isinstance(handler, _Callbacks)]
    runs = await wrapped.__func__(others, *args, **kwargs)
    for run in runs:
        run.handlers = manager.handlers
        for handler in manager.handlers:
            if isinstance(handler, _Callbacks):
                handler.on_llm_start(None, None, **vars(run))
    return runs


def _register(module: Any, frames: Frames) -> Callable[[], None]:
    from langchain_core.callbacks.base import BaseCallbackHandler

    kind: Any = type("OtelLLMCallbackHandler", (_Callbacks, BaseCallbackHandler), {})
    handler = ContextVar("otel_llm.langchain", default=kind(frames))  # noqa: B039
    module.register_configure_hook(handler, inheritable=True)

    def unregister() -> None:
        module._configure_hooks[:] = [hook for hook in module._configure_hooks if hook[0] is not handler]

    return unregister


langchain = Integration(
    name="langchain",
    distribution="langchain-core",
    oldest="0.3.10",
    newest_major=1,
    surfaces="agents, graphs, chains, tools, retrievers; model calls of SDKs that are not instrumented themselves",
    hooks=(
        Hook("langchain_core.callbacks.manager", "AsyncCallbackManager.on_llm_start", _on_llm_start),
        Arrival("langchain_core.tracers.context", _register),
    ),
    packages=frozenset(["langchain", "langchain_classic", "langchain_core", "langgraph"]),
)
