"""The provider: HTTP/1.1 on a real socket, the routes to each wire format, faults on demand, and the bill."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from email import message_from_bytes
from functools import lru_cache
from hashlib import blake2b
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import parse_qs, unquote

from examples.offline_provider import (
    anthropic,
    assistants,
    bedrock,
    cohere,
    gemini,
    media,
    mistral,
    odd,
    ollama,
    openai,
    replicate,
    responses,
    voyage,
    watsonx,
)
from examples.offline_provider.batches import Batches
from examples.offline_provider.bill import RUNS_ON, Bill, BillEntry, RequestEntry, as_json, cost_nano
from examples.offline_provider.model import Turn, answer
from examples.offline_provider.script import HEADER, parse
from examples.offline_provider.wire import Conversations, Exchange, Route

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import Message
    from pathlib import Path

    from examples.offline_provider.model import Json, Prompt
    from examples.offline_provider.script import Script

_OPERATIONS = {
    "chat/completions": openai.CHAT,
    "completions": openai.COMPLETIONS,
    "embeddings": openai.EMBEDDINGS,
    "responses": responses.RESPONSES,
    "messages": anthropic.MESSAGES,
    "messages/count_tokens": anthropic.COUNT_TOKENS,
}
_PATH = re.compile(
    rf"(/openai/v1|/openai/deployments/(?P<deployment>[^/]+)|/openai|/(?P<other>huggingface|{'|'.join(openai.OTHERS)})(?:/v1)?)?"
    rf"/(?P<operation>{'|'.join(_OPERATIONS)})$"
)
# Formats that say in the path what it is all about: `route(path)` of their modules.
_FORMATS: tuple[Callable[[str], Route | None], ...] = (
    assistants.route,
    bedrock.route,
    gemini.route,
    cohere.route,
    media.route,
    mistral.route,
    ollama.route,
    replicate.route,
    voyage.route,
    watsonx.route,
)
_TELLS = {
    responses.RESPONSES: responses.plain,
    replicate.PREDICTIONS: replicate.plain,
    assistants.RUNS: assistants.plain,
    gemini.INTERACTIONS: gemini.plain_interaction,
}
"""What becomes of those that can be asked for again."""
_VERTEX = re.compile(r"/publishers/anthropic/models/([^/:]+):(streamR|r)awPredict$")
_MODELS = ("gpt-5.2", "gpt-4o-mini", "gpt-4o-audio-preview", "gpt-4o", "gpt-audio", "o3", "text-embedding-3-small")
_TIERS = {"openai": "default", "azure": "default", "groq": "on_demand", "anthropic": "standard"}
_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}
_TELLING = ("traceparent", "tracestate", "baggage", "user-agent", "idempotency-key", "x-stainless-retry-count")
_SECRET = ("authorization", "api-key", "x-api-key")


@lru_cache(maxsize=1024)
def route(path: str) -> Route | None:
    """Where a path leads; None when nowhere."""
    for formats in _FORMATS:
        if (to := formats(path)) is not None:
            return to
    if m := _VERTEX.search(path):
        counts = m[1] == "count-tokens"
        return Route(
            "vertex",
            anthropic.COUNT_TOKENS if counts else anthropic.MESSAGES,
            {} if counts else {"model": unquote(m[1])},
        )
    if m := _PATH.search(path):
        wire = _OPERATIONS[m["operation"]]
        if wire in (anthropic.MESSAGES, anthropic.COUNT_TOKENS):
            return Route("anthropic", wire, {})
        model = next((name for name in _MODELS if name in m["deployment"]), "gpt-4o-mini") if m["deployment"] else None
        provider = m["other"] or ("groq" if m[1] == "/openai/v1" else "azure" if m[1] else "openai")
        return Route(provider, wire, {"model": model} if model else {})
    return None


def _form(raw: bytes, headers: dict[str, str]) -> Json:
    """The fields of a multipart form; of each of its files, how many bytes it has."""
    fields: Json = {}
    form = message_from_bytes(b"content-type: " + headers["content-type"].encode() + b"\r\n\r\n" + raw)
    for part in cast("list[Message]", form.get_payload()):
        content: Any = part.get_payload(decode=True)
        name = str(part.get_param("name", header="content-disposition"))
        if part.get_filename() is None:
            fields[name] = content.decode()
        else:
            fields.setdefault("files", {})[name] = len(content)
    return fields


def _headers(x: Exchange) -> dict[str, str]:
    own = bedrock.headers(x) if x.provider == "bedrock" else {}
    return {"x-request-id": f"req_{x.id}", "request-id": f"req_{x.id}"} | own


def _written(headers: dict[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


class Client:
    """The other end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.send, self.drop = writer.write, writer.close

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self._writer.is_closing() or self._reader.at_eof()

    async def request(self) -> tuple[str, str, dict[str, str], bytes]:
        """Method, target, headers and body of the next request. Raises when there is none."""
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return method, target, headers, await self._reader.readexactly(int(headers.get("content-length") or 0))

    async def flush(self) -> None:
        """Let what was sent leave, and the end of the connection arrive."""
        await self._writer.drain()
        await asyncio.sleep(0)

    def answer(
        self, status: int, body: bytes, extra: str = "", *, cut: int = 0, media_type: str = "application/json"
    ) -> None:
        """Send a whole response, without its last `cut` bytes."""
        head = f"HTTP/1.1 {status} {_PHRASES.get(status, 'Error')}\r\ncontent-type: {media_type}\r\n{extra}"
        self.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[: len(body) - cut])

    def chunk(self, data: bytes) -> None:
        """Send a piece of a response in chunked transfer encoding."""
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")


