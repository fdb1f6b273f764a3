"""Start-up: beside other distributions, and without weight."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from examples.offline_provider import OfflineProvider
from tests.zero_code.conftest import INSTRUMENT, Workplace, calls, ledger
from tests.zero_code.test_scripts import SCRIPT, assert_ledger_is_bill

OTHER = """
from opentelemetry import trace
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.sdk.trace import TracerProvider

class Distro(BaseDistro):
    def _configure(self, **kwargs):
        print("the other distribution")

class Configurator:
    def configure(self, **kwargs):
        trace.set_tracer_provider(TracerProvider())
"""
ENTRY_POINTS = """
[opentelemetry_distro]
other = other_distribution:Distro

[opentelemetry_configurator]
other = other_distribution:Configurator
"""


@pytest.fixture
def other_distribution(tmp_path: Path) -> str:
    """A distribution of somebody else, installed before ours on the path."""
    place = tmp_path / "other"
    metadata = place / "other_distribution-1.0.dist-info"
    metadata.mkdir(parents=True)
    (place / "other_distribution.py").write_text(OTHER)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-distribution\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return str(place)


@pytest.mark.parametrize(
    "chosen", [{}, {"OTEL_PYTHON_DISTRO": "other", "OTEL_PYTHON_CONFIGURATOR": "other"}], ids=["first", "chosen"]
)
def test_the_ledger_is_kept_under_another_distribution(
    chosen: dict[str, str], other_distribution: str, workplace: Workplace, provider: OfflineProvider
) -> None:
    done = workplace.run(*INSTRUMENT, *SCRIPT, PYTHONPATH=other_distribution, **chosen)
    assert done.returncode == 3
    assert done.stdout.startswith("the other distribution\n")
    assert_ledger_is_bill(calls(ledger(workplace.home)), provider)


def test_ours_can_be_chosen(other_distribution: str, workplace: Workplace, provider: OfflineProvider) -> None:
    ours = {"OTEL_PYTHON_DISTRO": "otel_llm", "OTEL_PYTHON_CONFIGURATOR": "otel_llm"}
    done = workplace.run(*INSTRUMENT, *SCRIPT, PYTHONPATH=other_distribution, **ours)
    assert done.returncode == 3
    assert "the other" not in done.stdout
    assert_ledger_is_bill(calls(ledger(workplace.home)), provider)


def test_start_up_is_light(workplace: Workplace) -> None:
    """No thread, no file, and no module that only a call or the command line needs."""
    heavy = (
        "chdb",
        "clickhouse_connect",
        "click",
        "genai_prices",
        "grpc",
        "rich",
        "tiktoken",
        "openai",
        "httpx",
        "flask",
    )
    configurator = "opentelemetry.sdk._configuration"
    program = (
        "import sys, threading; "
        f"print([name for name in {(*heavy, configurator)} if name in sys.modules], threading.active_count())"
    )
    done = workplace.run(*INSTRUMENT, sys.executable, "-c", program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[] 1\n", "")
    assert not workplace.home.exists()
