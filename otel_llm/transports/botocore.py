"""botocore and aiobotocore: all of Amazon's services behind one method, of which Bedrock has the models."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from inspect import isawaitable
from typing import Any, Self, cast
from urllib.parse import urlsplit

from otel_llm.engine.proxy import Proxy
from otel_llm.engine.recording import current_recording
from otel_llm.framing import Document, amazon_event
from otel_llm.guard import guard
from otel_llm.providers import port_of
from otel_llm.spec import Follower, Hook, Patch, Paths
from otel_llm.transports.sent import Sent, reader

_STREAMS = {"Converse": False, "ConverseStream": True, "InvokeModel": False, "InvokeModelWithResponseStream": True}


def patches(package: str, prefix: str, paths: Paths) -> tuple[Patch, ...]:
    """The patches of a package, whose classes have that prefix."""
    read = reader(_sent, paths, "aws.bedrock")
    return (Patch(f"{package}.client", f"{prefix}BaseClient._make_api_call", read),)


def hooks(package: str, prefix: str) -> tuple[Hook, ...]:
    """The hook of the retries inside a call."""
    return (Hook(f"{package}.endpoint", f"{prefix}Endpoint._needs_retry", _needs_retry),)


def _sent(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent | None:
    operation: str = args[0] if args else kwargs["operation_name"]
    if operation not in _STREAMS or client.meta.service_model.service_name != "bedrock-runtime":
        return None
    given: dict[str, Any] = args[1] if len(args) > 1 else kwargs["api_params"]
    invoked = operation.startswith("Invoke")
    url = urlsplit(str(client.meta.endpoint_url))
    return Sent(
        "POST",
        f"/{operation}",
        partial(_body, given) if invoked else lambda: given,
        url.hostname,
        port_of(url),
        stream=_STREAMS[operation],
        follow=_follow,
        lazy=invoked,
    )


def _body(given: dict[str, Any]) -> dict[str, Any]:
    return {**_own(given.get("body")), **given}


def _own(body: Any) -> dict[str, Any]:
    """The maker's own request. What is no JSON, or is read like a file, is sent unseen."""
    said: Any = None
    if isinstance(body, (bytes, bytearray, str)):
        with suppress(ValueError):
            said = json.loads(body)
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}


def _follow(result: dict[str, Any], reader: Follower) -> dict[str, Any]:
    """The stream or body stays what it is; its events, or the response beneath it, are read along with."""
    body: Any = result["stream"] if "stream" in result else result["body"]
    known = {name: value for name, value in result.items() if value is not body}
    reader.know(known)
    events = getattr(body, "_event_generator", None)
    if events is not None:
        body._event_generator = reader.along(events, _event)
    document = None if events is not None else Document(lambda said: reader.whole({**known, **said}))
    place = "_raw_stream" if "_raw_stream" in vars(body) else "__wrapped__"  # of aiobotocore 2
    setattr(body, place, _Raw(getattr(body, place), reader, document))
    return result


def _event(message: Any) -> bytes:
    headers = message.headers
    failure = headers.get(":exception-type") or headers.get(":error-code")
    return amazon_event((failure or headers[":event-type"]).encode(), message.payload, failure=failure is not None)


class _Raw(Proxy):
    """The response beneath a body, or what an asynchronous one is read from."""

    def __init__(self, raw: Any, reader: Follower, document: Document | None) -> None:
        super().__init__(raw)
        self._self_reader = reader
        self._self_document = document

    @property
    def content(self) -> _Raw:
        return _Raw(self.__wrapped__.content, self._self_reader, self._self_document)

    def read(self, *args: Any, **kwargs: Any) -> Any:
        with self._self_reader.part():
            data = self.__wrapped__.read(*args, **kwargs)
        return self._self_awaited(data) if isawaitable(data) else self._self_taken(data)

    def readinto(self, buffer: Any) -> int:
        with self._self_reader.part():
            size = self.__wrapped__.readinto(buffer)
        self._self_taken(bytes(memoryview(buffer)[:size]))
        return size

    async def _self_awaited(self, reading: Awaitable[bytes]) -> bytes:
        with self._self_reader.part():
            data = await reading
        return self._self_taken(data)

    def _self_taken(self, data: bytes) -> bytes:
        with guard:
            if self._self_document is not None:
                self._self_document.feed(data)
        return data

    async def __aenter__(self) -> Self:
        await self.__wrapped__.__aenter__()
        return self

    def close(self) -> Any:
        self._self_reader.closed()
        return self.__wrapped__.close()


def _needs_retry(wrapped: Any, _endpoint: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    again = wrapped(*args, **kwargs)
    if again is False:
        return again
    names = ("attempts", "operation_model", "request_dict", "response", "caught_exception")
    attempt = dict(zip(names, args, strict=False)) | kwargs
    return _awaited(again, attempt) if isawaitable(again) else _noted(again, attempt)


async def _awaited(again: Awaitable[bool], attempt: dict[str, Any]) -> bool:
    return _noted(await again, attempt)


def _noted(again: bool, attempt: dict[str, Any]) -> bool:
    with guard:
        recording = current_recording() if again else None
        # A call may wait for another service of Amazon's, which gives it credentials.
        if recording is not None and attempt["operation_model"].name in _STREAMS:
            if attempt.get("response") is not None:
                recording.attempt_answered(attempt["response"][0].status_code)
            recording.retried(attempt.get("caught_exception"))
    return again
