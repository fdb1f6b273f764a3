"""Runs of OpenAI's assistants: whatever asks for a run once it has ended tells its usage, of all its steps together.

Usage as in chat completions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from otel_llm.call import Call
from otel_llm.dialects.openai_chat import chat_usage
from otel_llm.dialects.reading import fields, get, items, parameters, text
from otel_llm.spec import Dialect
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {
    "max_completion_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "top_p": (A.GEN_AI_REQUEST_TOP_P, float),
    "reasoning_effort": (A.GEN_AI_REQUEST_REASONING_LEVEL, str),
}
_RUN = "thread.run"
_ENDED = {"completed": ["stop"], "incomplete": ["length"], "failed": ["error"], "cancelled": [], "expired": []}


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    parameters(call, body, _PARAMETERS)


def _response(call: Call, body: Any) -> None:
    call.response_id = text(get(body, "id"))
    call.response_model = text(get(body, "model"))
    thread = text(get(body, "thread_id"))
    if thread is not None:
        call.response[A.GEN_AI_CONVERSATION_ID] = thread
    call.finish_reasons = list(_ENDED.get(text(get(body, "status")) or "", ()))
    usage = get(body, "usage")
    if usage is None:
        return
    call.usage = chat_usage(fields(usage))
    if any(get(tool, "type") == "code_interpreter" for tool in items(body, "tools")):
        # A fee for its session, if it ran, which only the steps of the run would tell.
        call.usage_source = "partial"


def _background(body: Any) -> tuple[str, float | None] | None:
    id_ = text(get(body, "id"))
    if id_ is None or get(body, "object") != _RUN:
        return None
    if text(get(body, "status")) not in _ENDED:
        return id_, None
    times = (get(body, name) for name in ("completed_at", "failed_at", "cancelled_at", "expires_at"))
    return id_, next((at for at in times if isinstance(at, (int, float))), 0)


def _fold(body: dict[str, Any], event: Any) -> None:
    if get(event, "object") == _RUN:
        body.update(event)
        if text(body.get("status")) in _ENDED:
            body["over"] = True
    elif get(event, "error") is not None:
        body["error"] = get(event, "error")


runs = Dialect(
    name="openai.runs",
    operation="chat",
    request=_request,
    response=_response,
    fold=_fold,
    wanted=re.compile(rb'"object"\s*:\s*"thread\.run"|"error"'),
    background=_background,
)
"""What is asked and answered is in the thread, which other requests write and read."""
