"""`make smoke`: build the wheel, install it with nothing else around, run an application with it, and read the bill.

What a user does, in an environment that never saw the repository: no editable install, no development packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from examples.offline_provider import OfflineProvider

ROOT = Path(__file__).resolve().parents[1]
UV = ROOT / ".tools" / "bin" / "uv"
PLACE = ROOT / ".smoke"
BIN = PLACE / "venv" / "bin"

APP = """
import anthropic, openai
for text in openai.OpenAI().chat.completions.create(
    model="gpt-4o-mini", stream=True, messages=[{"role": "user", "content": "Tell me of the fjords."}]
):
    pass
openai.OpenAI().embeddings.create(model="text-embedding-3-small", input=["fjord", "lamp"])
anthropic.Anthropic().messages.create(
    model="claude-sonnet-4-5", max_tokens=50, messages=[{"role": "user", "content": "And of the lamps."}]
)
print("served")
"""


def run(*command: str | Path, **environment: str) -> str:
    """What the command prints. Raises CalledProcessError when it fails; its stderr is ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=PLACE / "app",
        env={**clean, **environment},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def main() -> int:
    """The whole first mile; 0 when the ledger is the bill."""
    shutil.rmtree(PLACE, ignore_errors=True)
    (PLACE / "app").mkdir(parents=True)
    (PLACE / "app" / "app.py").write_text(APP)
    run(UV, "build", "--quiet", "--wheel", "--out-dir", PLACE / "dist", ROOT)
    wheel = next((PLACE / "dist").glob("*.whl"))
    run(UV, "venv", "--quiet", "--python", sys.executable, PLACE / "venv")
    run(UV, "pip", "install", "--quiet", "--python", BIN / "python", f"{wheel}[embedded]", "openai", "anthropic")
    with OfflineProvider() as provider:
        settings = {
            "OTEL_LLM_HOME": str(PLACE / "home"),
            "OPENAI_API_KEY": "offline",
            "OPENAI_BASE_URL": provider.openai_url,
            "ANTHROPIC_API_KEY": "offline",
            "ANTHROPIC_BASE_URL": provider.url,
        }
        said = run(BIN / "opentelemetry-instrument", BIN / "python", "app.py", **settings)
        bill = sum(entry.cost_nano or 0 for entry in provider.bill)
        calls = len(provider.bill)
    report = json.loads(run(BIN / "otel-llm", "report", "--by", "provider", "--format", "json", **settings))
    ledger = sum(Decimal(row["Cost"]) for row in report)
    run(BIN / "otel-llm", "show", "costliest", **settings)
    run(BIN / "otel-llm", "doctor", **settings)
    files = sorted(path.name for path in (PLACE / "app").rglob("*") if "__pycache__" not in path.parts)
    checks = {
        "the application said what it says without us": said == "served\n",
        f"every call is in the ledger: {calls}": sum(row["Calls"] for row in report) == calls == 3,
        f"the ledger is the bill: ${ledger}": ledger * 1_000_000_000 == bill > 0,
        "no file of the application's folder was touched": files == ["app.py"],
    }
    for check, holds in checks.items():
        print(f"{'ok  ' if holds else 'FAIL'} {check}")
    print(f"{sum(checks.values())} passed, {len(checks) - sum(checks.values())} failed")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
