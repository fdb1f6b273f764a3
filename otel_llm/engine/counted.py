"""Which answers that can be asked for again were counted: results of batches, responses in the background.

The home folder remembers it for all processes of the machine, as a number for each hashed id: a script that runs again
reads the same results again. Where two read at once, one of them counts. Where the folder cannot be used, each
process remembers its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Literal
from weakref import WeakValueDictionary, finalize

from otel_llm.call import Call
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
"""By id, in this process."""
_swept: dict[Kind, float] = {}


class Claim:
    """The right to count what is under one id, from now on until nobody has the claim any more."""

    def __init__(self, kind: Kind, id_: str) -> None:
        self._id = id_
        self._file: IO[bytes] | None = None
        self._elsewhere = False
        """Another process is counting it."""
        with suppress(OSError):
            self._open(kind)

    def count(self, line: int) -> bool:
        """Whether this line of it is counted for the first time. Lines begin with 1, and come in their order."""
        with _lock:
            if self._elsewhere or line <= _highest.get(self._id, 0):
                return False
            _highest[self._id] = line
            while len(_highest) > _MOST:
                _highest.popitem(last=False)
            if self._file is not None:
                with suppress(OSError):
                    self._file.seek(0)
                    self._file.write(b"%d" % line)
        return True

    def _open(self, kind: Kind) -> None:
        folder = home() / "counted" / kind
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(folder, kind)
        path = folder / blake2b(self._id.encode(), digest_size=16).hexdigest()
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        finalize(self, file.close)
        self._elsewhere = not _locked(file)
        known = file.read()
        _highest[self._id] = max(_highest.get(self._id, 0), int(known) if known.isdigit() else 0)
        self._file = file


def claim(kind: Kind, teller: Call | Late, id_: str) -> Claim:
    """The claim to what a server has under this id; all of this process who have one share it."""
    id_ = f"{teller.provider} {teller.server_address}:{teller.server_port} {id_}"
    with _lock:
        found = _claims.get(id_)
        if found is None:
            found = _claims[id_] = Claim(kind, id_)
        return found


def _sweep(folder: Path, kind: Kind) -> None:
    """Remove what is too old to be asked for."""
    now = time.time()
    if now - _swept.get(kind, 0) < _SWEEP_SECONDS:
        return
    _swept[kind] = now
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another process sweeps, too
            if file.stat().st_mtime < now - _KEPT_SECONDS[kind]:
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
