"""SDKs of the Speakeasy generator (mistralai, and google-genai's interactions): one method gets an httpx request."""

from __future__ import annotations

from collections.abc import Sequence

from otel_llm.spec import Hook, Patch, Paths
from otel_llm.transports.httpx_send import sent_by
from otel_llm.transports.retries import retry
from otel_llm.transports.sent import Provider, reader

_METHODS = ("BaseSDK.do_request", "BaseSDK.do_request_async")


def patches(
    packages: Sequence[str], paths: Paths, provider: Provider | str, methods: Sequence[str] = _METHODS
) -> tuple[Patch, ...]:
    """Of the clients in `packages`."""
    read = reader(sent_by(), paths, provider)
    return tuple(Patch(f"{package}.basesdk", method, read) for package in packages for method in methods)


def hooks(packages: Sequence[str]) -> tuple[Hook, ...]:
    """Their retries."""
    return tuple(retry(f"{package}.utils.retries", "_get_sleep_interval", error="exception") for package in packages)
