"""The measurements. All subjects take turns in each round, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.processes import Worker, start
from benchmarks.subjects import OURS, Subject, SubjectError, prepare

SPANS_ONLY = f"{OURS.name}, spans only"
ASYNC = f"{OURS.name}, async"
_CALLS = {"plain": (20, 2), "stream": (4, 1)}
"""Pairs of blocks per round, and calls per block, by kind."""
SEGMENTS = (512, 5, 1)
"""Spans per segment: a full one, a quiet second, a single call."""
_COUNTED = 2
_FEWEST = 3


@dataclass
class Pairs:
    """Measurements without and with a subject, right after each other."""

    bare: list[float] = field(default_factory=list[float])
    full: list[float] = field(default_factory=list[float])
    functions: float | None = None
    """Function calls that it adds, where that was counted."""

    def add(self, bare: Sequence[float], full: Sequence[float]) -> None:
        """More pairs."""
        self.bare += bare
        self.full += full

    @property
    def added(self) -> list[float]:
        """By the subject, in each pair."""
        return [full - bare for full, bare in zip(self.full, self.bare, strict=True)]

    @property
    def added_to_minimum(self) -> float:
        """The least measurement with it, less the least one without."""
        return min(self.full) - min(self.bare)

    @property
    def ratio(self) -> float:
        """Added to bare, by their medians."""
        return statistics.median(self.added) / statistics.median(self.bare)


class Bench:
    """One run over some subjects. One that cannot be measured takes no further turns, and `unable` says why."""

    def __init__(self, subjects: Sequence[Subject], console: Console) -> None:
        self._subjects = subjects
        self._console = console
        self.versions: dict[str, dict[str, str]] = {}
        """By subject and distribution."""
        self.unable: dict[str, str] = {}
        self.litter: set[str] = set()
        """Files that somebody left in the working directory."""
        self.yardstick: list[float] = []
        """Milliseconds of CPU for `sum(range(100_000))`, once per round."""

    @property
    def subjects(self) -> list[Subject]:
        """Those that could be measured so far."""
        return [subject for subject in self._subjects if subject.name not in self.unable]

    @contextmanager
    def _turn(self, name: str, what: str) -> Generator[None]:
        with self._console.status(f"{name}: {what}"):
            try:
                yield
            except SubjectError as error:
                if name.startswith(OURS.name):
                    raise
                self.unable[name] = f"{what}: {error}"

    def install(self) -> None:
        """Make an environment for each."""
        for subject in self.subjects:
            with self._turn(subject.name, "installation"):
                self.versions[subject.name] = prepare(subject)

    def calls(self, seconds: float) -> dict[str, dict[str, Pairs]]:
        """CPU microseconds per call, by kind and by row."""
        found: dict[str, dict[str, Pairs]] = {kind: {} for kind in _CALLS}
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for name, subject in [*((subject.name, subject) for subject in self.subjects), (SPANS_ONLY, OURS)]:
                with self._turn(name, "calls"):
                    workers[name] = stack.enter_context(Worker(subject.environment, name))
                    workers[name].ask("warm", kinds=[turn[3] + turn[2] for turn in _turns([name])])
            for name, row, kind, prefix in _turns(workers):
                if name not in self.unable:
                    with self._turn(name, f"functions of {prefix}{kind} calls"):
                        count = workers[name].ask("count", kind=prefix + kind, calls=_COUNTED)
                        found[kind][row] = Pairs(functions=count["full"] - count["bare"])
            for number in _rounds(seconds):
                self.yardstick.append(_yardstick())
                for name, row, kind, prefix in _turns(workers):
                    if name not in self.unable:
                        with self._turn(name, f"{prefix}{kind} calls, round {number}"):
                            blocks, calls = _CALLS[kind]
                            pairs = workers[name].ask("compare", kind=prefix + kind, blocks=blocks, calls=calls)
                            found[kind][row].add(**pairs)
            for worker in workers.values():
                self.litter.update(worker.litter())
        return found

    def starts(self, seconds: float) -> dict[str, tuple[Pairs, Pairs]]:
        """CPU seconds and peak MB of an application that imports openai, by subject."""
        found: dict[str, tuple[Pairs, Pairs]] = {}
        with tempfile.TemporaryDirectory() as folder:
            for number in _rounds(seconds):
                for subject in self.subjects:
                    with self._turn(subject.name, f"start-up, round {number}"):
                        bare = start(subject.environment, ("python",), Path(folder))
                        full = start(subject.environment, subject.start, Path(folder))
                        self.litter.update(full.litter)
                        if number > 1:  # the first start fills the machine's caches
                            cpu, memory = found.setdefault(subject.name, (Pairs(), Pairs()))
                            cpu.add([bare.cpu], [full.cpu])
                            memory.add([bare.memory], [full.memory])
        return found

    def growth(self, sizes: Sequence[int]) -> dict[str, dict[str, list[int]]]:
        """What a process holds after these numbers of plain calls, without and with us."""

        def grow(name: str) -> dict[str, list[int]]:
            with Worker(OURS.environment, name) as worker:
                worker.ask("warm", kinds=("plain",))
                return worker.ask("growth", sizes=sizes)

        names = ("bare", OURS.name)
        with self._turn(OURS.name, f"{sizes[-1]:,} calls"), ThreadPoolExecutor() as pool:
            return dict(zip(names, pool.map(grow, names), strict=True))
        return {}

    def store(self, rounds: int) -> dict[str, Any]:
        """What `inside.py` found out about segments."""
        with self._turn(OURS.name, "segments"), Worker(OURS.environment, OURS.name) as worker:
            worker.ask("warm", kinds=("plain",))
            return worker.ask("store", sizes=SEGMENTS, rounds=rounds)


def _turns(workers: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    for name in workers:
        for kind in _CALLS:
            yield name, name, kind, ""
            if name == OURS.name:
                yield name, ASYNC, kind, "async "


def _rounds(seconds: float) -> Iterator[int]:
    """Numbers from 1, as long as there is time."""
    end = time.monotonic() + seconds
    number = 1
    while number <= _FEWEST or time.monotonic() < end:
        yield number
        number += 1


def _yardstick() -> float:
    before = time.process_time_ns()
    sum(range(100_000))
    return (time.process_time_ns() - before) / 1e6
