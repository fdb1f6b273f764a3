from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
import timeit
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import genai_prices
import pytest
from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot

from otel_llm.call import Call, Usage
from otel_llm.pricing import PriceBook
from otel_llm.pricing.names import book_key

NOVEMBER = int(datetime(2026, 11, 15, 12, tzinfo=UTC).timestamp()) * 10**9
MILLION = 1_000_000


def call(provider: str, model: str | None, usage: Usage | None = None, **more: Any) -> Call:
    found = Call("chat", provider, model, started_ns=NOVEMBER, usage=usage or Usage(input=1_000_000, output=100_000))
    return replace(found, **more)


def book_with(tmp_path: Path, text: str) -> PriceBook:
    (tmp_path / "prices.toml").write_text(text)
    return PriceBook(tmp_path / "home", tmp_path / "prices.toml")


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook()


# What the list says.


def test_published_prices(book: PriceBook) -> None:
    cost = book.price(call("openai", "gpt-4o", Usage(input=1000, cache_read=1000, output=10)))
    assert (cost.status, cost.nano_usd) == ("priced", 2_500_000 + 1_250_000 + 100_000)
    assert (cost.input, cost.cache_read, cost.output) == (2_500_000, 1_250_000, 100_000)
    assert (cost.key, cost.variant, cost.source) == ("openai/gpt-4o", "standard", "local")
    assert cost.book == f"genai-prices-{genai_prices.__version__}"
    usage = Usage(input=100, cache_read=1000, cache_write_5m=10, cache_write_1h=1, output=5, requests={"web_search": 1})
    cost = book.price(call("anthropic", "claude-sonnet-4-5", usage))
    assert cost.nano_usd == 300_000 + 300_000 + 37_500 + 6_000 + 75_000 + 10_000_000
    assert (cost.cache_write, cost.other) == (43_500, 10_000_000)


def test_the_model_that_answered_counts_and_else_the_one_that_was_asked(book: PriceBook) -> None:
    assert book.price(call("openai", "gpt-4o", response_model="gpt-4o-mini-2024-07-18")).key == "openai/gpt-4o-mini"
    assert book.price(call("openai", "gpt-4o", response_model="no-such")).key == "openai/gpt-4o"
    assert book.price(call("azure.ai.openai", "my-deployment", response_model="gpt-4o")).key == "openai/gpt-4o"


@pytest.mark.parametrize(
    ("provider", "model", "reason"),
    [
        ("openai", "gpt-99", "unknown_model"),
        ("my-openai-proxy", "gpt-4o", "unknown_provider"),
        ("ollama", "gpt-4o", "unknown_provider"),
        ("openai", None, "no_model"),
        ("google", "gemma-3-27b-it", "no_price"),
        ("openai", "omni-moderation-latest", "no_price"),
        ("openai", "whisper-1", "no_price_for:input,no_price_for:output"),
    ],
)
def test_what_has_no_price_costs_unknown_and_not_zero(book: PriceBook, provider: str, model: str, reason: str) -> None:
    cost = book.price(call(provider, model))
    assert (cost.status, cost.nano_usd, cost.reason) == ("unpriced", None, reason)


@pytest.mark.parametrize(
    ("provider", "model", "key"),
    [
        ("gcp.gemini", "models/Gemini-2.5-Pro", "google/gemini-2.5-pro"),
        ("gcp.vertex_ai", "projects/p/locations/l/publishers/google/models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("x_ai", "grok-4", "x-ai/grok-4"),
        ("fireworks", "accounts/fireworks/models/deepseek-v3p2", "fireworks/accounts/fireworks/models/deepseek-v3p2"),
        ("azure.ai.openai", "gpt-4o", "azure/gpt-4o"),
        ("vllm", "gpt-4o", None),
    ],
)
def test_names(provider: str, model: str, key: str | None) -> None:
    assert book_key(provider, model) == key


@pytest.mark.parametrize(
    "model",
    [
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ],
)
def test_bedrock_names(book: PriceBook, model: str) -> None:
    assert book.price(call("aws.bedrock", model)).status == "priced"


# Variants.


def test_the_tier_of_the_response_decides(book: PriceBook) -> None:
    usage = Usage(input=1000, output=100)
    tiers = ("default", "flex", "priority", "batch")
    costs = {tier: book.price(call("openai", "gpt-5.2", usage, service_tier=tier)) for tier in tiers}
    assert {tier: cost.nano_usd for tier, cost in costs.items()} == {
        "default": 3_150_000,
        "flex": 1_575_000,
        "priority": 6_300_000,
        "batch": 1_575_000,
    }
    assert (costs["default"].variant, costs["flex"].variant, costs["flex"].valid_from) == (
        "standard",
        "flex",
        "2026-10-12",
    )


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (call("openai", "gpt-5.2", service_tier="scale"), "variant:scale"),
        (call("openai", "gpt-5.2", service_tier="batch", started_ns=NOVEMBER - 365 * 86_400 * 10**9), "variant:batch"),
        (call("azure.ai.openai", "gpt-5.2", service_tier="flex"), "variant:flex"),
        (call("anthropic", "claude-sonnet-5", service_tier="priority"), "variant:priority"),
        (call("anthropic", "claude-sonnet-5", speed="fast"), "variant:fast"),
        (call("anthropic", "claude-sonnet-5", inference_geo="eu"), "variant:eu"),
        (call("openai", "gpt-5.2", inference_geo="us"), "variant:us"),
    ],
)
def test_a_variant_without_a_price_is_not_charged_at_the_standard_price(
    book: PriceBook, subject: Call, reason: str
) -> None:
    cost = book.price(subject)
    assert (cost.status, cost.nano_usd, cost.reason) == ("unpriced", None, reason)
    assert cost.key is not None


