"""ClickHouse's HTTP interface in front of the embedded database.

What speaks to a ClickHouse server over HTTP works on it: clickhouse-connect, curl, dashboards. Left out are users,
quotas, sessions, external data and the progress of a query; a result is sent when all of it is there.
"""

from __future__ import annotations

import base64
import gzip
import hmac
import io
import json
import re
import socket
import sys
import threading
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from ipaddress import ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import parse_qsl, urlsplit

from otel_llm_exporters.clickhouse.stores import QueryError

if TYPE_CHECKING:
    from otel_llm_exporters.clickhouse.embedded import Engine

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAX_BODY = 1 << 30
_MAX_UNHEARD = 1 << 20
_IDLE = 300
# What the interface takes for itself, or what concerns users and sessions, which are not here.
_NO_SETTINGS = {
    *("query", "query_id", "database", "default_format", "user", "password", "role", "quota_key", "stacktrace"),
    *("compress", "decompress", "enable_http_compression", "buffer_size", "wait_end_of_query"),
    *("session_id", "session_timeout", "session_check", "close_session", "client_protocol_version"),
    *("send_progress_in_http_headers", "http_headers_progress_interval_ms"),
}
_INSERT = re.compile(
    rb"""\s*(?P<into>INSERT\s+INTO\s(?:[^'"`]|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)*?)"""
    rb"""\s(?:FORMAT\s+(?P<format>\w+)[^\S\n]*;?[^\S\n]*(?:\n|$)|(?:VALUES|SELECT|WITH|FROM)\b)""",
    re.IGNORECASE | re.DOTALL,
)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_MEDIA_TYPES = {
    "JSON": "application/json",
    "CSV": "text/csv",
    "TabSeparated": "text/tab-separated-values",
    "TSV": "text/tab-separated-values",
}
# As ClickHouse answers; what is not here is 500.
_STATUSES = {
    HTTPStatus.BAD_REQUEST: (6, 26, 27, 33, 36, 38, 41, 43, 44, 53, 62, 69, 70, 72, 117, 131, 456, 457),
    HTTPStatus.FORBIDDEN: (497, 516),
    HTTPStatus.NOT_FOUND: (16, 46, 47, 50, 56, 60, 73, 81, 115),
    HTTPStatus.REQUEST_TIMEOUT: (159,),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (229,),
    HTTPStatus.NOT_IMPLEMENTED: (48,),
}
_STATUS = {code: status for status, codes in _STATUSES.items() for code in codes}


class DropConnection(Exception):  # noqa: N818 - it is no error: a hook asks for it
    """Raised by a hook: the client is cut off without an answer."""


class Refusal(Exception):  # noqa: N818
    """An answer that is not the engine's: an HTTP status, and what to say."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A statement as it came: its text, and what follows the text of an insert."""

    statement: bytes
    options: Mapping[str, str]
    read_only: bool
    query_id: str

    @property
    def sql(self) -> str:
        """The statement as text. Raises QueryError when it is none."""
        try:
            return self.statement.decode()
        except UnicodeDecodeError as error:
            raise QueryError(f"The statement is not UTF-8 ({error})", 62, "SYNTAX_ERROR") from None

    @property
    def settings(self) -> dict[str, str]:
        """The settings of ClickHouse in the URL."""
        return {
            name: value
            for name, value in self.options.items()
            if name not in _NO_SETTINGS and not name.startswith("param_")
        }

    @property
    def parameters(self) -> dict[str, str]:
        """The values of `{name:Type}`."""
        return {name.removeprefix("param_"): value for name, value in self.options.items() if name.startswith("param_")}

    @property
    def database(self) -> str:
        """Where the statement runs; empty for the default."""
        name = self.options.get("database", "")
        return "" if name in ("default", "__default__") else name


@dataclass(frozen=True, slots=True)
class _Answer:
    body: bytes
    format: str = "TabSeparated"
    summary: Mapping[str, str] = field(default_factory=dict[str, str])


Hook = Callable[[Request], None]
"""What a test does to a request: wait, or raise Refusal or DropConnection."""


