"""Where SDKs decide to try again inside of a call: what came before is a failed attempt of it."""

from __future__ import annotations

import sys
from typing import Any

from otel_llm.engine.recording import current_recording
from otel_llm.guard import guard
from otel_llm.spec import Hook


def retry(module: str, attribute: str, *, error: str = "", response: str = "", asks: bool = False) -> Hook:
    """The hook of a function that is called between two attempts; where it `asks`, only if it then returns something.

    The attempt before failed with its first argument, which is called `error` or `response` there; without either name,
    with the exception that is being handled.
    """

    def told(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = wrapped(*args, **kwargs)
        with guard:
            recording = current_recording()
            if recording is not None and not (asks and (result is None or result is False)):
                failed: Any = args[0] if args else kwargs.get(error or response)
                if response:
                    recording.attempt_answered(failed.status_code)
                recording.retried(failed if error else None if response else sys.exc_info()[1])
        return result

    return Hook(module, attribute, told)


def tenacity(package: str) -> Hook:
    """That of tenacity, for the SDK with this package."""

    def prepare_for_next_attempt(wrapped: Any, state: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with guard:
            recording = current_recording()
            if recording is not None and recording.package == package:
                recording.retried(state.outcome.exception())
        return wrapped(*args, **kwargs)

    return Hook("tenacity", "RetryCallState.prepare_for_next_attempt", prepare_for_next_attempt)
