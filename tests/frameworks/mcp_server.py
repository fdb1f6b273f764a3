"""The server of the MCP tests; `python -m tests.frameworks.mcp_server stdio`, or `http PORT`, runs it elsewhere."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from openai import AsyncOpenAI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

import otel_llm
from otel_llm import distro
from otel_llm.frameworks import MCPInstrumentor

YOUNG = find_spec("mcp.client.client") is not None
_MODULE: Any = import_module("mcp.server.mcpserver" if YOUNG else "mcp.server.fastmcp")
types: Any = import_module("mcp.types")


async def think(url: str, question: str) -> str:
    """Ask a model, and read its answer as it comes."""
    client = AsyncOpenAI(base_url=url, api_key="any")
    messages: Any = [{"role": "user", "content": question}]
    stream: Any = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


def server(url: str = "", **options: Any) -> Any:
    """A server with tools; its model is at `url`."""
    found = (_MODULE.MCPServer if YOUNG else _MODULE.FastMCP)("test", **options)

    async def where(ctx: Any) -> str:
        """Tells what the server knows of its caller."""
        it, span = otel_llm.current_interaction(), trace.get_current_span()
        meta: Any = ctx.request_context.meta
        told: dict[str, Any] = {"interaction": it and it.id, "identity": it and it.identity()}
        told["meta"] = sorted(meta if YOUNG else meta.model_extra)
        if isinstance(span, ReadableSpan):
            told |= {"span": f"{span.name} {span.kind.name}", "parent": span.parent and span.parent.span_id}
        return json.dumps(told)

    async def answer(question: str) -> str:
        """Asks a model."""
        return await think(url, question)

    async def ask_back(ctx: Any) -> str:
        """Asks the client to ask a model."""
        message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="Why?"))
        said = await ctx.session.create_message(messages=[message], max_tokens=10)
        return said.content.text

    async def broken() -> str:
        """Fails."""
        raise LookupError("Oslo")

    async def slow() -> str:
        """Takes its time."""
        await asyncio.sleep(5)
        return "late"

    for tool in (where, ask_back):
        tool.__annotations__["ctx"] = _MODULE.Context
    for tool in (where, answer, ask_back, broken, slow):
        found.tool()(tool)
    return found


def main(transport: str, port: str = "0") -> None:
    """Serve."""
    provider = TracerProvider()
    distro._ledgers = list  # pyright: ignore[reportPrivateUsage]
    distro.attach(provider)
    trace.set_tracer_provider(provider)
    MCPInstrumentor().instrument()
    if transport == "stdio":
        server().run("stdio")
    elif YOUNG:
        server().run("streamable-http", port=int(port))
    else:
        server(port=int(port)).run("streamable-http")


if __name__ == "__main__":
    main(*sys.argv[1:])
