"""xai-sdk: gRPC, so what is wrapped are the methods of a stub, as soon as one is made.

Attempts are gRPC's own and cannot be seen from Python.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

from otel_llm.engine.proxy import Proxy
from otel_llm.guard import guard
from otel_llm.spec import Follower, Hook, Patch, Paths
from otel_llm.transports.sent import Routes, Sent, reader

_hosts: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


class Method(Proxy):
    """One method of a stub."""

    def __init__(self, method: Any, name: str, host: str) -> None:
        super().__init__(method)
        self._self_name = name
        server, _, port = host.rpartition(":")
        self._self_server = (server, int(port)) if server and port.isdecimal() else (host, 443)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self.__wrapped__(*args, **kwargs)


class AsyncMethod(Method):
    """One method of an asynchronous stub that does not stream."""

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return await self.__wrapped__(*args, **kwargs)


def patches(
    paths: Paths, provider: str, fields: Callable[[Any], dict[str, Any]], whole: Callable[[Any], Any]
) -> tuple[Patch, ...]:
    """The patches of all methods: `fields(message)` is a request's body, and `whole(message)` an answer's."""
    look = partial(_sent, fields, whole)

    def deferred(conversation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent:
        message = conversation._make_request(args[0] if args else kwargs["n"])
        return look(conversation._stub.GetCompletion, (message,), {})

    read, read_deferred = (reader(each, paths, provider) for each in (look, deferred))
    return (
        Patch(__name__, "Method.__call__", read),
        Patch(__name__, "AsyncMethod.__call__", read),
        *(Patch(f"xai_sdk.{kind}.chat", "Chat._defer", read_deferred) for kind in ("sync", "aio")),
    )


def hooks(paths: Paths, *stubs: tuple[str, str]) -> tuple[Hook, ...]:
    """The hooks that see these stubs (module, class) being made, and for which server."""
    made = partial(_stub, Routes(paths))
    return (
        *(
            Hook(f"xai_sdk.proto.{version}.{module}_pb2_grpc", f"{stub}.__init__", made)
            for version in ("v5", "v6")
            for module, stub in stubs
        ),
        *(Hook(f"xai_sdk.{kind}.client", "Client._make_grpc_channel", _make_grpc_channel) for kind in ("sync", "aio")),
    )


def _sent(
    fields: Callable[[Any], dict[str, Any]],
    whole: Callable[[Any], Any],
    method: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Sent:
    message = args[0] if args else kwargs["request"]
    asked = [method._self_name, getattr(message, "batch_id", "")]
    stream = _streams(method._self_name)
    return Sent(
        "POST",
        "".join(f"/{part}" for part in asked if part),
        partial(fields, message),
        *method._self_server,
        stream=stream,
        follow=_follow if stream else None,
        answer=whole,
    )


def _streams(name: str) -> bool:
    return name.endswith("Chunk")


def _follow(stream: Any, follower: Follower) -> Any:
    return follower.along(stream)


def _make_grpc_channel(wrapped: Any, _client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    channel = wrapped(*args, **kwargs)
    with guard:
        _hosts[channel] = kwargs.get("api_host") or args[1]
    return channel


def _stub(routes: Routes, wrapped: Any, stub: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    wrapped(*args, **kwargs)
    with guard:
        channel: Any = args[0] if args else kwargs["channel"]
        host = _hosts.get(channel, "api.x.ai")
        asynchronous = type(channel).__module__.startswith("grpc.aio")
        methods: dict[str, Any] = dict(cast("Any", vars(stub)))
        for name, method in methods.items():
            # The others stay what they are.
            if routes.find("POST", f"/{name}") or routes.find("POST", f"/{name}/id"):
                kind = AsyncMethod if asynchronous and not _streams(name) else Method
                setattr(stub, name, kind(method, name, host))
