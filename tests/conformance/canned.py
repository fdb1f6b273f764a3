"""A server that answers with bytes that a test wrote, piece by piece, on a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, Self

Reply = Callable[[dict[str, Any]], Iterable[bytes]]


class CannedServer:
    """`with CannedServer() as server:` answers every request with what `server.reply(body)` yields."""

    def __init__(self) -> None:
        self.reply: Reply = lambda _body: ()
        self.bodies: list[dict[str, Any]] = []
        canned = self

        class Handler(StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                length = 0
                while line := self.rfile.readline().strip():
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = json.loads(self.rfile.read(length) or b"{}")
                canned.bodies.append(body)
                for piece in canned.reply(body):
                    self.wfile.write(piece)

        class Server(ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def response(body: bytes, kind: str = "application/json", *headers: str, size: int = 1 << 20) -> list[bytes]:
    """A whole HTTP response: its head, and its body in pieces of at most `size` bytes."""
    head = "\r\n".join(["HTTP/1.1 200 OK", f"content-type: {kind}", "connection: close", *headers, "", ""])
    return [head.encode(), *(body[start : start + size] for start in range(0, len(body), size))]
