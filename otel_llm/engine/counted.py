"""Which answers that can be asked for again were counted: results of batches, responses in the background.

The home folder remembers it for all processes of the machine, in a file for each hashed id, with the last line that was
counted of a batch, or with the hashed names of all that were, where its lines have names and no order: a script that
runs again reads the same results again. Where two read at once, one of them counts.
Where the folder cannot be used, each process remembers its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import IO, Literal
from weakref import WeakValueDictionary, finalize

from otel_llm.call import Call
from otel_llm.late import later
from otel_llm.settings import home
from otel_llm.spec import Late

Kind = Literal["batches", "background"]

_MOST = 100_000
_KEPT_SECONDS: dict[Kind, int] = {"batches": 60 * 86_400, "background": 600}
"""Providers keep results of batches for a month. A response that ended minutes ago was counted where it ended."""
_SWEEP_SECONDS = 60
_lock = threading.RLock()
_claims: WeakValueDictionary[str, Claim] = WeakValueDictionary()
_highest: OrderedDict[str, int] = OrderedDict()
"""By id, and by id and name of a line, in this process."""
_swept: dict[Kind, float] = {}


class Claim:
    """The right to count the lines of a batch, from now on until nobody has the claim any more."""

    def __init__(self, id_: str) -> None:
        self._id = id_
        self._file: IO[bytes] | None = None
        self._names: frozenset[str] = frozenset()
        """Those of the lines that were counted until now, hashed."""
        self._elsewhere = False
        """Another process is counting it."""
        with suppress(OSError):
            self._open()

    def count(self, line: int | str) -> bool:
        """Whether this line of it is counted for the first time: a name, or a number.

        Numbers begin with 1, and come in their order; names come in any.
        """
        name = _hashed(line) if isinstance(line, str) else ""
        with _lock:
            if self._elsewhere or name in self._names:
                return False
            if not _is_news(self._id + name, line if isinstance(line, int) else 1):
                return False
            if self._file is not None:
                with suppress(OSError):
                    self._file.seek(0, os.SEEK_END if name else os.SEEK_SET)
                    self._file.write(f"{name}\n".encode() if name else b"%d" % line)
        return True

    def _open(self) -> None:
        file = os.fdopen(os.open(_path("batches", self._id), os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        finalize(self, file.close)
        self._elsewhere = not _locked(file)
        known = file.read().decode(errors="replace")
        _highest[self._id] = max(_highest.get(self._id, 0), int(known) if known.isdigit() else 0)
        self._names = frozenset(known.split("\n")[:-1])
        self._file = file


def claim(teller: Call | Late, id_: str) -> Claim:
    """The claim to the batch that a server has under this id; all of this process who have one share it."""
    id_ = _at(teller, id_)
    with _lock:
        found = _claims.get(id_)
        if found is None:
            found = _claims[id_] = Claim(id_)
        return found


def is_first(teller: Call | Late, id_: str, *, just_begun: bool = False) -> bool:
    """Whether the answer that a server has under this id is counted for the first time.

    What this process has `just_begun` nobody else can know yet: that it is counted is written soon, not waited for.
    """
    id_ = _at(teller, id_)
    with _lock:
        if not _is_news(id_, 1):
            return False
    if just_begun:
        later(partial(_claimed, id_))
        return True
    return _claimed(id_)


def _claimed(id_: str) -> bool:
    with suppress(OSError):
        try:
            os.close(os.open(_path("background", id_), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
    return True


def _at(teller: Call | Late, id_: str) -> str:
    return f"{teller.provider} {teller.server_address}:{teller.server_port} {id_}"


def _hashed(name: str) -> str:
    return blake2b(name.encode(), digest_size=16).hexdigest()


def _is_news(id_: str, line: int) -> bool:
    """Whether this process has not counted so far yet; from now on it has."""
    if line <= _highest.get(id_, 0):
        return False
    _highest[id_] = line
    while len(_highest) > _MOST:
        _highest.popitem(last=False)
    return True


def _path(kind: Kind, id_: str) -> str:
    """The file of an id. What is too old to be asked for is removed, now and then."""
    folder, now = f"{home()}/counted/{kind}", time.time()
    if now - _swept.get(kind, 0) >= _SWEEP_SECONDS or not os.access(folder, os.W_OK):
        _swept[kind] = now
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(Path(folder), now - _KEPT_SECONDS[kind])
    return f"{folder}/{_hashed(id_)}"


def _sweep(folder: Path, oldest: float) -> None:
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another process sweeps, too
            if file.stat().st_mtime < oldest:
                file.unlink()


def _locked(file: IO[bytes]) -> bool:
    try:
        import fcntl
    except ImportError:  # on Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()
    _claims.clear()  # a lock that is shared with the parent is none


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
