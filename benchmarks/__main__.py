"""`python -m benchmarks`: measure, print, and with `--write` keep the results in the README."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import sdks
from benchmarks.inside import CHUNKS
from benchmarks.measure import SEGMENTS, Bench, Pairs
from benchmarks.report import Table, show, spread, write
from benchmarks.subjects import OURS, PEERS, SubjectError

_GROWTH = (1_000, 11_000)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="What otel-llm costs the application.")
    parser.add_argument("--no-peers", action="store_true", help="measure otel-llm alone")
    parser.add_argument("--quick", action="store_true", help="a few rounds of otel-llm alone, in a minute")
    parser.add_argument("--write", action="store_true", help="keep the results in benchmarks/README.md")
    chosen = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    bench = Bench((OURS,) if chosen.quick or chosen.no_peers else (OURS, *PEERS), console)
    try:
        tables = _tables(bench, quick=chosen.quick)
    except SubjectError as error:
        sys.exit(f"otel-llm cannot be measured: {error}")
    show(tables, console)
    if chosen.write:
        console.print(f"Written to {write(tables).name}.")


@dataclass(frozen=True)
class _Measure:
    """Something that every subject adds to the bare SDK."""

    title: str
    bound: str
    unit: str
    pairs: dict[str, Pairs]
    digits: int = 0
    scale: int = 1
    by_share: bool = False
    """Subjects are compared by what they add in relation to the bare SDK in the same moments, not by what they add."""

    def added(self, name: str) -> str:
        """The median, with its unit."""
        return f"{statistics.median(self.pairs[name].added) / self.scale:.{self.digits}f} {self.unit}"

    def best_peer(self) -> str | None:
        """The peer that adds least."""
        return min((peer.name for peer in PEERS if peer.name in self.pairs), key=self._weight, default=None)

    def of_best_peer(self, name: str) -> str:
        """How many times what the best peer adds; nothing when there is none."""
        best = self.best_peer()
        return f"{self._weight(name) / self._weight(best):.2f}" if best else ""

    def table(self, unable: dict[str, str]) -> Table:
        """All subjects, the ones that could not be measured with the reason."""
        counted = any(found.functions for found in self.pairs.values())
        columns = ("", f"bare, {self.unit}", "added", "by minimum", "added / bare", "of best peer")
        table = Table(self.title, (*columns, "functions called") if counted else columns)
        for name, found in self.pairs.items():
            table.add(
                name,
                f"{statistics.median(found.bare) / self.scale:.{self.digits}f}",
                spread([added / self.scale for added in found.added], self.digits),
                f"{found.added_to_minimum / self.scale:.{self.digits}f}",
                f"{found.share:.1%}",
                self.of_best_peer(name),
                *([f"{found.functions / self.scale:.{self.digits}f}"] if found.functions else []),
            )
        for name, reason in unable.items():
            if name not in self.pairs:
                table.add(name, reason)
        return table

    def _weight(self, name: str) -> float:
        found = self.pairs[name]
        return found.share if self.by_share else statistics.median(found.added)


def _tables(bench: Bench, *, quick: bool) -> list[Table]:
    began, load = time.monotonic(), os.getloadavg()[0]
    bench.install()
    calls = bench.calls(10 if quick else 210)
    starts = bench.starts(5 if quick else 110)
    sizes = [size // 10 for size in _GROWTH] if quick else _GROWTH
    growth = bench.growth(sizes)
    steps = bench.steps(100 if quick else 1_000)
    store = bench.store(5 if quick else 15)
    cpu = {name: pairs[0] for name, pairs in starts.items()}
    memory = {name: pairs[1] for name, pairs in starts.items()}
    # The bounds were set on a machine where the best peer took 172 µs for a call and 6.9 µs for a chunk.
    plain_bound, stream_bound = (
        f"{ours} µs, {ours / best:.2f} of the best peer" for ours, best in ((100, 172), (3, 6.9))
    )
    stream = f"CPU of a stream, per chunk of {CHUNKS}"
    measures = (
        _Measure("CPU of a plain call", plain_bound, "µs", calls["plain"], by_share=True),
        _Measure(stream, stream_bound, "µs", calls["stream"], digits=1, scale=CHUNKS, by_share=True),
        _Measure("CPU of start-up", "0.3 s", "s", cpu, digits=2),
        _Measure("Peak of memory at start-up", "15 MB", "MB", memory, digits=1),
    )
    machine = Table(
        "Machine and versions",
        ("", ""),
        rows=[
            ("machine", f"{os.cpu_count()} x {_processor()}, {platform.system()}"),
            ("`sum(range(100_000))`", f"{spread(bench.yardstick, 2)} ms of CPU"),
            ("load average at the start", f"{load:.1f}"),
            ("Python", platform.python_version()),
            *((name, _versions(bench, name)) for name in bench.versions),
            ("time for this run", f"{time.monotonic() - began:.0f} s"),
        ],
    )
    bounds = Table("The bounds, and what otel-llm adds", ("", "bound", "measured", "of best peer", "best peer"))
    for measure in measures:
        best = measure.best_peer()
        peer = (measure.of_best_peer(OURS.name), f"{best}, {measure.added(best)}") if best else ()
        bounds.add(measure.title, measure.bound, measure.added(OURS.name), *peer)
    best = measures[0].best_peer()
    call = statistics.median(measures[0].pairs[best].added) if best else 0
    for way, spent in steps.items():
        peer = (f"{statistics.median(spent) / call:.2f}", f"{best}'s call") if best else ()
        bounds.add(f"CPU of an agent's step, told by {way}", f"{plain_bound}'s call", f"{spread(spent)} µs", *peer)
    (before, after), more = growth[OURS.name]["blocks"], sizes[1] - sizes[0]
    bounds.add(f"Allocated blocks that stay, per call, of {more:,}", "0", f"{(after - before) / more:.3f}")
    bounds.add("Bytes per span in a full segment", "120", f"{store['bytes'][str(SEGMENTS[0])]:.0f}")
    bounds.add("Files touched in the working directory", "0", str(len(bench.litter)))
    return [
        machine,
        bounds,
        *(measure.table(bench.unable) for measure in measures),
        _growth(growth, sizes),
        _store(store),
        *([] if quick else sdks.tables()),
    ]


def _growth(growth: dict[str, dict[str, list[int]]], sizes: Sequence[int]) -> Table:
    table = Table("Memory of a process that goes on calling", ("", *(f"after {size:,} calls" for size in sizes)))
    for name, held in growth.items():
        table.add(f"{name}, peak in MB", *(f"{size / 1e6:.1f}" for size in held["peaks"]))
        table.add(f"{name}, allocated blocks", *(f"{blocks:,}" for blocks in held["blocks"]))
    return table


def _store(store: dict[str, Any]) -> Table:
    table = Table("The ledger, per span", ("", ""))
    for size, found in store["bytes"].items():
        table.add(f"bytes in the spool, {size} spans per segment", f"{found:.0f}")
    table.add("bytes as OTLP, uncompressed", f"{store['otlp']:.0f}")
    table.add("CPU from a span to a durable segment, µs", spread(store["stored"]))
    table.add("CPU of OTLP encoding alone, µs", spread(store["encoded"]))
    ratio = statistics.median(store["stored"]) / statistics.median(store["encoded"])
    table.add("stored / encoded", f"{ratio:.2f}")
    return table


def _versions(bench: Bench, name: str) -> str:
    subject = next(subject for subject in (OURS, *PEERS) if subject.name == name)
    shown = (subject.packages[0], "openai", "opentelemetry-sdk")
    return ", ".join(f"{package} {bench.versions[name].get(package, '?')}" for package in shown)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