class ChServer:
    """`with ChServer(engine) as server:` answers at `server.url` until the end of the block.

    `token` is asked of everybody, and `write` lets its bearers write; without one, only this computer reads.
    `owner` is a second token that always writes. Raises ValueError when a token is missing, OSError when the address
    is taken. `before` and `after` are called with each statement, before it runs and before its answer is sent.
    """

    def __init__(
        self,
        engine: Engine,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        write: bool = False,
        token: str | None = None,
        owner: str | None = None,
        before: Hook | None = None,
        after: Hook | None = None,
    ) -> None:
        if not token and write:
            raise ValueError("Whoever writes needs a token: give one.")
        if not token and not is_loopback(host):
            raise ValueError(f"{host} is open to other computers: give a token.")
        self.engine = engine
        self.before = before
        self.after = after
        self._token = token
        self._write = write
        self._owner = owner
        self.version, self.timezone = (
            engine.run("SELECT version(), timezone()", "TabSeparated", settings={}, parameters={})
            .decode()
            .rstrip("\n")
            .split("\t")
        )
        self._server = _Server((host, port), self)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="otel-llm-serve")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def read_only(self, presented: str, host: str) -> bool:
        """Whether this token may not write. Raises Refusal when it may not even read."""
        if self._owner and _same(presented, self._owner):
            return False
        if self._token:
            if not _same(presented, self._token):
                raise Refusal(HTTPStatus.FORBIDDEN, "default: Authentication failed: the token is missing or wrong.")
            return not self._write
        if presented:
            raise Refusal(HTTPStatus.FORBIDDEN, "default: Authentication failed: the token is wrong.")
        # A page in a browser can give its own name to this address, and would read along.
        if not is_loopback(urlsplit(f"//{host}").hostname or ""):
            raise Refusal(HTTPStatus.FORBIDDEN, f"{host} is not the name of this computer to itself.")
        return True

    def answer(self, request: Request) -> _Answer:
        """Run a statement. Raises QueryError, and what the hooks raise."""
        if self.before:
            self.before(request)
        insert = _INSERT.match(request.statement)
        if insert and insert["format"]:
            rows = self.engine.insert(
                insert["into"].decode(),
                insert["format"].decode(),
                request.statement[insert.end() :],
                settings=request.settings,
                database=request.database,
                read_only=request.read_only,
            )
            answer = _Answer(b"", summary={"written_rows": str(rows)})
        else:
            answer = self._run(request)
        if self.after:
            self.after(request)
        return answer

    def _run(self, request: Request) -> _Answer:
        def run(sql: str, format_: str) -> bytes:
            return self.engine.run(
                sql,
                format_,
                settings=request.settings,
                parameters=request.parameters,
                database=request.database,
                read_only=request.read_only,
            )

        sql = request.sql
        own = _FORMAT.search(sql)
        format_ = own[1] if own else request.options.get("default_format", "TabSeparated")
        body = run(sql, format_)
        if not body and format_ == "Native" and re.match(r"\s*(?:SELECT|WITH|\()", sql, re.IGNORECASE):
            # Of a result without rows the engine does not even write the columns.
            bare = sql[: own.start()] if own else sql
            described = run(f"DESCRIBE TABLE ({bare.rstrip().rstrip(';')}\n)", "JSONCompact")
            body = _empty_block([(row[0], row[1]) for row in json.loads(described)["data"]])
        return _Answer(body, format_)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: ChServer) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        request, address = super().get_request()
        self._open.add(request)
        return request, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        # Who waits for a next request sees an end; who waits for an answer still gets it.
        for request in tuple(self._open):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RD)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever goes away before the answer is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "otel-llm"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = _IDLE

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        if not path.query or path.path in ("/ping", "/replicas_status"):
            self._send(HTTPStatus.OK, b"Ok.\n")
        else:
            self._respond(read_only=True)

    def do_POST(self) -> None:
        self._respond(read_only=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: requests are not worth a line."""

    def _respond(self, *, read_only: bool) -> None:
        owner = self._owner
        options = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        query_id = options.get("query_id") or str(uuid.uuid4())
        headers = {"X-ClickHouse-Query-Id": query_id, "X-ClickHouse-Timezone": owner.timezone}
        try:
            read_only = self._may_not_write(options) or read_only
            body = self._body()
            if options.get("compress") == "1" or options.get("decompress") == "1":
                raise QueryError(
                    "ClickHouse's own compression is not supported: use that of HTTP", 48, "NOT_IMPLEMENTED"
                )
            query = options.get("query", "").encode()
            statement = query + b"\n" * bool(query and body) + body
            if not statement.strip():
                raise QueryError("Empty query", 62, "SYNTAX_ERROR")
            answer = owner.answer(Request(statement, options, read_only, query_id))
        except DropConnection:
            self.close_connection = True
        except Refusal as refusal:
            if refusal.status == HTTPStatus.FORBIDDEN:
                self._fail(refusal.status, QueryError(str(refusal), 516, "AUTHENTICATION_FAILED"), headers)
            else:
                self._send(refusal.status, f"{refusal}\n".encode(), headers)
        except QueryError as error:
            self._fail(_STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR), error, headers)
        else:
            headers["X-ClickHouse-Format"] = answer.format
            headers["X-ClickHouse-Summary"] = json.dumps({"read_rows": "0", "written_rows": "0", **answer.summary})
            media = _MEDIA_TYPES.get(answer.format, "application/octet-stream")
            self._send(HTTPStatus.OK, answer.body, {**headers, "Content-Type": media}, options)

    @property
    def _owner(self) -> ChServer:
        return cast("_Server", self.server).owner

    def _fail(self, status: int, error: QueryError, headers: Mapping[str, str]) -> None:
        said = f"Code: {error.code}. DB::Exception: {str(error).removesuffix('.')}. ({error.name})"
        text = f"{said} (version {self._owner.version})\n"
        self._send(status, text.encode(), {**headers, "X-ClickHouse-Exception-Code": str(error.code)})

    def _send(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("X-ClickHouse-Server-Display-Name", "otel-llm")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if options and options.get("enable_http_compression") == "1" and body:
            accepted = self.headers.get("Accept-Encoding", "")
            encoding = next((name for name in _COMPRESS if name in accepted), None)
            if encoding:
                body = _COMPRESS[encoding](body)
                self.send_header("Content-Encoding", encoding)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _presented(self, options: Mapping[str, str]) -> str:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return value.strip()
        if kind.lower() == "basic":
            with suppress(ValueError):
                return base64.b64decode(value).decode().partition(":")[2]
        return self.headers.get("X-ClickHouse-Key") or options.get("password", "")

    def _may_not_write(self, options: Mapping[str, str]) -> bool:
        try:
            return self._owner.read_only(self._presented(options), self.headers.get("Host", ""))
        except Refusal:
            # A client that is still sending would not hear it.
            self._raw(_MAX_UNHEARD)
            raise

    def _body(self) -> bytes:
        raw = self._raw(_MAX_BODY)
        encoding = self.headers.get("Content-Encoding", "identity").lower()
        decompress = _DECOMPRESS.get(encoding)
        if decompress is None:
            raise QueryError(f"Unknown Content-Encoding {encoding!r}", 48, "NOT_IMPLEMENTED")
        try:
            return decompress(raw)
        except (OSError, EOFError, zlib.error, zstd.ZstdError, RuntimeError) as error:
            raise QueryError(f"The body is not {encoding} ({error})", 33, "CANNOT_READ_ALL_DATA") from None

    def _raw(self, limit: int) -> bytes:
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        try:
            return self._chunks(limit) if chunked else self._sized(limit)
        except ValueError as error:
            self.close_connection = True
            raise Refusal(HTTPStatus.BAD_REQUEST, f"The length of the body is none ({error}).") from None

    def _sized(self, limit: int) -> bytes:
        return self._exactly(int(self.headers.get("Content-Length") or 0), limit)

    def _chunks(self, limit: int) -> bytes:
        found = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            found += self._exactly(size, limit - len(found))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(found)

    def _exactly(self, size: int, limit: int) -> bytes:
        if size < 0:
            raise ValueError(size)
        if size > limit:
            self.close_connection = True
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"More than {_MAX_BODY} bytes at once: send fewer.")
        found = self.rfile.read(size)
        if len(found) < size:
            # The part that came may be rows enough for an insert, which the client would send again.
            raise DropConnection
        return found


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach that address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _same(presented: str, token: str) -> bool:
    return hmac.compare_digest(presented.encode(), token.encode())


def _empty_block(columns: Sequence[tuple[str, str]]) -> bytes:
    """A block of Native without rows."""
    texts = [text.encode() for column in columns for text in column]
    return _varint(len(columns)) + _varint(0) + b"".join(_varint(len(text)) + text for text in texts)


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + _varint(number >> 7)


def _inflate(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    found = stream.decompress(data)
    if not stream.eof or stream.unused_data:
        raise EOFError("it is not one whole stream")
    return found


def _lz4(data: bytes) -> bytes:
    frame: Any = import_module("lz4.frame")
    # A body may be several frames, of which its `decompress` reads the first.
    return frame.open(io.BytesIO(data)).read()


_DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": _inflate,
    # Of a body of many frames, `decompress` copies what is left after each.
    "zstd": lambda data: zstd.ZstdFile(io.BytesIO(data)).read(),
    "lz4": _lz4,
}
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda data: zstd.compress(data, 1),
    "gzip": lambda data: gzip.compress(data, 1),
    "deflate": lambda data: zlib.compress(data, 1),
}
