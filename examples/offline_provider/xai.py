"""xAI's gRPC API, as `xai_sdk.proto` defines it: in front of the provider's HTTP, which has the script and the bill.

What is asked is sent on as a chat completion; the answer is told in xAI's way: reasoning beside the completion, and
what it cost in ticks of 1e-10 USD.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import grpc
from google.protobuf import empty_pb2
from xai_sdk.proto import (  # pyright: ignore[reportMissingTypeStubs]
    batch_pb2,
    batch_pb2_grpc,
    chat_pb2,
    chat_pb2_grpc,
    deferred_pb2,
    image_pb2,
    image_pb2_grpc,
    sample_pb2,
    usage_pb2,
)

from examples.offline_provider.bill import Usage, cost_nano
from examples.offline_provider.model import Json
from examples.offline_provider.script import HEADER

batch: Any = batch_pb2
batch_services: Any = batch_pb2_grpc
chat: Any = chat_pb2
image: Any = image_pb2
services: Any = chat_pb2_grpc
image_services: Any = image_pb2_grpc
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
}
_REASONS = {"stop": "REASON_STOP", "length": "REASON_MAX_LEN", "tool_calls": "REASON_TOOL_CALLS"}


@contextmanager
def served(url: str) -> Generator[str]:
    """Serve the provider at `url` as xAI does; the address (`localhost:port`) for `api_host`."""
    server = grpc.server(ThreadPoolExecutor(8))
    services.add_ChatServicer_to_server(_Chat(urlsplit(url).netloc), server)
    batch_services.add_BatchMgmtServicer_to_server(_Batch(urlsplit(url).netloc), server)
    image_services.add_ImageServicer_to_server(_Image(), server)
    port = server.add_secure_port("localhost:0", grpc.local_server_credentials())
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None)


class _Chat(chat_pb2_grpc.ChatServicer):
    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._deferred: dict[str, Any] = {}

    def GetCompletion(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC names it
        with self._asked(request, context, stream=False) as answer:
            return _whole(json.loads(answer.read()))

    def GetCompletionChunk(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802 - gRPC names it
        with self._asked(request, context, stream=True) as answer:
            over, calls = False, dict[tuple[int, int], Json]()
            for line in answer:
                over = over or line.startswith(b"data: [DONE]")
                if line.startswith(b"data: {"):
                    yield _chunk(json.loads(line[6:]), calls)
            if not over:
                context.abort(grpc.StatusCode.INTERNAL, "the answer was cut off")

    def StartDeferredCompletion(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC names it
        answer = self.GetCompletion(request, context)
        self._deferred[answer.id] = answer
        return deferred_pb2.StartDeferredResponse(request_id=answer.id)

    def GetDeferredCompletion(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC names it
        answer = self._deferred[request.request_id]
        return chat.GetDeferredCompletionResponse(status=deferred_pb2.DONE, response=answer)

    @contextmanager
    def _asked(self, request: Any, context: Any, *, stream: bool) -> Generator[http.client.HTTPResponse]:
        with _sent(self._provider, request, stream=stream) as answer:
            if answer.status != 200:
                context.abort(_CODES[answer.status], json.loads(answer.read())["error"]["message"])
            yield answer


@contextmanager
def _sent(
    provider: str, request: Any, *, stream: bool = False, script: str = ""
) -> Generator[http.client.HTTPResponse]:
    """The request as a chat completion, and the provider's answer to it."""
    messages = [
        {"role": chat.MessageRole.Name(m.role).removeprefix("ROLE_").lower(), "content": _texts(m)}
        for m in request.messages
    ]
    tools = [
        {"type": "function", "function": {"name": t.function.name, "parameters": json.loads(t.function.parameters)}}
        for t in request.tools
        if t.HasField("function")
    ]
    body: Json = {"model": request.model, "messages": messages, "tools": tools, "stream": stream}
    body |= {"n": request.n or 1, "max_tokens": request.max_tokens or None}
    with closing(http.client.HTTPConnection(provider)) as connection:
        connection.request("POST", "/xai/v1/chat/completions", json.dumps(body), {HEADER: script})
        yield connection.getresponse()


