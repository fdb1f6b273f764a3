"""Settings from the environment, in the OpenTelemetry style."""

from __future__ import annotations

import os
from pathlib import Path

from otel_llm_semconv import attributes as A

BAGGAGE_SETTING = "OTEL_LLM_BAGGAGE"
_IDENTITY = {
    "user": A.USER_ID,
    "session": A.SESSION_ID,
    "tenant": A.OTEL_LLM_TENANT,
    "feature": A.OTEL_LLM_FEATURE,
}


class SettingError(ValueError):
    """A setting that cannot be used; the message is one sentence for its author."""


def home() -> Path:
    """The folder of spool, store and prices: `OTEL_LLM_HOME`, else the platform's data folder."""
    chosen = os.environ.get("OTEL_LLM_HOME")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("otel-llm", appauthor=False))


def price_file() -> Path | None:
    """The user's own prices: the file that `OTEL_LLM_PRICES` names."""
    chosen = os.environ.get("OTEL_LLM_PRICES")
    return Path(chosen).expanduser() if chosen else None


def attribute_of(word: str, setting: str) -> str:
    """The attribute that `user`, `session`, `tenant`, `feature` or `tag.<key>` means, `user.id` and `session.id`, too.

    Raises SettingError for another word in `setting`.
    """
    if word.startswith("tag.") and len(word) > len("tag."):
        return A.OTEL_LLM_TAG_PREFIX + word.removeprefix("tag.")
    try:
        return _IDENTITY[word.removesuffix(".id")]
    except KeyError:
        raise SettingError(
            f"{setting} names {word!r}, which is none of {', '.join(_IDENTITY)}, tag.<key>: the setting is not used"
        ) from None


def baggage_names(text: str) -> tuple[str, ...]:
    """The attributes that travel between services, of the words in OTEL_LLM_BAGGAGE. May raise SettingError."""
    return tuple(attribute_of(word.strip(), BAGGAGE_SETTING) for word in text.split(",") if word.strip())


def propagates_to_providers() -> bool:
    """Whether providers of models get trace context and baggage, too: OTEL_LLM_PROPAGATE_TO_PROVIDERS."""
    return os.environ.get("OTEL_LLM_PROPAGATE_TO_PROVIDERS", "").strip().lower() == "true"
