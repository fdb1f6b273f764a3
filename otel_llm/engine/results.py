"""Requests that only ask what became of something earlier: a response in the background, the results of a batch."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any, Self

from opentelemetry import context as otel_context
from opentelemetry.trace import Tracer

from otel_llm.call import Call
from otel_llm.engine.counted import Claim, claim
from otel_llm.engine.pending import counts, pending, seen
from otel_llm.engine.recording import Recording, begin
from otel_llm.engine.tap import attach, tap
from otel_llm.framing import Document, Lines
from otel_llm.guard import guard
from otel_llm.spec import Batch, Dialect, Late, Request


def look(tracer: Tracer, late: Late, result: Any) -> None:
    """Count what `result` tells the end of, unless it was counted before. May raise."""
    response = late.transport(result)
    if response is not None and response.status_code >= HTTPStatus.BAD_REQUEST:
        return
    if isinstance(late.tells, Batch):
        results = _Results(tracer, late, late.tells)
        if response is not None:
            attach(response, results, results.framing)
        else:
            with results:
                results.read(late.answer(result))
    elif response is None or response.is_closed:
        _ended(tracer, late, late.tells, late.answer(result) if response is None else response.json())
    else:
        recording = pending(late.id) or (_begin(tracer, late, late.tells) if late.stream else None)
        if recording is not None:
            recording.waits_for = late.id
            tap(response, recording, late.tells)


def _begin(tracer: Tracer, late: Late, dialect: Dialect, **known: Any) -> Recording:
    """What was begun in another process."""
    request = Request(dialect, late.provider, known, late.stream, late.server_address, late.server_port)
    return begin(tracer, request)


def _ended(tracer: Tracer, late: Late, dialect: Dialect, body: Any) -> None:
    told = dialect.background(body)
    if told is None:
        return
    id_, ended = told
    recording, before = pending(id_), seen(id_)
    if ended is None:
        return
    if counts(late, id_, ended, known=recording is not None or before):
        if recording is None:
            dialect.response(told_of := Call(dialect.operation, late.provider), body)
            recording = _begin(tracer, late, dialect, model=told_of.model)
        recording.read(dialect, body)
        recording.finish("completed" if recording.call.stream else None)


class _Results:
    """The reader of a body with a line for each call of a batch."""

    def __init__(self, tracer: Tracer, late: Late, batch: Batch) -> None:
        self.framing = _BatchLines(self.take, batch.begins) if batch.inside is None else Document(self._take_inside)
        self._tracer = tracer
        self._late = late
        self._batch = batch
        self._context = otel_context.get_current()
        self._line = 0
        self._claim: Claim | None = None

    def take(self, line: Any) -> bool:
        """Take one line, as bytes or read already; the caller always gets it, too."""
        self._told(json.loads(line) if isinstance(line, bytes) else line, self._late.id)
        return False

    def read(self, body: Any) -> None:
        """Take all lines, unless the first one shows that they are another file's."""
        if self._batch.inside is not None:
            self._take_inside(body)
            return
        for line in body:
            if isinstance(line, bytes) and not self._batch.begins.match(line):
                return
            with guard:
                self.take(line)

    def _take_inside(self, body: Any) -> None:
        self._line = 0  # it may come twice
        id_, lines = self._batch.inside(body) if self._batch.inside is not None else ("", [])
        for line in lines:
            with guard:
                self._told(line, id_ or self._late.id)

    def _told(self, line: Any, id_: str) -> None:
        self._line += 1
        found, name = self._batch.answer(line), self._batch.name(line)
        self._claim = self._claim or claim(self._late, id_)
        if found is not None and self._claim.count(name or self._line):
            self._count(*found)

    def _count(self, dialect: Dialect, body: Any) -> None:
        late = self._late
        call = Call(dialect.operation, late.provider)
        call.server_address, call.server_port = late.server_address, late.server_port
        dialect.response(call, body)
        call.request_model, call.service_tier = call.request_model or call.response_model, "batch"
        Recording(self._tracer, call, context=self._context).finish()

    def closed(self) -> None:
        """Lines that nobody read may be read another time."""
        self._claim = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._claim = None


class _BatchLines(Lines):
    """Lines, unless the first one shows that it is another file."""

    def __init__(self, take: Any, begins: re.Pattern[bytes]) -> None:
        super().__init__(take)
        self._begins = begins
        self._is_batch: bool | None = None

    def feed(self, data: bytes) -> bytes:
        """Take whole lines, keep what is left."""
        with guard:
            if self._is_batch is None and len(start := self._tail + data) >= _ENOUGH:
                self._is_batch = self._begins.match(start) is not None
            if self._is_batch:
                return super().feed(data)
            if self._is_batch is None:
                self._tail += data
        return data

    def rest(self) -> bytes:
        """The last line may come without its end."""
        return super().rest() if self._is_batch else b""


_ENOUGH = 32
