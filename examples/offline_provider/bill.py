"""The provider's own bill: what was generated, and what it costs at list price.

Nothing in here comes from otel-llm, so that the two can be held against each other.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_INPUT = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_other", "input_audio", "input_image")
_OUTPUT = ("output", "reasoning", "output_audio", "output_image")


@dataclass(slots=True)
class Usage:
    """Tokens in disjoint buckets, and requests of built-in tools. The provider knows them all, so none is None."""

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_write_other: int = 0
    output: int = 0
    reasoning: int = 0
    input_audio: int = 0
    output_audio: int = 0
    input_image: int = 0
    output_image: int = 0
    requests: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def cache_write(self) -> int:
        """All cache writes."""
        return self.cache_write_5m + self.cache_write_1h + self.cache_write_other

    @property
    def input_tokens(self) -> int:
        """All input, cache reads and writes included."""
        return sum(getattr(self, bucket) for bucket in _INPUT)

    @property
    def output_tokens(self) -> int:
        """All output, reasoning included."""
        return sum(getattr(self, bucket) for bucket in _OUTPUT)

    def until(self, generated: int) -> Usage:
        """The usage when only the first `generated` output tokens were made: reasoning first, then text, then audio."""
        reasoning = min(self.reasoning, generated)
        output = min(self.output, generated - reasoning)
        audio = min(self.output_audio, generated - reasoning - output)
        return replace(self, reasoning=reasoning, output=output, output_audio=audio, requests=dict(self.requests))

    def __add__(self, other: Usage) -> Usage:
        counts = {bucket: getattr(self, bucket) + getattr(other, bucket) for bucket in (*_INPUT, *_OUTPUT)}
        tools = self.requests.keys() | other.requests.keys()
        return Usage(**counts, requests={t: self.requests.get(t, 0) + other.requests.get(t, 0) for t in tools})


@dataclass(slots=True)
class BillEntry:
    """One request that a real provider would charge for."""

    seq: int
    response_id: str
    api: str
    """`openai.chat`, `azure.chat`, `groq.chat`, `anthropic.messages`, `bedrock.messages` ..."""
    path: str
    request_model: str
    response_model: str | None
    """None where the response does not name it."""
    stream: bool
    service_tier: str | None
    usage: Usage
    parts: list[tuple[str, Usage]]
    """Where one response is billed at several models: each with its share of `usage`. Empty otherwise."""
    complete: bool
    """False when the client left or the connection was cut: `usage` is then what had been generated so far."""
    usage_sent: bool
    """Whether the final usage went out to the client."""
    cost_nano: int | None
    """Nano-USD, rounded half up once; None when something in it has no list price."""
    attempt: int
    """How many requests of the same call came before this one."""
    key: str
    """Tells which scripted requests are attempts of the same call."""
    headers: dict[str, str]
    """`traceparent`, `user-agent` and the like, where the client sent them."""


@dataclass(slots=True)
class RequestEntry:
    """One HTTP request as it arrived, and how it was answered."""

    seq: int
    method: str
    path: str
    """With the query."""
    headers: dict[str, str]
    """Lower-case names; keys are blotted out."""
    body: dict[str, Any]
    api: str | None = None
    status: int | None = None
    """None when the connection was dropped before a status line."""
    response_id: str | None = None
    retry_count: int | None = None
    """The client's own count, from `x-stainless-retry-count`."""
    key: str = ""
    attempt: int = 0
    script: str = ""


