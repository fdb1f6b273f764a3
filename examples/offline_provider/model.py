"""The little model: a prompt and a script make an answer, always the same one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, cast

from examples.offline_provider.bill import SNAPSHOTS, Usage
from examples.offline_provider.script import DIRECTIVE, Script

Json = dict[str, Any]


@dataclass(slots=True)
class Turn:
    """One message of the conversation, whatever the wire format calls it."""

    role: str
    text: str


@dataclass(slots=True)
class Prompt:
    """What every wire format has in common, once a request is read."""

    model: str
    turns: list[Turn]
    stream: bool = False
    tools: dict[str, Json] = field(default_factory=dict[str, Json])
    """Parameter schemas by the name of the tool."""
    forced: str | None = None
    """The tool that must be called."""
    schema: Json | None = None
    """The answer must be JSON of this shape."""
    n: int = 1
    max_tokens: int | None = None
    tier: str | None = None
    generates: bool = True
    """False for embeddings."""
    units: dict[str, int] = field(default_factory=dict[str, int])
    """What is billed by other units than tokens."""
    tokens: bool = True
    """Whether tokens are billed."""

    def check(self) -> None:
        """Raise TypeError where a request has something else in the place of a model or a number."""
        sent: tuple[Any, Any] = (self.model, self.max_tokens)
        match sent:
            case str(), int() | None:
                return
            case _:
                raise TypeError(f"a model is a text and max_tokens a number, not {sent}")

    def script(self) -> tuple[str, int]:
        """The last directive in the messages, and how many answers follow it; without one, how many there are."""
        if any("[[offline:" in turn.text for turn in self.turns):
            for roles in (("user",), ("system", "developer")):
                for index in reversed(range(len(self.turns))):
                    turn = self.turns[index]
                    if turn.role in roles and (found := DIRECTIVE.findall(turn.text)):
                        return found[-1].strip(), _answers(self.turns[index:])
        return "", _answers(self.turns)


@dataclass(slots=True)
class Answer:
    """What the model decided to say, and what that is billed as."""

    model: str
    texts: list[str]
    """One for each choice; empty when tools are called instead."""
    calls: list[tuple[str, str]]
    """Tool calls: name and arguments as JSON."""
    usage: Usage
    side: list[tuple[str, str, Usage]]
    """Anthropic iterations beside the main one: kind, model, usage."""
    cut_short: bool
    """It ended because of a limit."""
    chunks: int

    def pieces(self, text: str) -> list[str]:
        """The text as it is streamed."""
        return [text[i * len(text) // self.chunks : (i + 1) * len(text) // self.chunks] for i in range(self.chunks)]

    def generated(self, share: float) -> int:
        """Output tokens made when this share of the visible answer is out."""
        reasoning = self.usage.reasoning
        return reasoning + int((self.usage.output_tokens - reasoning) * share + 1e-9)


def count_tokens(text: str) -> int:
    """1.3 tokens per word, rounded up."""
    return -(-len(text.split()) * 13 // 10)


def nested(body: Json, name: str) -> Json:
    """An object inside a body; an empty one when it is absent or null."""
    return body.get(name) or {}


def text_of(content: Any) -> str:
    """The text of a message: a string, or a list of parts that have some."""
    if isinstance(content, list):
        return "\n".join(text_of(part) for part in cast("list[Any]", content))
    if isinstance(content, dict):
        part = cast("Json", content)
        return text_of(part.get("text") or part.get("content"))
    return content if isinstance(content, str) else ""


def answer(prompt: Prompt, script: Script) -> Answer:
    """What the model says to the prompt when the script (already `at` this turn) is followed."""
    n = script.n or prompt.n
    calls = list(script.tools)
    if not calls and prompt.forced and script.say is None:
        calls = [(prompt.forced, json.dumps(sample(prompt.tools[prompt.forced])))]
    text = script.say if script.say is not None else "" if calls else _text(prompt, script, n)
    made = n * (count_tokens(text) + sum(count_tokens(arguments) + 8 for _, arguments in calls)) + script.reasoning
    limit = n * (prompt.max_tokens or made)
    if script.output_tokens is None and made > limit:
        text = " ".join(text.split()[: limit * 10 // 13 // n])
    generated = min(made, limit) if script.output_tokens is None else script.output_tokens
    own = _released(prompt.model)
    served_by = next((model for kind, model, *_ in script.side if kind == "fallback"), None)
    return Answer(
        model=script.model or (_released(served_by) if served_by else own),
        texts=[text] * n,
        calls=calls,
        usage=_usage(prompt, script, generated if prompt.generates else 0),
        side=[
            (
                kind,
                own if kind == "fallback" or model is None else _released(model),
                Usage(input=i, output=o),
            )
            for kind, model, i, o in script.side
        ],
        cut_short=script.incomplete or (generated < made and script.output_tokens is None),
        chunks=script.chunks or max(1, min(50, len(text) // 24)),
    )


def _released(model: str) -> str:
    """The name that the response gives a model, whatever cloud it was asked from."""
    name = re.sub(r"-v\d+:\d+$", "", model.rpartition("anthropic.")[2]).replace("@", "-")
    return SNAPSHOTS.get(name, name)


def _answers(turns: list[Turn]) -> int:
    """How often the assistant has spoken; items of one answer count once."""
    roles = [turn.role for turn in turns]
    return sum(a != "assistant" and b == "assistant" for a, b in zip(["", *roles], roles, strict=False))


def _text(prompt: Prompt, script: Script, n: int) -> str:
    if prompt.schema is not None:
        return json.dumps(sample(prompt.schema) if prompt.schema else {"answer": "yes"})
    if script.output_tokens is not None:
        words = max(1, min(5000, (script.output_tokens - script.reasoning) * 10 // 13 // n))
        return " ".join(("the model thinks about this and then writes down one more word " * words).split()[:words])
    asked = next((turn.text for turn in reversed(prompt.turns) if turn.role in ("user", "tool")), "")
    about = " ".join(DIRECTIVE.sub("", asked).split()[:12])
    return f"You said: {about}. That is a good point, and this is my whole answer." if about else "How can I help?"


def _usage(prompt: Prompt, script: Script, generated: int) -> Usage:
    """The totals, dealt out to the buckets that the script names."""
    if not prompt.tokens:
        return Usage(requests=dict(prompt.units))
    left = script.input_tokens
    if left is None:
        left = 3 + sum(4 + count_tokens(turn.text) for turn in prompt.turns) + 20 * len(prompt.tools)
    usage = Usage(requests=prompt.units | ({"web_search": script.web_search} if script.web_search else {}))
    audio_in, audio_out = script.audio
    usage.input_audio = int(audio_in * left) if audio_in < 1 else min(int(audio_in), left)
    left -= usage.input_audio
    for bucket, wanted in script.caches:
        tokens = left * 8 // 10 if wanted is None else min(wanted, left)
        setattr(usage, bucket, getattr(usage, bucket) + tokens)
        left -= tokens
    usage.input = left
    usage.reasoning = min(script.reasoning, generated)
    visible = generated - usage.reasoning
    usage.output_audio = int(audio_out * visible) if audio_out < 1 else min(int(audio_out), visible)
    usage.output = visible - usage.output_audio
    return usage


def sample(schema: Json, root: Json | None = None) -> Any:
    """The smallest value that fits a JSON schema."""
    root = root or schema
    if "$ref" in schema:
        target: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return sample(target, root)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    if union := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return sample(union[0], root)
    kinds: Any = schema.get("type", "object")
    kind: str = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        return {name: sample(part, root) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema.get("items", {"type": "string"}), root)] * max(1, schema.get("minItems", 1))
    least = schema.get("minimum", 1)
    return {"string": "example", "integer": least, "number": float(least), "boolean": True, "null": None}[kind]
