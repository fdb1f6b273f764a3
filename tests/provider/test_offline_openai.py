"""OpenAI's wire formats, also as Azure and Groq speak them: by the SDKs' own types and by the SDKs themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import groq
import openai
import pytest
from groq.types.chat import ChatCompletion as GroqCompletion
from groq.types.chat import ChatCompletionChunk as GroqChunk
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from examples.offline_provider import OfflineProvider, Usage

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionToolParam

    from .conftest import Post

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def _ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}


def test_chat_is_what_the_types_say(provider: OfflineProvider, post: Post) -> None:
    script = "tokens in=1000 out=50; cache hit 800; cache write 100; reasoning 20"
    reply = ChatCompletion.model_validate(post(CHAT, _ask("Hello", n=2, service_tier="priority"), script).json)
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert (reply.model, reply.service_tier) == ("gpt-4o-mini-2024-07-18", "priority")
    assert reply.usage
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (1000, 50, 1050)
    assert reply.usage.prompt_tokens_details
    assert reply.usage.prompt_tokens_details.cached_tokens == 800
    assert reply.usage.completion_tokens_details
    assert reply.usage.completion_tokens_details.reasoning_tokens == 20
    [entry] = provider.bill
    assert entry.usage == Usage(input=100, cache_read=800, cache_write_other=100, output=30, reasoning=20)
    assert (entry.response_id, entry.api, entry.complete, entry.usage_sent) == (reply.id, "openai.chat", True, True)
    assert entry.cost_nano is None  # there is no price for cache writes of this model


def test_a_stream_has_usage_only_when_asked(provider: OfflineProvider, post: Post) -> None:
    for asked in (False, True):
        reply = post(CHAT, _ask("Hello", stream=True, n=2, stream_options={"include_usage": asked}))
        chunks = [ChatCompletionChunk.model_validate(event) for event in reply.events]
        assert reply.text.endswith("data: [DONE]\n\n")
        assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [asked]
        texts = ["", ""]
        for chunk in chunks:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        assert texts[0] == texts[1] != ""
        assert {chunk.id for chunk in chunks} == {provider.bill[-1].response_id}
    without, with_usage = provider.bill
    assert (without.usage_sent, with_usage.usage_sent) == (False, True)
    assert without.usage == with_usage.usage
    assert without.complete


def test_audio(provider: OfflineProvider, post: Post) -> None:
    ask = _ask("Hello") | {"model": "gpt-audio"}
    reply = ChatCompletion.model_validate(post(CHAT, ask, "tokens in=30 out=15; audio in=20 out=10").json)
    assert reply.choices[0].message.audio
    chunks = post(CHAT, ask | {"stream": True}, "audio").events
    assert [ChatCompletionChunk.model_validate(chunk) for chunk in chunks][2].choices[0].delta.audio
    assert provider.bill[0].usage == Usage(input=10, input_audio=20, output=5, output_audio=10)
    assert provider.bill[0].cost_nano == 1_355_000


def test_json_follows_its_schema(provider: OfflineProvider) -> None:
    class City(BaseModel):
        name: str
        population: int
        sights: list[str]

    client = openai.OpenAI(base_url=provider.openai_url, api_key="k")
    chat = client.chat.completions.parse(
        model="gpt-4o", messages=[{"role": "user", "content": "?"}], response_format=City
    )
    response = client.responses.parse(model="gpt-4o", input="?", text_format=City)
    expected = City(name="example", population=1, sights=["example"])
    assert chat.choices[0].message.parsed == response.output_parsed == expected


async def test_the_sdk_sync_and_async(provider: OfflineProvider) -> None:
    ask: list[Any] = [{"role": "user", "content": "Hello there, model"}]
    client = openai.OpenAI(base_url=provider.openai_url, api_key="k")
    plain = client.chat.completions.create(model="gpt-4o", messages=ask)
    with client.chat.completions.create(model="gpt-4o", messages=ask, stream=True) as stream:
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k") as aclient:
        again = await aclient.chat.completions.create(model="gpt-4o", messages=ask)
        async with aclient.chat.completions.stream(
            model="gpt-4o", messages=ask, stream_options={"include_usage": True}
        ) as events:
            final = await events.get_final_completion()
    texts = {
        plain.choices[0].message.content,
        streamed,
        again.choices[0].message.content,
        final.choices[0].message.content,
    }
    assert texts == {"You said: Hello there, model. That is a good point, and this is my whole answer."}
    assert final.usage == plain.usage == again.usage
    assert len({entry.response_id for entry in provider.bill}) == len({str(entry.usage) for entry in provider.bill}) + 3


def test_tools_are_called_then_answered(provider: OfflineProvider) -> None:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="k")
    text = (
        'Weather? [[offline: turns: tool get_weather {"city": "Oslo"} + tool get_weather {"city": "Rome"} | say Cold.]]'
    )
    ask: list[Any] = [{"role": "user", "content": text}]
    first = client.chat.completions.create(model="gpt-4o", messages=ask, tools=[WEATHER])
    assert first.choices[0].finish_reason == "tool_calls"
    with client.chat.completions.stream(model="gpt-4o", messages=ask, tools=[WEATHER]) as stream:
        streamed = stream.get_final_completion().choices[0].message.tool_calls
    calls = first.choices[0].message.tool_calls
    assert calls
    assert streamed
    assert [call.function.arguments for call in calls if call.type == "function"] == [
        '{"city": "Oslo"}',
        '{"city": "Rome"}',
    ]
    assert [call.function.arguments for call in streamed] == ['{"city": "Oslo"}', '{"city": "Rome"}']
    ask += [first.choices[0].message.model_dump(exclude_none=True)]
    ask += [{"role": "tool", "tool_call_id": call.id, "content": "-3"} for call in calls]
    last = client.chat.completions.create(model="gpt-4o", messages=ask, tools=[WEATHER])
    assert (last.choices[0].message.content, last.choices[0].finish_reason) == ("Cold.", "stop")
    forced = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "?"}], tools=[WEATHER], tool_choice="required"
    )
    assert forced.choices[0].message.tool_calls


def test_responses_are_what_the_types_say(provider: OfflineProvider, post: Post) -> None:
    script = "tokens in=1000 out=50; cache hit 800; reasoning 20; web search 2"
    ask = {"model": "gpt-5.2", "input": "Hello", "tools": [{"type": "web_search"}]}
    reply = Response.model_validate(post(RESPONSES, ask, script).json)
    assert [item.type for item in reply.output] == ["reasoning", "web_search_call", "web_search_call", "message"]
    assert reply.usage
    assert reply.usage.input_tokens_details.cached_tokens == 800
    events = [_EVENT.validate_python(event) for event in post(RESPONSES, ask | {"stream": True}, script).events]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert events[-1].response.usage == reply.usage
    for entry in provider.bill:
        assert entry.usage == Usage(200, 800, output=30, reasoning=20, requests={"web_search": 2})
        assert entry.cost_nano == 350_000 + 140_000 + 700_000 + 20_000_000


def test_an_incomplete_response(provider: OfflineProvider, post: Post) -> None:
    ask = {"model": "gpt-5.2", "input": "Hello", "max_output_tokens": 4}
    reply = Response.model_validate(post(RESPONSES, ask).json)
    assert (reply.status, reply.usage and reply.usage.output_tokens) == ("incomplete", 4)
    [*_, last] = post(RESPONSES, ask | {"stream": True}).events
    assert _EVENT.validate_python(last).type == "response.incomplete"
    assert [entry.complete for entry in provider.bill] == [True, True]
    assert post(CHAT, _ask("Hello"), "incomplete").json["choices"][0]["finish_reason"] == "length"


def test_responses_continue_a_conversation(provider: OfflineProvider) -> None:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="k")
    tool: Any = {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {}}, "strict": False}
    first = client.responses.create(model="o3", input="[[offline: turns: tool add {} | say Two.]]", tools=[tool])
    assert first.output[0].type == "function_call"
    result: Any = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "2"}
    with client.responses.stream(model="o3", input=[result], previous_response_id=first.id, tools=[tool]) as stream:
        assert stream.get_final_response().output_text == "Two."
    everything: Any = [
        {"role": "user", "content": "[[offline: turns: tool add {} | say Two.]]"},
        first.output[0],
        result,
    ]
    assert client.responses.create(model="o3", input=everything, tools=[tool]).output_text == "Two."
    assert provider.bill[1].usage == provider.bill[2].usage


def test_embeddings_and_legacy_completions(provider: OfflineProvider, post: Post) -> None:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="k")
    coded = client.embeddings.create(model="text-embedding-3-small", input=["one two", "three"], dimensions=8)
    plain = post("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["one two", "three"], "dimensions": 8})
    assert [item.embedding for item in CreateEmbeddingResponse.model_validate(plain.json).data] == [
        pytest.approx(item.embedding)  # pyright: ignore[reportUnknownMemberType]
        for item in coded.data
    ]
    assert provider.bill[0].usage == Usage(input=coded.usage.prompt_tokens)
    assert post("/v1/embeddings", {"model": "m", "input": [[1, 2, 3]]}).json["usage"]["prompt_tokens"] == 11
    ask = {"model": "gpt-3.5-turbo-instruct", "prompt": "Say hi", "n": 2}
    whole = Completion.model_validate(post("/v1/completions", ask).json)
    more = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = post("/v1/completions", ask | more).events
    assert Completion.model_validate(chunks[-1]).usage == whole.usage
    assert "".join(c["text"] for chunk in chunks for c in chunk["choices"] if c["index"] == 1) == whole.choices[1].text
    assert client.models.list().data[0].id == "gpt-5.2"


async def test_azure_names_deployments_and_opens_with_its_filters(provider: OfflineProvider) -> None:
    client = openai.AzureOpenAI(azure_endpoint=provider.url, api_key="k", api_version="2024-10-21")
    ask: list[Any] = [{"role": "user", "content": "Hello"}]
    reply = client.chat.completions.create(model="prod-gpt-4o-eu", messages=ask)
    assert reply.model == "gpt-4o-2024-08-06"
    async with openai.AsyncAzureOpenAI(azure_endpoint=provider.url, api_key="k", api_version="2024-10-21") as aclient:
        chunks = [chunk async for chunk in await aclient.chat.completions.create(model="x", messages=ask, stream=True)]
    assert chunks[0].choices == []
    assert chunks[0].model_extra
    assert chunks[0].model_extra["prompt_filter_results"]
    assert client.responses.create(model="gpt-5.2", input="Hello").output_text
    assert client.embeddings.create(model="text-embedding-3-small", input="Hello").data
    assert [entry.api for entry in provider.bill] == ["azure.chat", "azure.chat", "azure.responses", "azure.embeddings"]
    assert [entry.request_model for entry in provider.bill][:2] == ["prod-gpt-4o-eu", "x"]
    assert provider.bill[1].response_model == "gpt-4o-mini-2024-07-18"
    assert all(entry.cost_nano for entry in provider.bill)


async def test_groq_sends_usage_its_own_way(provider: OfflineProvider, post: Post) -> None:
    ask = _ask("Hello") | {"model": "openai/gpt-oss-120b"}
    script = "tokens in=1000 out=50; cache hit; reasoning 20"
    reply = GroqCompletion.model_validate(post("/openai/v1/chat/completions", ask, script).json)
    assert (reply.service_tier, reply.usage and reply.usage.total_tokens) == ("on_demand", 1050)
    streamed = post("/openai/v1/chat/completions", ask | {"stream": True}, script).events
    last = GroqChunk.model_validate(streamed[-1])
    assert last.x_groq
    assert last.x_groq.usage == reply.usage
    assert last.usage is None
    client = groq.Groq(base_url=provider.url, api_key="k")
    stream = client.chat.completions.create(
        model="llama-3.3-70b-versatile", messages=[{"role": "user", "content": "Hello"}], stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    async with groq.AsyncGroq(base_url=provider.url, api_key="k") as aclient:
        again = await aclient.chat.completions.create(
            model="llama-3.3-70b-versatile", messages=[{"role": "user", "content": "Hello"}]
        )
    assert again.choices[0].message.content == text
    assert {entry.api for entry in provider.bill} == {"groq.chat"}
    assert provider.bill[0].cost_nano == 200 * 150 + 800 * 75 + 50 * 600
    assert all(entry.usage_sent for entry in provider.bill)


def test_the_bill_keeps_what_the_sdk_said(provider: OfflineProvider) -> None:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="secret")
    headers = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    client.chat.completions.create(
        model="acme-preview-1", messages=[{"role": "user", "content": "?"}], extra_headers=headers
    )
    [entry] = provider.bill
    assert entry.headers["traceparent"] == headers["traceparent"]
    assert entry.cost_nano is None
    assert (entry.request_model, entry.response_model) == ("acme-preview-1", "acme-preview-1")
    [request] = provider.requests
    assert "secret" not in json.dumps(request.headers)
    assert request.body["model"] == "acme-preview-1"


@pytest.mark.parametrize("odd", [{"model": None}, {"model": ["gpt-4o"]}, {"max_tokens": "9"}])
def test_odd_requests_are_refused(provider: OfflineProvider, post: Post, odd: dict[str, Any]) -> None:
    assert post(CHAT, _ask("Why?") | odd).status == 400
    assert not provider.bill
