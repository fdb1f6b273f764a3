"""mcp: what a client asks and what its server does about it in one trace, over every transport."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import Any

import pytest

pytest.importorskip("mcp", reason="mcp has an environment of its own")

from opentelemetry import trace

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import MCPInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, held_against_bill, id_of, said, stories
from tests.frameworks.mcp_server import YOUNG, server, think, types

Connect = Callable[..., AbstractAsyncContextManager[Any]]
ELSEWHERE = [sys.executable, "-m", "tests.frameworks.mcp_server"]
ANSWER = """\
  tools/call answer CLIENT
    tools/call answer SERVER
      chat gpt-4o-mini CLIENT"""
ASK_BACK = """\
ask INTERNAL
  tools/call ask_back CLIENT
    tools/call ask_back SERVER
      sampling/createMessage CLIENT
        chat gpt-4o-mini CLIENT"""


@pytest.fixture
def at_work(no_fault: None) -> Iterator[None]:
    """The adapter is at work during the test."""
    MCPInstrumentor().instrument()
    yield
    MCPInstrumentor().uninstrument()


both = pytest.mark.usefixtures("instrumented", "at_work")


@asynccontextmanager
async def in_memory(url: str = "", **options: Any) -> AsyncGenerator[Any]:
    """A client that exchanges messages with a server in this process."""
    if YOUNG:
        client: Any = import_module("mcp.client.client").Client
        async with client(server(url), mode="legacy", **options) as session:
            yield session
    else:
        connect: Any = import_module("mcp.shared.memory").create_connected_server_and_client_session
        async with connect(server(url)._mcp_server, **options) as session:
            yield session


@asynccontextmanager
async def direct(url: str = "") -> AsyncGenerator[Any]:
    """A client that calls a server in this process."""
    async with import_module("mcp.client.client").Client(server(url)) as client:
        yield client


HERE = [in_memory, *([direct] if YOUNG else [])]


@asynccontextmanager
async def _over(transport: Any) -> AsyncGenerator[Any]:
    async with transport as (read, write, *_), import_module("mcp").ClientSession(read, write) as session:
        await session.initialize()
        yield session


@asynccontextmanager
async def stdio() -> AsyncGenerator[Any]:
    """A client of a process."""
    module = import_module("mcp.client.stdio")
    parameters = module.StdioServerParameters(command=ELSEWHERE[0], args=[*ELSEWHERE[1:], "stdio"])
    async with _over(module.stdio_client(parameters)) as client:
        yield client


@asynccontextmanager
async def http() -> AsyncGenerator[Any]:
    """A client of a web server."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*ELSEWHERE, "http", port, stdout=quiet, stderr=quiet)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", int(port))).close()
                break
            except OSError:
                await asyncio.sleep(0.1)
        module: Any = import_module("mcp.client.streamable_http")
        connect = module.streamable_http_client if YOUNG else module.streamablehttp_client
        async with _over(connect(f"http://127.0.0.1:{port}/mcp")) as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


async def use(client: Any, tool: str, **arguments: Any) -> str:
    """What the tool says."""
    return (await client.call_tool(tool, arguments)).content[0].text


@pytest.mark.parametrize("connect", HERE)
async def test_a_model_call_of_a_server_is_the_callers(connect: Connect, provider: OfflineProvider, tell: Tell) -> None:
    async def act() -> list[str]:
        async with connect(provider.openai_url) as client:
            question = "[[offline: 429 once; say Because.]] Why?"
            return await asyncio.gather(*[use(client, "answer", question=question) for _ in range(2)])

    told = await tell(act)
    assert told.startswith("ask INTERNAL\n")
    assert told.count(ANSWER if connect is in_memory else ANSWER.partition("\n")[2].replace("\n  ", "\n")[2:]) == 2


@pytest.mark.usefixtures("at_work")
@pytest.mark.parametrize("connect", [stdio, http])
async def test_a_server_elsewhere_is_in_the_callers_trace_and_learns_no_more(connect: Connect, spans: Spans) -> None:
    async with connect() as client:
        with otel_llm.interaction("ask", user_id="u-1", tags={"plan": "pro"}) as it:
            told = json.loads(await use(client, "where"))
    (call,) = [span for span in spans() if span.name == "tools/call where"]
    assert {name for name in told.pop("meta") if "/" not in name} == {"traceparent"}
    assert told == {
        "interaction": it.id,
        "identity": {},
        "span": "tools/call where SERVER",
        "parent": id_of(call),
    }
    assert said(call, A.MCP_METHOD_NAME) == "tools/call"
    assert said(call, A.GEN_AI_OPERATION_NAME) == "execute_tool"
    assert said(call, A.GEN_AI_TOOL_NAME) == "where"


