"""claude-agent-sdk: what the `claude` process that it drives tells of its turns, tools, subagents and costs.

The calls to models are made in that process, and told in sum when a turn ends: one call for each model. Where the end
never comes, each answer that came counts.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import context as otel_context

from otel_llm.call import Call
from otel_llm.dialects.claude_code import Told
from otel_llm.dialects.reading import get, items, text
from otel_llm.driving import within
from otel_llm.engine.frames import Frames
from otel_llm.frameworks import activities
from otel_llm.frameworks.mcp import leave_word
from otel_llm.guard import guard
from otel_llm.interaction import sum_up
from otel_llm.spec import Integration, Report, Step, nothing
from otel_llm_semconv import attributes as A

_SDK = "claude_agent_sdk._internal"
_connections: WeakKeyDictionary[Any, _Connection] = WeakKeyDictionary()


class _Connection:
    """One process, and what is known of its turn."""

    def __init__(self, frames: Frames, *, resumed: bool) -> None:
        self._frames, self._start = frames, partial(frames.start, attach=False)
        self._began = time.time_ns()
        self._context: otel_context.Context | None = None
        """Where the client asked last; None inside of `query()`, which is an agent of its own."""
        self._told = Told(resumed=resumed)
        self._tools: dict[str, str] = {}
        """Names of the tools that run, by id; none once somebody in here serves it."""

    def begin(self, context: otel_context.Context | None = None) -> None:
        """A turn begins, if none is under way: the client asks, or the process goes on by itself."""
        self._context = context if context is not None else self._context
        if self._context is not None and self not in self._frames:
            self._began = time.time_ns()
            with within(self._context):
                self._start(self, None, *activities.agent(None))

    def take(self, message: dict[str, Any]) -> None:
        """The process says something."""
        if message.get("type") == "assistant":
            self.begin()
            sum_up(text(get(message, "message", "id")), self._context)
        with guard:
            self._record(self._told.take(message))
        for block in items(message, "message", "content"):
            if get(block, "type") == "tool_use":
                self._use(block, message.get("parent_tool_use_id"))
            elif get(block, "type") == "tool_result":
                self._finish(block["tool_use_id"], _failure("tool_error", block.get("is_error")))
        if message.get("type") == "result":
            self.close(_failure(message.get("subtype"), message.get("is_error")), text(message.get("session_id")))

    def serve(self, key: object, request: Any) -> None:
        """The process asks for something of this one: a permission, a hook, a tool of a server in here."""
        message, id_ = get(request, "message"), None
        if get(message, "method") == "tools/call":
            name = f"mcp__{request['server_name']}__{message['params']['name']}"
            id_ = next((id_ for id_, tool in self._tools.items() if tool == name), None)
        self._frames.start(key, self if id_ is None else (self, id_))
        if id_ is not None:
            self._tools[id_] = ""
            leave_word(message["params"].setdefault("_meta", {}))

    def close(self, error: Exception | None = None, session: str | None = None) -> None:
        """The turn is over, or the process is."""
        self._record(self._told.rest())
        for id_ in reversed(list(self._tools)):
            self._finish(id_)
        self._frames.end(self, error, {A.GEN_AI_CONVERSATION_ID: session})
        self._began = time.time_ns()

    def _use(self, use: Any, subagent: str | None) -> None:
        id_, name, around = use["id"], use["name"], (self, subagent, "agent")
        self._tools[id_] = name
        self._start((self, id_), around if around in self._frames else self, *activities.tool(name, id_))
        if name in ("Agent", "Task"):
            self._start((self, id_, "agent"), (self, id_), *activities.agent(text(get(use, "input", "subagent_type"))))

    def _finish(self, id_: str, error: Exception | None = None) -> None:
        self._tools.pop(id_, None)
        self._frames.end((self, id_, "agent"), error)
        self._frames.end((self, id_), error)

    def _record(self, calls: list[Call]) -> None:
        for call in calls:
            # Nobody beneath can have recorded it: it was made in the other process.
            self._frames.start_call(id(call), self, call)
            call.started_ns = self._began
            self._frames.end(id(call), read=nothing)


def _failure(kind: Any, failed: Any) -> Exception | None:
    """An error of this type, which was raised in the other process."""
    return type(str(kind), (Exception,), {"__module__": "builtins"})() if failed else None


def _ask(frames: Frames, wrapped: Any, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        if client._transport is not None and (connection := _connections.get(client._transport)) is not None:
            connection.begin(otel_context.get_current())
    return wrapped(*args, **kwargs)


def _read(frames: Frames, wrapped: Any, transport: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    messages = wrapped(*args, **kwargs)
    with guard:
        resumed = any(get(transport, "_options", name) for name in ("resume", "continue_conversation"))
        _connections[transport] = connection = _Connection(frames, resumed=resumed)
        return _taken(messages, connection)
    return messages


async def _taken(messages: Any, connection: _Connection) -> AsyncGenerator[Any]:
    with closing(connection):
        async with aclosing(messages):
            async for message in messages:
                with guard:
                    connection.take(message)
                yield message


async def _serve(frames: Frames, wrapped: Any, query: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    key = object()
    with guard:
        if (connection := _connections.get(query.transport)) is not None:
            connection.serve(key, args[0]["request"])
    try:
        return await wrapped(*args, **kwargs)
    finally:
        frames.end(key)


claude_agent_sdk = Integration(
    name="claude_agent_sdk",
    distribution="claude-agent-sdk",
    oldest="0.1.5",
    newest_major=0,
    surfaces="turns of agents and subagents, tools; what each model cost in a turn",
    hooks=(
        Step(f"{_SDK}.client", "InternalClient.process_query", lambda _self, _args, _kwargs: activities.agent(None)),
        Report("claude_agent_sdk.client", "ClaudeSDKClient.query", _ask),
        Report(f"{_SDK}.transport.subprocess_cli", "SubprocessCLITransport.read_messages", _read),
        Report(f"{_SDK}.query", "Query._handle_control_request", _serve),
    ),
)
