"""Rate cards on disk, so that the next process need not import genai-prices. Only a cache: it may vanish."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from otel_llm.pricing.card import RateCard

Cards = Mapping[str, RateCard | str]
"""By the key that the book was asked for; a text says why there is no card."""
_FORMAT = 2
_NEWEST = 2048


def read_cards(path: Path) -> dict[str, RateCard | str]:
    """The cards in the file; none when it is missing, damaged, or of another format."""
    try:
        data: Any = json.loads(path.read_bytes())
        if data["format"] != _FORMAT:
            return {}
        cards = cast(dict[str, Any], data["cards"])
        return {key: card if isinstance(card, str) else RateCard.from_json(card) for key, card in cards.items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return {}


def write_cards(path: Path, cards: Cards) -> None:
    """Put the file in place of the old one, whole. Does nothing when the folder cannot be written."""
    newest = list(cards.items())[-_NEWEST:]
    data = {key: card if isinstance(card, str) else card.to_json() for key, card in newest}
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_text(json.dumps({"format": _FORMAT, "cards": data}, separators=(",", ":")))
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
