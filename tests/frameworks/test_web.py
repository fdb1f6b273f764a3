"""Web requests as interactions, on real servers and real sockets."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from unittest.mock import Mock

import fastapi
import flask
import pytest
from aiohttp import web
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.sync.client import connect
from werkzeug.test import EnvironBuilder

import otel_llm
from otel_llm.frameworks import WebInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.endpoints import asynchronous_pieces, go_on, pieces, tracer, work
from tests.frameworks.serving import aiohttp_server, asgi, http, wsgi

pytestmark = pytest.mark.usefixtures("instrumented_web", "no_fault")


@pytest.fixture
def instrumented_web(spans: Spans) -> Iterator[None]:
    """Web frameworks are instrumented during the test."""
    WebInstrumentor().instrument()
    yield
    WebInstrumentor().uninstrument()


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return span.attributes or {}


def servers(spans: list[ReadableSpan]) -> list[ReadableSpan]:
    return [span for span in spans if span.kind is SpanKind.SERVER]


def named(spans: list[ReadableSpan], name: str) -> list[Mapping[str, Any]]:
    """Their attributes."""
    return [attributes(span) for span in spans if span.name == name]


# The same small app in every framework: chat, stream, fail.


def starlette_app() -> Any:
    async def chat(request: Request) -> JSONResponse:
        work()
        return JSONResponse({"number": request.path_params["number"]})

    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(pieces())

    async def fail(request: Request) -> None:
        raise KeyError("secret prompt")

    return Starlette(
        routes=[
            Route("/chat/{number:int}", chat, methods=["POST"]),
            Route("/stream", stream),
            Route("/fail", fail),
        ]
    )


def fastapi_app() -> Any:
    app = fastapi.FastAPI(telemetry={"tracing": False})
    router = fastapi.APIRouter()

    @router.post("/{number}")
    def chat(number: int) -> dict[str, int]:  # pyright: ignore[reportUnusedFunction]
        work()
        return {"number": number}

    @app.get("/stream")
    def stream() -> StreamingResponse:  # pyright: ignore[reportUnusedFunction]
        return StreamingResponse(pieces())

    @app.get("/fail")
    def fail() -> None:  # pyright: ignore[reportUnusedFunction]
        raise KeyError("secret prompt")

    app.include_router(router, prefix="/chat")
    return app


def flask_app() -> Any:
    app = flask.Flask("app")

    @app.post("/chat/<int:number>")
    def chat(number: int) -> dict[str, int]:  # pyright: ignore[reportUnusedFunction]
        work()
        return {"number": number}

    @app.get("/stream")
    def stream() -> flask.Response:  # pyright: ignore[reportUnusedFunction]
        return flask.Response(pieces())

    @app.get("/fail")
    def fail() -> str:  # pyright: ignore[reportUnusedFunction]
        raise KeyError("secret prompt")

    return app


def aiohttp_app() -> web.Application:
    async def chat(request: web.Request) -> web.Response:
        work()
        return web.json_response({"number": int(request.match_info["number"])})

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for piece in asynchronous_pieces():
            await response.write(piece)
        return response

    async def fail(request: web.Request) -> web.Response:
        raise KeyError("secret prompt")

    app = web.Application()
    app.add_routes([web.post("/chat/{number}", chat), web.get("/stream", stream), web.get("/fail", fail)])
    return app


def django_wsgi() -> Any:
    pytest.importorskip("django")
    from tests.frameworks.django_app import WSGIHandler

    return WSGIHandler()


def django_asgi() -> Any:
    pytest.importorskip("django")
    from tests.frameworks.django_app import ASGIHandler

    return ASGIHandler()


APPS = pytest.mark.parametrize(
    ("serve", "build", "route"),
    [
        pytest.param(asgi, starlette_app, "/chat/{number}", id="starlette"),
        pytest.param(asgi, fastapi_app, "/chat/{number}", id="fastapi"),
        pytest.param(wsgi, flask_app, "/chat/<int:number>", id="flask"),
        pytest.param(aiohttp_server, aiohttp_app, "/chat/{number}", id="aiohttp"),
        pytest.param(wsgi, django_wsgi, "/chat/<int:number>", id="django-wsgi"),
        pytest.param(asgi, django_asgi, "/chat/<int:number>", id="django-asgi"),
    ],
)


@APPS
def test_a_request_is_an_interaction(serve: Any, build: Any, route: str, spans: Spans) -> None:
    with serve(build()) as url:
        answers = [http.post(f"{url}/chat/{number}") for number in (1, 2)]
    assert [answer.json() for answer in answers] == [{"number": 1}, {"number": 2}]
    seen = spans()
    first, second = servers(seen)
    assert first.name == second.name == f"POST {route}"
    assert first.parent is second.parent is None
    assert first.status.status_code is StatusCode.UNSET
    expected = {
        A.HTTP_REQUEST_METHOD: "POST",
        A.HTTP_ROUTE: route,
        A.HTTP_RESPONSE_STATUS_CODE: 200,
        A.URL_PATH: "/chat/1",
        A.URL_SCHEME: "http",
        A.SERVER_ADDRESS: "127.0.0.1",
        A.SERVER_PORT: int(url.rpartition(":")[2]),
    }
    assert expected.items() <= dict(attributes(first)).items()
    ids = [attributes(server)[A.OTEL_LLM_INTERACTION_ID] for server in (first, second)]
    assert len(set(ids)) == 2
    children = named(seen, "work")
    assert [child[A.OTEL_LLM_INTERACTION_ID] for child in children] == ids
    for child in children:
        assert child[A.OTEL_LLM_ENDPOINT] == route
        assert child[A.OTEL_LLM_INTERACTION_NAME] == f"POST {route}"
    assert otel_context.get_current() == {}


@APPS
def test_a_stream_stays_in_its_interaction_until_its_last_byte(
    serve: Any, build: Any, route: str, spans: Spans
) -> None:
    go_on.clear()
    with serve(build()) as url, http.stream("GET", f"{url}/stream") as answer:
        chunks = answer.iter_raw()
        assert next(chunks) == b"one "
        assert not servers(spans())
        go_on.set()
        assert list(chunks) == [b"two"]
    seen = spans()
    [server] = servers(seen)
    for name in ("first", "second", "third"):
        [child] = named(seen, name)
        assert child[A.OTEL_LLM_INTERACTION_ID] == attributes(server)[A.OTEL_LLM_INTERACTION_ID]
        assert child[A.OTEL_LLM_ENDPOINT] == "/stream"


@APPS
def test_a_failure_is_one(serve: Any, build: Any, route: str, spans: Spans) -> None:
    with serve(build()) as url:
        missing = http.get(f"{url}/nowhere")
        answer = http.get(f"{url}/fail")
    WebInstrumentor().uninstrument()
    with serve(build()) as url:
        untouched = http.get(f"{url}/fail")
    WebInstrumentor().instrument()
    assert (answer.status_code, answer.content) == (untouched.status_code, untouched.content)
    assert missing.status_code == 404
    lost, failed = servers(spans())
    assert failed.status.status_code is StatusCode.ERROR
    assert attributes(failed)[A.HTTP_RESPONSE_STATUS_CODE] == 500
    # Flask and Django answer when the exception is over; what it was is in their log.
    assert attributes(failed)[A.ERROR_TYPE] == ("KeyError" if build in (starlette_app, fastapi_app) else "500")
    assert "secret" not in failed.to_json()
    assert lost.name == "GET"
    assert lost.status.status_code is StatusCode.UNSET
    assert A.HTTP_ROUTE not in attributes(lost)


@APPS
def test_the_caller_of_the_request_is_its_parent(serve: Any, build: Any, route: str, spans: Spans) -> None:
    trace_id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with serve(build()) as url:
        http.post(f"{url}/chat/1", headers={"traceparent": f"00-{trace_id}-{parent}-01"})
        http.request("BREW", f"{url}/chat/1")
    called, odd = servers(spans())
    assert called.parent is not None
    assert (f"{called.parent.trace_id:032x}", f"{called.parent.span_id:016x}") == (trace_id, parent)
    assert odd.parent is None
    assert odd.name.split()[0] == "HTTP"
    assert attributes(odd)[A.HTTP_REQUEST_METHOD] == "_OTHER"


def test_nothing_leaks_into_the_next_request_of_the_connection(spans: Spans) -> None:
    """Uvicorn runs what follows a large body in the context of the request that read it (CPython 141158)."""
    seen: list[bool] = []

    async def upload(request: Request) -> PlainTextResponse:
        seen.append(trace.get_current_span().is_recording())
        await request.body()
        with otel_llm.interaction("upload", user_id=request.headers["user"]):
            work()
        return PlainTextResponse("ok")

    with asgi(Starlette(routes=[Route("/", upload, methods=["POST"])])) as url:
        for user in "abc":
            assert http.post(url, content=b"x" * 1_000_000, headers={"user": user}).text == "ok"
    assert seen == [True] * 3
    assert [server.parent for server in servers(spans())] == [None] * 3
    assert len({server.context.trace_id for server in servers(spans()) if server.context}) == 3
    assert [child[A.USER_ID] for child in named(spans(), "work")] == ["a", "b", "c"]
    assert all(A.USER_ID not in attributes(server) for server in servers(spans()))


def test_a_background_task_belongs_to_the_interaction_that_is_over(spans: Spans) -> None:
    done = threading.Event()
    ended: list[int] = []

    def later() -> None:
        ended.append(len(servers(spans())))
        work("later")
        done.set()

    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok", background=BackgroundTask(later))

    with asgi(Starlette(routes=[Route("/", answer)])) as url:
        http.get(url)
        assert done.wait(10)
    assert ended == [1]
    [server] = servers(spans())
    [child] = named(spans(), "later")
    assert child[A.OTEL_LLM_INTERACTION_ID] == attributes(server)[A.OTEL_LLM_INTERACTION_ID]
    assert child[A.OTEL_LLM_ENDPOINT] == "/"


def test_a_client_that_hangs_up_is_no_failure(spans: Spans) -> None:
    closed = threading.Event()

    async def forever() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(forever())

    with asgi(Starlette(routes=[Route("/", stream)])) as url:
        with http.stream("GET", url) as answer:
            next(answer.iter_raw())
        assert closed.wait(10)
    [server] = servers(spans())
    assert server.status.status_code is StatusCode.UNSET


async def in_a_span(request: Request, call_next: Any) -> Any:
    with tracer.start_as_current_span("middleware"):
        return await call_next(request)


def test_a_mounted_app_makes_no_span_of_its_own(spans: Spans) -> None:
    inner = starlette_app()
    inner.add_middleware(BaseHTTPMiddleware, dispatch=in_a_span)
    outer = Starlette(routes=[Mount("/{tenant}", app=inner)])
    outer.add_middleware(BaseHTTPMiddleware, dispatch=in_a_span)
    with asgi(outer) as url:
        assert http.post(f"{url}/acme/chat/1").json() == {"number": 1}
    [server] = servers(spans())
    assert server.name == "POST /{tenant}/chat/{number}"
    [child] = named(spans(), "work")
    assert child[A.OTEL_LLM_INTERACTION_NAME] == "POST /{tenant}/chat/{number}"


def test_a_websocket_is_one_interaction(spans: Spans) -> None:
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        while True:
            work()
            await socket.send_text(await socket.receive_text())

    app = Starlette(routes=[WebSocketRoute("/talk/{number}", talk)])
    with asgi(app) as url, connect(url.replace("http", "ws") + "/talk/1") as socket:
        for word in ("hello", "again"):
            socket.send(word)
            assert socket.recv() == word
        assert not servers(spans())
    [server] = servers(spans())
    assert server.name == "GET /talk/{number}"
    assert attributes(server)[A.URL_SCHEME] == "ws"
    assert server.status.status_code is StatusCode.UNSET
    children = named(spans(), "work")
    assert len(children) == 3
    assert {child[A.OTEL_LLM_INTERACTION_ID] for child in children} == {attributes(server)[A.OTEL_LLM_INTERACTION_ID]}


def test_an_aiohttp_websocket_is_one_interaction_and_so_is_a_body_that_comes_later(spans: Spans) -> None:
    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            work("word")
            await socket.send_str(message.data)
        return socket

    async def body(request: web.Request) -> web.Response:
        return web.Response(body=asynchronous_pieces())

    inner, outer = web.Application(), web.Application()
    inner.add_routes([web.get("/talk", talk), web.get("/body", body)])
    outer.add_subapp("/inner", inner)
    go_on.set()
    with aiohttp_server(outer) as url:
        with connect(url.replace("http", "ws") + "/inner/talk") as socket:
            for word in ("hello", "again"):
                socket.send(word)
                assert socket.recv() == word
            assert not servers(spans())
        assert http.get(f"{url}/inner/body").content == b"one two"
    talked, answered = servers(spans())
    assert (talked.name, answered.name) == ("GET /inner/talk", "GET /inner/body")
    for name, server in (("word", talked), ("third", answered)):
        for child in named(spans(), name):
            assert child[A.OTEL_LLM_INTERACTION_ID] == attributes(server)[A.OTEL_LLM_INTERACTION_ID]
            assert child[A.OTEL_LLM_ENDPOINT] == attributes(server)[A.HTTP_ROUTE]


class ServerSpan:
    """An instrumentation of somebody else, around an ASGI app."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with tracer.start_as_current_span("POST", context=otel_context.Context(), kind=SpanKind.SERVER):
            await self.app(scope, receive, send)


