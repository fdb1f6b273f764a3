"""`make matrix`: the conformance tests with the oldest supported version of every SDK, in environments of their own.

The versions come from the integrations' own tables. The newest versions are those of the development environment,
but for those that do not fit into it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from otel_llm.frameworks import FRAMEWORKS, QUEUES, WEB_FRAMEWORKS
from otel_llm.integrations import INTEGRATIONS

ROOT = Path(__file__).resolve().parents[1]
UV = ROOT / ".tools" / "bin" / "uv"
FOLDER = ROOT / ".matrix"
# The oldest of these pass `proxies` to httpx, which 0.28 no longer takes; they never said so. Others want a newer one.
TOGETHER: tuple[str, ...] = ("openai", "anthropic", "groq")
SERVERS = ("oldest", "servers")
"""Web frameworks and queues, together."""
ALSO: dict[tuple[str, ...], tuple[str, ...]] = {
    TOGETHER: ("httpx<0.28", "boto3", "google-auth"),
    ("azure_inference",): ("aiohttp",),
    ("litellm",): ("boto3",),
    ("oldest", "claude_agent_sdk"): ("mcp<2",),
    # They import what these had then.
    ("oldest", "haystack"): ("openai<3",),
    SERVERS: (
        *("werkzeug<3", "yarl<1.12", "pydantic<2.11"),
        *("anthropic", "gunicorn", "httpx", "openai", "redis", "websockets"),
    ),
    ("oldest", "mcp"): ("pydantic<2.13",),
    ("oldest", "pydantic_ai"): ("openai<2", "anthropic<0.70", "opentelemetry-sdk<1.40"),
}
TESTS = ("pytest", "pytest-asyncio", "pytest-xdist")
# What does not fit into the development environment: its newest version, too, has an environment of its own.
NEWEST: dict[str, tuple[str, ...]] = {
    "litellm": ("litellm",),
    "instructor": ("instructor", "anthropic"),
    "http_clients": (
        *("openai<2", "httpx", "requests", "celery"),  # a client of httpx, which is what is instrumented
        "opentelemetry-instrumentation-httpx",
        "opentelemetry-instrumentation-requests",
        "opentelemetry-instrumentation-celery",
    ),
    "foreign": (
        *("openai", "anthropic", "langchain-openai", "logfire"),
        *(f"opentelemetry-instrumentation-{name}" for name in ("openai", "anthropic", "langchain", "genai-openai")),
        *(f"openinference-instrumentation-{name}" for name in ("openai", "anthropic", "langchain")),
    ),
    "openlit": ("openai", "anthropic", "langchain-openai", "openlit>=1.45"),
    "official": (
        *("openai", "anthropic", "google-genai", "boto3"),
        "opentelemetry-instrumentation-genai-openai",
        "opentelemetry-instrumentation-genai-anthropic",
        "opentelemetry-instrumentation-genai-bedrock",
        "opentelemetry-instrumentation-google-genai",
    ),
}
# Agent frameworks pull each other's dependencies apart: each has an environment of its own, with what its test needs.
AGENTS: dict[str, tuple[str, ...]] = {
    "semantic_kernel": ("httpx",),
    "agno": ("openai", "fastapi"),
    "crewai": ("crewai[anthropic]", "litellm<1.96"),
    "autogen": ("autogen-ext[openai]",),
    # Its wheel brings the `claude` of 150 MB that the tests do without.
    "claude_agent_sdk": ("--no-binary=claude-agent-sdk", "openai"),
    "agent_framework": ("agent-framework-openai",),
    "dspy": ("openai", "litellm"),
    "langchain": ("langchain", "langgraph", "langchain-openai", "langchain-anthropic"),
    "haystack": (),
    "llama_index": ("llama-index-llms-openai", "llama-index-embeddings-openai"),
    "mcp": ("openai",),
    "openai_agents": (),
    "google_adk": (),
    "pydantic_ai": ("openai", "anthropic"),
    "smolagents": ("openai",),
    "strands": ("openai<3", "anthropic<1"),
}
# Each story of a framework is told again beside these instrumentations of it, and of the SDK beneath it: OpenAI's,
# where a project has none of the framework. Left out is what fails by itself with the newest of these: OpenLLMetry's of
# MCP, Agno and Haystack, OpenInference's of Haystack with a component that is defined in a function, OpenLIT's of Agno
# (it awaits a generator) and of Strands (it cannot be imported), and its stream of OpenAI, which Semantic Kernel takes
# for an answer. OpenLIT wants an Anthropic SDK older than the one that pydantic-ai needs, and whole distributions of
# LlamaIndex and of Agent Framework. Logfire has of MCP no more than MCP itself.
BESIDE: dict[str, dict[str, tuple[str, ...]]] = {
    "openinference": {
        "agent_framework": ("openai", "agent-framework"),
        "agno": ("openai", "agno"),
        "autogen": ("openai", "autogen-agentchat"),
        "claude_agent_sdk": ("openai", "claude-agent-sdk"),
        "crewai": ("openai", "crewai"),
        "dspy": ("openai", "dspy", "litellm"),
        "google_adk": ("google-adk",),
        "haystack": ("openai",),
        "langchain": ("openai", "langchain"),
        "llama_index": ("openai", "llama-index"),
        "mcp": ("openai", "mcp"),
        "openai_agents": ("openai", "openai-agents"),
        "pydantic_ai": ("openai", "pydantic-ai"),
        "semantic_kernel": ("openai",),
        "smolagents": ("openai", "smolagents"),
        "strands": ("openai", "strands-agents"),
    },
    "openllmetry": {
        "agent_framework": ("openai",),
        "agno": ("openai",),
        "autogen": ("openai",),
        "crewai": ("openai", "crewai"),
        "dspy": ("openai",),
        "google_adk": ("google-generativeai",),
        "haystack": ("openai",),
        "langchain": ("openai", "langchain"),
        "llama_index": ("openai", "llamaindex"),
        "mcp": ("openai",),
        "openai_agents": ("openai", "openai-agents"),
        "pydantic_ai": ("openai", "anthropic"),
        "semantic_kernel": ("openai",),
        "smolagents": ("openai",),
        "strands": ("openai",),
    },
    "official": {
        "agent_framework": ("genai-openai",),
        "agno": ("genai-openai", "genai-agno"),
        "autogen": ("genai-openai",),
        "crewai": ("genai-openai",),
        "dspy": ("genai-openai", "genai-dspy"),
        "google_adk": ("google-genai",),
        "haystack": ("genai-openai",),
        "langchain": ("genai-openai", "genai-anthropic", "genai-langchain"),
        "llama_index": ("genai-openai",),
        "mcp": ("genai-openai",),
        "openai_agents": ("genai-openai", "genai-openai-agents"),
        "pydantic_ai": ("genai-openai", "genai-anthropic"),
        "semantic_kernel": ("genai-openai",),
        "smolagents": ("genai-openai", "genai-smolagents"),
        "strands": ("genai-openai",),
    },
    "logfire": {
        "agent_framework": ("openai",),
        "agno": ("openai",),
        "autogen": ("openai",),
        "claude_agent_sdk": ("openai", "claude_agent_sdk"),
        "crewai": ("openai",),
        "dspy": ("openai", "dspy"),
        "google_adk": ("google_genai",),
        "haystack": ("openai",),
        "langchain": ("openai",),
        "llama_index": ("openai",),
        "mcp": ("openai",),
        "openai_agents": ("openai", "openai_agents"),
        "pydantic_ai": ("openai", "anthropic", "pydantic_ai"),
        "semantic_kernel": ("openai",),
        "smolagents": ("openai",),
        "strands": ("openai",),
    },
    "openlit": {
        "agent_framework": ("openai",),
        "agno": ("openai",),
        "autogen": ("openai",),
        "claude_agent_sdk": ("openai", "claude-agent-sdk"),
        "crewai": ("openai", "crewai"),
        "dspy": ("openai", "litellm"),
        "google_adk": ("google-ai-studio", "google-adk"),
        "haystack": ("openai", "haystack"),
        "langchain": ("openai", "langchain", "langgraph"),
        "llama_index": ("openai",),
        "mcp": ("openai", "mcp"),
        "openai_agents": ("openai", "openai-agents"),
        "smolagents": ("openai", "smolagents"),
        "strands": ("openai",),
    },
}
_THEIRS = {
    "openinference": "openinference-instrumentation-{}",
    "openllmetry": "opentelemetry-instrumentation-{}",
    "official": "opentelemetry-instrumentation-{}",
    "logfire": "logfire[{}]",
    "openlit": "openlit>=1.45",
}
# What holds the SDKs back has environments of its own.
ALONE = ("openlit",)
# The newest of these is in the development environment.
AT_HOME = ("langchain",)
OLDEST = {integration.name: f"{integration.distribution}=={integration.oldest}" for integration in INTEGRATIONS}
_FILES = {"openlit": "foreign", "langchain": "langchain_graphs"}
"""Where the tests of an environment have another name."""
_MORE = {"google_genai": ("google_live",)}
"""And where there are more of them."""


def environments() -> list[tuple[str, ...]]:
    """Which integrations are tested in one environment; `newest` is no integration."""
    alone = [(name,) for name in OLDEST if name not in TOGETHER]
    return [
        TOGETHER,
        *alone,
        *(("newest", name) for name in (*NEWEST, *AGENTS) if name not in AT_HOME),
        SERVERS,
        *(("oldest", name) for name in AGENTS),
        *(names for kind in ("beside", *ALONE) for name in AGENTS if projects_of(names := (kind, name))),
    ]


def projects_of(names: tuple[str, ...]) -> list[str]:
    """Beside whose instrumentations the tests run there."""
    here = [names[0]] if names[0] in ALONE else [project for project in BESIDE if project not in ALONE]
    return [project for project in here if names[0] in ("beside", *ALONE) and names[1] in BESIDE[project]]


def pins_of(names: tuple[str, ...]) -> list[str]:
    """What to install there."""
    if names == SERVERS:
        return [f"{table.distribution}=={table.oldest}" for table in (*WEB_FRAMEWORKS, *QUEUES)]
    found = {framework.name: framework for framework in FRAMEWORKS}.get(names[-1])
    if found is not None:
        # With others' demands uv would rather have an OpenTelemetry of this week and a framework of last year.
        version = f"=={found.oldest}" if names[0] == "oldest" else f">={found.oldest}"
        projects = projects_of(names)
        theirs = [_THEIRS[project].format(name) for project in projects for name in BESIDE[project][names[-1]]]
        return [found.distribution + version, *AGENTS[names[-1]], *theirs]
    if names[0] == "newest":
        return list(NEWEST[names[1]])
    return [OLDEST[name] for name in names]


def tests_of(names: tuple[str, ...]) -> list[str]:
    """What to run there: everything where the SDKs are that most tests use, else the rows of the SDK."""
    if names == TOGETHER:
        return ["tests/conformance"]
    if names == SERVERS:
        frameworks = [f"tests/frameworks/test_{name}.py" for name in ("web", "identity", "queues")]
        return [*frameworks, "tests/zero_code/test_servers.py", "tests/zero_code/test_queues.py"]
    folder = "frameworks" if names[-1] in AGENTS else "conformance"
    files = (_FILES.get(names[-1], names[-1]), *_MORE.get(names[-1], ()))
    own = [ROOT / "tests" / folder / f"test_{file}.py" for file in files]
    rows = [f"tests/conformance/test_{name}.py" for name in ("matrix", "media", "batches")]
    return [str(file) for file in own] if own[0].exists() else [*rows, "-k", names[-1]]


def build(names: tuple[str, ...]) -> int:
    """Make an environment; the exit code."""
    home = FOLDER / "-".join(names)
    install = [UV, "pip", "install", "--quiet", "--python", home / "bin" / "python", "--editable", ROOT]
    install += [*pins_of(names), *ALSO.get(names, ()), *TESTS]
    return done([UV, "venv", "--quiet", "--allow-existing", "--python", sys.executable, home]) or done(install)


def command(names: tuple[str, ...], project: str | None) -> list[str | Path]:
    """How the tests of an environment run in it, beside a project's instrumentations or alone."""
    home = FOLDER / "-".join(names)
    tests: list[str | Path] = [home / "bin" / "python", "-m", "pytest", *tests_of(names), *sys.argv[1:]]
    tests += ["-o", f"cache_dir={home / 'cache' / (project or '')}"]
    # What they are warned of is theirs.
    return [*tests, "--beside", project, "-W", "ignore"] if project is not None else tests


