"""`make matrix`: the conformance tests with the oldest supported version of every SDK, in environments of their own.

The versions come from the integrations' own tables. The newest versions are those of the development environment,
but for those that do not fit into it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from otel_llm.frameworks import FRAMEWORKS
from otel_llm.integrations import INTEGRATIONS

ROOT = Path(__file__).resolve().parents[1]
UV = ROOT / ".tools" / "bin" / "uv"
FOLDER = ROOT / ".matrix"
# The oldest of these pass `proxies` to httpx, which 0.28 no longer takes; they never said so. Others want a newer one.
TOGETHER: tuple[str, ...] = ("openai", "anthropic", "groq")
ALSO: dict[tuple[str, ...], tuple[str, ...]] = {
    TOGETHER: ("httpx<0.28", "boto3", "google-auth"),
    ("azure_inference",): ("aiohttp",),
    ("litellm",): ("boto3",),
}
TESTS = ("pytest", "pytest-asyncio", "pytest-xdist")
# What does not fit into the development environment: its newest version, too, has an environment of its own.
NEWEST: dict[str, tuple[str, ...]] = {
    "litellm": ("litellm",),
    "instructor": ("instructor", "anthropic"),
    "official": (
        *("openai", "anthropic", "google-genai", "boto3"),
        "opentelemetry-instrumentation-genai-openai",
        "opentelemetry-instrumentation-genai-anthropic",
        "opentelemetry-instrumentation-genai-bedrock",
        "opentelemetry-instrumentation-google-genai",
    ),
}
# Agent frameworks pull each other's dependencies apart: each has an environment of its own, with what its test needs.
AGENTS: dict[str, tuple[str, ...]] = {}
OLDEST = {integration.name: f"{integration.distribution}=={integration.oldest}" for integration in INTEGRATIONS}


def environments() -> list[tuple[str, ...]]:
    """Which integrations are tested in one environment; `newest` is no integration."""
    alone = [(name,) for name in OLDEST if name not in TOGETHER]
    return [
        TOGETHER,
        *alone,
        *(("newest", name) for name in (*NEWEST, *AGENTS)),
        *(("oldest", name) for name in AGENTS),
    ]


def pins_of(names: tuple[str, ...]) -> list[str]:
    """What to install there."""
    found = {framework.name: framework for framework in FRAMEWORKS}.get(names[-1])
    if found is not None:
        oldest = f"=={found.oldest}" if names[0] == "oldest" else ""
        return [found.distribution + oldest, *AGENTS[names[-1]]]
    if names[0] == "newest":
        return list(NEWEST[names[1]])
    return [OLDEST[name] for name in names]


def tests_of(names: tuple[str, ...]) -> list[str]:
    """What to run there: everything where the SDKs are that most tests use, else the rows of the SDK."""
    if names == TOGETHER:
        return ["tests/conformance"]
    folder = "frameworks" if names[-1] in AGENTS else "conformance"
    own = ROOT / "tests" / folder / f"test_{names[-1]}.py"
    return [str(own)] if own.exists() else ["tests/conformance/test_matrix.py", "-k", names[-1]]


def run(names: tuple[str, ...]) -> int:
    """Build an environment, run the tests in it; the exit code."""
    home = FOLDER / "-".join(names)
    python = home / "bin" / "python"
    pins = pins_of(names)
    install = [
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        "--editable",
        ROOT,
        *pins,
        *ALSO.get(names, ()),
        *TESTS,
    ]
    tests: list[str | Path] = [python, "-m", "pytest", "-o", f"cache_dir={home / 'cache'}"]
    tests += [*tests_of(names), *sys.argv[1:]]
    print(f"{home.name}: {', '.join(pins)}", flush=True)
    return (
        done([UV, "venv", "--quiet", "--allow-existing", "--python", sys.executable, home])
        or done(install)
        or (
            done([*tests, "-n", "2"])
            # As in `.ci/run`: real sockets and clocks get a second try, alone.
            and done([*tests, "--last-failed", "--last-failed-no-failures", "none"])
        )
    )


def done(step: list[str | Path]) -> int:
    """Run it; its exit code."""
    return subprocess.run([str(part) for part in step], cwd=ROOT, check=False).returncode


def main() -> int:
    """The exit code of the first environment that fails, else 0."""
    return next((code for names in environments() if (code := run(names))), 0)


if __name__ == "__main__":
    sys.exit(main())
