"""`make jaeger`: Jaeger, the real one, built from its sources by the Go of this machine; once, it takes minutes.

Its last version that is a single program without a configuration, with everything in memory. Its web pages are no part
of its Go module, so it shows a placeholder; what it collects, stores and answers is all Jaeger's.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

VERSION = "v1.76.0"
PROGRAM = Path(__file__).resolve().parents[1] / ".tools" / "jaeger" / f"jaeger-{VERSION}"
_MODULE = f"github.com/jaegertracing/jaeger@{VERSION}"
_OLDEST_GO = (1, 21)
"""The first that fetches the toolchain that a module asks for."""


class NoJaeger(Exception):
    """Jaeger is not there, and cannot be built; says why."""


def built() -> Path:
    """The program, built unless it is there. Raises NoJaeger."""
    if PROGRAM.exists():
        return PROGRAM
    go = shutil.which("go")
    if go is None:
        raise NoJaeger("no Jaeger: building it needs Go, and there is no `go` on the PATH")
    said = subprocess.run([go, "version"], check=True, capture_output=True, text=True).stdout
    version = re.search(r"go(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < _OLDEST_GO:
        raise NoJaeger(f"no Jaeger: building it needs Go {'.'.join(map(str, _OLDEST_GO))} or newer, not {said.strip()}")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "auto"}

    def run(*arguments: str, cwd: str = "/") -> str:
        done = subprocess.run(
            [go, *arguments], cwd=cwd, env=environment, check=False, stdout=subprocess.PIPE, text=True
        )
        if done.returncode != 0:
            raise NoJaeger(f"no Jaeger: `go {' '.join(arguments)}` failed, and said why above")
        return done.stdout.strip()

    run("mod", "download", _MODULE)
    # As its own main module, so with the versions and the replacements that its makers chose.
    source = run("list", "-m", "-f", "{{.Dir}}", _MODULE)
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    fresh = PROGRAM.with_suffix(f".{os.getpid()}")
    run("build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", str(fresh), "./cmd/all-in-one", cwd=source)
    return fresh.replace(PROGRAM)


class Jaeger(NamedTuple):
    """A Jaeger that runs."""

    otlp: str
    """Where it takes OTLP over HTTP."""
    query: str
    """Where it answers."""

    def traces(self, service: str) -> list[dict[str, Any]]:
        """Every trace of a service, as Jaeger tells it."""
        found = httpx.get(f"{self.query}/api/traces", params={"service": service, "limit": 1000, "lookback": "1h"})
        return found.raise_for_status().json()["data"]


@contextmanager
def running(log: Path) -> Generator[Jaeger]:
    """Jaeger, with an empty memory, on ports that are free; what it says goes into `log`."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        otlp, query = (f"127.0.0.1:{taken.getsockname()[1]}" for taken in (one, other))
    places = {"collector.otlp.http": otlp, "query.http-server": query}
    unused = (
        "collector.otlp.grpc",
        "collector.grpc-server",
        "collector.http-server",
        "query.grpc-server",
        "admin.http",
    )
    places |= dict.fromkeys(unused, "127.0.0.1:0")
    options = [f"--{place}.host-port={address}" for place, address in places.items()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with log.open("w") as said:
        process = subprocess.Popen(
            [built(), *options], env=environment | {"SPAN_STORAGE_TYPE": "memory"}, stdout=said, stderr=said
        )
    try:
        jaeger = Jaeger(f"http://{otlp}", f"http://{query}")
        _wait(jaeger, process, log)
        yield jaeger
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(jaeger: Jaeger, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            httpx.get(f"{jaeger.query}/api/services").raise_for_status()
            httpx.get(jaeger.otlp)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"Jaeger does not answer:\n{log.read_text()}")


def main() -> int:
    """Build it; on a machine without Go, say so."""
    try:
        print(built().relative_to(Path.cwd()))
    except NoJaeger as reason:
        print(reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