class _Batch(batch_pb2_grpc.BatchMgmtServicer):
    """Batches: what is added is answered at once, at their prices, and told in pages."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._results: dict[str, list[Any]] = {}

    def CreateBatch(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC names it
        id_ = f"batch_{uuid4().hex}"
        self._results[id_] = []
        return batch.Batch(batch_id=id_, name=request.name)

    def AddBatchRequests(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC names it
        results = self._results[request.batch_id]
        for asked in request.batch_requests:
            named = asked.batch_request_id or uuid4().hex
            with _sent(self._provider, asked.completion_request, script="tier batch") as answer:
                body: Json = json.loads(answer.read())
            if answer.status == 200:
                told = batch.BatchResultData(completion_response=_whole(body))
                results.append(batch.BatchResult(batch_request_id=named, response=told))
            else:
                results.append(batch.BatchResult(batch_request_id=named, error={"code": 13, "message": "scripted"}))
        return empty_pb2.Empty()

    def GetBatch(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC names it
        number = len(self._results[request.batch_id])
        return batch.Batch(batch_id=request.batch_id, state={"num_requests": number, "num_success": number})

    def ListBatchResults(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC names it
        results, start = self._results[request.batch_id], int(request.pagination_token or 0)
        end = start + (request.limit or len(results))
        more = str(end) if end < len(results) else ""
        return batch.ListBatchResultsResponse(results=results[start:end], pagination_token=more)


class _Image(image_pb2_grpc.ImageServicer):
    """Seven cents a picture; they are on no bill."""

    def GenerateImage(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC names it
        drawn = [image.GeneratedImage(url="https://offline.invalid/picture.jpg")] * (request.n or 1)
        usage = usage_pb2.SamplingUsage(cost_in_usd_ticks=700_000_000 * len(drawn))
        return image.ImageResponse(images=drawn, model=request.model, usage=usage)


def _texts(message: Any) -> str:
    return "\n".join(part.text for part in message.content)


def _head(body: Json) -> Json:
    head: Json = {name: body[name] for name in ("id", "model", "system_fingerprint")}
    return head | ({"usage": _usage(body)} if body.get("usage") else {})


def _whole(body: Json) -> Any:
    said = chat.GetChatCompletionResponse(**_head(body))
    for choice in body["choices"]:
        message = _said(chat.CompletionMessage, choice["message"])
        output = chat.CompletionOutput(index=choice["index"], message=message)
        output.finish_reason = sample_pb2.FinishReason.Value(_REASONS[choice["finish_reason"]])
        said.outputs.append(output)
    return said


def _usage(body: Json) -> Any:
    usage: Json = body["usage"]
    cached: int = usage["prompt_tokens_details"]["cached_tokens"]
    reasoning: int = usage["completion_tokens_details"]["reasoning_tokens"]
    searches: int = usage.get("server_side_tool_usage_details", {}).get("web_search_calls", 0)
    visible = usage["completion_tokens"] - reasoning
    billed = Usage(
        input=usage["prompt_tokens"] - cached,
        cache_read=cached,
        output=visible,
        reasoning=reasoning,
        requests={"web_search": searches} if searches else {},
    )
    nano = cost_nano("xai", [(body["model"], billed)], body.get("service_tier"))
    return usage_pb2.SamplingUsage(
        prompt_tokens=usage["prompt_tokens"],
        prompt_text_tokens=usage["prompt_tokens"],
        cached_prompt_text_tokens=cached,
        completion_tokens=visible,
        reasoning_tokens=reasoning,
        total_tokens=usage["total_tokens"],
        server_side_tools_used=[usage_pb2.SERVER_SIDE_TOOL_WEB_SEARCH] * searches,
        cost_in_usd_ticks=None if nano is None else nano * 10,
    )


def _said(kind: Any, said: Json) -> Any:
    """A message, or a piece of one."""
    calls = [
        chat.ToolCall(id=call.get("id"), function=chat.FunctionCall(**call["function"]))
        for call in said.get("tool_calls") or ()
    ]
    return kind(content=said.get("content") or "", role=chat.ROLE_ASSISTANT, tool_calls=calls)


def _chunk(body: Json, calls: dict[tuple[int, int], Json]) -> Any:
    """A piece of the answer; the pieces of `calls` are kept until they are whole, with the last one."""
    chunk = chat.GetChatCompletionChunk(**_head(body))
    for choice in body["choices"]:
        delta: Json = choice["delta"]
        for piece in delta.pop("tool_calls", ()):
            call = calls.setdefault((choice["index"], piece["index"]), piece)
            if call is not piece:
                call["function"]["arguments"] += piece["function"]["arguments"]
        if choice["finish_reason"]:
            delta["tool_calls"] = [call for key, call in sorted(calls.items()) if key[0] == choice["index"]]
        output = chat.CompletionOutputChunk(index=choice["index"], delta=_said(chat.Delta, delta))
        if choice["finish_reason"]:
            output.finish_reason = sample_pb2.FinishReason.Value(_REASONS[choice["finish_reason"]])
        chunk.outputs.append(output)
    return chunk
