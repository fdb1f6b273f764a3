"""Replicate's predictions: begun by one request and told of by others. A stream has words only, and no tokens."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from examples.offline_provider.eventstream import Framing
from examples.offline_provider.model import Prompt, Turn
from examples.offline_provider.wire import Conversations, Event, Exchange, Route, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.offline_provider.model import Json

_PATH = re.compile(r"/v1/(?:(?:models|deployments)/([^/]+/[^/]+)/)?predictions$")
_STATUS = {"queued": "starting", "in_progress": "processing", "cancelled": "canceled"}


def route(path: str) -> Route | None:
    """Who answers `/v1/predictions` and its like."""
    found = _PATH.search(path)
    return Route("replicate", PREDICTIONS, {"path": found[1]}) if found else None


def _read(body: Json, _seen: Conversations) -> Prompt:
    given: Json = body["input"]
    turns = [Turn("system", given["system_prompt"])] if given.get("system_prompt") else []
    return Prompt(
        model=body["path"] or body["version"],
        turns=[*turns, Turn("user", given["prompt"])],
        stream=body.get("stream") is True,
        max_tokens=given.get("max_tokens"),
    )


def _error(status: int, message: str) -> Json:
    return {"title": "Scripted", "detail": message, "status": status}


def plain(x: Exchange, status: str | None = None) -> Json:
    """The prediction, or with a status how it looks before its end."""
    failed = x.script.incomplete
    told = _STATUS[status] if status else "failed" if failed else "succeeded"
    moment = datetime.fromtimestamp(x.created, UTC).isoformat().replace("+00:00", "Z")
    here = f"http://{x.entry.headers['host']}/v1/predictions/{x.id}"
    body: Json = {"id": x.id, "model": x.answer.model, "version": x.body.get("version") or "hidden", "status": told}
    body |= {"input": x.body["input"], "output": None, "logs": "", "error": None, "data_removed": False}
    body |= {"urls": {"get": here, "cancel": f"{here}/cancel"}, "created_at": moment}
    if x.prompt.stream:
        body["urls"]["stream"] = f"{here}/stream"
    if status is None and failed:
        body["error"] = "scripted failure"
    elif status is None:
        body["output"] = x.answer.pieces(x.answer.texts[0])
    if status in (None, "cancelled"):
        body |= {"started_at": moment, "completed_at": moment, "metrics": {"predict_time": 1.5, "total_time": 1.6}}
    if status is None and x.script.usage and not failed:
        usage = x.answer.usage
        body["metrics"] |= {"input_token_count": usage.input_tokens, "output_token_count": usage.output_tokens}
        body["metrics"] |= {"time_to_first_token": 0.1, "tokens_per_second": 30.0}
    return body


def _events(x: Exchange) -> Iterator[Event]:
    for piece in x.answer.pieces(x.answer.texts[0]):
        yield Event({"data": piece}, 0, "output")
    yield Event({"data": "{}"}, 0, "done", final=True)


def _frame(name: str | None, payload: str) -> bytes:
    """Events have numbers, and words as they are."""
    lines = "".join(f"data: {line}\n" for line in json.loads(payload)["data"].split("\n"))
    return f"event: {name}\nid: 1700000000:0\n{lines}\n".encode()


PREDICTIONS = Wire(
    "predictions", "pred", _read, plain, _error, _events, framing=Framing("text/event-stream; charset=utf-8", _frame)
)