@pytest.mark.usefixtures("at_work")
@pytest.mark.parametrize("connect", HERE)
async def test_a_connection_serves_many_and_mixes_nobody(connect: Connect, spans: Spans) -> None:
    async def one(client: Any, number: int) -> None:
        with otel_llm.interaction("ask", user_id=f"u-{number}") as it:
            told = json.loads(await use(client, "where"))
        assert told["interaction"] == it.id
        assert told["identity"]["user.id"] == f"u-{number}"

    with otel_llm.interaction("connect", user_id="nobody"):
        async with connect() as client:
            await asyncio.gather(*[one(client, number) for number in range(20)])
            assert json.loads(await use(client, "where"))["identity"]["user.id"] == "nobody"


@both
async def test_what_a_server_asks_of_its_client(provider: OfflineProvider, spans: Spans) -> None:
    async def sample(_: Any, asked: Any) -> Any:
        said = await think(provider.openai_url, "Why?")
        content = types.TextContent(type="text", text=said)
        return types.CreateMessageResult(role="assistant", content=content, model="gpt-4o-mini")

    async with in_memory(sampling_callback=sample) as client:
        await client.list_tools()
        with otel_llm.interaction("ask") as it:
            assert await use(client, "ask_back")
    assert it.calls == 1
    assert ASK_BACK in stories(spans())
    held_against_bill(spans(), provider)


@pytest.mark.usefixtures("at_work")
async def test_an_agents_tool_that_is_a_servers_is_one_execution(spans: Spans) -> None:
    async with in_memory() as client:
        await client.list_tools()
        with otel_llm.interaction("ask") as it:
            about = {A.GEN_AI_OPERATION_NAME: "execute_tool", A.GEN_AI_TOOL_NAME: "broken"}
            with trace.get_tracer("agents").start_as_current_span("execute_tool broken", attributes=about):
                await client.call_tool("broken", {})
    story = "ask INTERNAL\n  execute_tool broken INTERNAL\n    tools/call broken SERVER"
    assert story in stories(spans())
    (agents,) = [span for span in spans() if span.name == "execute_tool broken"]
    assert said(agents, A.MCP_METHOD_NAME) == "tools/call"
    assert it.facts.tool_calls == 1


@pytest.mark.usefixtures("at_work")
@pytest.mark.parametrize("connect", HERE)
async def test_errors(connect: Connect, spans: Spans) -> None:
    async with connect() as client:
        await client.list_tools()
        assert (await client.call_tool("broken", {})).content
        with pytest.raises(Exception, match=r"prompt|Internal server error"):
            await client.get_prompt("missing")
    server_side, client_side = "tools/call broken SERVER", "tools/call broken CLIENT"
    failed = {f"{span.name} {span.kind.name}": said(span, A.ERROR_TYPE) for span in spans() if not span.status.is_ok}
    assert failed.pop(server_side) == "tool_error"
    # mcp 2 does not look at what its client got.
    assert failed.pop(client_side, "tool_error") == "tool_error"
    assert {name.rpartition(" ")[0] for name in failed} == {"prompts/get missing"}
    assert set(failed.values()) <= {"0", "-32602", "-32603", "ValueError"}


@pytest.mark.usefixtures("at_work")
@pytest.mark.parametrize("connect", HERE)
async def test_a_call_that_is_given_up(connect: Connect, spans: Spans) -> None:
    async with connect() as client:
        await client.list_tools()
        with otel_llm.interaction("ask"), pytest.raises(TimeoutError):
            await asyncio.wait_for(client.call_tool("slow", {}), 0.2)
        assert not trace.get_current_span().get_span_context().is_valid
        with otel_llm.interaction("next") as it:
            assert json.loads(await use(client, "where"))["interaction"] == it.id
    slow = [span for span in spans() if span.name == "tools/call slow"]
    assert slow
    assert len({said(span, A.OTEL_LLM_INTERACTION_ID) for span in slow}) == 1


def test_it_is_left_as_it_was() -> None:
    module: Any = import_module("mcp.shared.jsonrpc_dispatcher" if YOUNG else "mcp.shared.session")
    owner: Any = module if YOUNG else module.BaseSession
    name = "otel_span" if YOUNG else "send_request"
    before: Any = vars(owner)[name]  # pyright: ignore[reportUnknownVariableType]
    MCPInstrumentor().instrument()
    assert vars(owner)[name] is not before
    MCPInstrumentor().uninstrument()
    assert vars(owner)[name] is before
