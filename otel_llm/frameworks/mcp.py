"""mcp: what a client asks of a server, on both sides, in one trace. From mcp 1.21 on.

mcp 2 traces itself: its spans are used, with the conventions' names. mcp 1 does not.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from otel_llm.call import AttributeValue
from otel_llm.dialects.reading import get
from otel_llm.driving import telling, within
from otel_llm.frameworks.mcp_requests import around, fail, leave_word, name_of, sent_from, span_of, told_of
from otel_llm.guard import guard
from otel_llm.spec import Hook, Integration
from otel_llm_semconv import attributes as A

# A request that cannot be served is the client's error.
_NOT_THE_SERVERS = ("-32700", "-32600", "-32601", "-32602", "-32002")


# mcp 2


def _client_span(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        attributes = kwargs["attributes"]
        method = attributes[A.MCP_METHOD_NAME]
        told = told_of(method, {"name": args[0].partition(f"{method} ")[2]})
        if (outer := around(told)) is not None:
            outer.set_attributes({**attributes, **told})
            return nullcontext(outer)
        args, kwargs = (name_of(told),), {**kwargs, "attributes": {**attributes, **told}}
    return wrapped(*args, **kwargs)


def _inject(wrapped: Any, _instance: Any, args: tuple[Any, ...], _kwargs: Any) -> None:
    with guard:
        leave_word(args[0], wrapped)


def _extract(_wrapped: Any, _instance: Any, args: tuple[Any, ...], _kwargs: Any) -> Context | None:
    with guard:
        return sent_from(*args)
    return None


def _server_span(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    context = kwargs.get("context")
    return wrapped(*args, **kwargs) if context is None else _served_in(context, wrapped, args, kwargs)


@contextmanager
def _served_in(context: Context, span: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any]:
    # In nothing of what the server's own task began in.
    with within(context), span(*args, **{**kwargs, "context": None}) as served:
        yield served


# mcp 1, and what servers ask of clients


async def _answer(wrapped: Any, _session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    context = None
    with guard:
        context = sent_from(_extra(args[0]) if len(args) == 1 else get(args[2], "_meta"))
    with within(context or otel_context.get_current()):
        return await wrapped(*args, **kwargs)


async def _send(wrapped: Any, _session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    told: dict[str, AttributeValue] = {}
    request, *rest = (*args,) if args else (kwargs["request"],)
    with guard:
        told = told_of(request.root.method, request.root.params)
    if not told:
        return await wrapped(*args, **kwargs)
    with span_of(told, SpanKind.CLIENT) as span:
        with guard:
            request = _with_word(request)
        with telling(lambda error: fail(span, get(error, "error") or error)):
            result = await wrapped(request, *rest, **{name: kwargs[name] for name in kwargs if name != "request"})
        fail(span, result)
        return result


async def _serve(wrapped: Any, _server: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    context, told = otel_context.get_current(), dict[str, AttributeValue]()
    with guard:
        told = told_of(args[1].method, args[1].params)
        context = sent_from(_extra(args[0])) or context
    if not told:
        return await wrapped(*args, **kwargs)
    with within(context), span_of(told, SpanKind.SERVER):
        return await wrapped(*args, **kwargs)


def _respond(wrapped: Any, _responder: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        span: Any = trace.get_current_span()
        if get(span, "kind") is SpanKind.SERVER and A.MCP_METHOD_NAME in span.attributes:
            fail(span, args[0], but=_NOT_THE_SERVERS)
    return wrapped(*args, **kwargs)


def _extra(responder: Any) -> Mapping[str, Any] | None:
    """What a request has in its `_meta`, besides what the protocol knows."""
    return responder.request_meta.model_extra if responder.request_meta is not None else None


def _with_word(request: Any) -> Any:
    """The request, with the word of where it comes from."""
    said = request.model_dump(by_alias=True, mode="json", exclude_none=True)
    leave_word(said.setdefault("params", {}).setdefault("_meta", {}))
    return request.__class__.model_validate(said)


mcp = Integration(
    name="mcp",
    distribution="mcp",
    oldest="1.21.0",
    newest_major=2,
    surfaces="requests of clients and servers",
    hooks=(
        Hook("mcp.shared.jsonrpc_dispatcher", "otel_span", _client_span),
        Hook("mcp.shared.jsonrpc_dispatcher", "inject_trace_context", _inject),
        Hook("mcp.server._otel", "otel_span", _server_span),
        Hook("mcp.server._otel", "extract_trace_context", _extract),
        Hook("mcp.client.session", "ClientSession._on_request", _answer),
        Hook("mcp.client.session", "ClientSession._received_request", _answer),
        Hook("mcp.shared.session", "BaseSession.send_request", _send),
        Hook("mcp.shared.session", "RequestResponder.respond", _respond),
        Hook("mcp.server.lowlevel.server", "Server._handle_request", _serve),
    ),
)
