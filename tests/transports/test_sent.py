"""Which requests are calls, by method and path."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from otel_llm.dialects.openai import PATHS
from otel_llm.dialects.openai_chat import chat, completions, embeddings
from otel_llm.spec import Batch, Late, Paths, Request
from otel_llm.transports.sent import Routes, Sent, at, reader

BATCH = Batch(re.compile(b""), lambda line: (chat, line))
MADE_UP: Paths = {
    "/completions": completions,
    "/chat/completions": chat,
    "/models/{model}:embed": embeddings,
    "/choose": lambda body: embeddings if "input" in body else chat,
    "GET /batches/{id}": BATCH,
    "GET /chats/{id}": chat,
}


@pytest.fixture
def read() -> Callable[..., Request | Late | None]:
    made = reader(lambda sent, _args, _kwargs: sent, MADE_UP, "somebody")

    def ask(method: str, url: str, body: Any = None, stream: bool | None = None) -> Request | Late | None:
        return made(Sent(method, url, lambda: body, "api.example.com", 443, stream=stream), (), {})

    return ask


def test_the_longest_end_of_a_path_that_fits_is_meant() -> None:
    routes = Routes(MADE_UP)
    for url in ("/chat/completions", "https://x.y/openai/v1/chat/completions?api-version=1"):
        found = routes.find("POST", url)
        assert found is not None
        assert found.speaks is chat
    found = routes.find("POST", "/v1/completions")
    assert found is not None
    assert found.speaks is completions


@pytest.mark.parametrize(
    ("method", "url"),
    [("GET", "/chat/completions"), ("POST", "/chat/completions/1"), ("POST", "/mychat/incompletions"), ("POST", "")],
)
def test_all_else_is_no_call(read: Callable[..., Any], method: str, url: str) -> None:
    assert read(method, url, {"model": "m"}) is None


def test_a_model_that_only_the_path_names(read: Callable[..., Any]) -> None:
    request = read("POST", "/v1/models/a%2Fb:1:embed", sent := {"input": "Why?"}, stream=False)
    assert request.body == {"input": "Why?", "model": "a/b:1"}
    assert sent == {"input": "Why?"}, "the caller's stays as it is"
    assert request.provider == "somebody"


def test_the_body_may_decide(read: Callable[..., Any]) -> None:
    assert read("POST", "/choose", {"input": ""}).dialect is embeddings
    assert read("POST", "/choose", {}).dialect is chat
    assert read("POST", "/choose", [1, 2]) is None
    assert read("POST", "/choose", None) is None


def test_what_only_asks_how_it_ended(read: Callable[..., Any]) -> None:
    late = read("GET", "/v1/batches/b%201")
    assert isinstance(late, Late)
    assert (late.id, late.tells, late.stream) == ("b 1", BATCH, False)
    late = read("GET", "/v1/chats/c?stream=true", stream=True)
    assert (late.id, late.tells, late.stream) == ("c", chat, True)


@pytest.mark.parametrize(
    ("told", "url", "body", "streams"),
    [
        (True, "/completions", {}, True),
        (True, "/completions", {"stream": False}, False),  # read whole, in pieces
        (False, "/completions", {"stream": True}, False),
        (None, "/completions", {}, False),
        (None, "/completions", {"stream": True}, True),
        (None, "/models/m:embed", {}, False),
    ],
)
def test_whether_it_streams(
    read: Callable[..., Any], told: bool | None, url: str, body: dict[str, Any], streams: bool
) -> None:
    assert read("POST", url, body, stream=told).stream is streams


class Azure:
    """A client."""


class Sub(Azure):
    """One that somebody derived."""


def test_whose_server_it_is() -> None:
    whose = at("sdk", {"Azure": "azure.ai.openai"}, {chat: "maker"})

    def sent(host: str | None, provider: str | None = None) -> Sent:
        return Sent("POST", "/", dict, host, None, provider=provider)

    assert whose(Sub(), sent("api.openai.com"), chat) == "azure.ai.openai"
    assert whose(object(), sent("api.groq.com", "told"), chat) == "groq"
    assert whose(object(), sent("my.gateway", "told"), chat) == "told"
    assert whose(object(), sent(None), chat) == "maker"
    assert whose(object(), sent("my.gateway"), completions) == "sdk"


def test_no_path_of_openai_hides_another() -> None:
    routes = Routes(PATHS)
    for path, speaks in PATHS.items():
        method, _, end = path.rpartition(" ")
        plain = re.sub(r"\((\w+)\|.*?\)|\([^)]*\)\?", r"\1", end).replace("[^/]+", "t").replace("{id}", "i")
        found = routes.find(method or "POST", f"/v1{plain}")
        assert found is not None, path
        assert found.speaks is speaks, path