def test_fast_mode_of_anthropic(book: PriceBook) -> None:
    cost = book.price(call("anthropic", "claude-opus-5-5", Usage(input=1000, output=100), speed="fast"))
    assert (cost.nano_usd, cost.variant) == (8_000_000 + 4_000_000, "fast")


def test_inference_in_the_us_costs_a_tenth_more_per_token_but_not_per_search(book: PriceBook) -> None:
    usage = Usage(input=1000, cache_read=500, output=100, requests={"web_search": 1, "web_fetch": 3})
    cost = book.price(call("anthropic", "claude-sonnet-5", usage, inference_geo="us"))
    assert cost.nano_usd == 2_200_000 + 110_000 + 1_100_000 + 10_000_000
    assert (cost.status, cost.variant, cost.other) == ("priced", "standard us", 10_000_000)
    assert cost.book is not None
    assert " supplement:" in cost.book
    assert cost.adjusted is not None
    assert "platform.claude.com" in cost.adjusted
    both = book.price(call("anthropic", "claude-sonnet-5", usage, inference_geo="us", service_tier="batch"))
    assert (both.nano_usd, both.variant) == ((2_200_000 + 110_000 + 1_100_000) // 2 + 10_000_000, "batch us")
    for ordinary in ("global", "not_available"):
        assert book.price(call("anthropic", "claude-sonnet-5", usage, inference_geo=ordinary)).variant == "standard"


def test_flex_of_groq_costs_what_on_demand_costs(book: PriceBook) -> None:
    flex = book.price(call("groq", "llama-3.3-70b-versatile", service_tier="flex"))
    assert flex.nano_usd == book.price(call("groq", "llama-3.3-70b-versatile", service_tier="on_demand")).nano_usd
    assert (flex.variant, flex.adjusted) == ("flex", None)
    assert (
        book.price(call("groq", "llama-3.3-70b-versatile", service_tier="performance")).reason == "variant:performance"
    )


def test_a_fee_that_nobody_knows_makes_the_cost_partial(book: PriceBook) -> None:
    usage = Usage(input=1000, output=0, requests={"web_search": 1, "code_interpreter": 1, "file_search": 0})
    cost = book.price(call("openai", "gpt-4o", usage))
    assert (cost.status, cost.nano_usd, cost.reason) == ("partial", 12_500_000, "no_price_for:code_interpreter")


@pytest.mark.parametrize(("provider", "operation"), [("anthropic", "count_tokens"), ("openai", "moderation")])
def test_free_operations(book: PriceBook, provider: str, operation: str) -> None:
    cost = book.price(Call(operation, provider, "any"))
    assert (cost.status, cost.nano_usd) == ("free", 0)


# What the response says.


def test_the_providers_own_cost_passes_unmodified(tmp_path: Path) -> None:
    book = book_with(tmp_path, "[[adjust]]\nmatch = {}\nmultiply_ppm = 500000")
    cost = book.price(call("openrouter", "no/such", reported_cost_usd="0.0123456785"))
    assert (cost.status, cost.nano_usd, cost.source, cost.adjusted) == ("priced", 12_345_679, "provider", None)
    assert cost.other == cost.nano_usd
    for nonsense in ("free", "NaN", "-1", ""):
        cost = book.price(call("openai", "gpt-4o", reported_cost_usd=nonsense))
        assert (cost.source, cost.status) == ("local", "priced")


def test_a_response_billed_at_two_models(book: PriceBook) -> None:
    usage = Usage(input=1000, output=100)
    parts = [call("anthropic", model, usage, started_ns=0) for model in ("claude-opus-4-5", "claude-haiku-4-5")]
    whole = call("anthropic", "claude-opus-4-5", Usage(input=2000, output=200), parts=parts)
    single = [
        book.price(call("anthropic", model, usage)).nano_usd or 0 for model in ("claude-opus-4-5", "claude-haiku-4-5")
    ]
    cost = book.price(whole)
    assert (cost.status, cost.nano_usd) == ("priced", sum(single))
    assert cost.input + cost.output == cost.nano_usd
    assert cost.key == "anthropic/claude-opus-4-5, anthropic/claude-haiku-4-5"
    whole.service_tier = "batch"
    assert book.price(whole).nano_usd == sum(single) // 2
    parts[1].request_model = "no-such"
    cost = book.price(whole)
    assert (cost.status, cost.nano_usd, cost.reason) == ("partial", single[0] // 2, "unknown_model")
    parts[0].request_model = "no-such"
    assert book.price(whole).status == "unpriced"


# The user's file.


def test_a_users_price_beats_the_list_by_key_alias_or_pattern(tmp_path: Path) -> None:
    book = book_with(
        tmp_path,
        """
        [[aliases]]
        provider = "azure.ai.openai"
        match = "my-prod-*"
        price_key = "azure/gpt-4o"
        [[aliases]]
        provider = "*"
        match = "house-model"
        price_key = "acme/llama"
        [[prices]]
        key = "acme/llama"
        usd_per_mtok = { input = "0.20", output = "0.60" }
        source = "contract 4711"
        [[prices]]
        key = "anthropic/claude-sonnet-5"
        usd_per_mtok = { input = "1", output = "1" }
        [[prices]]
        match = { server = "gpu-?:8000", model = "Qwen*" }
        usd_per_mtok = { input = "0", output = "0" }
        """,
    )
    assert book.price(call("azure.ai.openai", "my-prod-1")).key == "openai/gpt-4o"
    ours = book.price(call("openai", "house-model"))
    assert (ours.nano_usd, ours.key) == (200 * MILLION + 60 * MILLION, "acme/llama")
    assert ours.book is not None
    assert ours.book.startswith("overrides:")
    dated = call("anthropic", "claude-sonnet-5", response_model="claude-sonnet-5-20260101", service_tier="priority")
    assert book.price(dated).nano_usd == 1_100 * MILLION
    free = book.price(call("vllm", "qwen3", server_address="gpu-1", server_port=8000))
    assert (free.status, free.nano_usd) == ("free", 0)
    assert book.price(call("vllm", "qwen3", server_address="gpu-10", server_port=8000)).status == "unpriced"


def test_of_dated_rows_the_latest_counts(tmp_path: Path) -> None:
    book = book_with(
        tmp_path,
        """
        [[prices]]
        key = "a/b"
        usd_per_mtok = { input = "1" }
        [[prices]]
        key = "a/b"
        from = 2026-06-01
        to = 2026-07-01
        usd_per_mtok = { input = "3" }
        [[prices]]
        key = "a/b"
        from = 2026-01-01
        usd_per_mtok = { input = "2" }
        """,
    )

    def price(day: str) -> tuple[int | None, str | None]:
        started = int(datetime.fromisoformat(f"{day}T00:00+00:00").timestamp()) * 10**9
        cost = book.price(call("a", "b", Usage(input=1000, output=0), started_ns=started))
        return cost.nano_usd, cost.valid_from

    assert price("2025-12-31") == (1_000_000, None)
    assert price("2026-01-01") == (2_000_000, "2026-01-01")
    assert price("2026-06-30") == (3_000_000, "2026-06-01")
    assert price("2026-07-01") == (2_000_000, "2026-01-01")


def test_discounts(tmp_path: Path) -> None:
    book = book_with(
        tmp_path,
        """
        [[adjust]]
        match = { provider = "openai" }
        from = 2026-01-01
        to = 2027-01-01
        multiply_ppm = 850000
        source = "EA -15 %"
        [[adjust]]
        match = { provider = "anthropic" }
        multiply_ppm = 900000
        [[adjust]]
        match = { provider = "openai", service_tier = "scale" }
        multiply_ppm = 2000000
        source = "scale tier"
        """,
    )
    cost = book.price(call("openai", "gpt-4o", Usage(input=1000, output=100, requests={"web_search": 1})))
    assert (cost.nano_usd, cost.adjusted) == ((3_500_000 + 10_000_000) * 85 // 100, "EA -15 %")
    cost = book.price(call("openai", "gpt-4o", Usage(input=1000, output=100), service_tier="scale"))
    assert (cost.nano_usd, cost.variant, cost.adjusted) == (3_500_000 * 2 * 85 // 100, "scale", "EA -15 %; scale tier")
    # A discount and the surcharge for the region multiply.
    cost = book.price(call("anthropic", "claude-sonnet-5", Usage(input=1000, output=100), inference_geo="us"))
    assert cost.nano_usd == 3_000_000 * 99 // 100
    assert cost.adjusted is not None
    assert cost.adjusted.startswith("prices.toml: [[adjust]] 2; https://")
    late = NOVEMBER + 365 * 86_400 * 10**9
    assert book.price(call("openai", "gpt-4o", Usage(input=1000, output=100), started_ns=late)).adjusted is None


def test_a_users_fee_tops_up_the_list(tmp_path: Path) -> None:
    text = (
        '[[prices]]\nmatch = { provider = "openai" }\nusd_per_request = { code_interpreter = "0.03", web_search = "0" }'
    )
    usage = Usage(input=1000, output=0, requests={"web_search": 1, "code_interpreter": 2})
    cost = book_with(tmp_path, text).price(call("openai", "gpt-4o", usage))
    assert (cost.status, cost.nano_usd, cost.other) == ("priced", 62_500_000, 60_000_000)


def test_self_hosted_costs_its_machines_time(tmp_path: Path) -> None:
    book = book_with(
        tmp_path,
        """
        [[self_hosted]]
        match = { provider = "vllm", server = "gpu-*" }
        usd_per_gpu_hour = "2.49"
        gpus = 8
        concurrency = 16
        [[self_hosted]]
        match = { provider = "ollama" }
        usd_per_mtok = { input = "0.10", output = "2.21" }
        """,
    )
    cost = book.price(call("vllm", "m", server_address="gpu-1", duration_ns=1_500_000_001))
    assert (cost.status, cost.variant) == ("priced", "self_hosted")
    assert cost.nano_usd == cost.other == 518_750  # 2.49 * 8 / 16 USD/h for 1.5 s
    assert book.price(call("vllm", "m", server_address="gpu-1")).reason == "no_duration"
    assert book.price(call("ollama", "m")).nano_usd == 100 * MILLION + 221 * MILLION


def test_a_broken_file_is_one_sentence_in_the_log_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    book = book_with(tmp_path, "[[prices]]\nkey = 3")
    assert book.price(call("openai", "gpt-4o")).status == "priced"
    book.price(call("openai", "gpt-4o"))
    assert [record.getMessage() for record in caplog.records] == [
        "prices.toml: [[prices]] 1: key must be a text, not 3; going on with the bundled prices"
    ]


def test_warns_once_for_each_model_and_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    book = PriceBook()
    hint = "; a price file that OTEL_LLM_PRICES names can set it"
    for _ in range(3):
        book.price(call("ollama", "llama"))
        book.price(call("ollama", "qwen"))
        book.price(call("openai", "gpt-4o"))
        book.price(call("openai", "gpt-4o", usage_source="partial"))
        book.price(call("openai", "gpt-4o", error_type="TimeoutError", reported_cost_usd=None))
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            f"the cost of ollama/{model} is unknown: unknown_provider{hint}",
        )
        for model in ("llama", "qwen")
    ]
    caplog.clear()
    strict = book_with(tmp_path, '[unpriced]\npolicy = "error"\nwarn_once = false')
    for _ in range(2):
        strict.price(call("ollama", "llama"))
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


# Where cards come from, and where they stay.

SECOND_PROCESS = """
import sys, pathlib
from otel_llm.call import Call, Usage
from otel_llm.pricing import PriceBook
book = PriceBook(pathlib.Path(sys.argv[1]))
calls = [Call("chat", *name.split(":"), usage=Usage(input=1000, output=100)) for name in sys.argv[2:]]
book.load()
before = [book.ready(call) for call in calls]
for call in calls:
    book.resolve(call)
costs = [book.price(call).nano_usd for call in calls]
print(before, costs, "genai_prices" in sys.modules, "pydantic" in sys.modules)
"""


def in_another_process(home: Path, *names: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SECOND_PROCESS, str(home), *names], stdout=subprocess.PIPE, text=True
    )


def output(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=60)[0].strip()


def test_only_the_first_process_imports_genai_prices(tmp_path: Path) -> None:
    names = ("openai:gpt-4o", "anthropic:no-such-model", "ollama:llama")
    assert output(in_another_process(tmp_path, *names)) == "[False, False, True] [3500000, None, None] True True"
    assert output(in_another_process(tmp_path, *names)) == "[True, True, True] [3500000, None, None] False False"
    stored = json.loads((tmp_path / "prices" / f"genai-prices-{genai_prices.__version__}.json").read_text())
    assert stored["cards"]["anthropic/no-such-model"] == "unknown_model"


def test_is_ready_only_after_the_card_is_at_hand(tmp_path: Path) -> None:
    book = PriceBook(tmp_path)
    subject = call("openai", "gpt-4o")
    assert not book.ready(subject)
    book.load()
    assert not book.ready(subject)
    book.resolve(subject)
    assert book.ready(subject)
    assert book.ready(call("openai", None))
    assert book.ready(call("openrouter", "x/y", reported_cost_usd="0.1"))
    assert not book.ready(call("openrouter", "x/y", reported_cost_usd="much"))
    subject.response_model = "gpt-4o-2024-08-06"
    assert not book.ready(subject)


def test_many_processes_at_once(tmp_path: Path) -> None:
    models = ["openai:gpt-4o", "anthropic:claude-haiku-4-5"]
    running = [in_another_process(tmp_path, model, "groq:llama-3.1-8b-instant") for model in models]
    assert [output(process).split("] ")[1] for process in running] == [
        "[3500000, 58000",
        "[1500000, 58000",
    ]
    (stored,) = (tmp_path / "prices").iterdir()
    assert "groq/llama-3.1-8b-instant" in json.loads(stored.read_text())["cards"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b'{"format": 0, "cards": {}}',
        b'{"format": 1, "cards": {"openai/gpt-4o": {}}}',
        b'{"format": 1, "cards": {"openai/gpt-4o": {"key": "k", "rows": [], "variants": []}}}',
        b'{"format": 1, "cards": {"openai/gpt-4o": {"key": "", "rows": [[{"input": null}, 0, null, {}]]}}}',
        b'{"format": 1, "cards": {"openai/gpt-4o": {"key": "", "rows": [[{"a": {}}, 0, null, {}]], "variants": []}}}',
        b'{"format": 1, "cards": [1]}',
    ],
)
def test_a_damaged_store_is_ignored_and_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prices" / f"genai-prices-{genai_prices.__version__}.json"
    path.parent.mkdir()
    path.write_bytes(content)
    assert PriceBook(tmp_path).price(call("openai", "gpt-4o")).nano_usd == 3_500 * MILLION
    assert json.loads(path.read_text())["cards"]["openai/gpt-4o"]["key"] == "openai/gpt-4o"


