"""The surfaces of the SDKs that are held to the same record: a new SDK costs a row.

A surface is a client and a resource of it. A way is how users call a resource and read what comes back. Both exist sync
and async; the tests await what is awaitable and drive both alike.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import reduce
from types import ModuleType
from typing import Any

import anthropic
import groq
import openai
import pytest
from pydantic import BaseModel

Body = dict[str, Any]


class Answer(BaseModel):
    """What the model is asked for where the answer has a shape."""

    answer: str


@dataclass(frozen=True)
class Surface:
    """One resource of one client."""

    name: str
    sdk: ModuleType
    client: str
    """The class of the client; its async twin is named after it."""
    resource: str
    body: Callable[[str], Body]
    """The request that says this."""
    at: Callable[[str], Body]
    """The client's arguments, when the provider is at this URL."""
    streams: bool = True
    lines: bool = True
    """Its streams are lines of text."""
    helper: str = "stream"
    """The resource whose `stream` and `parse` help with this one."""
    shape: Body = field(default_factory=dict[str, Any])
    """What asks `parse` for an `Answer`."""

    def client_type(self, *, asynchronous: bool) -> type[Any]:
        """The class of the client."""
        kind = getattr(self.sdk, ("Async" if asynchronous else "") + self.client, None)
        if kind is None:
            pytest.skip(f"{self.sdk.__name__} {self.sdk.__version__} has no {self.client}")
        return kind

    def connect(self, url: str, *, asynchronous: bool, **options: Any) -> Any:
        """A client that does not retry unless `options` say so. Its connections are those of its kind."""
        kind = self.client_type(asynchronous=asynchronous)
        connected = _connected.get((kind, url))
        if connected is None:  # the first one loads certificates, which takes longer than the test
            connected = _connected[kind, url] = kind(**self.at(url))
        return connected.with_options(**{"max_retries": 0, **options})

    def resource_of(self, client: Any, path: str = "") -> Any:
        """The resource of a client."""
        try:
            return reduce(getattr, (path or self.resource).split("."), client)
        except AttributeError:
            return pytest.skip(f"{self.sdk.__name__} {self.sdk.__version__} has no {path or self.resource}")


_connected: dict[tuple[type[Any], str], Any] = {}


def chat(model: str) -> Callable[[str], Body]:
    """A request of OpenAI's chat, and of Anthropic's messages but for their limit."""
    return lambda text: {"model": model, "messages": [{"role": "user", "content": text}]}


def messages(model: str) -> Callable[[str], Body]:
    """A request of Anthropic's messages."""
    return lambda text: {**chat(model)(text), "max_tokens": 1000}


def _openai(url: str) -> Body:
    return {"api_key": "k", "base_url": f"{url}/v1"}


_AZURE_VERSION = "2024-10-21"
_CHAT = Surface(
    "openai chat",
    openai,
    "OpenAI",
    "chat.completions",
    chat("gpt-4o-mini"),
    _openai,
    helper="chat.completions" if hasattr(openai.resources.chat.Completions, "stream") else "beta.chat.completions",
    shape={"response_format": Answer},
)
_MESSAGES = Surface(
    "anthropic messages",
    anthropic,
    "Anthropic",
    "messages",
    messages("claude-haiku-4-5"),
    lambda url: {"api_key": "k", "base_url": url},
    helper="messages",
    shape={"output_format": Answer},
)
SURFACES: tuple[Surface, ...] = (
    _CHAT,
    replace(_CHAT, name="openai responses", resource="responses", helper="responses",
            body=lambda text: {"model": "gpt-5.2", "input": text}, shape={"text_format": Answer}),
    replace(_CHAT, name="openai completions", resource="completions", helper="",
            body=lambda text: {"model": "gpt-3.5-turbo-instruct", "prompt": text}),
    replace(_CHAT, name="openai embeddings", resource="embeddings", helper="", streams=False,
            body=lambda text: {"model": "text-embedding-3-small", "input": text, "dimensions": 8}),
    replace(_CHAT, name="azure chat", client="AzureOpenAI",
            at=lambda url: {"api_key": "k", "azure_endpoint": url, "api_version": _AZURE_VERSION}),
    _MESSAGES,
    replace(_MESSAGES, name="anthropic beta messages", resource="beta.messages", helper="beta.messages"),
    replace(_MESSAGES, name="bedrock messages", client="AnthropicBedrock", helper="", lines=False,
            body=messages("global.anthropic.claude-haiku-4-5-20251001-v1:0"),
            at=lambda url: {"aws_access_key": "k", "aws_secret_key": "s", "aws_region": "us-east-1", "base_url": url}),
    replace(_MESSAGES, name="vertex messages", client="AnthropicVertex", helper="",
            body=messages("claude-haiku-4-5@20251001"),
            at=lambda url: {"access_token": "t", "region": "us-east5", "project_id": "p", "base_url": f"{url}/v1"}),
    Surface("groq chat", groq, "Groq", "chat.completions", chat("openai/gpt-oss-120b"),
            lambda url: {"api_key": "k", "base_url": url}, helper=""),
)  # fmt: skip


async def got(value: Any) -> Any:
    """`value`, awaited where it is awaitable."""
    return await value if inspect.isawaitable(value) else value
