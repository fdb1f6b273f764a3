"""Every verb of the script language, over the wire."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai
import pytest

from examples.offline_provider import OfflineProvider, Usage
from examples.offline_provider.script import ScriptError, parse

if TYPE_CHECKING:
    from .conftest import Post

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
USAGE_CHUNK = {"stream": True, "stream_options": {"include_usage": True}}
PATHS = {
    CHAT: ASK,
    "/v1/completions": {"model": "gpt-3.5-turbo-instruct", "prompt": "Hello"},
    "/v1/responses": {"model": "gpt-4o", "input": "Hello"},
    "/v1/messages": ASK | {"model": "claude-haiku-4-5", "max_tokens": 100},
    "/openai/v1/chat/completions": ASK | {"model": "llama-3.3-70b-versatile"},
    "/openai/deployments/x/chat/completions": ASK,
}


@pytest.fixture
def client(provider: OfflineProvider) -> openai.OpenAI:
    return openai.OpenAI(base_url=provider.openai_url, api_key="k")


def _say(client: openai.OpenAI, text: str, **more: Any) -> Any:
    chat: Any = client.chat.completions
    return chat.create(model="gpt-4o", messages=[{"role": "user", "content": text}], **more)


def test_failures_before_success_are_logged_and_not_billed(provider: OfflineProvider, client: openai.OpenAI) -> None:
    _say(client, "Hello [[offline: 429 once; 503 once]]")
    assert [(r.status, r.retry_count, r.attempt) for r in provider.requests] == [(429, 0, 0), (503, 1, 1), (200, 2, 2)]
    [entry] = provider.bill
    assert (entry.attempt, entry.key) == (2, provider.requests[0].key)
    with pytest.raises(openai.RateLimitError, match="scripted failure"):
        _say(client, "Hello [[offline: 429]]")
    assert len(provider.requests) == 6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 529])
def test_any_failure(provider: OfflineProvider, status: int) -> None:
    for sdk, url in ((openai.OpenAI, provider.openai_url), (anthropic.Anthropic, provider.url)):
        client: Any = sdk(base_url=url, api_key="k", max_retries=0, default_headers={"x-offline-script": str(status)})
        call: Any = client.chat.completions if sdk is openai.OpenAI else client.messages
        with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
            call.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "Hello"}])
        assert caught.value.status_code == status
    assert provider.bill == []


def test_equal_requests_at_once_are_counted_apart(provider: OfflineProvider, client: openai.OpenAI) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(_say, [client] * 8, ["Hello [[offline: 429 twice; slow 5ms]]"] * 8))
    assert sorted(r.status or 0 for r in provider.requests) == [200] * 8 + [429] * 16


def test_without_the_sdk_count_an_id_or_the_request_itself_tells(provider: OfflineProvider, post: Post) -> None:
    assert [post(CHAT, ASK, "429 twice").status for _ in range(4)] == [429, 429, 200, 200]
    assert [post(CHAT, ASK | {"seed": i}, "500 twice; id=a").status for i in range(3)] == [500, 500, 200]
    retries = {"x-stainless-retry-count": "0"}
    assert [post(CHAT, ASK, "429 once; id=b", **retries).status for _ in range(2)] == [429, 200]
    assert [post(CHAT, ASK, "429 once", **retries).status for _ in range(2)] == [429, 429]
    assert provider.requests[-1].key == provider.requests[-2].key != provider.requests[0].key


def test_header_and_message_add_up_and_the_last_directive_counts(provider: OfflineProvider, post: Post) -> None:
    said: list[Any] = [
        {"role": "user", "content": "[[offline: tokens in=1 out=1]]"},
        {"role": "assistant", "content": "[[offline: tokens in=2 out=2]]"},
        {"role": "user", "content": [{"type": "text", "text": "Now [[offline: tokens in=30 out=4]] go"}]},
        {"role": "user", "content": "Hello"},
    ]
    post(CHAT, {"model": "gpt-4o", "messages": said}, "reasoning 3; tier flex")
    [entry] = provider.bill
    assert (entry.usage, entry.service_tier) == (Usage(input=30, output=1, reasoning=3), "flex")
    assert provider.requests[0].script == "reasoning 3; tier flex; tokens in=30 out=4"
    said = [{"role": "system", "content": "[[offline: say Yes]]"}, *ASK["messages"]]
    assert '"Yes"' in post(CHAT, ASK | {"messages": said}).text


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_is_billed_for_what_was_made(provider: OfflineProvider, path: str, stream: bool) -> None:
    for script in ("cut before headers", "cut before body", "cut in mid-stream"):
        headers = {"x-offline-script": f"{script}; tokens in=100 out=40; chunks 4"}
        with pytest.raises(httpx2.RemoteProtocolError):
            httpx2.post(provider.url + path, json=PATHS[path] | {"stream": stream}, headers=headers)
    provider.settle()
    nothing, none_yet, half = provider.bill
    assert not any(entry.complete or entry.usage_sent for entry in provider.bill)
    assert [entry.usage.input for entry in provider.bill] == [100] * 3
    if stream:
        assert nothing.usage.output == none_yet.usage.output == 0
        assert 0 < half.usage.output < 40
        assert half.cost_nano != provider.bill[0].cost_nano
    else:
        assert nothing.usage.output == none_yet.usage.output == half.usage.output == 40
    assert [request.status for request in provider.requests] == [None, 200, 200]


def test_a_cut_can_come_after_so_many_events(provider: OfflineProvider, client: openai.OpenAI) -> None:
    seen: list[Any] = []
    with pytest.raises(openai.APIConnectionError):
        seen.extend(_say(client, "[[offline: cut in mid-stream after 3; chunks 4; tokens out=40]]", stream=True))
    provider.settle()
    assert len(seen) == 3
    assert provider.bill[0].usage.output == 20
    assert _say(client, "[[offline: cut before headers once]]").choices
    assert [entry.complete for entry in provider.bill] == [False, False, True]


def test_a_client_that_leaves_pays_for_what_was_made(provider: OfflineProvider, client: openai.OpenAI) -> None:
    text = "[[offline: slow chunks 20ms; chunks 10; tokens in=100 out=100; reasoning 50]]"
    with _say(client, text, stream=True, stream_options={"include_usage": True}) as stream:
        next(chunk for chunk in stream if chunk.choices[0].delta.content)
    with pytest.raises(openai.APITimeoutError):
        _say(client.with_options(timeout=0.05, max_retries=0), "[[offline: slow 150ms; tokens in=9 out=8]]")
    provider.settle()
    left, timed_out = provider.bill
    assert [left.complete, left.usage_sent, timed_out.complete, timed_out.usage_sent] == [False] * 4
    assert left.usage.reasoning == 50
    assert 5 <= left.usage.output < 50
    assert timed_out.usage == Usage(input=9, output=8)


@pytest.mark.parametrize("path", PATHS)
def test_an_error_in_mid_stream(provider: OfflineProvider, post: Post, path: str) -> None:
    reply = post(path, PATHS[path] | {"stream": True}, "error event; tokens in=100 out=40; chunks 4")
    assert reply.status == 200
    assert "scripted failure in mid-stream" in reply.text
    assert "[DONE]" not in reply.text
    [entry] = provider.bill
    assert not entry.complete
    assert 0 < entry.usage.output < 40


def test_an_error_in_mid_stream_raises_in_the_sdks(provider: OfflineProvider, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError, match="scripted failure"):
        list(_say(client, "[[offline: error event]]", stream=True))
    claude = anthropic.Anthropic(base_url=provider.url, api_key="k")
    with pytest.raises(anthropic.APIStatusError, match="scripted failure"):
        list(
            claude.messages.create(
                model="m", max_tokens=9, messages=[{"role": "user", "content": "[[offline: error event]]"}], stream=True
            )
        )
    with client.responses.stream(model="o3", input="[[offline: error event]]") as stream:
        assert [event.type for event in stream][-2:] == ["error", "response.failed"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("more", [{}, USAGE_CHUNK], ids=["plain", "stream"])
def test_no_usage(provider: OfflineProvider, post: Post, path: str, more: dict[str, Any]) -> None:
    told = post(path, PATHS[path] | more, "tokens in=7 out=5").text
    untold = post(path, PATHS[path] | more, "no usage; tokens in=7 out=5").text
    assert '"usage": {' in told
    assert '"usage": {' not in untold
    assert [entry.usage_sent for entry in provider.bill] == [True, False]
    assert provider.bill[0].usage == provider.bill[1].usage == Usage(input=7, output=5)


def test_old_servers_refuse_stream_options(provider: OfflineProvider, post: Post) -> None:
    refused = post(CHAT, ASK | USAGE_CHUNK, "refuse stream_options")
    assert (refused.status, refused.json["error"]["type"]) == (400, "invalid_request_error")
    assert "stream_options" in refused.json["error"]["message"]
    assert post(CHAT, ASK | {"stream": True}, "refuse stream_options").status == 200
    assert len(provider.bill) == 1


def test_slowness(provider: OfflineProvider, post: Post) -> None:
    started = time.perf_counter()
    post(CHAT, ASK, "slow 60ms")
    post(CHAT, ASK | {"stream": True}, "slow chunks 20ms; chunks 3")  # role, three pieces, end
    assert 0.06 + 4 * 0.02 <= time.perf_counter() - started < 2
    assert parse("slow 2s").slow == parse("slow 2").slow == 2


async def test_fifty_streams_at_once(provider: OfflineProvider) -> None:
    headers = {"x-offline-script": "slow chunks 50ms; chunks 10"}
    async with httpx2.AsyncClient(base_url=provider.url) as client:

        async def read() -> int:
            async with client.stream("POST", CHAT, json=ASK | {"stream": True}, headers=headers) as response:
                return len([line async for line in response.aiter_lines() if line.startswith("data: ")])

        started = time.perf_counter()
        assert await asyncio.gather(*(read() for _ in range(50))) == [13] * 50
    assert time.perf_counter() - started < 10  # one after the other they would wait for 27 s
    assert [entry.complete for entry in provider.bill] == [True] * 50


@pytest.mark.parametrize(
    ("script", "usage"),
    [
        ("tokens in=1000 out=50", Usage(input=1000, output=50)),
        ("long 250000; tokens out=1", Usage(input=250_000, output=1)),
        ("tokens in=1000 out=50; cache hit", Usage(input=200, cache_read=800, output=50)),
        ("tokens in=1000 out=50; cache write 5m 10; cache write 1h 20", Usage(970, 0, 10, 20, output=50)),
        ("tokens in=1000 out=50; cache hit 500; cache write", Usage(100, 500, cache_write_other=400, output=50)),
        ("tokens in=1000 out=50; reasoning 40", Usage(input=1000, output=10, reasoning=40)),
        ("tokens in=1000 out=50; audio", Usage(input=500, input_audio=500, output=25, output_audio=25)),
        ("tokens in=9 out=5; web search", Usage(input=9, output=5, requests={"web_search": 1})),
        ("tokens in=9; say one two three; n=2; reasoning 6", Usage(input=9, output=8, reasoning=6)),
    ],
)
def test_tokens(provider: OfflineProvider, post: Post, script: str, usage: Usage) -> None:
    post(CHAT, ASK, script)
    assert provider.bill[0].usage == usage


def test_model_tier_geo_speed_chunks_and_text(provider: OfflineProvider, post: Post) -> None:
    claude = PATHS["/v1/messages"]
    usage = post("/v1/messages", claude, "tier batch; geo us; speed fast; model claude-x").json["usage"]
    assert (usage["service_tier"], usage["inference_geo"], usage["speed"]) == ("batch", "us", "fast")
    assert provider.bill[0].response_model == "claude-x"
    chunks = post(CHAT, ASK | {"stream": True}, "chunks 7; say 0123456; n 2").events
    assert [c["choices"][0]["delta"]["content"] for c in chunks[2:-2]] == [x for x in "0123456" for _ in (0, 1)]


def test_token_counts_follow_the_text(provider: OfflineProvider, post: Post) -> None:
    texts = [post(CHAT, ASK | {"messages": [{"role": "user", "content": "word " * n}]}).text for n in (10, 10, 20)]
    first, same, longer = provider.bill
    assert first.usage == same.usage
    assert longer.usage.input - first.usage.input == 13
    assert texts[0].partition("choices")[2] == texts[1].partition("choices")[2]
    limited = post(CHAT, ASK | {"max_tokens": 4}).json
    assert (limited["usage"]["completion_tokens"], limited["choices"][0]["finish_reason"]) == (4, "length")


ODD = ("null usage", "strings for numbers", "missing choices", "null choices", "missing index", "null delta",
       "unknown event", "not json", "empty")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("more", [{}, USAGE_CHUNK], ids=["plain", "stream"])
def test_odd_bodies(provider: OfflineProvider, post: Post, path: str, more: dict[str, Any]) -> None:
    normal = post(path, PATHS[path] | more, "id=0").text
    odd = {kind: post(path, PATHS[path] | more, f"odd body: {kind}").text for kind in ODD}
    assert '"usage": null' in odd["null usage"]
    assert '_tokens": "' in odd["strings for numbers"]
    answers = ("choices", "content", "output")
    assert all(f'"{name}": [' not in odd["missing choices"] for name in answers)
    assert any(f'"{name}": null' in odd["null choices"] for name in answers)
    assert '"index"' not in odd["missing index"]
    assert "surprise" in odd["unknown event"]
    assert odd["empty"] == ""
    assert "oops" in odd["not json"]
    assert len(set(odd.values()) - {normal}) >= len(ODD) - 2  # some formats have no index or no delta
    sent = dict(zip(ODD, (entry.usage_sent for entry in provider.bill[1:]), strict=True))
    assert [kind for kind, was_sent in sent.items() if not was_sent] == ["null usage", "not json", "empty"]
    assert all(entry.complete and entry.usage == provider.bill[0].usage for entry in provider.bill)


def test_a_plan_survives_other_agents(provider: OfflineProvider, post: Post) -> None:
    plan = "turns: tool search {} + reasoning 4 | tool write {} | say Done."
    tools = {name: {"type": "function", "function": {"name": name}} for name in ("search", "write")}

    def step(*offered: str, answers: int) -> Any:
        said = [
            {"role": "user", "content": f"Go [[offline: {plan}]]"},
            *[{"role": "assistant", "content": "x"}] * answers,
        ]
        turned: list[Any] = []
        for message in said:
            turned += [message, {"role": "tool", "content": "ok"}] if message["role"] == "assistant" else [message]
        reply = post(CHAT, {"model": "gpt-4o", "messages": turned, "tools": [tools[name] for name in offered]})
        message = reply.json["choices"][0]["message"]
        return message["tool_calls"][0]["function"]["name"] if message.get("tool_calls") else message["content"]

    assert [step("search", "write", answers=n) for n in range(3)] == ["search", "write", "Done."]
    assert [step("write", answers=n) for n in range(2)] == ["write", "Done."]
    assert step(answers=0) == "Done."
    assert step("search", "write", answers=3).startswith("You said")
    assert [entry.usage.reasoning for entry in provider.bill] == [4, 0, 0, 0, 0, 0, 0]


def test_texts_and_arguments_may_contain_separators() -> None:
    script = parse('tool f {"a": [[1]], "b": "x; y | z + w"}; say a; b + c | d')
    assert script.tools == (("f", '{"a": [[1]], "b": "x; y | z + w"}'),)
    assert script.say == "a; b + c | d"
    assert parse("").turns == ()


@pytest.mark.parametrize(
    "text", ["429 thrice", "cash hit", "slow down", "tool f {oops", "odd body: odd", "turns: hop | hip"]
)
def test_mistakes_are_told(provider: OfflineProvider, post: Post, text: str) -> None:
    with pytest.raises(ScriptError, match="offline script"):
        parse(text)
    reply = post(CHAT, ASK, text)
    assert reply.status == 400
    assert "offline script" in reply.json["error"]["message"]
    assert provider.bill == []


def test_nonsense_is_refused(provider: OfflineProvider, post: Post) -> None:
    assert post("/v1/nowhere", {}).status == 404
    assert post(CHAT, {"model": "gpt-4o"}).status == 400
    assert post("/v1/messages", {"model": "m", "messages": 3}).json["type"] == "error"
    assert [request.status for request in provider.requests] == [404, 400, 400]


def test_clear_forgets_what_is_still_in_flight(provider: OfflineProvider, client: openai.OpenAI) -> None:
    stream = _say(client, "[[offline: slow chunks 20ms; chunks 3]]", stream=True)
    next(stream)
    provider.clear()
    assert len(list(stream)) == 4
    provider.settle()
    assert provider.bill == provider.requests == []
    _say(client, "Hello")
    assert provider.bill[0].seq > 0


def test_the_readme_tells_verbs_that_exist() -> None:
    readme = (Path(__file__).parents[2] / "examples" / "offline_provider" / "README.md").read_text()
    rows = readme.partition("| verb |")[2].partition("\n\n")[0].splitlines()[2:]
    verbs = [verb for row in rows for verb in re.findall("`(.+?)`", re.split(r"(?<!\\)\|", row)[1])]
    assert len(verbs) > 40
    for verb in verbs:
        parse(verb.replace("\\|", "|"))
