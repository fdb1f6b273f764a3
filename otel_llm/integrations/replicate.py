"""replicate: a prediction goes on without its request, until the SDK asks how it ended."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from otel_llm.dialects.replicate import predictions
from otel_llm.providers import port_of
from otel_llm.spec import Integration, Late, Patch, Request

_BEGINS = re.compile(r"POST /v1/(?:(?:models|deployments)/(?P<model>[^/]+/[^/]+)/)?predictions")
_ASKS = re.compile(r"(?:GET /v1/predictions/(?P<id>[^/?]+)|POST /v1/predictions/(?P<cancelled>[^/?]+)/cancel)")


def _answer(response: Any) -> Any:
    """Who waited gets the output a moment before it is said to be all; the SDK does not ask again then."""
    body = response.json()
    waited = "wait" in response.request.headers.get("prefer", "") and body.get("output") is not None
    return body | {"status": "succeeded"} if waited and body["status"] == "processing" else body


def _reader(client: str) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Request | Late | None]:
    def read(instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | Late | None:
        asked = " ".join((*args, *(kwargs[name] for name in ("method", "path") if name in kwargs)))
        url = getattr(instance, client).base_url
        if found := _ASKS.fullmatch(asked):
            id_ = found["id"] or found["cancelled"]
            return Late(id_, predictions, "replicate", False, url.host, port_of(url), lambda response: response)
        if (found := _BEGINS.fullmatch(asked)) is None:
            return None
        body = kwargs["json"]
        return Request(
            dialect=predictions,
            provider="replicate",
            body={"model": found["model"], **body},
            stream=body.get("stream") is True,
            server_address=url.host,
            server_port=port_of(url),
            answer=_answer,
        )

    return read


replicate = Integration(
    name="replicate",
    distribution="replicate",
    oldest="1.0.1",
    newest_major=1,
    surfaces="run, predictions of models, versions and deployments, waited for or polled",
    patches=(
        Patch("replicate.client", "Client._request", _reader("_client")),
        Patch("replicate.client", "Client._async_request", _reader("_async_client")),
    ),
)
