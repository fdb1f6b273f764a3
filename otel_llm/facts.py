"""What a user action did, in numbers: its steps, its tools, its agents, and what it did again.

Of what was said only hashes and lengths are kept, only while the interaction runs, and only so many.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

from otel_llm.call import AttributeValue, Call
from otel_llm.spec import Content
from otel_llm_semconv import attributes as A

_MOST_HASHES = 4_096
_MOST_STEPS = 1_024
_MOST_NAMES = 256
_MOST_NAMED = 8


class ToolCall(NamedTuple):
    """A tool call that a message of a request tells of."""

    message: int
    """Which message, as in `Sent.messages`."""
    id: int | None
    """A hash of it with the provider's id of it; None where that has none."""
    name: str
    same: int
    """A hash of its name and arguments."""


class Sent(NamedTuple):
    """What a request sends, without a word of it."""

    prefixes: list[tuple[int, int]]
    """For each message: a hash of all up to its end, and the characters of that."""
    messages: list[int]
    """For each message: a hash of it, and of how many like it came before."""
    tools: list[ToolCall]
    """Of the messages that are new to the interaction."""


class Again(NamedTuple):
    """What of a call is news to its interaction, and what it did again."""

    tools: tuple[str, ...] = ()
    """Tool calls that its request is the first to tell of, by name."""
    loops: tuple[str, ...] = ()
    """Those of them that ran before with the same arguments."""
    resent_tokens: int = 0


_MESSAGES = ("messages", "input", "inputs", "contents", "prompt")
_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")
_NO_CALLS = ("user", "system", "developer", "tool")
"""Roles of messages that no tool call is in."""
_UNWEIGHED = frozenset({"data", "url", "cache_control"})
"""A picture has more characters than tokens. Where the provider shall cache up to is none of the message."""


def sent(body: Mapping[str, Any], content: Content, facts: Facts) -> Sent | None:
    """What a request sends, of an interaction of which `facts` are known; None when it has no messages.

    May raise: the caller guards it. Hashes are keyed per process; Python keeps that of a text with the text.
    """
    place, messages = next(((place, body[place]) for place in _MESSAGES if body.get(place)), ("", None))
    messages = [messages] if isinstance(messages, str) else messages
    if not isinstance(messages, (list, tuple)):
        return None
    prefixes: list[tuple[int, int]] = []
    known: list[int] = []
    tools: list[ToolCall] = []
    times: dict[Any, int] = {}
    so_far, length = 0, 0
    for system in _SYSTEM:
        if system in body:
            so_far, length = _hashed(body[system])
    # What the first step sends is the history of the conversation: other interactions did that.
    begun, seen, older = facts.begun, *facts.known
    for message in cast("list[Any]", messages):
        hashed, size = _hashed(message)
        times[hashed] = nth = times.get(hashed, 0) + 1
        so_far = hash((so_far, hashed))
        length += size
        own = hash((hashed, nth))
        prefixes.append((so_far, length))
        known.append(own)
        if begun and own not in seen and own not in older and _role(message) not in _NO_CALLS:
            for said in content.request({place: [message]}).get(A.GEN_AI_INPUT_MESSAGES, ()):
                tools += [_tool_call(own, part) for part in said["parts"] if part["type"] == "tool_call"]
    return Sent(prefixes, known, tools)


def _role(message: Any) -> Any:
    return cast("Any", message).get("role") if isinstance(message, dict) else getattr(message, "role", None)


def _tool_call(message: int, part: Mapping[str, Any]) -> ToolCall:
    name, arguments = str(part["name"] or ""), json.dumps(part["arguments"], sort_keys=True, default=str)
    return ToolCall(message, hash((part["id"], name, arguments)) if part["id"] else None, name, hash((name, arguments)))


def _hashed(value: Any) -> tuple[Any, int]:
    """What is equal where all texts and numbers in `value` are, and has a hash; and the characters of these texts."""
    kind = value.__class__
    if kind is str:
        return value, len(value)
    if kind is dict:
        if _UNWEIGHED.isdisjoint(value):
            try:
                return hash((*value, *value.values())), sum(map(len, value.values()))
            except TypeError:  # not flat
                pass
        keys: list[Any] = []
        hashes: list[Any] = []
        length = 0
        for key, inner in value.items():
            if key != "cache_control":
                hashed, size = _hashed(inner)
                keys.append(key)
                hashes.append(hashed)
                length += size if key not in _UNWEIGHED else 0
        return hash((*keys, *hashes)), length
    if kind is list or kind is tuple:
        hashes, length = [], 0
        for inner in value:
            hashed, size = _hashed(inner)
            hashes.append(hashed)
            length += size
        return hash(tuple(hashes)), length
    if hasattr(kind, "model_fields"):
        return _hashed(value.__dict__)
    return (value, 0) if isinstance(value, (bytes, bool, int, float)) else (None, 0)