# List prices of 22 November 2026, as genai-prices 0.2.3 has them (tests/provider/test_offline_bill.py compares them).
# USD per million tokens; the last column is USD per thousand web searches. Variants are service tiers; `+long` holds
# above 200,000 input tokens, caches included. A cache column of `=` means: billed as input.
_LIST = """
provider  model                              variant    input   read     write5m write1h output  a-in  a-out  search
openai    gpt-4o-mini                        list       0.15    0.075    -       -       0.6     -     -      10
openai    gpt-4o-mini                        priority   0.25    0.125    -       -       1       -     -      10
openai    gpt-4o-mini                        batch      0.075    0.075    -       -       0.3     -     -      10
openai    gpt-4o                             list       2.5     1.25     -       -       10      -     -      10
openai    gpt-4o                             priority   4.25    2.125    -       -       17      -     -      10
openai    gpt-5.2                            list       1.75    0.175    -       -       14      -     -      10
openai    gpt-5.2                            flex       0.875   0.0875   -       -       7       -     -      10
openai    gpt-5.2                            priority   3.5     0.35     -       -       28      -     -      10
openai    o3                                 list       2       0.5      -       -       8       -     -      10
openai    o3                                 flex       1       0.25     -       -       4       -     -      10
openai    o3                                 priority   3.5     0.875    -       -       14      -     -      10
openai    gpt-4o-audio-preview               list       2.5     =        -       -       10      -     -      -
openai    gpt-audio                          list       2.5     =        -       -       10      32    64     -
openai    gpt-3.5-turbo-instruct             list       1.5     =        -       -       2       -     -      -
openai    text-embedding-3-small             list       0.02    =        -       -       -       -     -      -
anthropic claude-sonnet-4-5                  list       3       0.3      3.75    6       15      -     -      10
anthropic claude-sonnet-4-5                  list+long  6       0.6      7.5     12      22.5    -     -      10
anthropic claude-sonnet-4-5                  batch      1.5     0.15     1.875   3       7.5     -     -      10
anthropic claude-sonnet-4-5                  batch+long 3       0.3      3.75    6       11.25   -     -      10
anthropic claude-opus-4-5                    list       5       0.5      6.25    10      25      -     -      10
anthropic claude-opus-4-5                    batch      2.5     0.25     3.125   5       12.5    -     -      10
anthropic claude-haiku-4-5                   list       1       0.1      1.25    2       5       -     -      10
anthropic claude-haiku-4-5                   batch      0.5     0.05     0.625   1       2.5     -     -      10
vertex    claude-sonnet-4-5                  list       3       0.3      3.75    6       15      -     -      -
vertex    claude-sonnet-4-5                  list+long  6       0.6      7.5     12      22.5    -     -      -
vertex    claude-opus-4-5                    list       5       0.5      6.25    10      25      -     -      -
vertex    claude-haiku-4-5                   list       1       0.1      1.25    2       5       -     -      -
bedrock   global.anthropic.claude-sonnet-4-5 list       3       0.3      3.75    6       15      -     -      -
bedrock   global.anthropic.claude-opus-4-5   list       5       0.5      6.25    10      25      -     -      -
bedrock   global.anthropic.claude-haiku-4-5  list       1       0.1      1.25    2       5       -     -      -
bedrock   anthropic.claude-sonnet-4-5        list       3.3     0.33     4.125   6.6     16.5    -     -      -
bedrock   anthropic.claude-opus-4-5          list       5.5     0.55     6.875   11      27.5    -     -      -
bedrock   anthropic.claude-haiku-4-5         list       1.1     0.11     1.375   2.2     5.5     -     -      -
bedrock   amazon.nova-lite                   list       0.06    0.015   0.06    0.06    0.24    -     -      -
bedrock   meta.llama3-3-70b-instruct         list       0.72    =        -       -       0.72    -     -      -
bedrock   mistral.mistral-large-2402         list       4       =        -       -       12      -     -      -
bedrock   amazon.titan-text-express-v1       list       0.2     =        -       -       0.6     -     -      -
bedrock   amazon.titan-embed-text-v1         list       0.1     =        -       -       -       -     -      -
bedrock   openai.gpt-oss-120b-1:0            list       0.15    =        -       -       0.6     -     -      -
groq      llama-3.3-70b-versatile            list       0.59    =        -       -       0.79    -     -      -
groq      openai/gpt-oss-120b                list       0.15    0.075    -       -       0.6     -     -      -
groq      openai/gpt-oss-120b                batch      0.075   0.075    -       -       0.3     -     -      -
groq      openai/gpt-oss-20b                 list       0.075   0.0375   -       -       0.3     -     -      -
together  meta-llama/Llama-3.3-70B-Instruct-Turbo list   0.88    =        -       -       0.88    -     -      -
fireworks accounts/fireworks/models/gpt-oss-120b list     0.15    0.015    -       -       0.6     -     -      -
xai       grok-4-fast-reasoning              list       0.2     0.05    -       -       0.5     -     -      -
xai       grok-4.3                           list       1.25     0.2     -       -       2.5     -     -      -
xai       grok-4.3                           batch      1        0.16    -       -       2       -     -      -
cerebras  gpt-oss-120b                       list       0.35    =        -       -       0.75    -     -      -
google    gemini-2.5-flash                   list       0.3      0.03     -       -       2.5     1     -      35
google    gemini-2.5-flash                   batch      0.15     0.03     -       -       1.25    0.5   -     35
google    gemini-2.5-pro                     list       1.25     0.125    -       -       10      -     -      35
google    gemini-2.5-pro                     list+long  2.5      0.25     -       -       15      -     -      35
google    gemini-3-flash-preview             list       0.5      0.05     -       -       3       1     -      14
google    gemini-embedding-001               list       0.15     =        -       -       -       -     -      -
openai    gpt-image-1                        list       5        1.25    -       -       -       -     -      -
openai    gpt-image-1.5                      list       5        1.25    -       -       10      -     -      -
openai    gpt-4o-transcribe                  list       2.5      =       -       -       10      6     -      -
openai    gpt-4o-mini-tts                    list       0.6      =       -       -       12      -     -      -
mistral   mistral-small-latest               list       0.15    0.015    -       -       0.6     -     -      -
mistral   mistral-small-latest               batch      0.075    0.0075    -       -       0.3     -     -      -
mistral   mistral-embed                      list       0.1     =        -       -       -       -     -      -
cohere    command-a-03-2025                  list       2.5     =        -       -       10      -     -      -
cohere    command-r-08-2024                  list       0.15    =        -       -       0.6     -     -      -
cohere    command-light                      list       0.3      =        -       -       0.6     -     -      -
cohere    embed-v4.0                         list       0.12    =        -       -       -       -     -      -
voyageai  voyage-3.5                         list       0.06    =        -       -       -       -     -      -
voyageai  voyage-context-3                   list       0.18    =        -       -       -       -     -      -
"""
# USD per unit of what is billed by other units than tokens, as genai-prices or the provider's own page has them, of an
# hour's price the millisecond's to the pico-dollar.
_PER_UNIT: dict[tuple[str, str, str], Decimal] = {
    (provider, model, unit): Decimal(price)
    for provider, model, unit, price in map(
        str.split,
        """
openai whisper-1         audio_ms   0.0000001
openai gpt-transcribe    audio_ms   0.000000075
openai tts-1             characters 0.000015
groq   whisper-large-v3  audio_ms   0.000000030833
groq   whisper-large-v3-turbo audio_ms 0.000000011111
groq   canopylabs/orpheus-v1-english characters 0.000022
xai    grok-4-fast-reasoning web_search 0.005
openai gpt-image-1       input_image  0.00001
openai gpt-image-1       output_image 0.00004
openai gpt-image-1.5     input_image  0.000008
openai gpt-image-1.5     output_image 0.000032
cohere rerank-v3.5       search_units 0.002
mistral mistral-ocr-2512  pages           0.002
mistral mistral-ocr-2512  annotated_pages 0.003
mistral voxtral-mini-2602 audio_ms        0.00000005
mistral voxtral-mini-tts-2603 characters  0.000016
voyageai voyage-multimodal-3 input        0.00000012
voyageai voyage-multimodal-3 image_pixels 0.0000000006
voyageai rerank-2.5          input        0.00000005
""".strip().splitlines(),
    )
}
_DATED = """
gpt-4o-mini-2024-07-18 gpt-4o-2024-08-06 gpt-5.2-2025-12-11 o3-2025-04-16 gpt-4o-audio-preview-2025-06-03
gpt-audio-2025-08-28 claude-sonnet-4-5-20250929 claude-opus-4-5-20251101 claude-haiku-4-5-20251001
"""
SNAPSHOTS = {re.sub(r"-\d{4}-?\d\d-?\d\d$", "", name): name for name in _DATED.split()}
"""What a model's short name stands for: the response names the snapshot; of a version (Replicate), the model."""
SNAPSHOTS["5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"] = "replicate/hello-world"
RUNS_ON = {"groq/compound": "openai/gpt-oss-120b"}
"""The model that a system of models runs on, beside others that it may use."""

