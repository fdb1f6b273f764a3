"""anthropic: its own service, and Claude on Bedrock, Vertex and Foundry.

From version 1 the SDK traces itself. Its span of a call would be a second one, so beneath ours it stays silent; its
spans of tool runners and tools are its own, and stay.
"""

from __future__ import annotations

import re
from typing import Any

from opentelemetry.trace import Status, StatusCode

from otel_llm.dialects.anthropic_messages import messages
from otel_llm.dialects.reading import get
from otel_llm.engine.proxy import Proxy
from otel_llm.engine.recording import current_recording
from otel_llm.integrations.stainless import hooks, patches
from otel_llm.providers import provider_of
from otel_llm.spec import Batch, Dialect, Hook, Integration

_PROVIDERS = {
    "Bedrock": "aws.bedrock",
    "Vertex": "gcp.vertex_ai",
    "GoogleCloud": "gcp.vertex_ai",
    "Foundry": "azure.ai.inference",
}


def _provider(client: Any, host: str | None, port: int | None) -> str:
    for kind in type(client).__mro__:
        for mark, name in _PROVIDERS.items():
            if mark in kind.__name__:
                return name
    return provider_of(host, port, "anthropic")


class _SilentSpan(Proxy):
    """Our span, lent to the SDK as if it were its own: it can be made current and propagated, not changed or ended."""

    def is_recording(self) -> bool:
        return False

    def set_attribute(self, key: str, value: Any) -> None: ...
    def set_attributes(self, attributes: Any) -> None: ...
    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None: ...
    def update_name(self, name: str) -> None: ...
    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None: ...
    def record_exception(self, *args: Any, **kwargs: Any) -> None: ...
    def end(self, end_time: int | None = None) -> None: ...


class _LendingTracer(Proxy):
    """The SDK's tracer, which starts no span of its own, but lends ours."""

    def __init__(self, tracer: Any, span: Any) -> None:
        super().__init__(tracer)
        self._self_span = span

    def start_span(self, *_args: Any, **_kwargs: Any) -> _SilentSpan:
        return _SilentSpan(self._self_span)


def _start_api_call_span(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    recording = current_recording()
    if recording is not None:
        args = (_LendingTracer(args[0], recording.span), *args[1:])
    return wrapped(*args, **kwargs)


def _batched(line: Any) -> tuple[Dialect, Any] | None:
    message = get(line, "result", "message")
    return None if message is None else (messages, message)


anthropic = Integration(
    name="anthropic",
    distribution="anthropic",
    oldest="0.40.0",
    newest_major=2,
    surfaces="messages, beta messages, tool runner, message batches; Bedrock, Vertex and Foundry clients",
    patches=patches(
        "anthropic",
        {"/v1/messages": messages},
        _provider,
        {"GET .*/v1/messages/batches/(?P<id>[^/]+)/results": Batch(re.compile(rb"\s*\{"), _batched)},
    ),
    hooks=(*hooks("anthropic"), Hook("anthropic._base_client", "start_api_call_span", _start_api_call_span)),
)
