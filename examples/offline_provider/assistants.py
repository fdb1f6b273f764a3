"""Runs of OpenAI's assistants: begun by one request, told by others. The first one that asks finds it being made.

A thread keeps nothing: what is asked comes with the run. A run that calls a function waits for what that returns.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from examples.offline_provider.model import Prompt, Turn, nested, text_of
from examples.offline_provider.openai import error
from examples.offline_provider.wire import Conversations, Event, Exchange, Route, Wire, function_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.offline_provider.model import Json

_PATH = re.compile(r"^/v1/threads/(?:(?P<thread>[^/]+)/)?runs$")


def route(path: str) -> Route | None:
    """Who answers `/v1/threads/thread_1/runs`, and the same for a new thread."""
    found = _PATH.search(path)
    return Route("openai", RUNS, {"thread_id": found["thread"] or "thread_new"}) if found else None


def path(x: Exchange) -> str:
    """Where a run is asked for."""
    return f"/v1/threads/{x.body['thread_id']}/runs/{x.id}"


def submitted(x: Exchange) -> None:
    """What the functions returned is there."""
    x.answer.calls.clear()


def _read(body: Json, _seen: Conversations) -> Prompt:
    said: list[Json] = body.get("additional_messages") or nested(body, "thread").get("messages") or []
    return Prompt(
        model=body.get("model") or "gpt-4o-mini",
        turns=[Turn(message["role"], text_of(message["content"])) for message in said],
        stream=body.get("stream") is True,
        tools=function_tools(body, "parameters"),
        max_tokens=body.get("max_completion_tokens"),
    )


def plain(x: Exchange, status: str | None = None) -> Json:
    """The run, or with another status how it looks before its end."""
    status = status or ("requires_action" if x.answer.calls else "incomplete" if x.answer.cut_short else "completed")
    over = status in ("completed", "incomplete")
    body: Json = {"id": x.id, "object": "thread.run", "created_at": x.created, "thread_id": x.body["thread_id"]}
    body |= {"assistant_id": x.body["assistant_id"], "status": status, "model": x.answer.model, "instructions": ""}
    body |= {"tools": x.body.get("tools") or [], "metadata": {}, "parallel_tool_calls": True, "last_error": None}
    body |= {"started_at": x.created, "expires_at": None if over else x.created + 600, "usage": None}
    body["completed_at"] = x.created if over else None
    body["required_action"] = None
    if status == "requires_action":
        calls = [
            {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for i, (name, arguments) in enumerate(x.answer.calls)
        ]
        body["required_action"] = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}
    if over and x.script.usage:
        u = x.answer.usage
        body["usage"] = {"prompt_tokens": u.input_tokens, "completion_tokens": u.output_tokens}
        body["usage"] |= {"total_tokens": u.input_tokens + u.output_tokens}
        body["usage"] |= {"prompt_token_details": {"cached_tokens": u.cache_read}}
    return body


def _events(x: Exchange) -> Iterator[Event]:
    def told(status: str | None = None, *, final: bool = False) -> Event:
        run = plain(x, status)
        return Event(run, x.answer.generated(1) if final else 0, f"thread.run.{run['status']}", final)

    yield Event(plain(x, "queued"), 0, "thread.run.created")
    yield told("queued")
    yield told("in_progress")
    message: Json = {"id": f"msg_{x.id}", "thread_id": x.body["thread_id"], "run_id": x.id, "status": "in_progress"}
    message |= {"object": "thread.message", "created_at": x.created, "role": "assistant", "content": []}
    yield Event(message, 0, "thread.message.created")
    for number, piece in enumerate(x.answer.pieces(x.answer.texts[0]), 1):
        delta: Json = {"content": [{"index": 0, "type": "text", "text": {"value": piece, "annotations": []}}]}
        piece_of: Json = {"id": message["id"], "object": "thread.message.delta", "delta": delta}
        yield Event(piece_of, x.answer.generated(number / x.answer.chunks), "thread.message.delta")
    yield told(final=True)


_DONE = b"event: done\ndata: [DONE]\n\n"
RUNS = Wire(
    "runs",
    "run_",
    _read,
    plain,
    error,
    _events,
    lambda _: [("error", error(500, "scripted failure in mid-stream"))],
    done=_DONE,
)
