"""`make demo`: run the example application under `opentelemetry-instrument`, then show what its user actions cost.

Without provider keys the application talks to the offline provider, which ships with the examples.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from examples.offline_provider import OfflineProvider

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".demo"
BIN = Path(sys.executable).parent


def main() -> int:
    """Run it; the exit code of the first command that failed, else 0."""
    for leftover in ("spool", "store"):
        shutil.rmtree(HOME / leftover, ignore_errors=True)
    environment = {**os.environ, "OTEL_LLM_HOME": str(HOME), "OTEL_SERVICE_NAME": "demo-shop"}
    with ExitStack() as stack:
        if not (os.environ.get("OPENAI_API_KEY") or os.environ.get("ANTHROPIC_API_KEY")):
            provider = stack.enter_context(OfflineProvider())
            environment |= {
                "EXAMPLE_OFFLINE": "1",
                "OPENAI_API_KEY": "offline",
                "OPENAI_BASE_URL": provider.openai_url,
                "ANTHROPIC_API_KEY": "offline",
                "ANTHROPIC_BASE_URL": provider.url,
            }
            say("no provider keys: the application talks to the offline provider of the examples")
        for command in (
            [BIN / "opentelemetry-instrument", BIN / "python", "-m", "examples.agent_app"],
            [BIN / "otel-llm", "report", "--by", "feature,model", "--since", "1h"],
            [BIN / "otel-llm", "show", "costliest", "--since", "1h"],
        ):
            say("$ " + " ".join(Path(part).name if isinstance(part, Path) else part for part in command))
            code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
            if code != 0:
                return code
    cli = f"OTEL_LLM_HOME={HOME.name} {BIN.relative_to(ROOT)}/otel-llm"
    say(f"more: {cli} interactions, report --by user, sql 'SELECT * FROM interactions', doctor")
    return 0


def say(line: str) -> None:
    """A line of the demo's own, set apart from what the commands print."""
    print(f"\033[2m{line}\033[0m" if sys.stdout.isatty() else line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
