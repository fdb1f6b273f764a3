"""SDKs whose methods have names of their own: one call, in all the ways that it can go, bare and instrumented."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from otel_llm import content
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice
from tests.conformance.surfaces import got
from tests.conformance.ways import STOP, Seen, Way, drop, use

USAGE = "tokens in=1000 out=50"
REFUSED = ("401", "429", "500")
BROKEN = ("cut before headers", "cut in mid-stream after 3; chunks 9")
FAILED = "error event after 3; chunks 9"
LEFT = ("stop", "drop")
_SLOWLY = "chunks 20; slow chunks 40ms"


def _shown(result: Any) -> Any:
    """What is in a result, where it is an object of the SDK's own making, which cannot be compared."""
    own = hasattr(result, "__dict__") and not hasattr(result, "model_dump_json")
    return cast("Any", vars(result) if own else result)


_WHOLE = Way("method", lambda _surface, call, _body: call(), _shown)
_STREAM = Way("stream", lambda _surface, call, _body: call(), stream=True)
_NO_SURFACE = cast("Any", None)


def _stop(_item: Any) -> object:
    return STOP


async def held(twice: Twice, call: Callable[[str], Any], how: str, *, stream: bool) -> tuple[Seen, dict[str, Any]]:
    """Make the call that says this script, or leave its stream; what the user saw, and what is recorded of it."""
    way = _STREAM if stream else _WHOLE

    async def one(seen: Seen) -> None:
        if how == "drop":
            await drop(way, _NO_SURFACE, lambda: call(_SLOWLY), {}, seen)
        else:
            each = _stop if how == "stop" else None
            script = _SLOWLY if how == "stop" else how
            await use(way, _NO_SURFACE, lambda: call(script), {}, seen, each)

    seen, [span] = await twice(way, one)
    attributes: dict[str, Any] = dict(span.attributes or {})
    outcome = attributes.get(A.OTEL_LLM_STREAM_OUTCOME)
    if how in LEFT:
        assert outcome in ("aborted", "abandoned")
        assert A.ERROR_TYPE not in attributes
    elif how in (*REFUSED, *BROKEN, FAILED):
        assert span.status.status_code is StatusCode.ERROR
        assert outcome == ("failed" if stream else None)
        assert len(span.events) in (attributes[A.OTEL_LLM_ATTEMPTS], attributes[A.OTEL_LLM_ATTEMPTS] - 1)
        if how in REFUSED:
            assert seen.error is not None
            assert attributes[A.HTTP_RESPONSE_STATUS_CODE] == int(how)
            assert attributes[A.OTEL_LLM_COST_STATUS] == "free"
    else:
        assert seen.error is None
        assert outcome == ("completed" if stream else None)
        assert attributes[A.OTEL_LLM_ATTEMPTS] == 1
    return seen, attributes


async def read(result: Any) -> Any:
    """What a call gave: awaited, and where it is a stream, the list of all its items."""
    result = await got(result)
    if hasattr(result, "__anext__"):
        return [item async for item in result]
    return list(result) if hasattr(result, "__next__") else result


def captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is said in calls captured, until the end of the test."""
    on = content._MODES["span_only"]  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(content, "modes", lambda: on)


def said(span: ReadableSpan) -> list[Any]:
    """What was captured: system instructions, input messages, output messages and tools; None where there are none."""
    names = (
        A.GEN_AI_SYSTEM_INSTRUCTIONS,
        A.GEN_AI_INPUT_MESSAGES,
        A.GEN_AI_OUTPUT_MESSAGES,
        A.GEN_AI_TOOL_DEFINITIONS,
    )
    return [json.loads(str((span.attributes or {}).get(name, "null"))) for name in names]
