"""Anthropic's wire format, also as Bedrock and Vertex carry it: by the SDK's own types and by the SDK itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from anthropic.lib.bedrock import AnthropicBedrock, AsyncAnthropicBedrock
from anthropic.lib.vertex import AnthropicVertex, AsyncAnthropicVertex
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage
from pydantic import BaseModel, TypeAdapter

from examples.offline_provider import OfflineProvider, Usage

if TYPE_CHECKING:
    from anthropic.types import ToolParam

    from .conftest import Post

MODEL = "claude-haiku-4-5"
HELLO: list[Any] = [{"role": "user", "content": "Hello there, Claude"}]
ASK: dict[str, Any] = {"model": MODEL, "max_tokens": 500, "messages": HELLO}
SCRIPT = "tokens in=1000 out=50; cache hit 600; cache write 5m 100; cache write 1h 200; reasoning 20; web search 2"
WEATHER: ToolParam = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_FULL = Usage(100, 600, 100, 200, output=30, reasoning=20, requests={"web_search": 2})
# 100 x 1 + 600 x 0.1 + 100 x 1.25 + 200 x 2 + 50 x 5 micro-USD, and two searches
_FULL_NANO = 935_000 + 20_000_000


def test_messages_are_what_the_types_say(provider: OfflineProvider, post: Post) -> None:
    reply = Message.model_validate(post("/v1/messages", ASK, SCRIPT).json)
    assert reply.model == "claude-haiku-4-5-20251001"
    kinds = [block.type for block in reply.content]
    assert kinds == ["thinking", *["server_tool_use", "web_search_tool_result"] * 2, "text"]
    usage = reply.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (100, 600, 300)
    assert usage.cache_creation
    assert usage.cache_creation.ephemeral_1h_input_tokens == 200
    assert usage.output_tokens_details
    assert (usage.output_tokens, usage.output_tokens_details.thinking_tokens) == (50, 20)
    assert usage.server_tool_use
    assert usage.server_tool_use.web_search_requests == 2
    [entry] = provider.bill
    assert (entry.usage, entry.cost_nano, entry.service_tier) == (_FULL, _FULL_NANO, "standard")


def test_a_stream_starts_with_a_placeholder_and_ends_with_totals(provider: OfflineProvider, post: Post) -> None:
    events = post("/v1/messages?beta=true", ASK | {"stream": True}, SCRIPT).events
    assert events[1] == {"type": "ping"}
    read = [_EVENT.validate_python(event) for event in events if event["type"] != "ping"]
    assert read[0].message.usage.output_tokens == 1
    assert read[0].message.usage.cache_creation.ephemeral_5m_input_tokens == 100
    assert (read[-2].type, read[-2].usage.output_tokens, read[-2].usage.input_tokens) == ("message_delta", 50, 100)
    assert read[-1].type == "message_stop"
    assert provider.bill[0].usage == _FULL
    assert provider.bill[0].usage_sent


async def test_the_sdk_sync_and_async(provider: OfflineProvider) -> None:
    client = anthropic.Anthropic(base_url=provider.url, api_key="k")
    headers = {"x-offline-script": SCRIPT}
    plain = client.messages.create(model=MODEL, max_tokens=500, messages=HELLO, extra_headers=headers)
    with client.messages.stream(model=MODEL, max_tokens=500, messages=HELLO, extra_headers=headers) as stream:
        streamed = stream.get_final_message()
    async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="k") as aclient:
        again = await aclient.messages.create(model=MODEL, max_tokens=500, messages=HELLO, extra_headers=headers)
        async with aclient.beta.messages.stream(
            model=MODEL, max_tokens=500, messages=HELLO, extra_headers=headers
        ) as events:
            final = await events.get_final_message()
        counted = await aclient.messages.count_tokens(model=MODEL, messages=HELLO)
    assert plain.usage == streamed.usage == again.usage
    assert [block.type for block in plain.content] == [block.type for block in streamed.content]
    assert final.usage.output_tokens == 50
    assert plain.content[-1] == again.content[-1]
    assert counted.input_tokens > 0
    assert [entry.usage for entry in provider.bill] == [_FULL] * 4  # counting tokens is free


def test_tools_are_called_then_answered(provider: OfflineProvider) -> None:
    client = anthropic.Anthropic(base_url=provider.url, api_key="k")
    ask: list[Any] = [{"role": "user", "content": '[[offline: turns: tool get_weather {"city": "Oslo"} | say Cold.]]'}]
    with client.messages.stream(model=MODEL, max_tokens=500, messages=ask, tools=[WEATHER]) as stream:
        first = stream.get_final_message()
    [call] = first.content
    assert call.type == "tool_use"
    assert (call.input, first.stop_reason) == ({"city": "Oslo"}, "tool_use")
    ask += [
        {"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "-3"}]},
    ]
    [text] = client.messages.create(model=MODEL, max_tokens=500, messages=ask, tools=[WEATHER]).content
    assert text.type == "text"
    assert text.text == "Cold."


def test_json_follows_its_schema(provider: OfflineProvider) -> None:
    class City(BaseModel):
        name: str

    client = anthropic.Anthropic(base_url=provider.url, api_key="k")
    reply = client.messages.parse(model=MODEL, max_tokens=500, messages=HELLO, output_format=City)
    assert reply.parsed_output == City(name="example")


@pytest.mark.parametrize(
    ("script", "kinds", "nano"),
    [
        # main: 100 x 1 + 10 x 5 = 150 micro-USD
        ("compaction in=1000 out=20", ["compaction", "message"], 150_000 + 1_100_000),
        ("advisor claude-opus-4-5 in=100 out=20", ["message", "advisor_message", "message"], 150_000 + 1_000_000),
        # the answer comes from the fallback: 100 x 5 + 10 x 25; the refused attempt is charged as what was asked for
        ("fallback claude-opus-4-5 in=100 out=4", ["message", "fallback_message"], 750_000 + 120_000),
        ("fallback claude-opus-4-5 in=100 out=0", ["message", "fallback_message"], 750_000),
    ],
)
def test_iterations_are_billed_each_at_its_model(
    provider: OfflineProvider, post: Post, script: str, kinds: list[str], nano: int
) -> None:
    script = f"tokens in=100 out=10; {script}"
    reply = BetaMessage.model_validate(post("/v1/messages?beta=true", ASK, script).json)
    assert reply.usage.iterations
    assert [entry.type for entry in reply.usage.iterations] == kinds
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (100, 10)
    assert ("opus" in reply.model) == ("fallback" in script)
    streamed = post("/v1/messages?beta=true", ASK | {"stream": True}, script).events
    assert [entry["type"] for entry in streamed[-2]["usage"]["iterations"]] == kinds
    assert [entry.cost_nano for entry in provider.bill] == [nano, nano]
    assert sum((usage for _, usage in provider.bill[0].parts), Usage()) in (provider.bill[0].usage, Usage())


async def test_bedrock(provider: OfflineProvider) -> None:
    login: dict[str, Any] = {
        "aws_access_key": "a",
        "aws_secret_key": "s",
        "aws_region": "us-east-1",
        "base_url": provider.url,
    }
    model, headers = "us.anthropic.claude-haiku-4-5-20251001-v1:0", {"x-offline-script": "tokens in=100 out=20"}
    client = AnthropicBedrock(**login)
    plain = client.messages.create(model=model, max_tokens=500, messages=HELLO, extra_headers=headers)
    with client.messages.stream(model=model, max_tokens=500, messages=HELLO, extra_headers=headers) as stream:
        streamed = stream.get_final_message()
    assert (plain.model, plain.usage) == (streamed.model, streamed.usage)
    aclient = AsyncAnthropicBedrock(**login)
    events = await aclient.messages.create(
        model=model, max_tokens=500, messages=HELLO, stream=True, extra_headers=headers
    )
    kinds = [event.type async for event in events]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    with pytest.raises(anthropic.APIStatusError):
        list(
            client.messages.create(
                model=model,
                max_tokens=9,
                messages=HELLO,
                stream=True,
                extra_headers={"x-offline-script": "error event"},
            )
        )
    assert [entry.complete for entry in provider.bill] == [True, True, True, False]
    for entry in provider.bill[:3]:
        assert (entry.api, entry.request_model) == ("bedrock.messages", model)
        assert entry.response_model == "claude-haiku-4-5-20251001"
        assert entry.cost_nano == 100 * 1_100 + 20 * 5_500


async def test_vertex(provider: OfflineProvider) -> None:
    login: dict[str, Any] = {
        "region": "europe-west1",
        "project_id": "p",
        "access_token": "t",
        "base_url": f"{provider.url}/v1",
    }
    client = AnthropicVertex(**login)
    model, headers = "claude-haiku-4-5@20251001", {"x-offline-script": "tokens in=100 out=20"}
    plain = client.messages.create(model=model, max_tokens=500, messages=HELLO, extra_headers=headers)
    assert client.messages.count_tokens(model=model, messages=HELLO).input_tokens > 0
    async with AsyncAnthropicVertex(**login) as aclient:
        stream = await aclient.messages.create(
            model=model, max_tokens=500, messages=HELLO, stream=True, extra_headers=headers
        )
        streamed = [event async for event in stream]
    assert plain.usage.output_tokens == 20
    assert (streamed[0].type, streamed[-1].type) == ("message_start", "message_stop")
    assert [(e.api, e.response_model, e.cost_nano) for e in provider.bill] == [
        ("vertex.messages", "claude-haiku-4-5-20251001", 200_000)
    ] * 2