def test_a_home_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert PriceBook(tmp_path / "file").price(call("openai", "gpt-4o")).status == "priced"
    (tmp_path / "home" / "prices" / f"genai-prices-{genai_prices.__version__}.json").mkdir(parents=True)
    assert PriceBook(tmp_path / "home").price(call("openai", "gpt-4o")).status == "priced"
    assert [path.suffix for path in (tmp_path / "home" / "prices").iterdir()] == [".json"]


def test_another_librarys_snapshot_does_not_change_our_prices() -> None:
    set_custom_snapshot(DataSnapshot(providers=[], from_auto_update=True))
    try:
        assert PriceBook().price(call("openai", "gpt-4o")).nano_usd == 3_500 * MILLION
    finally:
        set_custom_snapshot(None)


def test_threads_agree(tmp_path: Path) -> None:
    book = PriceBook(tmp_path)
    models = [
        ("openai", "gpt-4o"),
        ("openai", "gpt-5.2"),
        ("anthropic", "claude-sonnet-5"),
        ("ollama", "x"),
        ("groq", "no"),
    ]
    expected = [PriceBook().price(call(*model)).nano_usd for model in models]
    start = threading.Barrier(8)
    wrong: list[object] = []

    def work() -> None:
        start.wait()
        for _ in range(200):
            found = [book.price(call(*model)).nano_usd for model in models]
            if found != expected:
                wrong.append(found)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_names_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from otel_llm.pricing import book as module

    monkeypatch.setattr(module, "_KEPT", 8)
    book = PriceBook(tmp_path)
    for number in range(40):
        assert book.price(call("ollama" if number % 2 else "openai", f"invented-{number}")).status == "unpriced"
    assert len(book._cards) <= 40  # pyright: ignore[reportPrivateUsage]
    assert len(book._warned) <= 8  # pyright: ignore[reportPrivateUsage]
    assert book.price(call("openai", "gpt-4o")).status == "priced"


