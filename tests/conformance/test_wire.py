"""Bytes as servers really send them, and as hostile ones might: the user sees what the bare SDK makes of them."""

from __future__ import annotations

import gc
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry.sdk.trace import ReadableSpan

from otel_llm.integrations import SDKInstrumentor
from otel_llm_semconv import attributes as A
from tests.conformance.canned import CannedServer, Reply, response
from tests.conformance.conftest import ours
from tests.conformance.ways import plain
from tests.conftest import Spans

EVENTS = "text/event-stream; charset=utf-8"
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
HEAD = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}


@pytest.fixture
def server() -> Iterator[CannedServer]:
    with CannedServer() as running:
        yield running


def events(body: dict[str, Any]) -> list[str]:
    """What OpenAI streams: usage only when it was asked for, and then a null in every other chunk."""
    asked = body.get("stream_options") == {"include_usage": True}
    null = {"usage": None} if asked else {}
    choices: list[Any] = [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None},
        {"index": 0, "delta": {"content": 'søt,"usage":null \u20ac'}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]
    chunks: list[dict[str, Any]] = [{**HEAD, "choices": [choice], **null} for choice in choices]
    if asked:
        chunks.append({**HEAD, "choices": [], "usage": USAGE})
    return [json.dumps(chunk, ensure_ascii=False) for chunk in chunks] + ["[DONE]"]


def lines(body: dict[str, Any], end: str = "\n", prefix: str = "data: ", last: str | None = None) -> bytes:
    text = "".join(f"{prefix}{event}{end}{end}" for event in events(body))
    return (text if last is None else text.removesuffix(end + end) + last).encode()


def deflated(data: bytes) -> bytes:
    return zlib.compress(data)


REPLIES: dict[str, Reply] = {
    "LF": lambda body: response(lines(body), EVENTS),
    "CRLF": lambda body: response(lines(body, "\r\n"), EVENTS),
    "byte by byte": lambda body: response(lines(body), EVENTS, size=1),
    "CRLF byte by byte": lambda body: response(lines(body, "\r\n"), EVENTS, size=1),
    "gzip": lambda body: response(gzip.compress(lines(body)), EVENTS, "content-encoding: gzip"),
    "gzip in pieces": lambda body: response(gzip.compress(lines(body)), EVENTS, "content-encoding: gzip", size=7),
    "gzip CRLF": lambda body: response(gzip.compress(lines(body, "\r\n")), EVENTS, "content-encoding: gzip", size=9),
    "deflate": lambda body: response(deflated(lines(body)), EVENTS, "content-encoding: deflate"),
    "no space": lambda body: response(lines(body, prefix="data:"), EVENTS),
    "named events": lambda body: response(lines(body, prefix="event: chunk\nid: 7\ndata: "), EVENTS),
    "comments": lambda body: response(b": PROCESSING\n\n" + lines(body, prefix=": ping\ndata: "), EVENTS),
    "no empty line at the end": lambda body: response(lines(body, last="\n"), EVENTS),
}


def ask(server: CannedServer, how: str) -> list[Any]:
    """What the user sees of a stream: chunks, lines or bytes."""
    completions: Any = _CLIENT.with_options(base_url=server.url).chat.completions
    request: Any = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    if how == "chunks":
        return [plain(chunk) for chunk in completions.create(**request)]
    if how == "raw lines":
        return list(completions.with_raw_response.create(**request).http_response.iter_lines())
    with completions.with_streaming_response.create(**request) as raw:
        return list(raw.iter_lines()) if how == "lines" else [raw.read()]


_CLIENT: Any = openai.OpenAI(api_key="offline", max_retries=0)


class Both:
    """Does something without and with instrumentation, and holds the outcomes against each other."""

    def __init__(self, calls: Spans, instrumentors: list[SDKInstrumentor]) -> None:
        self._calls = calls
        self._instrumentors = instrumentors

    def __call__(self, use: Any) -> tuple[Any, list[ReadableSpan]]:
        bare = self._outcome(use)
        for instrumentor in self._instrumentors:
            instrumentor.instrument()
        try:
            seen = self._outcome(use)
            gc.collect()
        finally:
            for instrumentor in self._instrumentors:
                instrumentor.uninstrument()
        assert seen == bare
        return seen, [call for call in self._calls() if ours(call)]

    @staticmethod
    def _outcome(use: Any) -> Any:
        try:
            return use()
        except Exception as error:
            return type(error), str(error)


@pytest.fixture
def both(calls: Spans, instrumentors: list[SDKInstrumentor]) -> Both:
    return Both(calls, instrumentors)


