"""strands-agents traces itself: its spans are used, and each call to a model is one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_llm.engine.native import Native, follow
from otel_llm.guard import guard
from otel_llm.spec import Arrival, Integration

_NATIVE = Native(calls=("chat",), content=("system_prompt",))


def _follow(module: Any, _frames: Any) -> Callable[[], None]:
    kind: Any = module.Tracer
    begin = kind.__init__
    leaving: list[Callable[[], None]] = [lambda: setattr(kind, "__init__", begin)]

    def begun(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        with guard:
            leaving.append(follow(self.tracer, _NATIVE))

    kind.__init__ = begun
    if module._tracer_instance is not None:
        leaving.append(follow(module._tracer_instance.tracer, _NATIVE))

    def leave() -> None:
        while leaving:
            leaving.pop()()

    return leave


strands = Integration(
    name="strands",
    distribution="strands-agents",
    oldest="1.4.0",
    newest_major=1,
    surfaces="its own spans: agents, their cycles and tools, graphs and swarms",
    hooks=(Arrival("strands.telemetry.tracer", _follow),),
)
