"""The processes that are measured: one that takes orders, and ones that only start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.subjects import Environment, SubjectError, last_line

_INSIDE = Path(__file__).with_name("inside.py")
_APP = "import openai\n"


class Worker:
    """`inside.py` at work on one subject."""

    def __init__(self, environment: Environment, subject: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        home = Path(self._folder.name)
        self._application = _application(home)
        self._errors = (home / "errors").open("w+")
        self._process = subprocess.Popen(
            [environment.programs / "python", "-P", _INSIDE, subject],
            cwd=self._application,
            env=environment.variables(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, order: str, **arguments: Any) -> Any:
        """The result of one measurement. Raises SubjectError with what the process said last."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"order": order, **arguments}) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise SubjectError(last_line(self._errors.read()))
        return json.loads(line)

    def litter(self) -> list[str]:
        """The files of its working directory that it made or changed."""
        return _touched(self._application)

    def close(self) -> None:
        """End the process."""
        # Not by SIGTERM: one that comes while Python is about to wait for the next order is handled after that order.
        self._process.kill()
        self._process.wait()
        self._errors.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Start:
    """What a process needed to start and to end."""

    cpu: float
    """Seconds."""
    memory: float
    """Peak, in MB."""
    litter: list[str]
    """The files of its working directory that it made or changed."""


def start(environment: Environment, command: tuple[str, ...], home: Path) -> Start:
    """Run `command` with an application that does nothing but import openai. Raises SubjectError."""
    application = _application(home)
    program = environment.programs / command[0]
    if not program.exists():
        raise SubjectError(f"there is no {command[0]}")
    with tempfile.TemporaryFile("w+") as errors:
        # The peak of a child counts from its fork, so that this process must stay smaller than `import openai` is.
        process = subprocess.Popen(
            [program, *command[1:], "app.py"],
            cwd=application,
            env=environment.variables(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SubjectError(last_line(errors.read()))
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    return Start(used.ru_utime + used.ru_stime, used.ru_maxrss / unit, _touched(application))


def _application(home: Path) -> Path:
    folder = home / "application"
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(_APP)
    return folder


def _touched(application: Path) -> list[str]:
    return [path.name for path in application.iterdir() if path.name != "app.py" or path.read_text() != _APP]
