"""An application's home, filled once by a real application, and the command line as people run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.offline_provider import BillEntry, OfflineProvider

BIN = Path(sys.executable).parent
APP = """
import openai, otel_llm
client = openai.OpenAI()
def ask(model, text, **options):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **options)
with otel_llm.interaction("support.answer", user_id="ada", feature="support", tags={"plan": "pro"}) as it:
    ask("gpt-4o", "One [[offline: 429 once; tokens in=1000 out=100; cache hit 400]]")
    ask("gpt-4o-mini", "Two [[offline: tokens in=2000 out=200; reasoning 50]]")
    it.outcome("answered", success=True)
with otel_llm.interaction("digest.write", user_id="grace", feature="digest", tags={"plan": "free"}):
    stream = ask("gpt-4o-mini", "Three [[offline: chunks 99; slow chunks 50ms]]", stream=True)
    next(iter(stream))
    stream.close()
with otel_llm.interaction("lab.preview", user_id="grace", feature="lab"):
    ask("acme-preview-1", "Four")
"""


class Command:
    """`otel-llm` against one home."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.environment = {**os.environ, "OTEL_LLM_HOME": str(home), **environment}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run it beside the test."""
        return subprocess.Popen(
            [BIN / "otel-llm", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run it; what it prints, on stdout when it succeeds, else on stderr. Fails on another exit code."""
        running = self.start(*arguments)
        out, error = running.communicate(timeout=120)
        assert running.returncode == code, (out, error)
        assert "Traceback" not in error, error
        return error if code else out

    def json(self, *arguments: str) -> Any:
        """What it says in JSON."""
        return json.loads(self(*arguments, "--format", "json"))


def fill(home: Path, app: str) -> list[BillEntry]:
    """Run an application under `opentelemetry-instrument` with this home; the provider's bill for it."""
    with OfflineProvider() as provider:
        environment = {
            **os.environ,
            "OTEL_LLM_HOME": str(home),
            "OPENAI_API_KEY": "offline",
            "OPENAI_BASE_URL": provider.openai_url,
        }
        instrument = [BIN / "opentelemetry-instrument", BIN / "python", "-c", app]
        done = subprocess.run(instrument, env=environment, check=True, timeout=120, capture_output=True, text=True)
        assert "Traceback" not in done.stderr, done.stderr
        provider.settle()
        return list(provider.bill)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[BillEntry]]:
    """A home that an application has written to, and the provider's bill."""
    home = tmp_path_factory.mktemp("filled")
    return home, fill(home, APP)


@pytest.fixture(scope="session")
def bill(filled: tuple[Path, list[BillEntry]]) -> list[BillEntry]:
    """The provider's bill."""
    return filled[1]


@pytest.fixture(scope="session")
def otel_llm(filled: tuple[Path, list[BillEntry]]) -> Command:
    """The command on the filled home."""
    return Command(filled[0])


@pytest.fixture(scope="session")
def spooled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that an application has written to, and that no command has opened."""
    home = tmp_path_factory.mktemp("spooled")
    fill(home, APP)
    return home


@pytest.fixture
def own(spooled: Path, tmp_path: Path) -> Command:
    """The command on a home of the test's own, with the same calls in it."""
    shutil.copytree(spooled, tmp_path / "home")
    return Command(tmp_path / "home")
