"""Estimates of what a provider did not report, for those who ask for them: `OTEL_LLM_ESTIMATE=o200k_base`.

Off by default. The value names a tiktoken encoding whose ranks must already lie in `TIKTOKEN_CACHE_DIR`: tiktoken would
download them, without a time-out and inside a global lock, so it is never let near a missing file. Loading and counting
happen in our own thread. An estimate is marked as one, and it is a lower bound where reasoning is hidden.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

from otel_llm.call import Call, Usage
from otel_llm.guard import guard, logger

_RANKS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
_WORDS = frozenset(
    {
        "arguments",
        "content",
        "delta",
        "input",
        "instructions",
        "message",
        "partial_json",
        "prompt",
        "reasoning_content",
        "refusal",
        "response",
        "system",
        "text",
        "thinking",
    }
)

Count = Callable[[str], int]


def wanted() -> str | None:
    """The encoding that the setting names; None when estimates are off."""
    return os.environ.get("OTEL_LLM_ESTIMATE") or None


@cache
def counter(encoding: str) -> Count | None:
    """Counts tokens of a text with `encoding`; None, with one warning, where it is not at hand. Slow the first time."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR")
    name = hashlib.sha1(_RANKS.format(encoding).encode(), usedforsecurity=False).hexdigest()
    if not folder or not (Path(folder) / name).is_file():
        logger.warning(
            "OTEL_LLM_ESTIMATE=%s has no effect: its ranks are not in TIKTOKEN_CACHE_DIR (%s); put them there as %s",
            encoding,
            folder or "not set",
            name,
        )
        return None
    try:
        import tiktoken
    except ImportError:
        logger.warning("OTEL_LLM_ESTIMATE has no effect: tiktoken is missing; pip install 'otel-llm[estimate]'")
        return None
    ranks = tiktoken.get_encoding(encoding)
    return lambda text: len(ranks.encode(text, disallowed_special=()))


def estimate(call: Call, request: Any, answer: str) -> None:
    """Fill in what is missing of the call's input and output, and mark it. In our own thread: it may take its time."""
    encoding = wanted()
    count = counter(encoding) if encoding else None
    if count is None:
        return
    usage = call.usage or Usage()
    with guard:
        if usage.input_tokens is None:
            usage.input = count("".join(words(request)))
        if usage.output_tokens is None:
            usage.output = count(answer)
        call.usage, call.usage_source, call.estimator = usage, "estimated", f"tiktoken/{encoding}"


def words(body: Any) -> Iterator[str]:
    """The texts in a request body, a response body or an event of a stream, whatever its wire format."""
    if isinstance(body, dict):
        fields = cast("dict[str, Any]", body)
        kind = fields.get("type")
        if isinstance(kind, str) and kind.endswith(".done"):
            return  # says again what its deltas said
        for name, value in fields.items():
            if isinstance(value, str):
                if name in _WORDS:
                    yield value
            else:
                yield from words(value)
    elif isinstance(body, (list, tuple)):
        for item in cast("list[Any]", body):
            yield from (item,) if isinstance(item, str) else words(item)
