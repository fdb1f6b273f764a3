"""What is known of one call to a model: the record that every part of otel-llm shares.

A `Call` is filled by a dialect, priced by `otel_llm.pricing`, and written onto its span by the engine.
Counts that the provider did not report are None, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

UsageSource = Literal["provider", "partial", "estimated"]
StreamOutcome = Literal["completed", "aborted", "abandoned", "failed"]
CostStatus = Literal["priced", "partial", "free", "unpriced"]
AttributeValue = str | bool | int | float | list[str]


@dataclass(slots=True)
class Usage:
    """Tokens as the provider billed them, in disjoint buckets: adding them up counts nothing twice.

    None means that the provider did not say; 0 means that it said zero.
    """

    input: int | None = None
    """Uncached text input."""
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    cache_write_other: int | None = None
    """Cache writes whose lifetime is another one, or unsaid."""
    output: int | None = None
    """Visible text output."""
    reasoning: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None
    input_image: int | None = None
    output_image: int | None = None
    requests: dict[str, int] = field(default_factory=dict[str, int])
    """Billed by other units than tokens: per use of a built-in tool (`web_search`, `file_search`, `code_interpreter`),
    by `search_sources`, `search_units`, `characters`, `images`, `videos`, `pages`, milliseconds of sound (`audio_ms`);
    and, beside what cache reads cost, `cached_audio` and `cached_image` tokens among them."""
    inconsistent: str | None = None
    """How the provider's own numbers contradict each other, when they do."""

    @property
    def cache_write(self) -> int | None:
        """All cache writes."""
        return _total(self.cache_write_5m, self.cache_write_1h, self.cache_write_other)

    @property
    def input_tokens(self) -> int | None:
        """All input, cache reads and writes included."""
        return _total(self.input, self.cache_read, self.cache_write, self.input_audio, self.input_image)

    @property
    def output_tokens(self) -> int | None:
        """All output, reasoning included."""
        return _total(self.output, self.reasoning, self.output_audio, self.output_image)

    def __add__(self, other: Usage) -> Usage:
        """Both together, the doubts of the first."""
        total = replace(self, requests=dict(self.requests))
        for name in _TOKENS:
            setattr(total, name, _total(getattr(self, name), getattr(other, name)))
        for unit, number in other.requests.items():
            total.requests[unit] = total.requests.get(unit, 0) + number
        return total


_TOKENS = tuple(name for name in Usage.__slots__ if name not in ("requests", "inconsistent"))


def _total(*counts: int | None) -> int | None:
    total = None
    for count in counts:
        if count is not None:
            total = count if total is None else total + count
    return total


@dataclass(slots=True)
class Cost:
    """What one call cost. Money is in whole nano-USD (1e-9 USD); `nano_usd` is None when it is unknown.

    The five parts add up to `nano_usd` exactly.
    """

    status: CostStatus
    nano_usd: int | None = None
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    other: int = 0
    source: Literal["local", "provider"] = "local"
    reason: str | None = None
    """Why it is unpriced or partial."""
    key: str | None = None
    """Which price: `provider/model` in the book."""
    variant: str | None = None
    book: str | None = None
    valid_from: str | None = None
    adjusted: str | None = None
    """Source of the negotiated discount that was applied."""


@dataclass(slots=True)
class Call:
    """One request to a model, however many HTTP attempts it took."""

    operation: str
    """`chat`, `text_completion`, `embeddings`."""
    provider: str
    """`gen_ai.provider.name`."""
    request_model: str | None = None
    request: dict[str, AttributeValue] = field(default_factory=dict[str, AttributeValue])
    """Further attributes of the request, by attribute name."""
    stream: bool = False
    server_address: str | None = None
    server_port: int | None = None
    started_ns: int = 0
    """Wall clock, nanoseconds since the epoch: the price of this moment counts."""
    duration_ns: int = 0

    response_id: str | None = None
    response_model: str | None = None
    finish_reasons: list[str] = field(default_factory=list[str])
    response: dict[str, AttributeValue] = field(default_factory=dict[str, AttributeValue])
    """Further attributes of the response, by attribute name."""
    usage: Usage | None = None
    usage_source: UsageSource = "provider"
    estimator: str | None = None
    service_tier: str | None = None
    """The response's tier, in the provider's words: `default`, `standard`, `flex`, `priority`, `batch`."""
    speed: str | None = None
    """Anthropic's `speed` of the response (`standard`, `fast`), where it decides the price."""
    inference_geo: str | None = None
    """Anthropic's `inference_geo` of the response (`us`, `global`), where it decides the price."""
    reported_cost_usd: str | None = None
    """The cost that the response itself carried, as a decimal string in USD."""
    parts: list[Call] = field(default_factory=lambda: list[Call]())  # noqa: PLW0108 - Call is not defined yet
    """When one response was billed at several models, a call for each; `usage` is then their sum."""

    attempts: int = 1
    stream_outcome: StreamOutcome | None = None
    time_to_first_chunk: float | None = None
    """Seconds."""
    error_type: str | None = None
    cost: Cost | None = None
    layer: Literal["sdk", "framework", "foreign"] = "sdk"

    @property
    def model(self) -> str | None:
        """The model whose price counts: the one that answered, else the one that was asked for."""
        return self.response_model or self.request_model


# What a server says of a request that it did not serve; other codes may come from the connection.
_GRPC_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
}


def _grpc_code(error: BaseException) -> str:
    code: Any = getattr(error, "code", None) if type(error).__module__.startswith("grpc.") else None
    return getattr(code(), "name", "") if callable(code) else ""


def http_status(error: BaseException) -> int | None:
    """The HTTP status that an SDK's error tells of, wherever it keeps it."""
    response: Any = getattr(error, "response", None)
    botocore = cast("dict[str, Any]", response).get("ResponseMetadata") if isinstance(response, dict) else None
    told: tuple[Any, ...] = (
        getattr(error, "status_code", None),
        getattr(error, "http_status", None),
        getattr(error, "status", None),
        getattr(error, "code", None),
        getattr(cast("Any", response), "status_code", None),
        cast("dict[str, Any]", botocore or {}).get("HTTPStatusCode"),
        _GRPC_STATUS.get(_grpc_code(error)),
    )
    return next((status for status in told if isinstance(status, int) and 100 <= status < 600), None)


def error_type(error: BaseException) -> str:
    """`openai.RateLimitError`, `TimeoutError`: the class as the conventions want it in `error.type`."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
