"""llama_index: the spans of its own dispatcher as frames. From llama-index-core 0.14.8 on.

Everything reports there: runs of workflows and agents, their steps, tools, retrievers, query and chat engines. What is
only plumbing (models, synthesizers, the steps of an agent, engines inside of something) passes on where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from otel_llm.dialects.reading import get, text
from otel_llm.engine.frames import Frames
from otel_llm.frameworks import activities
from otel_llm.frameworks.activities import own_class
from otel_llm.guard import guard
from otel_llm.spec import Activity, Arrival, Integration

_PACKAGES = ("llama_index", "llama_agents", "workflows")
_EVENTS = "llama_index.core.agent.workflow.workflow_events"
_PASSES_ON = Activity()
_UUID = 36
_TURN = "turn"
# A step that waits for a human, or a run that its user cancelled, has not failed.
_NO_FAULT = ("WaitingForEvent", "WorkflowCancelledByUser")


class _Spans:
    """The beginnings and ends of all spans. Their ids are `Class.method-uuid`."""

    def __init__(self, frames: Frames) -> None:
        super().__init__()
        self._frames = frames

    def span_enter(self, id_: str, bound_args: Any, instance: Any = None, parent_id: Any = None, **_: Any) -> None:
        with guard:
            method, is_step = _method(id_), parent_id in self._frames and _method(parent_id) == "run"
            if is_step and (method == "run" or not (instance is None or _is(instance, "Workflow"))):
                # Older versions leave a run current for what its caller does meanwhile.
                is_step, parent_id = False, None
            start, inside = partial(self._frames.start, id_, parent_id), parent_id in self._frames
            if is_step:
                self._step(id_, parent_id, bound_args)
            elif method == "run" and _is(instance, "Workflow"):
                # They report it where the caller is, too, who goes on with other things.
                start(*_run(instance), attach=False)
            elif method in ("call", "acall", "__call__") and _is(instance, "BaseTool"):
                begun = self._frames.operation(parent_id) == "execute_tool"
                start(*(_PASSES_ON if begun else activities.tool(text(get(instance, "metadata", "name")))))
            elif method in ("retrieve", "aretrieve") and _is(instance, "BaseRetriever"):
                start(*activities.retrieval(_source(instance), getattr(instance, "_similarity_top_k", None)))
            elif not inside and _is(instance, "BaseQueryEngine", "BaseChatEngine"):
                start(*activities.workflow(own_class(instance, _PACKAGES)))
            else:
                start()

    def _step(self, id_: str, run: str, bound_args: Any) -> None:
        """A step of a workflow. Those of agents are plumbing, but for tools; several agents take turns."""
        event = next((it for it in bound_args.arguments.values() if type(it).__module__ == _EVENTS), None)
        kind, turn, frames = type(event).__name__, (run, _TURN), self._frames
        own = event is None and not _method(id_).startswith("_")
        doing = Activity(None, _method(id_)) if own else _PASSES_ON
        if kind == "ToolCall":
            doing = activities.tool(text(get(event, "tool_name")), text(get(event, "tool_id")))
        if kind == "AgentSetup" and frames.operation(run) == "invoke_workflow":
            name = _real(get(event, "current_agent_name"))
            if turn not in frames or frames.agent(turn) != name:
                frames.end(turn)
                frames.start(turn, run, *activities.agent(name), attach=False)
        frames.start(id_, turn if turn in frames else run, *doing)

    def span_exit(self, id_: str, bound_args: Any, instance: Any = None, result: Any = None, **_: Any) -> None:
        with guard:
            self._end(id_, getattr(get(result, "tool_output"), "exception", None))

    def span_drop(self, id_: str, bound_args: Any, instance: Any = None, err: Any = None, **_: Any) -> None:
        with guard:
            self._end(id_, None if type(err).__name__ in _NO_FAULT else err)

    def _end(self, id_: str, error: BaseException | None) -> None:
        self._frames.end((id_, _TURN), error)
        self._frames.end(id_, error)


def _method(id_: str) -> str:
    return id_[: -_UUID - 1].rpartition(".")[2]


def _is(instance: Any, *kinds: str) -> bool:
    return any(kind.__name__ in kinds for kind in type(instance).__mro__)


def _run(workflow: Any) -> Activity:
    if _is(workflow, "BaseWorkflowAgent"):
        return activities.agent(_real(workflow.name))
    return activities.workflow(text(getattr(workflow, "_workflow_name", None)) or own_class(workflow, _PACKAGES))


def _real(name: Any) -> str | None:
    """The name of an agent; what stands where nobody gave one is none."""
    return None if name == "Agent" else text(name)


def _source(retriever: Any) -> str | None:
    index = text(getattr(getattr(retriever, "_index", None), "index_id", None))
    return index if index is not None and len(index) != _UUID else own_class(retriever, _PACKAGES)


def _register(module: Any, frames: Frames) -> Callable[[], None]:
    handler: Any = type("OtelLLMSpanHandler", (_Spans, module.NullSpanHandler), {})(frames)
    handlers: list[Any] = module.root_dispatcher.span_handlers
    handlers.append(handler)
    return partial(handlers.remove, handler)


llama_index = Integration(
    name="llama_index",
    distribution="llama-index-core",
    oldest="0.14.8",
    newest_major=0,
    surfaces="workflows, agents, handoffs, steps, tools, retrievers, query and chat engines",
    hooks=(Arrival("llama_index_instrumentation", _register),),
)
