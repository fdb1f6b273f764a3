"""Measures one subject, inside the environment of that subject: `python inside.py <subject>`.

Each line of standard input orders one measurement, as JSON; each line of standard output is its result. Only the
standard library, openai and the subject are needed. The client talks to a canned transport, so no network is measured.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import importlib
import json
import os
import resource
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

CHUNKS = 200
_CALL: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "temperature": 0.2,
    "max_tokens": 400,
    "messages": [
        {"role": "system", "content": "You answer questions about orders, in two sentences at most."},
        {"role": "user", "content": "Where is my order 1234? It should have been here on Monday."},
    ],
}
_USAGE = {
    "prompt_tokens": 1180,
    "completion_tokens": CHUNKS,
    "total_tokens": 1180 + CHUNKS,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
_FRAME = {"id": "@id", "created": 1795651200, "model": "gpt-4o-mini-2024-07-18", "service_tier": "default"}


# A provider that answers at once, as OpenAI does.


def _plain() -> bytes:
    text = "It left our warehouse on Friday. " * 12
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return json.dumps({**_FRAME, "object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()


def _stream(*, usage: bool) -> bytes:
    def event(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {"choices": [choice], **({"usage": None} if usage else {}), "obfuscation": "Zx8Qa1"}

    events = [event({"role": "assistant", "content": ""})]
    events += [event({"content": f" word{number}"}) for number in range(CHUNKS - 2)]
    events += [event({}, "stop")]
    if usage:
        events += [{"choices": [], "usage": _USAGE, "obfuscation": ""}]
    frame = {**_FRAME, "object": "chat.completion.chunk", "system_fingerprint": "fp_44added55e"}
    data = [json.dumps({**frame, **event}, separators=(",", ":")) for event in events]
    return "".join(f"data: {text}\n\n" for text in [*data, "[DONE]"]).encode()


class _Provider:
    """An httpx or httpx2 transport, whichever the installed openai is made for. Every response has an id of its own."""

    def __init__(self, httpx: Any) -> None:
        self._response: Callable[..., Any] = httpx.Response
        self._body = _plain()
        self._streams = {False: _stream(usage=False), True: _stream(usage=True)}

    def handle_request(self, request: Any) -> Any:
        return self._answer(request, iter)

    async def handle_async_request(self, request: Any) -> Any:
        return self._answer(request, _one_by_one)

    def _answer(self, request: Any, pieces: Callable[[list[bytes]], Any]) -> Any:
        sent: bytes = request.content
        response_id = b"chatcmpl-" + secrets.token_hex(15).encode()
        if b'"stream":true' not in sent:
            body = self._body.replace(b"@id", response_id)
            return self._response(200, headers={"content-type": "application/json"}, content=body)
        body = self._streams[b'"include_usage":true' in sent].replace(b"@id", response_id)
        events = [event + b"\n\n" for event in body.split(b"\n\n")[:-1]]
        return self._response(200, headers={"content-type": "text/event-stream"}, content=pieces(events))

    def close(self) -> None: ...
    async def aclose(self) -> None: ...


async def _one_by_one(events: list[bytes]) -> AsyncIterator[bytes]:
    for event in events:
        yield event


# What is measured: each sets up its tracing, and says how to wait for its background work.


@dataclass(frozen=True)
class Subject:
    """An instrumentation at work."""

    flush: Callable[[], Any]
    """Do now what would be done in the background: that is part of the cost."""
    spans: Callable[[], int]
    """How many spans have come out at the far end so far."""


class _Counting:
    """The exporter at the end of a batch processor: it counts, and does nothing else."""

    def __init__(self) -> None:
        self.spans = 0

    def export(self, spans: Sequence[Any]) -> Any:
        self.spans += len(spans)
        return _load("opentelemetry.sdk.trace.export:SpanExportResult").SUCCESS

    def shutdown(self) -> None: ...
    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


def functions(act: Callable[..., Any], *args: Any) -> int:
    """How many functions it calls in this thread, Python's and C's."""
    profile = cProfile.Profile()
    profile.runcall(act, *args)
    return sum(entry.callcount for entry in profile.getstats())


@cache
def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _batching(instrument: Callable[[Any], Any]) -> Subject:
    exporter = _Counting()
    provider = _load("opentelemetry.sdk.trace:TracerProvider")()
    provider.add_span_processor(_load("opentelemetry.sdk.trace.export:BatchSpanProcessor")(exporter))
    _load("opentelemetry.trace:set_tracer_provider")(provider)
    instrument(provider)
    return Subject(provider.force_flush, lambda: exporter.spans)


def _instrumentor(path: str, **options: Any) -> Callable[[], Subject]:
    return lambda: _batching(lambda provider: _load(path)().instrument(tracer_provider=provider, **options))


def _bare() -> Subject:
    return Subject(lambda: None, lambda: 0)


def _shipped() -> Subject:
    """As `opentelemetry-instrument` sets it up with no settings at all."""
    _load("otel_llm.distro:Configurator")().configure()
    _load("otel_llm.integrations:OpenAIInstrumentor")().instrument()
    provider = _load("opentelemetry.trace:get_tracer_provider")()
    drain = _load("otel_llm.late:drain")
    clickhouse = "otel_llm_exporters.clickhouse"
    spool = _load(f"{clickhouse}.spool:Spool")(_load(f"{clickhouse}.settings:home")())
    return Subject(lambda: (drain(), provider.force_flush()), lambda: sum(segment.rows for segment in spool.segments()))


def _spans_only() -> Subject:
    subject = _batching(
        lambda provider: _load("otel_llm.integrations:OpenAIInstrumentor")().instrument(tracer_provider=provider)
    )
    drain = _load("otel_llm.late:drain")
    return Subject(lambda: (drain(), subject.flush()), subject.spans)


def _one_span(provider: Any) -> None:
    """The least that an instrumentation can do: read four facts of the answer, onto one span."""
    tracer = provider.get_tracer("otel_llm.bench")

    def call(wrapped: Any, client: Any, args: Any, kwargs: Any) -> Any:
        asked = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}
        model = {"gen_ai.request.model": kwargs["model"]}
        server = {"server.address": "api.openai.com", "server.port": 443}
        kind, attributes = _load("opentelemetry.trace:SpanKind").CLIENT, {**asked, **model, **server}
        with tracer.start_as_current_span(f"chat {kwargs['model']}", kind=kind, attributes=attributes) as span:
            answer = wrapped(*args, **kwargs)
            span.set_attributes(
                {
                    "gen_ai.response.id": answer.id,
                    "gen_ai.response.model": answer.model,
                    "gen_ai.usage.input_tokens": answer.usage.prompt_tokens,
                    "gen_ai.usage.output_tokens": answer.usage.completion_tokens,
                }
            )
            return answer

    completions = "openai.resources.chat.completions.completions"
    _load("wrapt:wrap_function_wrapper")(completions, "Completions.create", call)


def _openlit() -> Subject:
    prices = {"chat": {_FRAME["model"]: {"promptPrice": 0.00015, "completionPrice": 0.0006}}}
    _load("openlit._config:OpenlitConfig")()
    path = "openlit.instrumentation.openai:OpenAIInstrumentor"
    return _instrumentor(path, pricing_info=prices, capture_message_content=False, disable_metrics=True)()


def _logfire() -> Subject:
    logfire: Any = importlib.import_module("logfire")
    exporter = _Counting()
    processor = _load("opentelemetry.sdk.trace.export:BatchSpanProcessor")(exporter)
    logfire.configure(send_to_logfire=False, console=False, metrics=False, additional_span_processors=[processor])
    logfire.instrument_openai()
    return Subject(processor.force_flush, lambda: exporter.spans)


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "bare": _bare,
    "otel-llm": _shipped,
    "otel-llm, spans only": _spans_only,
    "one span": lambda: _batching(_one_span),
    "OpenLLMetry": _instrumentor("opentelemetry.instrumentation.openai:OpenAIInstrumentor"),
    "OpenLIT": _openlit,
    "OpenInference": _instrumentor("openinference.instrumentation.openai:OpenAIInstrumentor"),
    "OTel GenAI": _instrumentor("opentelemetry.instrumentation.genai.openai:OpenAIInstrumentor"),
    "Logfire": _logfire,
}


class _Switch:
    """Turns an instrumentation off and on again, by the class attributes that it set.

    The same for all: not every `uninstrument()` does something.
    """

    def __init__(self) -> None:
        self._bare = _attributes()
        self._patched = self._bare
        self.on = True

    def instrumented(self) -> None:
        self._patched = _attributes()

    def turn(self, *, on: bool) -> None:
        self.on = on
        wanted, other = (self._patched, self._bare) if on else (self._bare, self._patched)
        for (owner, name), value in wanted.items():
            if other.get((owner, name)) is not value:
                setattr(owner, name, value)
        for owner, name in other.keys() - wanted.keys():
            if name in vars(owner):
                delattr(owner, name)


def _attributes() -> dict[tuple[type, str], Any]:
    openai: Any = importlib.import_module("openai")
    base: Any = importlib.import_module("openai._base_client")
    chat: Any = importlib.import_module("openai.resources.chat.completions.completions")
    clients = (openai.OpenAI, openai.AsyncOpenAI, base.BaseClient, base.SyncAPIClient, base.AsyncAPIClient)
    others = (openai.Stream, openai.AsyncStream, chat.Completions, chat.AsyncCompletions)
    owners: list[type] = [*clients, *others]
    return {(owner, name): value for owner in owners for name, value in vars(owner).items() if callable(value)}


# The measurements.


class Orders:
    """What can be ordered, by name."""

    def __init__(self, name: str) -> None:
        openai: Any = importlib.import_module("openai")
        self._switch = _Switch()
        self._subject = SUBJECTS[name]()
        self._switch.instrumented()
        self._bare = name == "bare"
        httpx: Any = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__)
        provider, url = _Provider(httpx), "https://api.openai.com/v1"
        self._client = openai.OpenAI(api_key="none", base_url=url, http_client=httpx.Client(transport=provider))
        self._async_client = openai.AsyncOpenAI(
            api_key="none", base_url=url, http_client=httpx.AsyncClient(transport=provider)
        )
        loop = asyncio.new_event_loop()
        self._kinds: dict[str, Callable[[int], None]] = {
            "plain": self._plain,
            "stream": self._stream,
            "action plain": self._action,
            "async plain": lambda calls: loop.run_until_complete(self._async_plain(calls)),
            "async stream": lambda calls: loop.run_until_complete(self._async_stream(calls)),
        }

    def warm(self, kinds: Sequence[str]) -> dict[str, Any]:
        """Fill every cache, and see that the switch works. What is alive then is no garbage collection's business."""
        for kind in kinds:
            for on in (False, True):
                self._switch.turn(on=on)
                spans = self._spans()
                for _ in range(3):
                    self._kinds[kind](2)
                    self._subject.flush()
                if (self._spans() > spans) is not (on and not self._bare):
                    raise RuntimeError(f"{'no' if on else 'a'} span of a {kind} call")
        gc.collect()
        gc.freeze()
        return {}

    def compare(self, kind: str, blocks: int, calls: int) -> dict[str, list[float]]:
        """CPU microseconds per call without and with the subject: pairs of blocks of calls that take turns."""
        run = self._kinds[kind]
        spent: dict[bool, list[int]] = {False: [], True: []}
        gc.collect()
        spans = self._spans()
        process, thread = time.process_time_ns(), time.thread_time_ns()
        for number in range(blocks):
            for on in (False, True) if number % 2 else (True, False):
                self._switch.turn(on=on)
                spent[on].append(_nanoseconds(run, calls))
        flushing = _nanoseconds(self._subject.flush)
        # Other threads work for the subject, and for nobody else.
        others = (time.process_time_ns() - process) - (time.thread_time_ns() - thread)
        if not self._bare and self._spans() - spans < blocks * calls:
            raise RuntimeError(f"{self._spans() - spans} spans of {blocks * calls} {kind} calls")
        background = (flushing + others) / blocks
        return {
            "bare": [value / calls / 1000 for value in spent[False]],
            "full": [(value + background) / calls / 1000 for value in spent[True]],
        }

    def count(self, kind: str, calls: int) -> dict[str, float]:
        """Functions that are called per call, Python's and C's, in the caller's thread: no noise."""
        found: dict[bool, float] = {}
        for on in (False, True):
            self._switch.turn(on=on)
            found[on] = functions(self._kinds[kind], calls) / calls
        return {"bare": found[False], "full": found[True]}

    def growth(self, sizes: Sequence[int]) -> dict[str, list[int]]:
        """The peak of the process in bytes, and the blocks that Python has allocated, after these numbers of calls."""
        peaks: list[int] = []
        blocks: list[int] = []
        done = 0
        for size in sizes:
            while done < size:
                calls = min(100, size - done)
                self._plain(calls)
                self._subject.flush()
                done += calls
            gc.collect()
            peaks.append(_peak())
            blocks.append(sys.getallocatedblocks())
        return {"peaks": peaks, "blocks": blocks}

    def steps(self, number: int) -> dict[str, list[float]]:
        """CPU microseconds per step of an agent, by how its framework tells of it. Between steps the SDK is called."""
        frames = _load("otel_llm.engine.frames:Frames")(_load("opentelemetry.trace:get_tracer")("otel_llm.bench"))
        tool = _load("otel_llm.frameworks.activities:tool")("weather", "call_1")

        def read(*_: Any) -> Any:
            return tool

        method = frames.step(_load("otel_llm.spec:Step")("", "", read))

        def callbacks() -> None:
            frames.start("key", None, *tool)
            frames.end("key")

        ways = {"a method": lambda: method(lambda: None, None, (), {}), "callbacks": callbacks}
        found: dict[str, list[float]] = {}
        self._switch.turn(on=False)
        for way, step in ways.items():
            self._subject.flush()
            spent: list[int] = []
            process, thread = time.process_time_ns(), time.thread_time_ns()
            with _load("otel_llm:interaction")("bench"):
                for _ in range(number):
                    self._plain(1)
                    spent.append(_nanoseconds(step))
            flushing = _nanoseconds(self._subject.flush)
            others = (time.process_time_ns() - process) - (time.thread_time_ns() - thread)
            found[way] = [(value + (flushing + others) / number) / 1000 for value in spent]
        return found

    def store(self, sizes: Sequence[int], rounds: int) -> dict[str, Any]:
        """Bytes per span by segment size, and CPU microseconds per span of storing and of OTLP encoding."""
        spans = self._ended_spans(max(sizes))
        encode = _load("opentelemetry.exporter.otlp.proto.common.trace_encoder:encode_spans")
        os.environ["OTEL_LLM_LEDGER_INTERVAL"] = "3600000"
        found = {"stored": list[float](), "encoded": list[float]()}
        segments: dict[int, float] = {}
        for size in sizes:
            os.environ["OTEL_LLM_HOME"] = str(Path.cwd().parent / f"segments-{size}")
            ledger = _load("otel_llm_exporters.clickhouse:LedgerProcessor")()
            for start in range(0, len(spans) - size + 1, size):
                for span in spans[start : start + size]:
                    ledger.on_end(span)
                ledger.force_flush()
            written: list[Any] = ledger.spool.segments()
            segments[size] = sum(s.path.stat().st_size for s in written) / sum(s.rows for s in written)
        ledger = _load("otel_llm_exporters.clickhouse:LedgerProcessor")()
        ledger.on_end(spans[0])
        for _ in range(rounds):
            found["stored"].append(_nanoseconds(_store, ledger, spans) / len(spans) / 1000)
            found["encoded"].append(_nanoseconds(lambda: encode(spans).SerializeToString()) / len(spans) / 1000)
        return {"bytes": segments, **found, "otlp": len(encode(spans).SerializeToString()) / len(spans)}

    def _spans(self) -> int:
        self._subject.flush()
        return self._subject.spans()

    def _ended_spans(self, number: int) -> list[Any]:
        ended: list[Any] = []
        base: type = _load("opentelemetry.sdk.trace:SpanProcessor")

        def keep(_: Any, span: Any) -> None:
            ended.append(span)

        keeper: Any = type("Keeper", (base,), {"on_end": keep})()
        _load("opentelemetry.trace:get_tracer_provider")().add_span_processor(keeper)
        self._switch.turn(on=True)
        self._plain(number)
        self._subject.flush()
        return ended

    def _plain(self, calls: int) -> None:
        for _ in range(calls):
            self._client.chat.completions.create(**_CALL)

    def _action(self, calls: int) -> None:
        if self._switch.on:
            with _load("otel_llm:interaction")("bench"):
                self._plain(calls)
        else:
            self._plain(calls)

    def _stream(self, calls: int) -> None:
        for _ in range(calls):
            for _ in self._client.chat.completions.create(**_CALL, stream=True):
                pass

    async def _async_plain(self, calls: int) -> None:
        for _ in range(calls):
            await self._async_client.chat.completions.create(**_CALL)

    async def _async_stream(self, calls: int) -> None:
        for _ in range(calls):
            async for _ in await self._async_client.chat.completions.create(**_CALL, stream=True):
                pass


def _store(ledger: Any, spans: list[Any]) -> None:
    for span in spans:
        ledger.on_end(span)
    ledger.force_flush()


def _nanoseconds(work: Callable[..., Any], *arguments: Any) -> int:
    """CPU time of this thread."""
    before = time.thread_time_ns()
    work(*arguments)
    return time.thread_time_ns() - before


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _serve(name: str) -> None:
    # Whatever a subject prints must not look like a result.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    orders = Orders(name)
    for line in sys.stdin:
        order = json.loads(line)
        result = getattr(orders, order.pop("order"))(**order)
        results.write(json.dumps(result) + "\n")
        results.flush()


if __name__ == "__main__":
    _serve(sys.argv[1])
