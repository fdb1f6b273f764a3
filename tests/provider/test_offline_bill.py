"""The bill's arithmetic, by hand and against the public price list."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import urllib.request
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price

from examples.offline_provider import OfflineProvider, Usage, cost_nano
from examples.offline_provider.bill import PRICES, SNAPSHOTS

_BOOKS = {"bedrock": "aws", "vertex": "google", "xai": "x-ai"}


@pytest.mark.parametrize(
    ("provider", "model", "terms", "usage", "nano"),
    [
        # 200 x 0.15 + 800 x 0.075 + 50 x 0.6 = 120 micro-USD
        ("openai", "gpt-4o-mini-2024-07-18", (), Usage(input=200, cache_read=800, output=30, reasoning=20), 120_000),
        # 1 x 0.0875 micro-USD = 87.5 nano-USD, half up
        ("openai", "gpt-5.2", ("flex",), Usage(cache_read=1), 88),
        ("azure", "gpt-4o", ("default",), Usage(input=1, output=1), 12_500),
        # 10 x 2.5 + 20 x 32 + 5 x 10 + 10 x 64 = 1,355 micro-USD
        ("openai", "gpt-audio", (), Usage(input=10, input_audio=20, output=5, output_audio=10), 1_355_000),
        ("openai", "gpt-4o-audio-preview", (), Usage(input=10, input_audio=20), None),
        # 2 searches x 0.01 USD
        ("openai", "o3", ("auto",), Usage(requests={"web_search": 2}), 20_000_000),
        ("openai", "o3", (), Usage(input=1, requests={"file_search": 1}), None),
        ("openai", "text-embedding-3-small", (), Usage(input=3), 60),
        # 100 x 3 + 200 x 0.3 + 300 x 3.75 + 400 x 6 + 500 x 3.75 + 60 x 15 = 6,660 micro-USD
        (
            "anthropic",
            "claude-sonnet-4-5-20250929",
            ("standard", None, "global"),
            Usage(100, 200, 300, 400, 500, output=50, reasoning=10),
            6_660_000,
        ),
        ("anthropic", "claude-sonnet-4-5", (), Usage(input=200_000, output=1), 600_015_000),
        ("anthropic", "claude-sonnet-4-5", (), Usage(input=1, cache_read=200_000, output=1), 120_028_500),
        ("anthropic", "claude-opus-4-5", ("batch",), Usage(input=2, output=2), 30_000),
        ("anthropic", "claude-opus-4-5", ("priority",), Usage(input=2, output=2), None),
        ("anthropic", "claude-opus-4-5", ("standard", "us"), Usage(input=2, output=2), None),
        ("bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0", (None,), Usage(input=10), 11_000),
        ("bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0", (None,), Usage(input=10), 10_000),
        ("bedrock", "arn:aws:bedrock:us-east-1::inference-profile/eu.anthropic.claude-haiku-4-5", (), Usage(1), 1_100),
        ("vertex", "claude-haiku-4-5@20251001", (), Usage(input=10), 10_000),
        ("groq", "openai/gpt-oss-120b", ("on_demand",), Usage(input=10, output=10), 7_500),
        ("openai", "acme-preview-1", (), Usage(input=10), None),
    ],
)
def test_cost_by_hand(provider: str, model: str, terms: tuple[str | None, ...], usage: Usage, nano: int | None) -> None:
    assert cost_nano(provider, [(model, usage)], *terms) == nano


def test_parts_are_rounded_once_together() -> None:
    half = Usage(cache_read=5)  # 5 x 0.0875 micro-USD = 437.5 nano-USD
    assert cost_nano("openai", [("gpt-5.2", half), ("gpt-5.2", half)], "flex") == 875
    assert cost_nano("openai", [("gpt-5.2", half), ("acme-preview-1", half)], "flex") is None


@pytest.mark.parametrize("key", PRICES, ids="/".join)
def test_every_price_is_the_public_one(key: tuple[str, str, str]) -> None:
    provider, model, variant = key
    prefix, anthropic, name = model.partition("anthropic.")
    tier, _, long = variant.partition("+")
    rates = PRICES[key]
    dice = random.Random(str(key))
    base = 300_000 if long else 1_000
    counts = {
        bucket: dice.randint(base, base + 999) // 2 for bucket in rates if bucket not in ("reasoning", "web_search")
    }
    if "cache_write_other" in counts:
        counts |= {"input": base, "cache_write_other": 0}
    searches = {"web_search": 3} if "web_search" in rates else {}
    usage = Usage(**counts, requests=searches)
    writes = {"cache_write_tokens": usage.cache_write, "cache_write_1h_tokens": usage.cache_write_1h}
    listed: Any = calc_price(
        ListUsage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cache_read,
            output_tokens=usage.output_tokens,
            **({name: count for name, count in writes.items() if count}),
            **({"input_audio_tokens": usage.input_audio, "cache_audio_read_tokens": 0} if usage.input_audio else {}),
            **({"output_audio_tokens": usage.output_audio} if usage.output_audio else {}),
            **({"web_searches": 3} if searches else {}),
        ),
        f"{prefix}anthropic.{SNAPSHOTS[name]}-v1:0" if anthropic else model,
        provider_id=_BOOKS.get(provider, provider),
        price_context={"processing": "batch"}
        if tier == "batch"
        else {"service_tier": tier}
        if tier != "list"
        else None,
    )
    nano = int((listed.total_price * 10**9).quantize(Decimal(1), ROUND_HALF_UP))
    assert cost_nano(provider, [(model, usage)], None if tier == "list" else tier) == nano


def test_usage_of_an_unfinished_answer() -> None:
    usage = Usage(input=7, output=10, reasoning=4, output_audio=6, requests={"web_search": 1})
    assert usage.until(0) == Usage(input=7, requests={"web_search": 1})
    assert usage.until(3).reasoning == 3
    assert usage.until(9) == Usage(input=7, output=5, reasoning=4, requests={"web_search": 1})
    assert usage.until(99) == usage


def test_as_a_process_it_prints_its_url_and_writes_the_bill_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "bill.jsonl"
    command = [sys.executable, "-m", "examples.offline_provider", "--port", "0", "--bill", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()

        def fetch(path: str, body: dict[str, Any] | None = None) -> Any:
            data = json.dumps(body).encode() if body is not None else None
            with urllib.request.urlopen(url + path, data) as response:
                return json.load(response)

        asked = {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "[[offline: tokens in=1000 out=10]]"}],
        }
        answered = fetch("/v1/chat/completions", asked)
        [line] = file.read_text().splitlines()
        assert json.loads(line) == fetch("/_offline/bill")[0]
        assert json.loads(line)["response_id"] == answered["id"]
        assert json.loads(line)["cost_nano"] == 156_000
        [request] = fetch("/_offline/requests")
        assert (request["status"], request["body"]) == (200, asked)
        assert fetch("/_offline/clear", {}) == fetch("/_offline/bill") == fetch("/_offline/requests") == []
        assert file.read_text() == ""
        process.terminate()
    assert process.returncode == 0


def test_a_taken_port_is_refused_in_one_sentence(provider: OfflineProvider) -> None:
    port = int(provider.url.rpartition(":")[2])
    with pytest.raises(OSError, match=f"port {port} cannot be opened"), OfflineProvider(port):
        pass


def test_it_imports_nothing_but_the_standard_library() -> None:
    code = "import examples.offline_provider, sys; print(*{m.partition('.')[0] for m in sys.modules})"
    command = [sys.executable, "-S", "-c", code]
    root = Path(__file__).parents[2]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout.split()
    assert not {m for m in loaded if not m.startswith("_")} - sys.stdlib_module_names - {"examples"}