class Facts:
    """The counters of one interaction. Not thread-safe: the interaction has the lock."""

    __slots__ = (
        "_in_step",
        "_loops",
        "_older",
        "_seen",
        "_step_ends",
        "_tools",
        "begun",
        "depth",
        "fan_out",
        "resent_tokens",
        "retries",
        "steps",
        "tool_calls",
        "wasted_nano_usd",
    )

    def __init__(self) -> None:
        self.begun = False
        """The first call has ended."""
        self.steps = 0
        """The longest chain of calls each of which began after the one before had ended."""
        self.fan_out = 0
        """The most calls of one step: all of these were under way at once."""
        self.tool_calls = 0
        self.depth = 0
        """Agents inside of one another."""
        self.resent_tokens = 0
        self.retries = 0
        self.wasted_nano_usd = 0
        """What calls cost that failed, or whose stream was not read to its end."""
        self._tools: dict[str, list[int]] = {}
        """By name: how often it was seen to run, and how often requests told of it."""
        self._loops: dict[str, int] = {}
        self._step_ends: list[int] = []
        """When the first call of each step ended: an ascending list."""
        self._in_step: list[int] = []
        self._seen: set[int] = set()
        self._older: set[int] = set()

    @property
    def known(self) -> tuple[Collection[int], Collection[int]]:
        """What calls that ended have sent, the newer half and the older one."""
        return self._seen, self._older

    @property
    def loops(self) -> int:
        """Tool calls with arguments that the tool had before."""
        return sum(self._loops.values())

    def recognize(self, call: Call, sent: Sent | None) -> Again:
        """What a call of this very interaction did for the first time, and what again."""
        if sent is None:
            return Again()
        # Whole lists at once: a request has as many messages as the conversation is long.
        seen, older = self._seen, self._older
        known = [length for prefix, length in sent.prefixes if prefix in seen or prefix in older]
        resent = known[-1] if known else 0
        new = {message for message in sent.messages if message not in seen and message not in older}
        self._remember([prefix for prefix, _ in sent.prefixes], sent.messages)
        tools = [tool for tool in sent.tools if tool.message in new and (tool.id is None or self._is_news(tool.id))]
        loops = [tool for tool in tools if not self._is_news(tool.same)]
        tokens = (call.usage.input_tokens or 0) if resent and call.usage is not None else 0
        return Again(
            tuple([tool.name for tool in tools]),
            tuple([tool.name for tool in loops]),
            round(tokens * resent / sent.prefixes[-1][1]) if tokens else 0,
        )

    def add(self, call: Call, again: Again) -> None:
        """Count a call that just ended, of this interaction or of one inside of it. It may have no price yet."""
        self.begun = True
        step = self._step_of(call)
        ended = call.started_ns + call.duration_ns
        if step == len(self._step_ends):
            self.steps += 1
            self._step_ends.append(ended)
            self._in_step.append(1)
        else:
            self._step_ends[step] = min(self._step_ends[step], ended)
            self._in_step[step] += 1
        self.fan_out = max(self.fan_out, self._in_step[step])
        if len(self._step_ends) > _MOST_STEPS:
            del self._step_ends[: _MOST_STEPS // 2], self._in_step[: _MOST_STEPS // 2]
        self.resent_tokens += again.resent_tokens
        self.retries += call.attempts - 1
        for name in again.tools:
            self._tool(name, 1)
        for name in again.loops:
            known = _known(name, self._loops)
            self._loops[known] = self._loops.get(known, 0) + 1

    def pay(self, call: Call) -> None:
        """Its price has come."""
        if (call.error_type or call.stream_outcome in ("aborted", "abandoned", "failed")) and call.cost is not None:
            self.wasted_nano_usd += call.cost.nano_usd or 0

    def tool_began(self, name: str) -> None:
        """A tool was seen to run: whichever request tells of it later is no news."""
        self._tool(name, 0)

    def agent_began(self, depth: int) -> None:
        """An agent began inside of `depth` - 1 others."""
        self.depth = max(self.depth, depth)

    def attributes(self) -> dict[str, AttributeValue]:
        """What of it belongs onto the root span; what did not happen is absent."""
        found: dict[str, AttributeValue] = {
            A.OTEL_LLM_INTERACTION_STEPS: self.steps,
            A.OTEL_LLM_INTERACTION_FAN_OUT: self.fan_out,
            A.OTEL_LLM_INTERACTION_TOOL_CALLS: self.tool_calls,
            A.OTEL_LLM_INTERACTION_DEPTH: self.depth,
            A.OTEL_LLM_INTERACTION_LOOPS: self.loops,
            A.OTEL_LLM_INTERACTION_LOOPING_TOOLS: sorted(filter(None, self._loops))[:_MOST_NAMED],
            A.OTEL_LLM_INTERACTION_RESENT_INPUT_TOKENS: self.resent_tokens,
            A.OTEL_LLM_INTERACTION_RETRIES: self.retries,
            A.OTEL_LLM_INTERACTION_COST_WASTED: self.wasted_nano_usd / 1e9,
        }
        return {name: value for name, value in found.items() if value}

    def _step_of(self, call: Call) -> int:
        return bisect_right(self._step_ends, call.started_ns)

    def _tool(self, name: str, teller: int) -> None:
        told = self._tools.setdefault(_known(name, self._tools), [0, 0])
        told[teller] += 1
        self.tool_calls += told[teller] > told[1 - teller]

    def _is_news(self, key: int) -> bool:
        """Whether it is not known yet; it is from now on."""
        is_news = key not in self._seen and key not in self._older
        self._remember((key,))
        return is_news

    def _remember(self, *keys: Collection[int]) -> None:
        self._seen.update(*keys)
        if len(self._seen) > _MOST_HASHES:
            self._older, self._seen = self._seen, set()


def _known(name: str, names: Collection[str]) -> str:
    """The name to count under: beyond so many, they share one."""
    return name if name in names or len(names) < _MOST_NAMES else ""