class OfflineProvider:
    """A stand-in for the providers. `with OfflineProvider() as p:` serves from a daemon thread until the block ends."""

    def __init__(self, port: int = 0, bill: Path | str | None = None) -> None:
        """`port` 0 takes a free one; `bill` is a JSONL file to write the bill to."""
        self.url = ""
        self._port = port
        self._bill = Bill(bill)
        self._log: deque[RequestEntry] = deque(maxlen=20_000)
        self._attempts: dict[str, int] = {}
        self._conversations: Conversations = {}
        self._batches = Batches(self._run_in_batch)
        self._background: dict[str, Exchange] = {}
        self._nonce = os.urandom(4).hex()
        self._seq = self._in_flight = self._forgotten = 0
        self._loop = asyncio.new_event_loop()
        self._ready, self._ended = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="offline-provider", daemon=True)

    @property
    def openai_url(self) -> str:
        """Base URL for OpenAI's SDK. Anthropic's and Groq's take `url`; Azure's takes it as the endpoint."""
        return f"{self.url}/v1"

    @property
    def bill(self) -> list[BillEntry]:
        """What would be charged so far."""
        return list(self._bill.entries)

    @property
    def requests(self) -> list[RequestEntry]:
        """The last 20,000 HTTP requests, failures included."""
        return list(self._log)

    def clear(self) -> None:
        """Forget bill, requests, attempts and conversations; what is still in flight is not billed any more."""
        self._forgotten = self._seq
        for kept in (self._bill, self._log, self._attempts, self._conversations, self._batches, self._background):
            kept.clear()

    def settle(self, timeout: float = 5.0) -> None:
        """Wait until no request is being answered, so that abandoned streams are on the bill. Raises `TimeoutError`."""
        deadline = time.monotonic() + timeout
        while self._in_flight:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._in_flight} requests are still being answered after {timeout} s")
            time.sleep(0.002)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if not self.url:
            raise OSError(f"offline provider: port {self._port} cannot be opened; choose another, or 0 for a free one")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._bill.close()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        try:
            server = await asyncio.start_server(self._connection, "127.0.0.1", self._port, backlog=512)
        except OSError:
            return
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._ended.wait()
        server.close()
        open_still = asyncio.all_tasks() - {asyncio.current_task()}
        for task in open_still:
            task.cancel()
        await asyncio.gather(*open_still, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(reader, writer)
        nothing_more = (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, asyncio.CancelledError)
        with suppress(*nothing_more):
            while not client.gone:
                request = await client.request()
                self._in_flight += 1
                try:
                    await self._respond(client, *request)
                finally:
                    self._in_flight -= 1
                await client.flush()
        client.drop()

    async def _respond(self, client: Client, method: str, target: str, headers: dict[str, str], raw: bytes) -> None:
        path = target.partition("?")[0]
        if path.startswith("/_offline/"):
            return self._inspect(client, path.rpartition("/")[2])
        self._seq += 1
        seen = {name: "..." if name in _SECRET else value for name, value in headers.items()}
        self._log.append(entry := RequestEntry(self._seq, method, target, seen, {}))
        if method == "GET" and path.endswith("/models"):
            listed = [{"id": name, "object": "model", "created": 0, "owned_by": "offline"} for name in _MODELS]
            return self._refuse(client, entry, 200, {"object": "list", "data": listed})
        if reply := self._batches.reply(method, target, raw, self.url, f"{self._nonce}{entry.seq:06d}"):
            entry.status = 200
            return client.answer(200, reply.body, reply.headers, media_type=reply.media_type)
        if x := self._background.get(path.removesuffix("/cancel").removesuffix("/submit_tool_outputs")):
            return await self._ask_again(client, x, target, raw)
        to = route(path)
        if to is None or method != "POST":
            return self._refuse(
                client, entry, 404, openai.error(404, f"offline provider: nothing is at {method} {path}")
            )
        entry.api = f"{to.provider}.{to.wire.name}"
        try:
            entry.body = _form(raw, headers) if b"form-data" in raw[:200] else json.loads(raw)
            body = entry.body | to.said
            prompt = to.wire.read(body, self._conversations)
            prompt.check()
            said, turn = prompt.script()
            entry.script = "; ".join(filter(None, (headers.get(HEADER), said)))
            self._count(entry, raw)
            script = parse(entry.script, entry.attempt).at(turn, prompt.tools)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return self._refuse(client, entry, 400, to.wire.error(400, f"{type(error).__name__}: {error}"))
        await asyncio.sleep(script.slow)
        if script.status:
            return self._refuse(client, entry, script.status, to.wire.error(script.status, "scripted failure"))
        if script.refuse_stream_options and "stream_options" in body:
            refusal = to.wire.error(400, "Unrecognized request argument supplied: stream_options")
            return self._refuse(client, entry, 400, refusal)
        x = self._exchange(to, entry, body, prompt, script)
        if to.wire is responses.RESPONSES and body.get("store") is not False:
            spoken = x.answer.texts[0] or " ".join(arguments for _, arguments in x.answer.calls)
            self._conversations[x.id] = [*prompt.turns, Turn("assistant", spoken)]
            if body.get("background"):
                return await self._go_on(client, x, path)
        if to.wire is assistants.RUNS:
            self._background[assistants.path(x)] = x
            self._charge(x, None, complete=True, sent=script.usage)
            entry.status = 200
            if not prompt.stream:
                return client.answer(200, json.dumps(assistants.plain(x, "queued")).encode())
        if to.wire is gemini.INTERACTIONS:
            if body.get("background"):
                return await self._go_on(client, x, path)
            self._background[f"{path}/{x.id}"], x.polled = x, 1
        if to.wire is replicate.PREDICTIONS:
            return self._predict(client, x, "wait" in headers.get("prefer", ""))
        return await (self._stream if prompt.stream else self._plain)(client, x)

    async def _go_on(self, client: Client, x: Exchange, path: str) -> None:
        """Begin what goes on in the background, until others ask for it or its stream has ended."""
        self._background[f"{path}/{x.id}"] = x
        self._charge(x, None, complete=True, sent=True)
        x.entry.status = 200
        if x.prompt.stream:
            return await self._stream(client, x)
        return client.answer(200, json.dumps(_TELLS[x.wire](x, "queued")).encode())

    def _predict(self, client: Client, x: Exchange, waits: bool) -> None:
        """Begin a prediction, which others ask for. One that failed says nothing of its tokens."""
        for what in ("", "/stream"):
            self._background[f"/v1/predictions/{x.id}{what}"] = x
        self._charge(x, None, complete=not x.script.incomplete, sent=x.script.usage and not x.script.incomplete)
        x.entry.status = 201
        client.answer(201, json.dumps(replicate.plain(x, None if waits else "queued")).encode())

    def _exchange(self, to: Route, entry: RequestEntry, body: Json, prompt: Prompt, script: Script) -> Exchange:
        usual = _TIERS.get(to.provider) if to.wire.name in ("chat", "responses", "messages") else None
        asked = prompt.tier if usual and prompt.tier != "auto" else None
        entry.response_id = id_ = f"{to.wire.id_prefix}{self._nonce}{entry.seq:06d}"
        tier, said_all = script.tier or asked or usual, answer(prompt, script)
        said_all.usage = to.wire.bills(body, said_all.usage)
        framing = to.framing or to.wire.framing
        return Exchange(
            id_, to.provider, to.wire, entry, body, prompt, script, said_all, tier, int(time.time()), framing
        )

    def _run_in_batch(self, path: str, body: Json) -> Json | int:
        """Answer one request of a batch: with a body, or the status of a failure."""
        to = route(path)
        if to is None:
            return 404
        self._seq += 1
        body = body | to.said
        entry = RequestEntry(self._seq, "POST", path, {}, body, f"{to.provider}.{to.wire.name}")
        prompt = to.wire.read(body, self._conversations)
        said, turn = prompt.script()
        script = parse(said).at(turn, prompt.tools)
        if script.status:
            return script.status
        x = self._exchange(to, entry, body, prompt, replace(script, tier="batch"))
        self._charge(x, None, complete=True, sent=True)
        return x.wire.plain(x)

    async def _ask_again(self, client: Client, x: Exchange, target: str, raw: bytes) -> None:
        """Tell what became of a response in the background. The first time, it is still being made."""
        asked = parse_qs(target.partition("?")[2])
        if target.endswith("/submit_tool_outputs"):
            assistants.submitted(x)
            x.polled = 0
            if b'"stream":true' in raw.replace(b" ", b""):
                return await self._stream(client, x)
        if asked.get("stream") == ["true"] or target.endswith("/stream"):
            after = asked.get("starting_after") or asked.get("last_event_id") or ["-1"]
            return await self._stream(client, x, int(after[0]))
        status = None if x.polled else "in_progress"
        x.polled += 1
        if target.endswith("/cancel"):
            status, x.polled = "cancelled", 0
        return client.answer(200, json.dumps(_TELLS[x.wire](x, status)).encode())

    async def _plain(self, client: Client, x: Exchange) -> None:
        body = x.wire.plain(x) | ({"surprise": odd.UNKNOWN_EVENT} if x.script.odd == "unknown event" else {})
        media_type, data = x.wire.other(x) or ("application/json", odd.written(body, x.script.odd).encode())
        delivered = not x.script.cut and not client.gone
        self._charge(x, None, complete=delivered, sent=delivered and x.script.usage)
        extra = _written(_headers(x))
        if x.script.cut != "headers":
            x.entry.status = 200
            cut = {"body": len(data), "mid-stream": len(data) // 2}.get(x.script.cut or "", 0)
            client.answer(200, data, extra, cut=cut, media_type=media_type)
        if x.script.cut:
            client.drop()

    async def _stream(self, client: Client, x: Exchange, after: int = -1) -> None:
        script, frame = x.script, x.framing.frame
        events = list(x.wire.events(x))[after + 1 :]
        stops = bool(script.cut or script.error_event)
        stop = 0 if script.cut in ("headers", "body") else len(events) // 2 if script.after is None else script.after
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {x.framing.content_type}\r\ntransfer-encoding: chunked\r\n"
        if script.cut != "headers":
            x.entry.status = 200
            client.send(f"{head}{_written(_headers(x))}\r\n".encode())
        generated, billed = 0, False
        for number, event in enumerate(events):
            await asyncio.sleep(script.slow_chunks if number else 0)
            if not billed and (client.gone or (stops and number == stop)):
                self._charge(x, generated, complete=False, sent=False)
                if script.cut or client.gone:
                    return client.drop()
                for name, failure in x.wire.failure(x):
                    client.chunk((x.framing.failure or frame)(name, json.dumps(failure)))
                return client.send(b"0\r\n\r\n")
            if event.final:
                self._charge(x, None, complete=True, sent=x.wire.usage_in_stream(x))
                billed = True
            generated = event.generated
            if script.odd == "empty":
                continue
            if script.odd == "unknown event" and event.final:
                client.chunk(frame(event.name and "surprise", json.dumps(odd.UNKNOWN_EVENT)))
            client.chunk(frame(event.name, odd.written(event.payload, script.odd)))
            await client.flush()
        if x.wire.done and script.odd != "empty":
            client.chunk(x.wire.done)
        return client.send(b"0\r\n\r\n")

    def _charge(self, x: Exchange, until: int | None, *, complete: bool, sent: bool) -> None:
        """Put the exchange on the bill, with the output tokens `until` there or, with None, all of them."""
        if x.entry.seq <= self._forgotten or x.charged or not x.wire.billed:
            return
        main = x.answer.usage if until is None else x.answer.usage.until(until)
        # a refusal before the first token is not charged
        side = [(model, usage) for kind, model, usage in x.answer.side if kind != "fallback" or usage.output]
        priced = x.prompt.model if x.provider == "bedrock" else RUNS_ON.get(x.answer.model, x.answer.model)
        self._bill.add(
            response_id=x.id,
            api=x.entry.api,
            path=x.entry.path,
            request_model=(x.entry.body.get("model") or x.prompt.model).removeprefix("models/"),
            response_model=x.answer.model if x.wire.names_model else None,
            stream=x.prompt.stream,
            service_tier=x.tier,
            usage=sum((usage for _, usage in side), main),
            parts=[(x.answer.model, main), *side] if side else [],
            complete=complete,
            usage_sent=sent and x.script.odd not in odd.USAGE_LOST,
            cost_nano=cost_nano(x.provider, [(priced, main), *side], x.tier, x.script.geo, x.script.speed),
            attempt=x.entry.attempt,
            key=x.entry.key,
            headers={name: value for name, value in x.entry.headers.items() if name in _TELLING},
        )
        x.charged = True

    def _count(self, entry: RequestEntry, raw: bytes) -> None:
        """Number this attempt of its call: by the script's id, else as the SDK counts, else by equal requests."""
        told = entry.headers.get("x-stainless-retry-count", "")
        entry.retry_count = int(told) if told.isdigit() else None
        entry.attempt = entry.retry_count or 0
        if entry.script:
            named = parse(entry.script).id
            entry.key = named or blake2b(raw + entry.path.encode() + entry.script.encode(), digest_size=8).hexdigest()
            if named or entry.retry_count is None:
                entry.attempt = self._attempts.get(entry.key, 0)
                self._attempts[entry.key] = entry.attempt + 1

    def _refuse(self, client: Client, entry: RequestEntry, status: int, body: Json) -> None:
        entry.status = status
        told = {"retry-after-ms": "1"} if status >= 408 else {}
        told |= bedrock.refusal(status) if (entry.api or "").startswith("bedrock.") else {}
        client.answer(status, json.dumps(body).encode(), _written(told))

    def _inspect(self, client: Client, what: str) -> None:
        if what == "clear":
            self.clear()
        entries = {"bill": self._bill.entries, "requests": self._log}.get(what, ())
        client.answer(200, as_json(list(entries)).encode())
