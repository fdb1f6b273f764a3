"""`otel-llm prices` and `otel-llm reprice`, as people run them."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from tests.cli.conftest import Command

PREVIEW = (
    '[[prices]]\nkey = "openai/acme-preview-1"\nusd_per_mtok = { input = "1", output = "2" }\nsource = "contract"\n'
)


@pytest.fixture
def contract(own: Command, tmp_path: Path) -> Command:
    """The command with a price file that sets what had no price."""
    (tmp_path / "prices.toml").write_text(PREVIEW)
    return Command(own.home, OTEL_LLM_PRICES=str(tmp_path / "prices.toml"))


def cost(command: Command) -> Decimal:
    return sum((Decimal(row["Cost"]) for row in command.json("report") if row["Cost"]), Decimal(0))


def test_a_model_is_found_in_the_list(otel_llm: Command) -> None:
    rows = {row["key"]: row for row in otel_llm.json("prices", "list", "gpt-4o", "--provider", "openai")}
    assert rows["openai/gpt-4o"]["usd_per_mtok"]["output"] == "10"
    assert all(key.startswith("openai/") for key in rows)
    (only,) = otel_llm.json("prices", "list", "gpt-4o-mini", "--provider", "azure.ai.openai") or [{"key": None}]
    assert only["key"] in (None, "azure/gpt-4o-mini")
    assert "openai/gpt-4o" in otel_llm("prices", "list", "*gpt-4o")
    assert otel_llm("prices", "list", "no-such-model") == ""


def test_a_price_is_shown_by_the_name_that_it_is_printed_with(otel_llm: Command, tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(
        PREVIEW
        + '[[aliases]]\nprovider = "azure.ai.openai"\nmatch = "prod-*"\nprice_key = "openai/gpt-4o"\n'
        + '[[adjust]]\nmatch = { provider = "openai" }\nmultiply_ppm = 900000\n'
    )
    command = Command(otel_llm.home, OTEL_LLM_PRICES=str(tmp_path / "prices.toml"))

    def key(model: str) -> str:
        return command.json("prices", "show", model)[0]["key"]

    listed = [row["key"] for row in command.json("prices", "list", "*/gpt-4o-mini")]
    assert listed
    assert [key(model) for model in listed] == listed
    assert key("acme-preview-1") == key("openai/acme-preview-1") == "openai/acme-preview-1"
    assert key("prod-1") == key("azure.ai.openai/prod-1") == "openai/gpt-4o"
    # That a provider has a discount is no price of its models.
    assert "no price of openai/no-such-model" in command("prices", "show", "openai/no-such-model", code=1)


def test_calls_without_a_price_are_a_problem(otel_llm: Command) -> None:
    running = otel_llm.start("prices", "check")
    out, _ = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "openai/acme-preview-1: 1 calls without a price (unknown_model)" in out
    assert "No price file" in out
    assert re.search(r"genai-prices [\d.]+: its newest price began on 20\d\d-\d\d-\d\d, \d+ days ago", out)


def test_rows_that_are_about_nobody_are_a_problem(contract: Command, tmp_path: Path) -> None:
    contract("reprice", "--yes")
    assert "in use  price for key=openai/acme-preview-1 (contract): 0 models of the book, 1 calls" in contract(
        "prices", "check"
    )
    (tmp_path / "prices.toml").write_text(
        PREVIEW
        + '[[adjust]]\nmatch = { provider = "opanai" }\nmultiply_ppm = 900000\n'
        + '[[adjust]]\nmatch = { provider = "openai" }\nmultiply_ppm = 800000\nto = 2026-01-01\n'
        + '[[aliases]]\nprovider = "azure.ai.openai"\nmatch = "prod-*"\nprice_key = "openai/gpt-9000"\n'
    )
    running = contract.start("prices", "check")
    out, _ = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "unknown x 0.9 for provider=opanai (prices.toml: [[adjust]] 1): no model of the book" in out
    assert "unknown alias azure.ai.openai/prod-* = openai/gpt-9000" in out
    assert "ended   x 0.8 for provider=openai (prices.toml: [[adjust]] 2): not since 2026-01-01" in out


def test_prices_are_put_into_the_store_and_news_are_said(contract: Command) -> None:
    said = contract("prices", "sync")
    assert "new" in said
    assert "openai/gpt-4o-2024-08-06" in said
    assert "pip install -U genai-prices" in said
    rows = contract.json("sql", "SELECT PriceKey, Output FROM price_book WHERE PriceKey LIKE '%acme%'")
    assert rows == [{"PriceKey": "openai/acme-preview-1", "Output": 2_000_000}]
    assert "changed" not in contract("prices", "sync")
    Path(contract.environment["OTEL_LLM_PRICES"]).write_text(PREVIEW.replace('"2"', '"3"'))
    assert re.search(r"changed +openai/acme-preview-1", contract("prices", "sync"))


def test_the_past_is_priced_anew_and_back(contract: Command) -> None:
    before = cost(contract)
    said = contract("reprice", "--since", "30d", "--dry-run")
    assert re.search(r"openai/acme-preview-1 +1 +1 +unknown +\$[\d.]+ +1", said)
    assert "1 calls keep what they have: its usage is not known by bucket" in said
    assert cost(contract) == before
    assert "`otel-llm reprice --revert 1` takes it back" in contract("reprice", "--since", "30d", "--yes")
    after = cost(contract)
    assert after > before
    assert "Nothing to change" in contract("reprice", "--yes")
    assert cost(contract) == after
    assert "1 calls have their former cost again, as revision 2" in contract("reprice", "--revert", "1")
    assert cost(contract) == before
    assert contract.json("reprice", "--model", "gpt*", "--dry-run")["written"] is None


def test_nothing_is_written_without_a_yes(contract: Command) -> None:
    before = cost(contract)
    running = contract.start("reprice")
    _, error = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "Write 1 calls?" in error
    assert cost(contract) == before


def test_a_revision_that_does_not_exist(contract: Command) -> None:
    assert contract("reprice", "--revert", "3", code=1) == (
        "Error: There is no revision 3 to revert: no call was ever repriced.\n"
    )
