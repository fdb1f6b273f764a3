"""What the wire formats have in common: a table says how one reads a request and writes an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from examples.offline_provider.eventstream import SSE, Framing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from examples.offline_provider.bill import RequestEntry, Usage
    from examples.offline_provider.model import Answer, Json, Prompt, Turn
    from examples.offline_provider.script import Script

Conversations = dict[str, list["Turn"]]
"""What was said so far, by response id: for requests that only name the response before them."""


@dataclass(slots=True)
class Exchange:
    """A request and the model's answer to it: all that is needed to write the response and the bill."""

    id: str
    provider: str
    wire: Wire
    entry: RequestEntry
    body: Json
    prompt: Prompt
    script: Script
    answer: Answer
    tier: str | None
    created: int
    framing: Framing = SSE
    charged: bool = False
    """It is on the bill already."""
    polled: int = 0
    """How often it was asked for, of one in the background."""


class Event(NamedTuple):
    """One event of a stream."""

    payload: Json
    generated: int
    """Output tokens made until here."""
    name: str | None = None
    final: bool = False
    """The answer and its usage are complete with this event; what follows are formalities."""


@dataclass(frozen=True, slots=True)
class Wire:
    """How one wire format is read and written."""

    name: str
    id_prefix: str
    read: Callable[[Json, Conversations], Prompt]
    plain: Callable[[Exchange], Json]
    error: Callable[[int, str], Json]
    """The body of an error response."""
    events: Callable[[Exchange], Iterator[Event]] = lambda _: iter(())
    failure: Callable[[Exchange], list[tuple[str | None, Json]]] = lambda _: []
    """The events, by name, that report a failure in mid-stream."""
    usage_in_stream: Callable[[Exchange], bool] = lambda x: x.script.usage
    done: bytes = b""
    """What ends a stream."""
    billed: bool = True
    names_model: bool = True
    """Whether responses, or what the SDK leaves of them, say which model answered."""
    framing: Framing = SSE
    bills: Callable[[Json, Usage], Usage] = lambda _body, usage: usage
    """What is charged for a request, when the little model has used that many tokens for it."""
    other: Callable[[Exchange], tuple[str, bytes] | None] = lambda _: None
    """An answer that is no JSON: its media type, and it."""


class Route(NamedTuple):
    """Who answers a path, in which wire format; and what the path says that other formats say in the body."""

    provider: str
    wire: Wire
    said: Json
    framing: Framing | None = None
    """Another one than the format's own."""


def function_tools(body: Json, schema: str) -> dict[str, Any]:
    """Parameter schemas by name of the functions that a request offers; built-in tools are none."""
    tools: dict[str, Any] = {}
    for tool in body.get("tools") or ():
        function: Json = tool.get("function", tool)
        if "name" in function and tool.get("type") in (None, "function", "custom"):
            tools[function["name"]] = function.get(schema) or {}
    return tools


def forced_tool(choice: Any, tools: dict[str, Any]) -> str | None:
    """The tool that `tool_choice` demands."""
    named = cast("Json", choice) if isinstance(choice, dict) else {"type": choice}
    name = named.get("function", named).get("name")
    return name if name in tools else next(iter(tools), None) if named["type"] in ("required", "any") else None
