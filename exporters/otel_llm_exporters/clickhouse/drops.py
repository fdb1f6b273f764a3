"""What gave way: spans that are in no segment, or no longer, counted where `otel-llm doctor` finds them.

The file is `<home>/spool/dropped`: a line of JSON for what one process dropped for one reason in up to a minute.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

_logger = logging.getLogger(__name__)
_PAUSE = 60.0

Reason = Literal["disk", "full", "age"]
REASONS: dict[Reason, str] = {
    "disk": "the disk refused them, or was too slow for them, until the memory for them was full",
    "full": "the spool had reached OTEL_LLM_SPOOL_MAX_BYTES",
    "age": "they had waited for longer than OTEL_LLM_SPOOL_MAX_AGE",
}

REMEDIES: dict[Reason, str] = {
    "disk": "Make room on a disk that answers, or set OTEL_LLM_HOME",
    "full": "Import the spool more often (any `otel-llm` command does), or raise OTEL_LLM_SPOOL_MAX_BYTES",
    "age": "Import the spool more often (any `otel-llm` command does), or raise OTEL_LLM_SPOOL_MAX_AGE",
}


@dataclass(frozen=True, slots=True)
class Drop:
    """What one process dropped for one reason, until that moment."""

    at: datetime
    reason: Reason
    spans: int
    segments: int
    """Those of them that had been on disk."""


class Drops:
    """Counts what gives way, and says so: in the log once per episode, in the file at most once a minute."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a child process: what the parent dropped, the parent reports."""
        # A finalizer may end a span in the middle of a count.
        self._lock = threading.RLock()
        self._spans: Counter[Reason] = Counter()
        self._unsaved: dict[Reason, tuple[int, int]] = {}
        self._saved = float("-inf")
        self._last: dict[Reason, float] = {}

    @property
    def spans(self) -> int:
        """What this process dropped so far."""
        return self._spans.total()

    def count(self, reason: Reason, spans: int, segments: int = 0) -> None:
        """Note a loss. Cheap: nothing is written."""
        with self._lock:
            self._spans[reason] += spans
            before = self._unsaved.get(reason, (0, 0))
            self._unsaved[reason] = before[0] + spans, before[1] + segments

    def report(self, *, now: bool = False) -> None:
        """Log new episodes, and add to the file what is not in it, unless that was done within the last minute."""
        for reason in tuple(self._unsaved):
            began = time.monotonic() - self._last.get(reason, float("-inf")) > _PAUSE
            self._last[reason] = time.monotonic()
            if began:
                _logger.error(
                    "otel-llm drops spans, because %s (%s): `otel-llm doctor` counts them and says what to do.",
                    REASONS[reason],
                    self.path.parent,
                )
        if self._unsaved and (now or time.monotonic() - self._saved > _PAUSE):
            # A disk that refuses spans may refuse this, too: then the next report brings it.
            with suppress(OSError):
                self._save()

    def close(self) -> None:
        """Report for the last time, with the sum."""
        self.report(now=True)
        if self.spans:
            reasons = "; ".join(f"{count}: {REASONS[reason]}" for reason, count in self._spans.items())
            _logger.error("otel-llm lost %d spans of this process (%s).", self.spans, reasons)
            self._spans.clear()

    def read(self) -> list[Drop]:
        """Return what all processes dropped since somebody deleted the file. Raises OSError."""
        found: list[Drop] = []
        with suppress(FileNotFoundError):
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                # A process may have been killed within a line.
                with suppress(ValueError, TypeError, KeyError):
                    drop = json.loads(line)
                    at = datetime.fromisoformat(drop["at"])
                    if drop["reason"] in REASONS:
                        found.append(Drop(at, drop["reason"], drop["spans"], drop["segments"]))
        return found

    def _save(self) -> None:
        with self._lock:
            unsaved, at = self._unsaved, datetime.now(UTC).isoformat(timespec="seconds")
            lines = [
                json.dumps({"at": at, "reason": reason, "spans": spans, "segments": segments}) + "\n"
                for reason, (spans, segments) in unsaved.items()
            ]
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(lines))
            self._saved, self._unsaved = time.monotonic(), {}
