"""The surfaces of the SDKs that are held to the same record: a new SDK costs a row.

A surface is a client and a resource of it. A way is how users call a resource and read what comes back. Both exist sync
and async; the tests await what is awaitable and drive both alike.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import reduce
from importlib.util import find_spec
from types import ModuleType
from typing import Any

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
    package: str
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

    @property
    def sdk(self) -> ModuleType:
        """The SDK."""
        return importlib.import_module(self.package)

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


def written(field: str, **rest: Any) -> Callable[[str], Body]:
    """A request body with the text in `field`."""
    return lambda text: {**rest, field: text}


def reached(field: str, path: str = "", **rest: Any) -> Callable[[str], Body]:
    """A client's options with the provider's URL in `field`."""
    return lambda url: {**rest, field: url + path}


def installed(package: str) -> bool:
    """Whether the SDK is here."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of a parent
        return False


_AZURE_VERSION = "2024-10-21"
_OLD = installed("openai") and not hasattr(importlib.import_module("openai.resources.chat").Completions, "stream")
_HELPER = "beta.chat.completions" if _OLD else "chat.completions"
_CHAT = Surface(
    "openai chat",
    "openai",
    "OpenAI",
    "chat.completions",
    chat("gpt-4o-mini"),
    _openai,
    helper=_HELPER,
    shape={"response_format": Answer},
)
_MESSAGES = Surface(
    "anthropic messages",
    "anthropic",
    "Anthropic",
    "messages",
    messages("claude-haiku-4-5"),
    lambda url: {"api_key": "k", "base_url": url},
    helper="messages",
    shape={"output_format": Answer},
)
_ALL: tuple[Surface, ...] = (
    _CHAT,
    replace(_CHAT, name="openai responses", resource="responses", helper="responses",
            body=written("input", model="gpt-5.2"), shape={"text_format": Answer}),
    replace(_CHAT, name="openai completions", resource="completions", helper="",
            body=written("prompt", model="gpt-3.5-turbo-instruct")),
    replace(_CHAT, name="openai embeddings", resource="embeddings", helper="", streams=False,
            body=written("input", model="text-embedding-3-small", dimensions=8)),
    replace(_CHAT, name="azure chat", client="AzureOpenAI",
            at=reached("azure_endpoint", api_key="k", api_version=_AZURE_VERSION)),
    _MESSAGES,
    replace(_MESSAGES, name="anthropic beta messages", resource="beta.messages", helper="beta.messages"),
    replace(_MESSAGES, name="bedrock messages", client="AnthropicBedrock", helper="", lines=False,
            body=messages("global.anthropic.claude-haiku-4-5-20251001-v1:0"),
            at=reached("base_url", aws_access_key="k", aws_secret_key="s", aws_region="us-east-1")),
    replace(_MESSAGES, name="vertex messages", client="AnthropicVertex", helper="",
            body=messages("claude-haiku-4-5@20251001"),
            at=reached("base_url", "/v1", access_token="t", region="us-east5", project_id="p")),
    replace(_MESSAGES, name="foundry messages", client="AnthropicFoundry", helper=""),
    Surface("groq chat", "groq", "Groq", "chat.completions", chat("openai/gpt-oss-120b"),
            lambda url: {"api_key": "k", "base_url": url}, helper=""),
    Surface("together chat", "together", "Together", "chat.completions",
            chat("meta-llama/Llama-3.3-70B-Instruct-Turbo"), reached("base_url", "/together", api_key="k"), helper=""),
    Surface("fireworks chat", "fireworks", "Fireworks", "chat.completions",
            chat("accounts/fireworks/models/gpt-oss-120b"), reached("base_url", "/fireworks", api_key="k"), helper=""),
    Surface("cerebras chat", "cerebras.cloud.sdk", "Cerebras", "chat.completions", chat("gpt-oss-120b"),
            reached("base_url", "/cerebras", api_key="k", warm_tcp_connection=False), helper=""),
)  # fmt: skip
SURFACES = tuple(surface for surface in _ALL if installed(surface.package))
"""Those of the SDKs that are installed here: the oldest ones cannot all be installed side by side."""


async def got(value: Any) -> Any:
    """`value`, awaited where it is awaitable."""
    return await value if inspect.isawaitable(value) else value
