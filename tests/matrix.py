"""`make matrix`: the conformance tests with the oldest supported version of every SDK, in an environment of its own.

The versions come from the integrations' own tables. The newest versions are those of the development environment.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from otel_llm.integrations import INTEGRATIONS

ROOT = Path(__file__).resolve().parents[1]
UV = ROOT / ".tools" / "bin" / "uv"
HOME = ROOT / ".matrix" / "oldest"
# What the oldest SDKs need themselves, and never said: they pass `proxies` to httpx, which 0.28 no longer takes.
ALSO = ("httpx<0.28", "boto3", "google-auth")
TESTS = ("pytest", "pytest-asyncio", "pytest-xdist")


def main() -> int:
    """Build the environment, run the tests in it; the exit code."""
    python = HOME / "bin" / "python"
    pins = [f"{integration.distribution}=={integration.oldest}" for integration in INTEGRATIONS]
    steps: list[list[str | Path]] = [
        [UV, "venv", "--quiet", "--allow-existing", "--python", sys.executable, HOME],
        [UV, "pip", "install", "--quiet", "--python", python, "--editable", f"{ROOT}[embedded]", *pins, *ALSO, *TESTS],
        [python, "-m", "pytest", "-n", "2", "tests/conformance", *sys.argv[1:]],
    ]
    print(f"oldest: {', '.join(pins)}", flush=True)
    for step in steps:
        code = subprocess.run([str(part) for part in step], cwd=ROOT, check=False).returncode
        if code != 0:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
