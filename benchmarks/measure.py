"""The measurements. All subjects take turns in each round, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rich.console import Console

from benchmarks.processes import Worker, start
from benchmarks.subjects import OURS, Subject, SubjectError, prepare

_Found = TypeVar("_Found")
_SPANS_ONLY = f"{OURS.name}, spans only"
_LEAST = "one span"
"""What any instrumentation costs at least, in our environment."""
# Pairs of blocks per round, and calls per block, by kind. A round of plain calls is long enough for the ledger, which
# writes once a second, to work as it does in an application.
_CALLS = {"plain": (100, 2), "stream": (12, 1)}
_WAYS = {"async plain": "async", "async stream": "async", "action plain": "two calls of an interaction"}
"""Further rows of ours, by kind."""
SEGMENTS = (512, 5, 1)
"""Spans per segment: a full one, a quiet second, a single call."""
_COUNTED = 2
_FEWEST = 2


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
    def share(self) -> float:
        """Added in relation to bare, by their medians."""
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
        """Files of the working directory that we made or changed."""
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

    def _complete(self, found: dict[str, _Found]) -> dict[str, _Found]:
        return {name: value for name, value in found.items() if name not in self.unable}

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
            others = ((name, OURS) for name in (_SPANS_ONLY, _LEAST))
            for name, subject in (*((subject.name, subject) for subject in self.subjects), *others):
                with self._turn(name, "calls"):
                    workers[name] = stack.enter_context(Worker(subject.environment, name))
                    workers[name].ask("warm", kinds=[call.kind for call in _calls_of(name)])
                    for call in _calls_of(name):
                        count = workers[name].ask("count", kind=call.kind, calls=_COUNTED)
                        found[call.table][call.row] = Pairs(functions=count["full"] - count["bare"])
            for number in _rounds(seconds):
                self.yardstick.append(_yardstick())
                for name, worker in workers.items():
                    with self._turn(name, f"calls, round {number}"):
                        for call in _calls_of(name) if name not in self.unable else ():
                            blocks, calls = _CALLS[call.table]
                            pairs = worker.ask("compare", kind=call.kind, blocks=blocks, calls=calls)
                            found[call.table][call.row].add(**pairs)
            self.litter.update(workers[OURS.name].litter())
        return {kind: self._complete(rows) for kind, rows in found.items()}

    def starts(self, seconds: float) -> dict[str, tuple[Pairs, Pairs]]:
        """CPU seconds and peak MB of an application that imports openai, by subject."""
        found: dict[str, tuple[Pairs, Pairs]] = {}
        with tempfile.TemporaryDirectory() as folder:
            for number in _rounds(seconds):
                for subject in self.subjects:
                    with self._turn(subject.name, f"start-up, round {number}"):
                        bare = start(subject.environment, ("python",), Path(folder))
                        full = start(subject.environment, subject.start, Path(folder))
                        self.litter.update(full.litter if subject is OURS else ())
                        if number > 1:  # the first start fills the machine's caches
                            cpu, memory = found.setdefault(subject.name, (Pairs(), Pairs()))
                            cpu.add([bare.cpu], [full.cpu])
                            memory.add([bare.memory], [full.memory])
        return self._complete(found)

    def growth(self, sizes: Sequence[int]) -> dict[str, dict[str, list[int]]]:
        """What a process holds after these numbers of plain calls, without and with us."""

        def grow(name: str) -> dict[str, list[int]]:
            with Worker(OURS.environment, name) as worker:
                worker.ask("warm", kinds=("plain",))
                return worker.ask("growth", sizes=sizes)

        names = ("bare", OURS.name)
        with self._turn(OURS.name, f"{sizes[-1]:,} calls"), ThreadPoolExecutor() as pool:
            return dict(zip(names, pool.map(grow, names), strict=True))

    def steps(self, number: int) -> dict[str, list[float]]:
        """CPU microseconds per step of an agent, by how its framework tells of it."""
        with self._turn(OURS.name, "steps of an agent"), Worker(OURS.environment, OURS.name) as worker:
            worker.ask("warm", kinds=("plain",))
            return worker.ask("steps", number=number)

    def store(self, rounds: int) -> dict[str, Any]:
        """What `inside.py` found out about segments."""
        with self._turn(OURS.name, "segments"), Worker(OURS.environment, OURS.name) as worker:
            worker.ask("warm", kinds=("plain",))
            return worker.ask("store", sizes=SEGMENTS, rounds=rounds)


class _Call(NamedTuple):
    kind: str
    """As `inside.py` knows it."""
    table: str
    row: str


def _calls_of(subject: str) -> Iterator[_Call]:
    # A span of its own sees nothing of a stream.
    for kind in ("plain",) if subject == _LEAST else _CALLS:
        yield _Call(kind, kind, subject)
    if subject == OURS.name:
        for kind, way in _WAYS.items():
            yield _Call(kind, kind.partition(" ")[2], f"{subject}, {way}")


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
