"""voyageai's clients: their methods return the usage, and nothing beneath them does."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from otel_llm.providers import port_of
from otel_llm.spec import Patch, Paths
from otel_llm.transports.sent import Sent, reader

_CLIENTS = (("voyageai.client", "Client"), ("voyageai.client_async", "AsyncClient"))


def patches(methods: Sequence[str], paths: Paths, provider: str) -> tuple[Patch, ...]:
    """The patches of these methods, each of which is a path, too."""
    return tuple(
        Patch(module, f"{client}.{method}", reader(partial(_sent, method), paths, provider))
        for module, client in _CLIENTS
        for method in methods
    )


def _sent(method: str, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent | None:
    body = dict(inspect.signature(getattr(client, method)).bind(*args, **kwargs).arguments)
    body["model"] = body.get("model") or sys.modules["voyageai"].VOYAGE_EMBED_DEFAULT_MODEL
    here = sys.modules.get("voyageai.local.helpers")
    if here is not None and here.is_local_model(body["model"]):
        return None  # computed in this process
    url = urlsplit(str(client._params.get("base_url") or "https://api.voyageai.com/v1"))
    return Sent("POST", f"/{method}", lambda: body, url.hostname, port_of(url), stream=False)