def native_fastapi() -> Any:
    pytest.importorskip("fastapi.telemetry", reason="older than its own spans")
    app = fastapi.FastAPI()
    router = fastapi.APIRouter()

    @router.post("/{number}")
    async def chat(number: int) -> dict[str, int]:  # pyright: ignore[reportUnusedFunction]
        work()
        return {"number": number}

    app.include_router(router, prefix="/chat")
    return app


def starlette_with_middleware() -> Any:
    app = starlette_app()
    middleware = pytest.importorskip("starlette.middleware.opentelemetry", reason="older than its own spans")
    app.add_middleware(middleware.OpenTelemetryMiddleware)
    return app


@pytest.mark.parametrize(
    ("build", "scope"),
    [
        pytest.param(native_fastapi, "fastapi", id="fastapi itself"),
        pytest.param(starlette_with_middleware, "starlette", id="a middleware within"),
        pytest.param(lambda: ServerSpan(starlette_app()), "app", id="a middleware around"),
    ],
)
def test_a_span_that_somebody_else_makes_is_completed(build: Any, scope: str, spans: Spans) -> None:
    with asgi(build()) as url:
        assert http.post(f"{url}/chat/1").json() == {"number": 1}
    [server] = servers(spans())
    assert server.instrumentation_scope
    assert server.instrumentation_scope.name == scope
    [child] = named(spans(), "work")
    assert child[A.OTEL_LLM_ENDPOINT] == "/chat/{number}"
    assert child[A.OTEL_LLM_INTERACTION_NAME] == "POST /chat/{number}"
    assert attributes(server)[A.HTTP_ROUTE] == "/chat/{number}"


