"""xai-sdk: gRPC, so what is wrapped are the methods of a stub, as soon as one is made.

Attempts are gRPC's own and cannot be seen from Python. The SDK traces itself as soon as there is a tracer provider,
prompts included: for what is recorded here, it stays silent.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import trace

from otel_llm.dialects.xai import chat, fields, images, whole
from otel_llm.guard import guard
from otel_llm.spec import Batch, Dialect, Follower, Hook, Integration, Late, Patch, Request


def _batched(result: Any) -> tuple[Dialect, Any] | None:
    for kind, dialect in (("completion_response", chat), ("image_response", images)):
        if result.HasField("response") and result.response.HasField(kind):
            return dialect, whole(getattr(result.response, kind))
    return None


_BATCH = Batch(re.compile(b""), _batched, name=lambda result: result.batch_request_id)
_CALLS: dict[str, tuple[Dialect | Batch, bool]] = {
    "GetCompletion": (chat, False),
    "GetCompletionChunk": (chat, True),
    "CompactContext": (chat, False),
    "GenerateImage": (images, False),
    "ListBatchResults": (_BATCH, False),
}
"""Methods of stubs, and whether they stream."""
_STUBS = (("chat", "ChatStub"), ("image", "ImageStub"), ("batch", "BatchMgmtStub"))
_hosts: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


class Method:
    """One method of a stub."""

    def __init__(self, method: Any, tells: Dialect | Batch, stream: bool, host: str) -> None:
        self.method = method
        self.tells = tells
        self.stream = stream
        name, _, port = host.rpartition(":")
        self.server = (name, int(port)) if name and port.isdecimal() else (host, 443)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self.method(*args, **kwargs)


class AsyncMethod(Method):
    """One method of an asynchronous stub that does not stream."""

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return await self.method(*args, **kwargs)


def _read(method: Method, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | Late:
    return _request(method, args[0] if args else kwargs["request"])


def _read_deferred(conversation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | Late:
    return _request(conversation._stub.GetCompletion, conversation._make_request(args[0] if args else kwargs["n"]))


def _request(method: Method, message: Any) -> Request | Late:
    host, port = method.server
    if isinstance(method.tells, Batch):
        return Late(message.batch_id, method.tells, "x_ai", False, host, port, lines=lambda page: page.results)
    return Request(
        dialect=method.tells,
        provider="x_ai",
        body=fields(message),
        stream=method.stream,
        server_address=host,
        server_port=port,
        follow=_follow if method.stream else None,
        answer=whole,
    )


def _follow(stream: Any, follower: Follower) -> Any:
    return follower.along(stream)


def _make_grpc_channel(wrapped: Any, _client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    channel = wrapped(*args, **kwargs)
    with guard:
        _hosts[channel] = kwargs.get("api_host") or args[1]
    return channel


def _stub(wrapped: Any, stub: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    wrapped(*args, **kwargs)
    with guard:
        channel: Any = args[0] if args else kwargs["channel"]
        host = _hosts.get(channel, "api.x.ai")
        asynchronous = type(channel).__module__.startswith("grpc.aio")
        for name, (tells, stream) in _CALLS.items():
            method = getattr(stub, name, None)
            if method is not None:
                kind = AsyncMethod if asynchronous and not stream else Method
                setattr(stub, name, kind(method, tells, stream, host))


def _silent(_wrapped: Any, _tracer: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Any:
    return nullcontext(trace.INVALID_SPAN)


xai = Integration(
    name="xai",
    distribution="xai-sdk",
    oldest="1.12.0",
    newest_major=1,
    surfaces="chat: sample, stream, parse, defer, compaction; images; batches",
    patches=(
        Patch(__name__, "Method.__call__", _read),
        Patch(__name__, "AsyncMethod.__call__", _read),
        *(Patch(f"xai_sdk.{kind}.chat", "Chat._defer", _read_deferred) for kind in ("sync", "aio")),
    ),
    hooks=(
        *(
            Hook(f"xai_sdk.proto.{version}.{module}_pb2_grpc", f"{stub}.__init__", _stub)
            for version in ("v5", "v6")
            for module, stub in _STUBS
        ),
        *(Hook(f"xai_sdk.{kind}.client", "Client._make_grpc_channel", _make_grpc_channel) for kind in ("sync", "aio")),
        *(
            Hook(f"xai_sdk.{kind}.{module}", "tracer.start_as_current_span", _silent)
            for kind in ("sync", "aio")
            for module in ("chat", "image")
        ),
    ),
)