def test_is_at_least_ten_times_as_fast_as_calc_price(book: PriceBook) -> None:
    subject = call("anthropic", "claude-sonnet-5", Usage(input=1000, cache_read=5000, cache_write_5m=300, output=200))
    usage = genai_prices.Usage(input_tokens=6300, cache_read_tokens=5000, cache_write_tokens=300, output_tokens=200)
    at = datetime.fromtimestamp(NOVEMBER / 10**9, UTC)
    book.price(subject)

    def theirs() -> object:
        return genai_prices.calc_price(usage, "claude-sonnet-5", provider_id="anthropic", genai_request_timestamp=at)

    theirs()
    ours, calc_price = (min(timeit.repeat(run, number=200, repeat=5)) for run in (lambda: book.price(subject), theirs))
    assert calc_price > 10 * ours


def test_the_price_of_the_calls_own_time_counts(book: PriceBook) -> None:
    usage = Usage(input=1000, output=0)
    before = int(datetime(2025, 6, 9, 23, 59, tzinfo=UTC).timestamp()) * 10**9
    assert book.price(call("openai", "o3", usage, started_ns=before)).nano_usd == 10_000_000
    after = book.price(call("openai", "o3", usage, started_ns=before + 60 * 10**9))
    assert (after.nano_usd, after.valid_from) == (2_000_000, "2025-06-10")
    assert book.price(call("openai", "o3", usage, started_ns=before)).nano_usd == 10_000_000
    now = book.price(call("openai", "o3", usage, started_ns=0))
    assert now.nano_usd == book.price(call("openai", "o3", usage, started_ns=time.time_ns())).nano_usd


