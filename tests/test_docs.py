"""What the documentation shows is run: its Python, its SQL, its TOML, its commands."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from otel_llm.call import Call, Usage
from otel_llm.pricing import PriceBook
from tests.cli.conftest import APP, BIN, Command, fill

ROOT = Path(__file__).resolve().parents[1]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of that language; those of none have the language ``."""
    found: list[str] = []
    inside: list[str] | None = None
    current = ""
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.startswith("```"):
            if inside is not None:
                inside.append(line)
        elif inside is None:
            inside, current = [], line.removeprefix("```").strip()
        else:
            if current == language:
                found.append("".join(inside))
            inside = None
    return found


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    home = tmp_path_factory.mktemp("docs")
    fill(home, APP)
    return Command(home)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/outcomes.md", "docs/propagation.md"])
def test_python_runs(page: str, command: Command, tmp_path: Path) -> None:
    for block in blocks(page, "python"):
        done = subprocess.run(
            [BIN / "opentelemetry-instrument", BIN / "python", "-c", block],
            env=command.environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    assert blocks(page, "python")


def test_sql_answers(command: Command) -> None:
    (query,) = blocks("README.md", "sql")
    rows = command.json("sql", query)
    assert {row["Feature"] for row in rows} == {"support", "digest", "lab"}


def test_commands_answer(command: Command) -> None:
    asked = [
        shlex.split(line.split("   ")[0])[1:]
        for block in blocks("README.md", "")
        for line in block.splitlines()
        if line.startswith("otel-llm ")
    ]
    assert len(asked) >= 6
    for arguments in asked:
        known = ["ada" if argument == "u-42" else argument for argument in arguments]
        command(*known)


@pytest.mark.parametrize("page", ["docs/prices.md", "docs/outcomes.md", "docs/privacy.md"])
def test_commands_and_sql_of_a_page_run(page: str, command: Command) -> None:
    asked = [shlex.split(line.split("   ")[0])[1:] for block in blocks(page, "") for line in block.splitlines()]
    assert asked
    for arguments in asked:
        # The calls of the test have the prices of today: there is no repricing to take back.
        command(*("ada" if argument == "u-42" else argument for argument in arguments), code="--revert" in arguments)
    for query in blocks(page, "sql"):
        command("sql", query)


def test_the_price_file_is_one(tmp_path: Path) -> None:
    block, regions = blocks("docs/prices.md", "toml")
    file = tmp_path / "prices.toml"
    file.write_text(block)
    rows = PriceBook(None, file).explain("acme", "llama-70b")
    assert rows[0].usd_per_mtok["input"] == "0.2"
    file.write_text(regions)

    def usd(region: str) -> float:
        server, usage = f"bedrock-runtime.{region}.amazonaws.com", Usage(input=1_000_000, output=0)
        call = Call("chat", "aws.bedrock", "us.amazon.nova-pro-v1:0", server_address=server, usage=usage)
        return (PriceBook(None, file).price(call).nano_usd or 0) / 1e9

    assert (usd("us-east-1"), usd("eu-central-1"), usd("us-gov-west-1")) == (0.8, 1.05, 0.96)


def test_pages_lead_to_pages() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} -> {target}"
