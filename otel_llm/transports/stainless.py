"""SDKs of the Stainless generator (openai, anthropic, groq ...) send every request through one method of their client.

Patching that one covers `create`, `parse`, stream helpers, raw and streaming responses, tool runners, and clients of
Azure, Bedrock or Vertex.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, cast

from otel_llm.engine.recording import current_recording
from otel_llm.guard import guard
from otel_llm.providers import port_of, provider_of
from otel_llm.spec import Hook, Patch, Paths
from otel_llm.transports.retries import retry
from otel_llm.transports.sent import Provider, Sent, reader


def patches(package: str, paths: Paths, provider: Provider | str) -> tuple[Patch, ...]:
    """The patches of the SDK in `package`."""
    read, module = reader(_sent, paths, provider), f"{package}._base_client"
    return (Patch(module, "SyncAPIClient.request", read), Patch(module, "AsyncAPIClient.request", read))


def hooks(package: str) -> tuple[Hook, ...]:
    """The hooks that see the retries inside a call, and the headers of its response."""
    module = f"{package}._base_client"
    return (
        Hook(module, "BaseClient._should_retry", _should_retry),
        retry(module, "BaseClient._calculate_retry_timeout"),
        Hook(module, "SyncAPIClient._process_response", _process_response),
        Hook(module, "AsyncAPIClient._process_response", _process_response),
    )


def _sent(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent:
    options: Any = kwargs["options"] if "options" in kwargs else args[1]
    url = client.base_url
    return Sent(
        options.method.upper(),
        options.url,
        partial(_body, options),
        url.host,
        port_of(url),
        stream=bool(kwargs.get("stream")),
        with_body=partial(_with_body, args, kwargs, options),
        transport=_transport,
    )


def _body(options: Any) -> Any:
    sent: Any = options.json_data
    extra: dict[str, Any] | None = options.extra_json
    return {**sent, **extra} if extra and hasattr(sent, "keys") else sent


def _with_body(
    args: tuple[Any, ...], kwargs: dict[str, Any], options: Any, body: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    changed = copy.copy(options)
    changed.json_data = body
    if "options" in kwargs:
        return args, {**kwargs, "options": changed}
    return (args[0], changed, *args[2:]), kwargs


def _transport(result: Any) -> Any:
    """The httpx response of a raw response or a stream; None of a parsed body."""
    kind = cast("type[Any]", result.__class__)  # also of what somebody put a proxy around
    raw = getattr(result, "__dict__", {}).get("http_response")
    if raw is not None:
        return raw
    if hasattr(kind, "__pydantic_fields__"):
        return None
    if hasattr(kind, "__stream__"):
        return result.response
    # Binary content has its response inside; a response is its own.
    return getattr(result, "response", result) if hasattr(kind, "iter_raw") else None


def _should_retry(wrapped: Any, _client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        recording = current_recording()
        # Not everywhere is there an exception that tells it later.
        if recording is not None:
            recording.attempt_answered((args[0] if args else kwargs["response"]).status_code)
    return wrapped(*args, **kwargs)


def _process_response(wrapped: Any, _client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        recording = current_recording()
        # LiteLLM's proxy hides the model behind a name of its own, so its price is the only one; 0.0 is its "unknown".
        if recording is not None and not provider_of(recording.call.server_address, recording.call.server_port, ""):
            cost = kwargs["response"].headers.get("x-litellm-response-cost")
            if cost not in (None, "0", "0.0"):
                recording.call.reported_cost_usd = cost
    return wrapped(*args, **kwargs)
