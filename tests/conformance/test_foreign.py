"""Beside everybody else's instrumentation, turned on before ours or after it: each call counts once, at its price.

Runs where they are installed: `make matrix` has environments for them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDS = {
    "openllmetry": "opentelemetry.instrumentation.langchain",
    "openinference": "openinference",
    "official": "opentelemetry.instrumentation.genai.openai",
    "logfire": "logfire",
    "openlit": "openlit",
}


def installed(module: str) -> bool:
    """Whether it can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


HERE = [whose for whose, module in NEEDS.items() if installed(module)]
if not HERE:
    pytest.skip("only beside somebody else's instrumentation", allow_module_level=True)


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("whose", HERE)
def test_each_call_counts_once(whose: str, order: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.beside", whose, order],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name: use["counted"] for name, use in found.items()} == {name: use["billed"] for name, use in found.items()}
    layers = {layer for use in found.values() for layer in use["layers"]}
    assert "sdk" in layers
    # Logfire keeps its spans to itself.
    assert ("covered" in layers) is (whose != "logfire")
    assert "incomplete" not in done.stderr
