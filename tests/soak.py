"""`make soak`: writers, server and shipper are killed at random; then the ledger is held against the provider's bill.

python -m tests.soak --seconds 60 --seed 7

A call counts as promised when the application's flush has returned before it was killed. Every promised call must be in
the tables, none twice, none that the provider did not bill, and each at its price to the nano-dollar.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from examples.offline_provider import OfflineProvider
from otel_llm_exporters.clickhouse.server import ServerError, connect
from otel_llm_exporters.clickhouse.spool import Spool

BIN = Path(sysconfig.get_path("scripts"))
TOKEN = "soak"
WRITERS = 2
APP = """
import openai, otel_llm
from opentelemetry import trace
client = openai.OpenAI()
number = 0
while True:
    with otel_llm.interaction("soak", user_id=f"u-{number % 7}"):
        number += 1
        script = f"tokens in={900 + number} out={number % 90}; cache hit 300"
        ids = [
            client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": f"[[offline: {script}]]"}],
            ).id
            for model in ("gpt-4o-mini", "gpt-4o", "gpt-5.2")
        ]
    trace.get_tracer_provider().force_flush()
    print(*ids, flush=True)
"""


class Soak:
    """The processes, and what they promised."""

    def __init__(self, folder: Path, provider: OfflineProvider) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port: int = free.getsockname()[1]
        self.url = f"http://default:{TOKEN}@127.0.0.1:{self._port}/default"
        self.app_home, self._server_home = folder / "app", folder / "server"
        self.promised: set[str] = set()
        self.kills: dict[str, int] = {}
        self._environment = {
            **os.environ,
            "OPENAI_API_KEY": "offline",
            "OPENAI_BASE_URL": provider.openai_url,
            "OTEL_LLM_HOME": str(self.app_home),
        }
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._readers: list[threading.Thread] = []

    def start(self, name: str) -> None:
        """Start the server, the shipper or a writer, if it does not run."""
        running = self._processes.get(name)
        if running is not None and running.poll() is None:
            return
        environment, output = dict(self._environment), subprocess.DEVNULL
        if name == "server":
            environment["OTEL_LLM_HOME"] = str(self._server_home)
            command = [BIN / "otel-llm", "serve", "--port", str(self._port), "--write", "--token", TOKEN]
        elif name == "shipper":
            environment["OTEL_LLM_CLICKHOUSE_URL"] = self.url
            command = [BIN / "otel-llm", "ship", "--watch"]
        else:
            command = [BIN / "opentelemetry-instrument", sys.executable, "-c", APP]
            output = subprocess.PIPE
        process = subprocess.Popen(
            [str(part) for part in command], env=environment, stdout=output, stderr=subprocess.DEVNULL, text=True
        )
        self._processes[name] = process
        if output == subprocess.PIPE:
            reader = threading.Thread(target=self._listen, args=(process,))
            reader.start()
            self._readers.append(reader)

    def kill(self, name: str, number: signal.Signals) -> None:
        """Kill it, and wait until it is dead."""
        process = self._processes[name]
        process.send_signal(number)
        process.wait(60)
        word = f"{name.rstrip('0123456789 ')} {number.name}"
        self.kills[word] = self.kills.get(word, 0) + 1

    def end(self) -> None:
        """End everything, and send what is left."""
        for name in [name for name in self._processes if name.startswith("writer")]:
            self.kill(name, signal.SIGTERM)
        for reader in self._readers:
            reader.join()
        self.kill("shipper", signal.SIGTERM)
        self.start("server")
        self.wait_for_server()
        subprocess.run(
            [BIN / "otel-llm", "ship"],
            env={**self._environment, "OTEL_LLM_CLICKHOUSE_URL": self.url},
            check=True,
            timeout=300,
        )

    def wait_for_server(self) -> None:
        """Until it answers."""
        patience = time.monotonic() + 60
        while time.monotonic() < patience:
            try:
                connect(self.url).close()
                return
            except ServerError:
                time.sleep(0.2)
        raise TimeoutError("the server does not come back")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the server."""
        client: Any = connect(self.url)
        try:
            return [tuple(row) for row in client.query(sql).result_rows]
        finally:
            client.close()

    def stop_server(self) -> None:
        """The last to go."""
        self.kill("server", signal.SIGTERM)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        # A line that was cut by the kill promises nothing.
        for line in process.stdout or ():
            if line.endswith("\n"):
                self.promised.update(line.split())


def soak(seconds: float, seed: int) -> list[str]:
    """Run it; what is wrong with the ledger afterwards, a sentence each."""
    choose = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, OfflineProvider() as provider:
        soak = Soak(Path(folder), provider)
        names = ["server", "shipper", *(f"writer {number}" for number in range(WRITERS))]
        for name in names:
            soak.start(name)
        soak.wait_for_server()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(choose.uniform(0.5, 3))
            victim = choose.choice(names)
            soak.kill(victim, choose.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
            for name in names:
                soak.start(name)
        soak.end()
        provider.settle()
        wrong = compare(soak, provider)
        soak.stop_server()
    return wrong


def compare(soak: Soak, provider: OfflineProvider) -> list[str]:
    """Hold the tables against the bill and the promises."""
    billed = {entry.response_id: entry.cost_nano for entry in provider.bill if entry.response_id}
    found: dict[str, Decimal] = dict(soak.rows("SELECT ResponseId, TotalCost FROM llm_calls FINAL"))  # pyright: ignore[reportArgumentType]
    [(calls, spans, traces, trace_spans)] = soak.rows(
        "SELECT (SELECT count() FROM llm_calls), (SELECT uniqExact(SpanId) FROM llm_calls), "
        "(SELECT count() FROM otel_traces), (SELECT uniqExact(TraceId, SpanId) FROM otel_traces)"
    )
    lost = soak.promised - found.keys()
    strange = found.keys() - billed.keys()
    differ = [name for name in found if name in billed and found[name] * 10**9 != billed[name]]
    spool = Spool(soak.app_home)
    killed = ", ".join(f"{number} x {name}" for name, number in sorted(soak.kills.items()))
    print(
        f"{len(billed)} calls billed, {len(soak.promised)} promised, {len(found)} in the ledger, "
        f"{sum(found.values())} USD; {killed}"
    )
    return [
        sentence
        for sentence, holds in (
            (f"{len(lost)} promised calls are lost: {sorted(lost)[:3]}", not lost),
            (f"{len(strange)} calls were never billed: {sorted(strange)[:3]}", not strange),
            (f"{len(differ)} calls differ from the bill: {differ[:3]}", not differ),
            (f"{calls} rows of {spans} calls", calls == spans),
            (f"{traces} rows of {trace_spans} spans", traces == trace_spans),
            (f"{len(spool.segments())} segments are left", not spool.segments()),
            (f"{len(spool.rejected())} segments were put aside", not spool.rejected()),
            ("nothing happened", len(soak.promised) > 0),
        )
        if not holds
    ]


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser("python -m tests.soak")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1000))
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    wrong = soak(chosen.seconds, chosen.seed)
    for sentence in wrong:
        print(sentence)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