@pytest.mark.usefixtures("no_fault")
@pytest.mark.parametrize("how", ["chunks", "lines", "raw lines", "bytes"])
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES.keys())
def test_the_usage_is_read_and_hidden_however_it_is_framed(
    server: CannedServer, both: Both, reply: Reply, how: str
) -> None:
    server.reply = reply
    seen, [call] = both(lambda: ask(server, how))
    assert "søt" in str(seen) or b"s\xc3\xb8t" in seen[0]
    assert [body.get("stream_options") for body in server.bodies] == [None, {"include_usage": True}]
    attributes = call.attributes or {}
    assert attributes[A.GEN_AI_USAGE_INPUT_TOKENS] == 11
    assert attributes[A.GEN_AI_USAGE_OUTPUT_TOKENS] == 7
    assert attributes[A.OTEL_LLM_STREAM_OUTCOME] == "completed"


ODD_REPLIES: dict[str, Reply] = {
    "a list": lambda _: response(b"[1, 2]"),
    "a number": lambda _: response(b"7"),
    "null": lambda _: response(b"null"),
    "html": lambda _: response(b"<html>", "text/html"),
    "no type": lambda body: response(lines(body), ""),
    "an unknown coding": lambda body: response(lines(body), EVENTS, "content-encoding: rot13"),
    "not what it is coded": lambda body: response(lines(body), EVENTS, "content-encoding: gzip"),
    "not UTF-8": lambda _: response(b'data: {"id": "\xff\xfe", "choices": []}\n\n', EVENTS),
    "chunks that are no objects": lambda _: response(b"data: 7\n\ndata: null\n\ndata: []\n\ndata: [DONE]\n\n", EVENTS),
    "more after the end": lambda body: response(lines(body) * 2, EVENTS),
    "a document for a stream": lambda _: response(json.dumps({**HEAD, "choices": [], "usage": USAGE}).encode()),
    "carriage returns": lambda body: response(lines(body, "\r"), EVENTS),
    "a byte order mark": lambda body: response(b"\xef\xbb\xbf" + lines(body), EVENTS),
    "shorter than it says": lambda body: response(lines(body)[:200], EVENTS, "content-length: 9999"),
}


@pytest.mark.parametrize("how", ["chunks", "lines", "bytes"])
@pytest.mark.parametrize("reply", ODD_REPLIES.values(), ids=ODD_REPLIES.keys())
def test_odd_streams(server: CannedServer, both: Both, reply: Reply, how: str) -> None:
    server.reply = reply
    _seen, [call] = both(lambda: ask(server, how))
    assert call.end_time is not None


COUNTS: list[Any] = [-1, 10**30, 1e300, 2**63, 1.5, True, "12", "١٢", "1e3", [], {}, None, "\ud800"]


def _chat(count: Any) -> tuple[Any, dict[str, Any]]:
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": count, "message": message, "finish_reason": count}
    names = ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "cost")
    body = {**HEAD, "id": count, "model": count, "service_tier": count, "choices": [choice]}
    completions: Any = openai.OpenAI(api_key="offline", max_retries=0).chat.completions
    return completions, body | {"usage": dict.fromkeys(names, count)}


def _messages(count: Any) -> tuple[Any, dict[str, Any]]:
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation", "iterations", "service_tier")
    body: dict[str, Any] = {
        "id": count,
        "type": "message",
        "role": "assistant",
        "model": count,
        "content": [],
        "stop_reason": count,
    }
    resource: Any = anthropic.Anthropic(api_key="offline", max_retries=0).messages
    return resource, body | {"usage": dict.fromkeys(names, count)}


def otlp_can_carry(spans: list[ReadableSpan]) -> bool:
    """Whether the exporters of others can encode the spans: one that cannot would take its whole batch with it."""
    encoder = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")
    return bool(encoder.encode_spans(spans).SerializeToString())


@pytest.mark.parametrize("resource_and_body", [_chat, _messages], ids=["chat", "messages"])
@pytest.mark.parametrize("count", COUNTS, ids=repr)
def test_counts_that_are_none(server: CannedServer, both: Both, resource_and_body: Any, count: Any) -> None:
    resource, body = resource_and_body(count)
    server.reply = lambda _body: response(json.dumps(body).encode())
    resource._client.base_url = server.url  # pyright: ignore[reportPrivateUsage]

    def use() -> Any:
        return repr(plain(resource.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])))

    _seen, [call] = both(use)
    tokens = (call.attributes or {}).get(A.GEN_AI_USAGE_INPUT_TOKENS)
    assert tokens in (None, 12, 24, 1, 2)  # two are sums; some SDKs make a 1 of true
    assert otlp_can_carry([call])


