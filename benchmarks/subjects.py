"""What is compared, and an environment for each, so that no package of one weighs on another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".bench"
_UV = ROOT / ".tools" / "bin" / "uv"
# Content off and no exporters: the same for all, as each of them spells it.
_SETTINGS = {
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "false",
    "TRACELOOP_TRACE_CONTENT": "false",
    "OPENINFERENCE_HIDE_INPUTS": "true",
    "OPENINFERENCE_HIDE_OUTPUTS": "true",
    "OPENLIT_DISABLE_METRICS": "true",
    "OPENLIT_DISABLE_EVENTS": "true",
    "LOGFIRE_SEND_TO_LOGFIRE": "false",
    "LOGFIRE_CONSOLE": "false",
}


class SubjectError(Exception):
    """A subject cannot be measured, and why."""


@dataclass(frozen=True)
class Subject:
    """One instrumentation of openai."""

    name: str
    """As `inside.py` knows it."""
    packages: tuple[str, ...]
    """Installed beside openai; the version of the first is shown."""
    start: tuple[str, ...] = ("opentelemetry-instrument", "python")
    """Starts an application that was not changed."""

    @property
    def environment(self) -> Environment:
        """Where it is installed."""
        return Environment(FOLDER / self.packages[0])


OURS = Subject("otel-llm", ("otel-llm",))
PEERS = (
    Subject("OpenLLMetry", ("opentelemetry-instrumentation-openai", "opentelemetry-sdk", "opentelemetry-distro")),
    Subject("OpenLIT", ("openlit",), ("openlit-instrument", "python")),
    Subject("OpenInference", ("openinference-instrumentation-openai", "opentelemetry-sdk", "opentelemetry-distro")),
    Subject("OTel GenAI", ("opentelemetry-instrumentation-genai-openai", "opentelemetry-sdk", "opentelemetry-distro")),
    Subject("Logfire", ("logfire",), ("logfire", "run", "--no-summary")),
)


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def programs(self) -> Path:
        """Its `bin`."""
        return self.folder / "bin"

    def install(self, *packages: str) -> None:
        """Make it, or bring it up to date, with the newest of these packages. Raises SubjectError."""
        _uv("venv", "--quiet", "--allow-existing", "--python", sys.executable, str(self.folder))
        options = ("--quiet", "--upgrade", "--compile-bytecode", "--reinstall-package", OURS.name)
        _uv("pip", "install", *options, *packages, VIRTUAL_ENV=str(self.folder))

    def versions(self) -> dict[str, str]:
        """Version by distribution."""
        listed = _uv("pip", "list", "--format", "json", VIRTUAL_ENV=str(self.folder))
        return {entry["name"]: entry["version"] for entry in json.loads(listed)}

    def variables(self, home: Path) -> dict[str, str]:
        """The environment variables of a process in it: nothing of the machine's own settings."""
        prices = home / "prices.json"
        prices.write_text("{}")
        path = f"{self.programs}{os.pathsep}{os.defpath}"
        own = {"OTEL_LLM_HOME": str(home / "otel-llm"), "OPENLIT_PRICING_JSON": str(prices)}
        return {"PATH": path, "HOME": str(home), **own, **_SETTINGS}


def prepare(subject: Subject) -> dict[str, str]:
    """Install a subject beside the newest openai that it allows; return the versions. Raises SubjectError."""
    packages = subject.packages
    if subject is OURS:
        _uv("build", "--quiet", "--wheel", "--clear", "--out-dir", str(FOLDER / "dist"), str(ROOT))
        packages = tuple(str(wheel) for wheel in (FOLDER / "dist").glob("*.whl"))
    subject.environment.install("openai", *packages)
    return subject.environment.versions()


def _uv(*arguments: str, **variables: str) -> str:
    command = [str(_UV if _UV.exists() else "uv"), *arguments]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SubjectError(f"uv {arguments[0]}: {last_line(done.stderr)}")
    return done.stdout


def last_line(text: str) -> str:
    """The last line that says something, without the path of this checkout."""
    lines = text.replace(str(ROOT), ".").strip().splitlines()
    return lines[-1].strip() if lines else "no reason given"
