"""The script language: how a request says what the provider shall do with it. The README has the table of verbs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HEADER = "x-offline-script"
DIRECTIVE = re.compile(r"\[\[offline:(.*?)\]\](?![\]},])", re.DOTALL)


class ScriptError(ValueError):
    """A script that says something unknown."""


@dataclass(frozen=True, slots=True)
class Script:
    """What shall happen to one attempt. None stands for: as the little model pleases. Times are seconds."""

    id: str | None = None
    status: int | None = None
    slow: float = 0.0
    slow_chunks: float = 0.0
    cut: str | None = None
    """Where the connection ends: `headers`, `body` or `mid-stream`."""
    after: int | None = None
    """Events before a cut or an error in mid-stream; None is half of them."""
    usage: bool = True
    refuse_stream_options: bool = False
    error_event: bool = False
    incomplete: bool = False
    odd: str | None = None
    tier: str | None = None
    geo: str | None = None
    speed: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    caches: tuple[tuple[str, int | None], ...] = ()
    """Bucket and tokens of it; None is 80 % of the input that is left."""
    reasoning: int = 0
    audio: tuple[float, float] = (0, 0)
    """Input and output tokens of audio; below 1 it is a share of the total."""
    web_search: int = 0
    side: tuple[tuple[str, str | None, int, int], ...] = ()
    """Anthropic iterations beside the main one: kind, model, input and output tokens."""
    chunks: int | None = None
    n: int | None = None
    say: str | None = None
    tools: tuple[tuple[str, str], ...] = ()
    """Tool calls: name and arguments as JSON."""
    turns: tuple[Script, ...] = ()

    def at(self, turn: int, offered: Mapping[str, Any]) -> Script:
        """This script in a conversation with so many answers already, where only `offered` tools can be called.

        Turns that only call tools which are not offered are left out, so agents with different tools can share a plan.
        """
        if self.turns:
            plan = [step for step in self.turns if not step.tools or any(name in offered for name, _ in step.tools)]
            step = plan[turn] if turn < len(plan) else _PLAIN
            said = {f: value for f in Script.__slots__ if (value := getattr(step, f)) != getattr(_PLAIN, f)}
            return replace(self, **said, turns=()).at(0, offered)
        allowed = tuple(tool for tool in self.tools if turn == 0 and tool[0] in offered)
        return self if allowed == self.tools else replace(self, tools=allowed)


_PLAIN = Script()
_Fields = dict[str, Any]


def _int(text: str | None) -> int | None:
    return int(text) if text else None


def _seconds(text: str) -> float:
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))


def _tool(m: re.Match[str]) -> _Fields:
    json.loads(m[2] or "{}")
    return {"tools": ((m[1], m[2] or "{}"),)}


def _turns(m: re.Match[str]) -> _Fields:
    return {"turns": tuple(_merge(_apart(step, r"\+")) for step in _apart(m[1], r"\|"))}


_VERBS: dict[str, Callable[[re.Match[str]], _Fields]] = {
    r"([45]\d\d)": lambda m: {"status": int(m[1])},
    r"slow chunks (\d[\d.]*m?s?)": lambda m: {"slow_chunks": _seconds(m[1])},
    r"slow (\d[\d.]*m?s?)": lambda m: {"slow": _seconds(m[1])},
    r"cut before (headers|body)": lambda m: {"cut": m[1]},
    r"cut in (mid-stream)(?: after (\d+))?": lambda m: {"cut": m[1], "after": _int(m[2])},
    r"error event(?: after (\d+))?": lambda m: {"error_event": True, "after": _int(m[1])},
    r"no usage": lambda _: {"usage": False},
    r"refuse stream_options": lambda _: {"refuse_stream_options": True},
    r"incomplete": lambda _: {"incomplete": True},
    r"odd body: ?(null usage|strings for numbers|missing choices|null choices|missing index|null delta"
    r"|unknown event|not json|empty)": lambda m: {"odd": m[1]},
    r"(tier|geo|speed|model|id)[ =](\S+)": lambda m: {m[1]: m[2]},
    r"long (\d+)": lambda m: {"input_tokens": int(m[1])},
    r"tokens in=(\d+)": lambda m: {"input_tokens": int(m[1])},
    r"tokens out=(\d+)": lambda m: {"output_tokens": int(m[1])},
    r"tokens in=(\d+) out=(\d+)": lambda m: {"input_tokens": int(m[1]), "output_tokens": int(m[2])},
    r"cache hit(?: (\d+))?": lambda m: {"caches": (("cache_read", _int(m[1])),)},
    r"cache write(?: (5m|1h))?(?: (\d+))?": lambda m: {"caches": ((f"cache_write_{m[1] or 'other'}", _int(m[2])),)},
    r"reasoning (\d+)": lambda m: {"reasoning": int(m[1])},
    r"audio": lambda _: {"audio": (0.5, 0.5)},
    r"audio in=(\d+) out=(\d+)": lambda m: {"audio": (int(m[1]), int(m[2]))},
    r"web search(?: (\d+))?": lambda m: {"web_search": _int(m[1]) or 1},
    r"(compaction|advisor|fallback)(?: (\S+))? in=(\d+) out=(\d+)": lambda m: {
        "side": ((m[1], m[2], int(m[3]), int(m[4])),)
    },
    r"(chunks|n)[ =](\d+)": lambda m: {m[1]: int(m[2])},
    r"say (.*)": lambda m: {"say": m[1]},
    r"tool (\S+)(?: (\{.*\}))?": _tool,
    r"turns: ?(.*)": _turns,
}
_FREE_TEXT = ("say ", "tool ", "turns:")
_LISTS = ("tools", "side", "caches")
_COUNT = re.compile(r" (?:(once)|(twice)|(\d+) times)$")
_START = (
    r"(?:(?:[45]\d\d|slow|cut|no usage|refuse|error event|incomplete|odd body|tier|geo|speed|model|long|tokens|cache"
    r"|reasoning|audio|web search|compaction|advisor|fallback|chunks|n|id|say|tool)\b|turns:|$)"
)


def _apart(text: str, separator: str) -> list[str]:
    """Split where a verb follows the separator, so that texts and JSON may contain it."""
    return [part.strip() for part in re.split(rf"\s*{separator}\s*(?={_START})", text.strip()) if part.strip()]


def _merge(verbs: list[str]) -> Script:
    fields: _Fields = {}
    for verb in verbs:
        found = ((re.fullmatch(pattern, verb, re.DOTALL), read) for pattern, read in _VERBS.items())
        match, read = next(((m, read) for m, read in found if m), (None, None))
        if match is None or read is None:
            raise ScriptError(f"offline script: {verb!r} is no known verb; see examples/offline_provider/README.md")
        try:
            said = read(match)
        except json.JSONDecodeError as error:
            raise ScriptError(f"offline script: the arguments of {verb!r} are not JSON: {error}") from error
        fields |= {name: fields.get(name, ()) + value if name in _LISTS else value for name, value in said.items()}
    return Script(**fields)


@lru_cache(maxsize=4096)
def parse(text: str, attempt: int = 0) -> Script:
    """What a script says for the attempt of this number.

    Verbs with a count (`429 twice`, `slow 2s once`) take turns: the first applies to the first attempts, the next to
    those after. Verbs without one apply to all. Raises `ScriptError` when a verb is unknown.
    """
    active: list[str] = []
    counted = 0
    for verb in _apart(text, ";"):
        count = None if verb.startswith(_FREE_TEXT) else _COUNT.search(verb)
        if count is None:
            active.append(verb)
            continue
        times = 1 if count[1] else 2 if count[2] else int(count[3])
        if counted <= attempt < counted + times:
            active.append(verb[: count.start()])
        counted += times
    return _merge(active)
