"""dspy: programs are workflows, their parts steps; agents, tools and retrievers inside. From dspy 3.0 on.

Its callbacks would have to be in the settings that the program is free to replace, so the methods that call them are
wrapped. Nobody names a module, so its name is that of the attribute which holds it, or of a class of the user's own.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from otel_llm.dialects.reading import text
from otel_llm.frameworks import activities
from otel_llm.frameworks.activities import is_theirs, own_class
from otel_llm.spec import Activity, Integration, Step

_PACKAGES = ("dspy",)
_AGENTS = ("ReAct", "ReActV2", "CodeAct", "RLM", "Avatar")
_UNNAMED_SIGNATURE = "StringSignature"


def _module(module: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Activity | None:
    around: Any = (sys.modules["dspy.dsp.utils.settings"].settings.get("caller_modules") or [None])[-1]
    held = _attribute(around, module)
    if own := own_class(module, _PACKAGES):
        return activities.workflow(own) if around is None else activities.step(held or own)
    if type(module).__name__ in _AGENTS:
        signature = text(getattr(getattr(module, "signature", None), "__name__", None))
        return activities.agent(signature if signature != _UNNAMED_SIGNATURE else held)
    return activities.step(held)


def _attribute(around: Any, module: Any) -> str | None:
    if around is None or not own_class(around, _PACKAGES):
        return None
    parts = cast("dict[str, Any]", vars(around))
    return next((name for name, part in parts.items() if part is module), None)


def _tool(tool: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Activity | None:
    # What ends an agent's loop is a tool of dspy's own.
    theirs = is_theirs(getattr(tool.func, "__module__", None), _PACKAGES)
    return None if theirs else activities.tool(text(tool.name))


def _retriever(retriever: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Activity:
    return activities.retrieval(own_class(retriever, _PACKAGES), getattr(retriever, "k", None))


dspy = Integration(
    name="dspy",
    distribution="dspy",
    oldest="3.0.0",
    newest_major=3,
    surfaces="programs and their modules, agents, tools, retrievers",
    hooks=(
        Step("dspy.primitives.module", "Module.__call__", _module),
        Step("dspy.primitives.module", "Module.acall", _module),
        Step("dspy.adapters.types.tool", "Tool.__call__", _tool),
        Step("dspy.adapters.types.tool", "Tool.acall", _tool),
        Step("dspy.retrievers.retrieve", "Retrieve.__call__", _retriever),
        Step("dspy.retrievers.embeddings", "Embeddings.__call__", _retriever),
    ),
)
