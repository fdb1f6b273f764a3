"""SDKs of the Speakeasy generator try again in one function of theirs."""

from __future__ import annotations

from typing import Any

from otel_llm.engine.recording import current_recording
from otel_llm.guard import guard
from otel_llm.spec import Hook


def hook(package: str) -> Hook:
    """The hook that sees the retries inside a call of the generated SDK in this package."""
    return Hook(f"{package}.utils.retries", "_get_sleep_interval", _get_sleep_interval)


def _get_sleep_interval(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        recording = current_recording()
        if recording is not None:
            recording.retried(args[0] if args else kwargs["exception"])
    return wrapped(*args, **kwargs)