@pytest.mark.parametrize("build", [starlette_app, flask_app])
def test_an_app_that_is_flagged_as_instrumented_is_left_alone(build: Any, spans: Spans) -> None:
    app = build()
    app._is_instrumented_by_opentelemetry = True
    with (asgi if isinstance(app, Starlette) else wsgi)(app) as url:
        assert http.post(f"{url}/chat/1").json() == {"number": 1}
    assert not servers(spans())


class Body:
    """A WSGI body with everything that servers look at."""

    def __init__(self, steps: list[bytes | Exception]) -> None:
        self.steps = steps
        self.closed = 0

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[bytes]:
        for step in self.steps:
            if isinstance(step, Exception):
                raise step
            yield step

    def close(self) -> None:
        self.closed += 1


def respond(body: Any) -> Any:
    """What the server gets when a Flask app returns `body` to it."""

    def answer(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return body

    app: Any = flask.Flask("app")
    app.full_dispatch_request = lambda: answer
    return app(EnvironBuilder().get_environ(), Mock())


def test_a_wsgi_body_is_what_the_app_returned(spans: Spans) -> None:
    body = Body([b"a", b"b"])
    seen = respond(body)
    assert isinstance(seen, Body)
    assert len(seen) == 2
    assert list(seen) == [b"a", b"b"]
    assert body.closed == 0
    seen.close()
    assert body.closed == 1
    [server] = servers(spans())
    assert attributes(server)[A.HTTP_RESPONSE_STATUS_CODE] == 200


def test_a_wsgi_body_that_is_never_read_ends_its_request_when_it_is_closed(spans: Spans) -> None:
    seen = respond([b"a"])
    assert not servers(spans())
    seen.close()
    assert len(servers(spans())) == 1


def test_a_wsgi_body_that_fails_raises_its_own_exception(spans: Spans) -> None:
    error = OSError("gone")
    seen = respond(Body([b"a", error]))
    chunks = iter(seen)
    assert next(chunks) == b"a"
    with pytest.raises(OSError, match="gone") as raised:
        next(chunks)
    assert raised.value is error
    [server] = servers(spans())
    assert server.status.status_code is StatusCode.ERROR
    assert attributes(server)[A.ERROR_TYPE] == "OSError"


def test_a_generator_finds_its_own_context_again(spans: Spans) -> None:
    def body() -> Iterator[bytes]:
        with tracer.start_as_current_span("outer"):
            yield b"a"
            work()
            yield b"b"

    seen = respond(body())
    assert list(seen) == [b"a", b"b"]
    seen.close()
    [outer] = [span for span in spans() if span.name == "outer"]
    [child] = [span for span in spans() if span.name == "work"]
    assert outer.context
    assert child.parent
    assert child.parent.span_id == outer.context.span_id
    assert otel_context.get_current() == {}


def test_servers_tell_apps_from_factories_as_before() -> None:
    app: Any = Starlette()
    assert inspect.iscoroutinefunction(app.__call__)
    with pytest.raises(TypeError, match="missing 3 required positional arguments"):
        app()


def test_frameworks_are_as_they_were_afterwards() -> None:
    WebInstrumentor().uninstrument()
    methods: list[Any] = [Starlette.__call__, Route.handle, flask.Flask.wsgi_app]
    assert not [method for method in methods if hasattr(method, "__wrapped__")]
    WebInstrumentor().instrument()


def test_no_framework_is_imported_for_it() -> None:
    program = (
        "import otel_llm, otel_llm.frameworks, sys; otel_llm.frameworks.WebInstrumentor().instrument(); "
        "print([name for name in ('starlette', 'fastapi', 'flask', 'django', 'uvicorn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
