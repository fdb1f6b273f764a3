"""Settings of spool and ledger, from the environment. What makes no sense is named in a warning, and ignored."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

_logger = logging.getLogger(__name__)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def home() -> Path:
    """Return the folder of spool and store: `OTEL_LLM_HOME`, else the platform's data folder."""
    if chosen := os.environ.get("OTEL_LLM_HOME"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("otel-llm", appauthor=False))


def number(name: str, default: int) -> int:
    """Return a positive whole number from the environment, else `default`."""
    text = os.environ.get(name, "").strip()
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if text:
        _ignore(name, text, "a whole number above 0", default)
    return default


def choice(name: str, default: str, *others: str) -> str:
    """Return one of some words from the environment, else `default`."""
    text = os.environ.get(name, "").strip().lower()
    if text in (default, *others):
        return text
    if text:
        _ignore(name, text, " or ".join((default, *others)), default)
    return default


def duration(name: str) -> int | None:
    """Return a time such as `30d`, `12h`, `45m` or `90s` from the environment, in seconds; None when there is none."""
    text = os.environ.get(name, "").strip().lower()
    match = re.fullmatch(r"([0-9]*[1-9][0-9]*)([smhd])", text)
    if text and not match:
        _ignore(name, text, "a time such as 30d or 12h", "no limit")
    return int(match[1]) * _SECONDS[match[2]] if match else None


def _ignore(name: str, text: str, expected: str, used: object) -> None:
    _logger.warning("%s is %r, but it must be %s: %s is used.", name, text, expected, used)
