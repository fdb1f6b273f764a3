"""What Claude Code tells of its calls to models: messages on the way, and sums at the end of a turn.

`modelUsage` has all calls of the process so far, also those of subagents and in the background, with what they cost;
`usage` those of the turn itself. There is a message for each part of an answer, each with a placeholder for its output.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

from otel_llm.call import AttributeValue, Call, Usage
from otel_llm.dialects.anthropic_messages import messages
from otel_llm.dialects.reading import count, get, text
from otel_llm_semconv import attributes as A

_PROVIDERS = {"bedrock": "aws.bedrock", "vertex": "gcp.vertex_ai", "foundry": "azure.ai.inference"}
_COUNTS = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens", "webSearchRequests")


class Told:
    """What one process has told so far. A `resumed` session may go on from sums that are not known here."""

    def __init__(self, *, resumed: bool) -> None:
        self._answers: dict[str, Call] = {}
        self._sums: dict[str, Any] | None = None if resumed else {}

    def take(self, message: Mapping[str, Any]) -> list[Call]:
        """The calls that the message completes: at the end of a turn, one for each model."""
        match message.get("type"):
            case "assistant":
                call = _answer(message)
                self._answers[call.response_id or ""] = call
            case "conversation_reset":
                self._sums = {}
            case "result":
                calls = self._turn(message)
                self._sums = message.get("modelUsage") or {}
                if calls:
                    self._answers.clear()
                return calls
            case _:
                pass
        return []

    def rest(self) -> list[Call]:
        """The answers of a turn whose sums never came."""
        calls = list(self._answers.values())
        self._answers.clear()
        return calls

    def _turn(self, result: Mapping[str, Any]) -> list[Call]:
        model = next((call.request_model for call in self._answers.values()), None)
        itself = _answer({**result, "message": {"model": model, "usage": result.get("usage")}})
        spent = itself.usage and (itself.usage.input_tokens, itself.usage.output_tokens)
        calls: list[Call] = []
        for name, sums in cast("dict[str, Any]", result.get("modelUsage") or {}).items():
            call = _new(name, sums, get(self._sums, name))
            call.request = dict(itself.request)
            if call.usage and spent == (call.usage.input_tokens, call.usage.output_tokens):
                call.usage = itself.usage  # it also tells for how long the cache keeps what was written
            elif self._sums is None:
                continue
            if call.usage and (call.usage.input_tokens or call.usage.output_tokens):
                calls.append(call)
        unsummed = self._sums is None or not result.get("modelUsage")
        if unsummed and not calls and spent and any(spent):
            # Without those of subagents.
            itself.usage_source = "partial" if result.get("modelUsage") else "provider"
            calls.append(itself)
        return calls


def _answer(said: Mapping[str, Any]) -> Call:
    call = Call("chat", "anthropic", request_model=text(get(said, "message", "model")), usage_source="partial")
    session = text(said.get("session_id"))
    call.request = dict[str, AttributeValue]({A.GEN_AI_CONVERSATION_ID: session} if session else {})
    messages.response(call, get(said, "message"))
    return call


def _new(model: str, sums: Any, before: Any) -> Call:
    new = [(count(get(sums, name)) or 0) - (count(get(before, name)) or 0) for name in _COUNTS]
    if min(new) < 0:  # the sums began anew
        return _new(model, sums, None)
    input_, output, read, written, searches = new
    cost = get(sums, "costUSD")
    return Call(
        "chat",
        _PROVIDERS.get(get(sums, "provider"), "anthropic"),
        request_model=text(model),
        response_model=text(get(sums, "canonicalModel")),
        usage=Usage(
            input=input_,
            cache_read=read,
            cache_write_other=written,
            output=output,
            requests={"web_search": searches} if searches else {},
        ),
        reported_cost_usd=None if cost is None else str(Decimal(str(cost)) - Decimal(str(get(before, "costUSD") or 0))),
    )
