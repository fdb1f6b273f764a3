"""Conversations over a socket: the messages that come in tell where a call begins and where it ends."""

from __future__ import annotations

import inspect
import json
import os
from collections import OrderedDict
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.trace import Tracer

from otel_llm.engine.recording import Recording, begin
from otel_llm.guard import guard
from otel_llm.late import at_the_end, later
from otel_llm.spec import Request, Socket

_sessions: WeakKeyDictionary[Any, _Session] = WeakKeyDictionary()
_told: OrderedDict[str, None] = OrderedDict()
"""Ids of calls: another connection may tell of one as well, or the same once more, when it was broken and mended."""
_MOST_TOLD = 4_096


class _Session:
    """One connection, and the calls that are under way on it."""

    def __init__(self, tracer: Tracer, socket: Socket, connection: Any) -> None:
        self._tracer = tracer
        self._conversation = socket.conversation
        self._server = ("", None, None)
        self._known: dict[str, Any] = {}
        with guard:
            self._server = socket.server(connection)
            self._known = socket.known(connection)
        self._open: dict[str, Recording] = {}

    def message(self, raw: Any) -> None:
        """Take one message."""
        wanted = self._conversation.wanted
        if wanted is not None and wanted.search(raw) is None:
            return
        turn = self._conversation.turn(self._known, raw if wanted is None else json.loads(raw))
        if turn is None:
            return
        recording = self._open.pop(turn.id, None)
        if recording is None:
            if not self._is_first_to_tell_of(turn.id):
                return
            provider, host, port = self._server
            request = Request(turn.dialect, provider, turn.body, stream=True, server_address=host, server_port=port)
            recording = begin(self._tracer, request)
        if not turn.over:
            self._open[turn.id] = recording
            turn.dialect.response(recording.call, turn.body)
            return
        recording.read(turn.dialect, turn.body)
        recording.finish("completed")

    @staticmethod
    def _is_first_to_tell_of(id_: str) -> bool:
        if id_ in _told:
            return False
        _told[id_] = None
        if len(_told) > _MOST_TOLD:
            _told.popitem(last=False)
        return True

    def _left(self) -> Recording:
        """One that is under way, and of which no more will be known."""
        recording = self._open.popitem()[1]
        if recording.call.usage is not None:
            recording.call.usage_source = "partial"
        return recording

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # Waiting for a message can be cancelled and taken up again; an error is the end of the connection.
        while isinstance(error, Exception) and self._open:
            self._left().fail(error)

    def abandon(self) -> None:
        """Nobody will read on. A finalizer may say so, so the end comes from our own thread."""
        while self._open:
            later(partial(self._left().finish, "abandoned"))

    def forget(self) -> None:
        """Somebody else ends what is under way."""
        self._open.clear()

    def __del__(self) -> None:
        self.abandon()


def listening(tracer: Tracer, socket: Socket, original: Any) -> Any:
    """The wrapper of the method that gives the next message."""

    def session(connection: Any) -> _Session:
        found = _sessions.get(connection)
        if found is None:
            found = _sessions[connection] = _Session(tracer, socket, connection)
        return found

    def receive(wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with session(connection):
            raw = wrapped(*args, **kwargs)
        with guard:
            session(connection).message(raw)
        return raw

    async def areceive(wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with session(connection):
            raw = await wrapped(*args, **kwargs)
        with guard:
            session(connection).message(raw)
        return raw

    return areceive if inspect.iscoroutinefunction(original) else receive


@at_the_end
def _end_all() -> None:
    for session in list(_sessions.values()):
        session.abandon()


def _after_fork_in_child() -> None:
    for session in list(_sessions.values()):
        session.forget()  # the parent's to end


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
