"""Settings from the environment, in the OpenTelemetry style."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder of spool, store and prices: `OTEL_LLM_HOME`, else the platform's data folder."""
    chosen = os.environ.get("OTEL_LLM_HOME")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("otel-llm", appauthor=False))


def price_file() -> Path | None:
    """The user's own prices: the file that `OTEL_LLM_PRICES` names."""
    chosen = os.environ.get("OTEL_LLM_PRICES")
    return Path(chosen).expanduser() if chosen else None