Rates = dict[str, Decimal]


def _rates(uncached: str, read: str, write_5m: str, write_1h: str, output: str, *rest: str) -> Rates:
    rates = {"input": uncached, "cache_read": uncached if read == "=" else read, "output": output, "reasoning": output}
    rates |= {"cache_write_5m": write_5m, "cache_write_1h": write_1h, "cache_write_other": write_5m}
    rates |= dict(zip(("input_audio", "output_audio", "web_search"), rest, strict=True))
    return {bucket: Decimal(rate) for bucket, rate in rates.items() if rate != "-"}


PRICES: dict[tuple[str, str, str], Rates] = {
    (provider, model, variant): _rates(*columns)
    for provider, model, variant, *columns in map(str.split, _LIST.strip().splitlines()[1:])
}
"""Rates by bucket; the keys are provider, model and variant."""
_STANDARD = {None, "default", "standard", "auto", "on_demand", "global"}


@lru_cache(maxsize=1024)
def rates_of(provider: str, model: str, tier: str | None = None, *, long: bool = False) -> Rates:
    """The rates of a model, by the name that a request or response gives it; empty when it has no price."""
    name = re.sub(r"(-\d{4}-\d\d-\d\d|[-@]\d{8})?(-v\d+:\d+)?$", "", re.sub(r"^arn:.*/", "", model))
    if provider == "bedrock":
        name = re.sub(r"^(us|eu|apac|jp|au)\.", "", name)
    book, variant = (
        "openai" if provider in ("azure", "azure_inference") else provider,
        "list" if tier in _STANDARD else str(tier),
    )
    listed = PRICES.get((book, name, variant), {})
    return PRICES.get((book, name, f"{variant}+long"), listed) if long else listed