def done(step: list[str | Path]) -> int:
    """Run it, and print what it printed in one piece; its exit code."""
    ran = subprocess.run(
        [str(part) for part in step], cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    print(ran.stdout.decode(errors="replace"), end="", flush=True)
    return ran.returncode


def main() -> int:
    """1 if tests fail twice, else 0.

    Two runs go side by side, one process each: to import a framework takes longer than its stories. The next
    environments are built beside them. As in `.ci/run`, real sockets and clocks get a second try, alone.
    """
    began = time.monotonic()

    def tell(run: tuple[tuple[str, ...], str | None]) -> int:
        code = built[run[0]].result() or done(command(*run))
        print(f"{titles[run]}: {code or 'passed'}, after {time.monotonic() - began:.0f} s", flush=True)
        return code

    with ThreadPoolExecutor(1) as builder, ThreadPoolExecutor(2) as testers:
        built = {names: builder.submit(build, names) for names in environments()}
        runs = [(names, project) for names in built for project in projects_of(names) or [None]]
        titles = {(names, project): "-".join([*names, *([project] if project else [])]) for names, project in runs}
        codes = dict(zip(runs, testers.map(tell, runs), strict=True))
    again = [run for run in runs if codes[run]]
    failed = [titles[run] for run in again if build(run[0]) or done([*command(*run), "--last-failed"])]
    print(f"failed twice: {', '.join(failed) or 'none'}", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
