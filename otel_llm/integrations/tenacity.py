"""SDKs that try again with tenacity's help."""

from __future__ import annotations

from typing import Any

from otel_llm.engine.recording import current_recording
from otel_llm.guard import guard
from otel_llm.spec import Hook


def hook(package: str) -> Hook:
    """The hook that sees the retries inside a call of the SDK with this package."""

    def prepare_for_next_attempt(wrapped: Any, state: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with guard:
            recording = current_recording()
            if recording is not None and recording.package == package:
                recording.retried(state.outcome.exception())
        return wrapped(*args, **kwargs)

    return Hook("tenacity", "RetryCallState.prepare_for_next_attempt", prepare_for_next_attempt)