def cost_nano(provider: str, parts: Iterable[tuple[str, Usage]], *terms: str | None) -> int | None:
    """Cost in nano-USD of usages, each at its own model, rounded half up once; None when any of it has no price.

    `terms` are what else decides the price: service tier, speed, region.
    """
    special = [str(term) for term in terms if term not in _STANDARD]
    micro = Decimal(0)
    for model, usage in parts:
        rates = rates_of(provider, model, "+".join(special) or None, long=usage.input_tokens > 200_000)
        for bucket in (*_INPUT, *_OUTPUT):
            if count := getattr(usage, bucket):
                unit = _PER_UNIT.get((provider, model, bucket))
                if unit is None and bucket not in rates:
                    return None
                micro += (rates[bucket] if unit is None else unit * 1_000_000) * count
        for tool, count in usage.requests.items():
            unit = _PER_UNIT.get((provider, model, tool))
            if unit is None and tool not in rates:
                return None
            micro += (rates[tool] / 1000 if unit is None else unit) * 1_000_000 * count
    return int((micro * 1000).quantize(Decimal(1), ROUND_HALF_UP))


def as_json(entries: Any) -> str:
    """Entries as JSON objects; `dataclasses.asdict` takes longer than the rest of a request."""
    return json.dumps(entries, default=lambda entry: {name: getattr(entry, name) for name in entry.__slots__})


class Bill:
    """The entries, and a JSONL file of them that is complete after every line."""

    def __init__(self, path: Path | str | None = None) -> None:
        self.entries: list[BillEntry] = []
        self._file = Path(path).open("w", buffering=1, encoding="utf-8") if path else None  # noqa: SIM115
        self._seq = 0

    def add(self, **known: Any) -> None:
        """Append an entry, numbered."""
        self._seq += 1
        self.entries.append(entry := BillEntry(seq=self._seq, **known))
        if self._file:
            self._file.write(as_json(entry) + "\n")

    def clear(self) -> None:
        """Forget all entries; numbering goes on."""
        self.entries.clear()
        if self._file:
            self._file.seek(0)
            self._file.truncate()

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
