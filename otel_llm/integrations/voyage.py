"""voyageai: what its clients return tells the usage, so a call is a call of theirs, with all its attempts."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from otel_llm.dialects.voyage import embeddings, rerank
from otel_llm.integrations import retries
from otel_llm.providers import port_of
from otel_llm.spec import Dialect, Integration, Patch, Request

_METHODS = {
    "embed": embeddings,
    "contextualized_embed": embeddings,
    "multimodal_embed": embeddings,
    "rerank": rerank,
}


def _reader(method: str, dialect: Dialect) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Request | None]:
    def read(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
        body = dict(inspect.signature(getattr(client, method)).bind(*args, **kwargs).arguments)
        body["model"] = body.get("model") or sys.modules["voyageai"].VOYAGE_EMBED_DEFAULT_MODEL
        here = sys.modules.get("voyageai.local.helpers")
        if here is not None and here.is_local_model(body["model"]):
            return None  # computed in this process
        url = urlsplit(str(client._params.get("base_url") or "https://api.voyageai.com/v1"))
        return Request(
            dialect=dialect,
            provider="voyageai",
            body=body,
            server_address=url.hostname,
            server_port=port_of(url),
        )

    return read


voyage = Integration(
    name="voyage",
    distribution="voyageai",
    oldest="0.3.7",
    newest_major=0,
    surfaces="embed, contextualized_embed, multimodal_embed, rerank",
    patches=tuple(
        Patch(module, f"{client}.{method}", _reader(method, dialect))
        for module, client in (("voyageai.client", "Client"), ("voyageai.client_async", "AsyncClient"))
        for method, dialect in _METHODS.items()
    ),
    hooks=(retries.tenacity("voyageai"),),
)
