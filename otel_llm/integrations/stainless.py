"""SDKs of the Stainless generator (openai, anthropic, groq ...) send every request through one method of their client.

Patching that one covers `create`, `parse`, stream helpers, raw and streaming responses, tool runners, and clients of
Azure, Bedrock or Vertex. The URL says which dialect is spoken.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast
from weakref import WeakKeyDictionary

from otel_llm.engine.recording import current_recording
from otel_llm.guard import guard
from otel_llm.integrations.retries import retry
from otel_llm.providers import port_of, provider_of
from otel_llm.spec import Batch, Dialect, Hook, Late, Patch, Request

Server = tuple[str, str | None, int | None]
"""Provider name, host, port."""
Asking = Sequence[tuple[re.Pattern[str], Dialect | Batch]]
"""By method and path, what is asked for."""


def patches(
    package: str,
    routes: Mapping[str, Dialect],
    provider: Callable[[Any, str | None, int | None], str],
    late: Mapping[str, Dialect | Batch] | None = None,
) -> tuple[Patch, ...]:
    """The patches of a Stainless SDK: URL path -> dialect, and `provider(client, host, port)` -> its name.

    `late` is by patterns of method and path, with the group `id`: `GET .*/responses/(?P<id>[^/]+)`.
    """
    read = _reader(routes, provider, asking_for(late or {}))
    module = f"{package}._base_client"
    return (Patch(module, "SyncAPIClient.request", read), Patch(module, "AsyncAPIClient.request", read))


def route(routes: Mapping[str, Dialect], url: str) -> Dialect | None:
    """The dialect of a path, or of an absolute URL that ends with one, in which `*` is an id."""
    path = url.partition("?")[0]
    if "://" not in path:
        likely = (dialect for known, dialect in routes.items() if "*" in known and fnmatchcase(path, known))
        return routes.get(path) or next(likely, None)
    ends = [known for known in routes if path.endswith(known) or ("*" in known and fnmatchcase(path, f"*{known}"))]
    return routes[max(ends, key=len)] if ends else None


def asking_for(late: Mapping[str, Dialect | Batch]) -> Asking:
    """The patterns of `late`, for `asked`."""
    return [(re.compile(f"{pattern}$"), tells) for pattern, tells in late.items()]


def asked(asking: Asking, method: str, path: str) -> tuple[str, Dialect | Batch] | None:
    """The id of something earlier that a request asks for, and what tells its end; None when it asks for none."""
    for pattern, tells in asking:
        if found := pattern.match(f"{method.upper()} {path}"):
            return found["id"], tells
    return None


def hooks(package: str) -> tuple[Hook, ...]:
    """The hooks that see the retries inside a call, and the headers of its response."""
    module = f"{package}._base_client"
    return (
        Hook(module, "BaseClient._should_retry", _should_retry),
        retry(module, "BaseClient._calculate_retry_timeout"),
        Hook(module, "SyncAPIClient._process_response", _process_response),
        Hook(module, "AsyncAPIClient._process_response", _process_response),
    )


def _reader(
    routes: Mapping[str, Dialect],
    provider: Callable[[Any, str | None, int | None], str],
    asking: Asking,
) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Request | Late | None]:
    servers: WeakKeyDictionary[Any, tuple[Any, Server]] = WeakKeyDictionary()

    def server(client: Any) -> Server:
        url = client.base_url
        known = servers.get(client)
        if known is None or (known[0] is not url and known[0] != url):
            port = port_of(url)
            known = servers[client] = (url, (provider(client, url.host, port), url.host, port))
        return known[1]

    def asks(client: Any, options: Any, stream: bool) -> Late | None:
        found = asked(asking, options.method, options.url.partition("?")[0])
        return None if found is None else Late(*found, server(client)[0], stream, *server(client)[1:], _transport)

    def read(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | Late | None:
        options: Any = kwargs["options"] if "options" in kwargs else args[1]
        dialect = route(routes, options.url)
        sent: Any = options.json_data
        if dialect is None:
            return asks(client, options, bool(kwargs.get("stream"))) if asking else None
        if options.method.lower() != "post" or not isinstance(sent, dict):
            return None
        extra: dict[str, Any] | None = options.extra_json
        name, host, port = server(client)
        return Request(
            dialect=dialect,
            provider=name,
            body={**cast("dict[str, Any]", sent), **extra} if extra else cast("dict[str, Any]", sent),
            stream=bool(kwargs.get("stream")),
            server_address=host,
            server_port=port,
            with_body=lambda body: _with_body(args, kwargs, options, body),
            transport=_transport,
        )

    return read


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