def test_requests_that_no_span_can_carry(server: CannedServer, both: Both) -> None:
    server.reply = lambda _body: response(json.dumps({**HEAD, "choices": [], "usage": USAGE}).encode())
    odd: dict[str, Any] = {"seed": 2**70, "max_tokens": 10**30, "n": 2**64, "stop": ["a", None, 3]}
    completions: Any = _CLIENT.with_options(base_url=server.url).chat.completions

    def use() -> Any:
        return repr(plain(completions.create(model="m\u0000", messages=[], extra_body=odd)))

    _seen, [call] = both(use)
    assert (call.attributes or {})[A.GEN_AI_USAGE_INPUT_TOKENS] == 11
    assert otlp_can_carry([call])


def test_decisions(server: CannedServer, both: Both) -> None:
    client = openai.OpenAI(api_key="offline", base_url=f"{server.url}/v1", max_retries=0)
    if not hasattr(client, "decisions"):
        pytest.skip("this openai decides nothing")
    usage: dict[str, Any] = {"input_tokens": 120, "output_tokens": 3, "total_tokens": 123}
    usage |= {"input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 0}}
    usage |= {"output_tokens_details": {"reasoning_tokens": 0}}
    answer = {"type": "predicate", "probability": 0.9}
    server.reply = lambda _: response(json.dumps({"model": "gpt-6-luna", "answers": [answer], "usage": usage}).encode())
    questions: Any = [{"type": "predicate", "question": "Is it late?"}]
    _, [call] = both(lambda: client.decisions.create(model="gpt-6-luna", input="...", questions=questions))
    attributes = call.attributes or {}
    assert (attributes[A.OTEL_LLM_USAGE_INPUT], attributes[A.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS]) == (20, 100)
    assert attributes[A.GEN_AI_RESPONSE_MODEL] == "gpt-6-luna"


def test_together_reranks(server: CannedServer, both: Both) -> None:
    together: Any = pytest.importorskip("together", reason="the oldest SDKs do not fit into one environment")
    client = together.Together(api_key="offline", base_url=f"{server.url}/v1", max_retries=0)
    result = {"index": 0, "relevance_score": 0.9, "document": {"text": "Why?"}}
    usage = {"prompt_tokens": 30, "completion_tokens": 0, "total_tokens": 30}
    body = {"id": "r-1", "object": "rerank", "model": "mixedbread-ai/rerank", "results": [result], "usage": usage}
    server.reply = lambda _: response(json.dumps(body).encode())
    _, [call] = both(lambda: client.rerank.create(model="mixedbread-ai/rerank", query="?", documents=["Why?"]))
    attributes = call.attributes or {}
    assert call.name == "rerank mixedbread-ai/rerank"
    assert attributes[A.GEN_AI_USAGE_INPUT_TOKENS] == 30


@pytest.mark.usefixtures("instrumented", "no_fault")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_what_vllm_answers_is_not_openais(server: CannedServer, calls: Spans, stream: bool) -> None:
    # As vLLM 0.11 writes it: `stop_reason` in a choice, in a stream where it ends.
    end: Any = {"index": 0, "logprobs": None, "finish_reason": "stop", "stop_reason": None}
    said: Any = {"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "logprobs": None, "finish_reason": None}
    chunks: list[dict[str, Any]] = [
        {**HEAD, "choices": [said]},
        {**HEAD, "choices": [end | {"delta": {"content": ""}}]},
        {**HEAD, "choices": [], "usage": USAGE},
    ]
    whole: dict[str, Any] = {**HEAD, "object": "chat.completion", "usage": USAGE, "prompt_logprobs": None}
    whole["choices"] = [end | {"message": {"role": "assistant", "content": "Hi", "reasoning_content": None}}]
    streamed = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    server.reply = lambda _body: response(streamed.encode(), EVENTS) if stream else response(json.dumps(whole).encode())
    client: Any = _CLIENT.with_options(base_url=server.url)
    answer = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], stream=stream
    )
    assert list(answer) if stream else answer.choices
    (call,) = calls()
    found = call.attributes or {}
    assert found[A.GEN_AI_PROVIDER_NAME] == "vllm"
    assert found[A.GEN_AI_USAGE_INPUT_TOKENS] == 11
    # However the model is called, OpenAI's price is not its price.
    assert found[A.OTEL_LLM_COST_STATUS] == "unpriced"
    assert A.OTEL_LLM_COST_NANO_USD not in found
