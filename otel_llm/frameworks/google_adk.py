"""google-adk traces itself: its spans are used, and each call to a model is one of them. From google-adk 2.0 on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_llm.engine.native import Native, follow
from otel_llm.spec import Arrival, Integration

_NATIVE = Native(
    # Both, one around the other, or one of them: that has changed between versions.
    calls=("call_llm", "generate_content"),
    plumbing=("execute_tool (merged)",),
    content=tuple(
        f"gcp.vertex.agent.{what}"
        for what in ("llm_request", "llm_response", "tool_call_args", "tool_response", "data")
    ),
)


def _follow(module: Any, _frames: Any) -> Callable[[], None]:
    return follow(module.tracer, _NATIVE)


google_adk = Integration(
    name="google_adk",
    distribution="google-adk",
    oldest="2.0.0",
    newest_major=2,
    surfaces="its own spans: agents, workflows, nodes, tools",
    hooks=(Arrival("google.adk.telemetry.tracing", _follow),),
)
