from __future__ import annotations

from pathlib import Path

import pytest

from otel_llm.pricing import PriceBook, PriceFileError
from otel_llm.pricing.overrides import parse_price_file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[[prices",
            "prices.toml: is not valid TOML: Expected ']]' at the end of an array declaration (at end of document)",
        ),
        ("version = 2", "prices.toml: version must be 1, not 2"),
        ("[[price]]", "prices.toml: has no price, only version, aliases, prices, self_hosted, adjust, unpriced"),
        ("prices = 3", "prices.toml: prices must be tables in double brackets, not 3"),
        (
            '[[prices]]\nkey="a/b"\nusd_per_mtok={input="1"}\n[[prices]]\nkey="a/c"\nusd_per_mtok={input=0.2}',
            'prices.toml: [[prices]] 2: usd_per_mtok.input must be a decimal string such as "0.20", not 0.2',
        ),
        (
            '[[prices]]\nkey = "a/b"\nusd_per_mtok = { input = "-1" }',
            "prices.toml: [[prices]] 1: usd_per_mtok.input must be a decimal string such as \"0.20\", not '-1'",
        ),
        (
            '[[prices]]\nkey = "a/b"\nusd_per_mtok = { input = "0.0000001" }',
            "prices.toml: [[prices]] 1: usd_per_mtok.input must be no finer than 1e-12 USD for one, not '0.0000001'",
        ),
        (
            '[[prices]]\nkey = "a/b"\nusd_per_mtok = { inputs = "1" }',
            (
                "prices.toml: [[prices]] 1: usd_per_mtok key must be one of input, cache_read, cache_write_5m, "
                "cache_write_1h, cache_write_other, input_audio, input_image, cache_write, output, reasoning, "
                "output_audio, output_image, not 'inputs'"
            ),
        ),
        (
            '[[prices]]\nkey = "gpt-4o"',
            "prices.toml: [[prices]] 1: key must be a text such as \"openai/gpt-4o\", not 'gpt-4o'",
        ),
        ('[[prices]]\nkey = "a/b"', "prices.toml: [[prices]] 1: needs usd_per_mtok or usd_per_request"),
        ('[[prices]]\nusd_per_mtok = { input = "1" }', "prices.toml: [[prices]] 1: needs match"),
        (
            "[[adjust]]\nmultiply_ppm = 0.85",
            "prices.toml: [[adjust]] 1: multiply_ppm must be a whole number above 0, not 0.85",
        ),
        ("[[adjust]]\nmatch = {}", "prices.toml: [[adjust]] 1: needs multiply_ppm"),
        (
            '[[adjust]]\nmultiply_ppm = 1\nmatch = { providr = "x" }',
            (
                "prices.toml: [[adjust]] 1: match key must be one of provider, model, server, operation, service_tier, "
                "speed, inference_geo, not 'providr'"
            ),
        ),
        (
            "[[adjust]]\nmultiply_ppm = 1\nmatch = { provider = 3 }",
            'prices.toml: [[adjust]] 1: match.provider must be a pattern such as "gpt-*", not 3',
        ),
        (
            '[[adjust]]\nmultiply_ppm = 1\nmatch = {}\nfrom = "June"',
            "prices.toml: [[adjust]] 1: from must be a date such as 2026-06-01, not 'June'",
        ),
        (
            "[[adjust]]\nmultiply_ppm = 1\nmatch = {}\nfrom = 2026-06-01\nto = 2026-06-01",
            "prices.toml: [[adjust]] 1: to must be later than from",
        ),
        (
            '[[adjust]]\nmultiply_ppm = 1\nmatch = {}\nsorce = "x"',
            "prices.toml: [[adjust]] 1: has no sorce, only multiply_ppm, fees, match, from, to, source",
        ),
        (
            "[[self_hosted]]\nmatch = {}",
            "prices.toml: [[self_hosted]] 1: needs either usd_per_gpu_hour or usd_per_mtok",
        ),
        (
            '[[aliases]]\nprovider = "x"\nmatch = "y"',
            "prices.toml: [[aliases]] 1: needs price_key",
        ),
        ('[unpriced]\npolicy = "zero"', 'prices.toml: [unpriced] policy must be "mark" or "error", not \'zero\''),
    ],
)
def test_says_in_one_sentence_what_is_wrong_and_where(text: str, message: str) -> None:
    with pytest.raises(PriceFileError) as raised:
        parse_price_file(text.encode(), "prices.toml", "overrides:0")
    assert str(raised.value) == message


def test_says_that_a_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        PriceFileError, match=r"none\.toml: cannot be read \(No such file or directory\), check OTEL_LLM_PRICES"
    ):
        PriceBook(overrides=tmp_path / "none.toml").load_overrides()


def test_binary_is_no_price_file() -> None:
    with pytest.raises(PriceFileError, match="is not valid TOML"):
        parse_price_file(b"\xff\xfe", "prices.toml", "")


def test_the_documented_example_is_valid() -> None:
    from otel_llm.pricing import overrides

    assert overrides.__doc__ is not None
    example = "\n".join(line[4:] for line in overrides.__doc__.splitlines() if line.startswith("    "))
    found = parse_price_file(example.encode(), "prices.toml", "overrides:0")
    assert (len(found.aliases), len(found.absolute), len(found.fees), len(found.adjust)) == (1, 2, 1, 1)
    assert (found.policy, found.warn_once) == ("error", True)
