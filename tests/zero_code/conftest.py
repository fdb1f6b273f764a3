"""Applications as users run them: real commands, real processes, and what is left of them in the ledger."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from backports import zstd
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from examples.offline_provider import OfflineProvider
from otel_llm_exporters.clickhouse.formats import Block
from otel_llm_exporters.clickhouse.spool import Spool
from otel_llm_semconv import attributes as A
from tests.segments import rows_of

BIN = Path(sysconfig.get_path("scripts"))
INSTRUMENT = (str(BIN / "opentelemetry-instrument"),)
APPS = Path(__file__).parent / "apps"


@dataclass
class Stored:
    """A span of the ledger, or of an OTLP receiver."""

    name: str
    kind: str
    attributes: Mapping[str, Any]
    trace: str = ""
    id: str = ""
    parent: str = ""


def ledger(home: Path) -> list[Stored]:
    """Every span in the spool."""
    found: list[Stored] = []
    for segment in Spool(home).segments():
        rows = rows_of(Block(segment.rows, zstd.decompress(segment.read()), segment.format))
        names = ("SpanName", "SpanKind", "SpanAttributes", "TraceId", "SpanId", "ParentSpanId")
        found += [Stored(*(row[name] for name in names)) for row in rows]
    return found


def calls(spans: list[Stored]) -> list[Stored]:
    return [span for span in spans if A.GEN_AI_PROVIDER_NAME in span.attributes]


def requests(spans: list[Stored]) -> list[Stored]:
    return [span for span in spans if span.kind == "Server"]


@dataclass
class Workplace:
    """A folder with the apps, an environment, and a home for the ledger."""

    folder: Path
    home: Path
    environment: dict[str, str]

    def run(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | settings,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all processes of the tests share what they compile."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def workplace(tmp_path: Path, bytecode: Path, provider: OfflineProvider) -> Workplace:
    folder = tmp_path / "app"
    shutil.copytree(APPS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    home = tmp_path / "home"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "OTEL_LLM_HOME": str(home),
        "OPENAI_API_KEY": "any",
        "OPENAI_BASE_URL": provider.openai_url,
        "PYTHONPYCACHEPREFIX": str(bytecode),
    }
    return Workplace(folder, home, environment)


@dataclass
class Server:
    """A web server under test."""

    process: subprocess.Popen[str]
    url: str
    client: httpx.Client
    said: str = ""

    def post(self, path: str, question: str, **headers: str) -> httpx.Response:
        headers = {"content-type": "text/plain", **headers}
        return self.client.post(f"{self.url}{path}", content=question, headers=headers)

    def stop(self) -> int:
        """Stop it as an orchestrator does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.said = self.process.communicate(timeout=30)[0]
        return self.process.returncode


Serve = Callable[..., Server]


@pytest.fixture
def serve(workplace: Workplace) -> Iterator[Serve]:
    """Start a command that serves on the socket whose number stands for `{fd}` in it."""
    with ExitStack() as stack:

        def start(*command: str, **settings: str) -> Server:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            process = subprocess.Popen(
                [part.format(fd=listening.fileno()) for part in command],
                cwd=workplace.folder,
                env=workplace.environment | settings,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                pass_fds=[listening.fileno()],
            )
            stack.callback(process.kill)
            client = stack.enter_context(httpx.Client(timeout=60, verify=False))
            return Server(process, f"http://127.0.0.1:{listening.getsockname()[1]}", client)

        yield start


@dataclass
class Receiver:
    """An OTLP receiver: what any backend would get."""

    url: str
    spans: list[Stored] = field(default_factory=list[Stored])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    received = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        kind = "Server" if span.kind == span.SPAN_KIND_SERVER else "Client"
                        values = {a.key: getattr(a.value, str(a.value.WhichOneof("value"))) for a in span.attributes}
                        received.spans.append(Stored(span.name, kind, values))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield received
        server.shutdown()
        thread.join()