# For people.


def test_explains_every_price_that_a_call_can_have(tmp_path: Path) -> None:
    book = book_with(
        tmp_path,
        """
        [[prices]]
        match = { provider = "openai", model = "gpt-6.1-*", server = "gateway" }
        usd_per_mtok = { input = "1.5", output = "9" }
        source = "contract"
        [[adjust]]
        match = { provider = "openai" }
        multiply_ppm = 850000
        source = "EA"
        [[adjust]]
        match = { provider = "groq" }
        multiply_ppm = 1
        """,
    )
    rows = book.explain(None, "gpt-6.1-sol", datetime(2026, 11, 15, tzinfo=UTC))
    assert [(row.layer, row.variant) for row in rows] == [
        ("override", "server=gateway"),
        *(
            ("list", f"{variant}{level}")
            for variant in ("standard", "flex", "priority", "fast", "batch")
            for level in ("", " >272000")
        ),
        ("adjust", ""),
    ]
    listed = {row.variant: row for row in rows}
    assert listed["standard >272000"].usd_per_mtok == {
        "input": "4",
        "cache_read": "0.2",
        "cache_write": "5",
        "output": "15",
    }
    assert listed["flex"].usd_per_mtok["cache_read"] == "0.05"
    assert (listed["flex"].valid_from, listed["flex"].key) == ("2026-10-12", "openai/gpt-6.1-sol")
    assert listed["standard"].usd_per_request == {"web_search": "0.01", "file_search": "0.0025"}
    assert (rows[0].usd_per_mtok, rows[0].source, rows[-1].factor) == (
        {"input": "1.5", "output": "9"},
        "contract",
        "0.85",
    )
    early = book.explain("openai", "gpt-6.1-sol", datetime(2026, 10, 1, tzinfo=UTC))
    assert {row.variant for row in early if row.layer == "list"} == {"standard", "standard >272000"}
    assert book.explain("nobody", "no-such") == []


def test_suggests_models_with_names_like_it(book: PriceBook) -> None:
    assert book.suggest("claude-sonet-5")[0] == "anthropic/claude-sonnet-5"
    assert "openai/gpt-4o-mini" in book.suggest("gpt-4o-minni")
    assert book.suggest("zzzzzzzzzzzz") == []
