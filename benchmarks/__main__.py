"""`python -m benchmarks`: measure, print, and with `--write` keep the results in the README."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.inside import CHUNKS
from benchmarks.measure import ASYNC, SEGMENTS, SPANS_ONLY, Bench, Pairs
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
    console = Console()
    bench = Bench((OURS,) if chosen.quick or chosen.no_peers else (OURS, *PEERS), console)
    try:
        tables = _tables(bench, quick=chosen.quick)
    except SubjectError as error:
        sys.exit(f"otel-llm cannot be measured: {error}")
    show(tables, console)
    if chosen.write:
        console.print(f"Written to {write(tables).name}.")


def _tables(bench: Bench, *, quick: bool) -> list[Table]:
    began, load = time.monotonic(), os.getloadavg()[0]
    bench.install()
    calls = bench.calls(10 if quick else 240)
    starts = bench.starts(5 if quick else 120)
    sizes = [size // 10 for size in _GROWTH] if quick else _GROWTH
    growth = bench.growth(sizes)
    store = bench.store(5 if quick else 15)
    cpu = {name: pairs[0] for name, pairs in starts.items()}
    memory = {name: pairs[1] for name, pairs in starts.items()}
    machine = Table(
        "Machine and versions",
        ("", ""),
        rows=[
            ("machine", f"{os.cpu_count()} x {_processor()}, {platform.system()}"),
            ("`sum(range(100_000))`", f"{spread(bench.yardstick, 2)} ms of CPU"),
            ("load average at the start", f"{load:.1f}"),
            ("Python", platform.python_version()),
            *((name, _versions(bench, name)) for name in bench.versions),
            ("time for this run", f"{(time.monotonic() - began) / 60:.0f} minutes"),
        ],
    )
    bounds = Table("The bounds", ("", "bound", "measured", "best peer"))
    for title, bound, unit, pairs, scale, digits in (
        ("CPU added to a plain call", "100 µs", "µs", calls["plain"], 1, 0),
        ("CPU added per chunk of a stream", "3 µs", "µs", calls["stream"], CHUNKS, 1),
        ("CPU added to start-up", "0.3 s", "s", cpu, 1, 2),
        ("memory added to start-up", "15 MB", "MB", memory, 1, 1),
    ):
        best = _best(pairs)
        ours = statistics.median(pairs[OURS.name].added) / scale
        bounds.add(title, bound, f"{ours:.{digits}f} {unit}", f"{best / scale:.{digits}f} {unit}" if best else "")
    before, after = growth[OURS.name]["blocks"]
    bounds.add(
        f"blocks of memory per call, over {sizes[1] - sizes[0]:,} calls",
        "0",
        f"{(after - before) / (sizes[1] - sizes[0]):.3f}",
    )
    bounds.add("bytes per span in a full segment", "120", f"{store['bytes'][str(SEGMENTS[0])]:.0f}")
    bounds.add("files left in the working directory", "0", str(len(bench.litter)))
    return [
        machine,
        bounds,
        _compared("CPU of a plain call", "µs", calls["plain"], bench.unable),
        _compared(f"CPU of a stream, per chunk of {CHUNKS}", "µs", calls["stream"], bench.unable, CHUNKS, 1),
        _compared("CPU of start-up", "s", cpu, bench.unable, digits=2),
        _compared("Memory after start-up", "MB", memory, bench.unable, digits=1),
        _growth(growth, sizes),
        _store(store),
    ]


def _compared(
    title: str, unit: str, pairs: dict[str, Pairs], unable: dict[str, str], scale: int = 1, digits: int = 0
) -> Table:
    columns = ("", f"bare, {unit}", f"added, {unit}", "added, by minimum", "added / bare", "added / best peer")
    if any(found.functions for found in pairs.values()):
        columns += ("functions called",)
    table = Table(title, columns)
    best = _best(pairs)
    for name, found in pairs.items():
        if name not in unable:
            added = [value / scale for value in found.added]
            table.add(
                name,
                f"{statistics.median(found.bare) / scale:.{digits}f}",
                spread(added, digits),
                f"{found.added_to_minimum / scale:.{digits}f}",
                f"{found.ratio:.1%}",
                f"{statistics.median(found.added) / best:.2f}" if best else "",
                *([f"{found.functions / scale:.{digits}f}"] if found.functions else []),
            )
    for name, reason in unable.items():
        table.add(name, reason)
    return table


def _best(pairs: dict[str, Pairs]) -> float | None:
    ours = (OURS.name, SPANS_ONLY, ASYNC)
    return min((statistics.median(found.added) for name, found in pairs.items() if name not in ours), default=None)


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
