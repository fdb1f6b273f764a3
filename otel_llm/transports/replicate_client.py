"""replicate's client: its one method for all requests returns an httpx response that has been read."""

from __future__ import annotations

from functools import partial
from typing import Any

from otel_llm.providers import port_of
from otel_llm.spec import Patch, Paths
from otel_llm.transports.sent import Sent, reader


def patches(paths: Paths, provider: str) -> tuple[Patch, ...]:
    """The patches of it."""
    return tuple(
        Patch("replicate.client", f"Client.{method}", reader(partial(_sent, client), paths, provider))
        for method, client in (("_request", "_client"), ("_async_request", "_async_client"))
    )


def _sent(client: str, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent:
    method, path = (*args, *(kwargs[name] for name in ("method", "path") if name in kwargs))
    url = getattr(instance, client).base_url
    return Sent(method, path, lambda: kwargs["json"], url.host, port_of(url), answer=_answer)


def _answer(response: Any) -> Any:
    """Who waited gets the output a moment before it is said to be all; the SDK does not ask again then."""
    body = response.json()
    waited = "wait" in response.request.headers.get("prefer", "") and body.get("output") is not None
    return body | {"status": "succeeded"} if waited and body["status"] == "processing" else body
