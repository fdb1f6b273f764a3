"""haystack: pipelines are workflows, their components steps; agents, tools, retrievers inside. From haystack 2.18 on.

Before 3.0 it traced itself with OpenTelemetry wherever that was there, by spans that are all called alike; they are
switched off, unless the program set that tracing up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from otel_llm.dialects.reading import get, text
from otel_llm.engine.frames import unless_begun
from otel_llm.frameworks import activities
from otel_llm.spec import Activity, Arrival, Integration, Step

_PIPELINES = "haystack.core.pipeline"
_AGENT = "haystack.components.agents.agent"
_TOOL = "haystack.tools.tool"


def _pipeline(pipeline: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Activity:
    name = text(get(pipeline, "metadata", "name"))
    return activities.workflow(name or activities.own_class(pipeline, ("haystack",)))


def _component(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activity | None:
    known = dict(zip(("component_name", "component"), args, strict=False)) | kwargs
    instance = known["component"]["instance"]
    kinds = [kind.__name__ for kind in type(instance).__mro__]
    # What an agent runs as components is in no pipeline; it tells of itself.
    if "Agent" in kinds or _name(instance) is None:
        return None
    if kinds[0].endswith("Retriever"):
        return activities.retrieval(known["component_name"], getattr(instance, "top_k", None))
    return activities.step(known["component_name"])


def _agent(agent: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Activity:
    return activities.agent(_name(agent))


def _tool(tool: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Activity | None:
    # `invoke_async` calls `invoke` where a tool is not asynchronous.
    return unless_begun(activities.tool(text(tool.name)))


def _name(component: Any) -> str | None:
    """Its name in the pipeline that it was added to."""
    return text(getattr(component, "__component_name__", None))


def _silence(module: Any, _frames: Any) -> Callable[[], None] | None:
    own = module.tracer.actual_tracer
    scope = getattr(getattr(own, "_tracer", None), "_instrumentation_scope", None)
    if type(own).__name__ != "OpenTelemetryTracer" or getattr(scope, "name", None) != "haystack":
        return None
    module.disable_tracing()
    return partial(module.enable_tracing, own)


haystack = Integration(
    name="haystack",
    distribution="haystack-ai",
    oldest="2.18.0",
    newest_major=3,
    surfaces="pipelines, async pipelines, components, agents, tools, retrievers",
    hooks=(
        Arrival("haystack.tracing.tracer", _silence),
        Step(f"{_PIPELINES}.pipeline", "Pipeline.run", _pipeline),
        Step(f"{_PIPELINES}.pipeline", "Pipeline.run_async_generator", _pipeline),
        Step(f"{_PIPELINES}.async_pipeline", "AsyncPipeline.run_async_generator", _pipeline),
        Step(f"{_PIPELINES}.pipeline", "Pipeline._run_component", _component),
        Step(f"{_PIPELINES}.pipeline", "Pipeline._run_component_async", _component),
        Step(f"{_PIPELINES}.async_pipeline", "AsyncPipeline._run_component_async", _component),
        Step(_AGENT, "Agent.run", _agent),
        Step(_AGENT, "Agent.run_async", _agent),
        Step(_TOOL, "Tool.invoke", _tool),
        Step(_TOOL, "Tool.invoke_async", _tool),
    ),
)
