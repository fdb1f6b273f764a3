"""Whose a request is, from its headers: no line of code in the app."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import fastapi
import pytest
from opentelemetry import baggage, propagate
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import otel_llm
from otel_llm.frameworks import WebInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.endpoints import tracer, work
from tests.frameworks.serving import aiohttp_server, asgi, http, wsgi
from tests.frameworks.test_web import (
    ServerSpan,
    aiohttp_app,
    django_asgi,
    django_wsgi,
    fastapi_app,
    flask_app,
    native_fastapi,
    starlette_app,
    starlette_with_middleware,
)

WHO = (A.USER_ID, A.SESSION_ID, A.OTEL_LLM_TENANT, A.OTEL_LLM_FEATURE)


@pytest.fixture(autouse=True)
def instrumented_web(spans: Spans) -> Iterator[None]:
    """Web frameworks are instrumented during the test."""
    WebInstrumentor().instrument()
    yield
    WebInstrumentor().uninstrument()


def token(**claims: Any) -> str:
    """A bearer token that nobody signed."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims)]
    return "Bearer " + ".".join([*parts, "signature"])


def who(span: ReadableSpan) -> tuple[Any, ...]:
    return tuple((span.attributes or {}).get(name) for name in WHO)


def everybody(spans: Spans) -> set[tuple[Any, ...]]:
    return {who(span) for span in spans()}


EVERYWHERE = pytest.mark.parametrize(
    ("serve", "build"),
    [
        pytest.param(asgi, starlette_app, id="starlette"),
        pytest.param(asgi, fastapi_app, id="fastapi"),
        pytest.param(wsgi, flask_app, id="flask"),
        pytest.param(aiohttp_server, aiohttp_app, id="aiohttp"),
        pytest.param(wsgi, django_wsgi, id="django-wsgi"),
        pytest.param(asgi, django_asgi, id="django-asgi"),
        pytest.param(asgi, native_fastapi, id="fastapi's own span"),
        pytest.param(asgi, starlette_with_middleware, id="the span of a middleware within"),
        pytest.param(asgi, lambda: ServerSpan(starlette_app()), id="the span of a middleware around"),
    ],
)


@EVERYWHERE
@pytest.mark.usefixtures("no_fault")
def test_headers_and_claims(serve: Any, build: Any, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LLM_IDENTITY", "user=header:X-User-Id, session = header:x-session,tenant=claim:org")
    monkeypatch.setenv("OTEL_LLM_FEATURES", "/chat/*=support, /search=search")
    with serve(build()) as url:
        for user in ("ada", "grace"):
            headers = {"x-user-id": user, "X-Session": f"s-{user}", "authorization": token(org=7, sub="else")}
            assert http.post(f"{url}/chat/1", headers=headers).json() == {"number": 1}
        assert http.post(f"{url}/chat/1").json() == {"number": 1}
    assert everybody(spans) == {
        ("ada", "s-ada", "7", "support"),
        ("grace", "s-grace", "7", "support"),
        (None, None, None, "support"),
    }


def test_it_is_there_when_the_request_starts(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LLM_IDENTITY", "user=header:x-user-id,tag.plan=header:x-plan")

    async def answer(request: Request) -> PlainTextResponse:
        it = otel_llm.current_interaction()
        assert it is not None
        with otel_llm.interaction("inner"):
            work()
        return PlainTextResponse(f"{it.attributes[A.USER_ID]} {it.attributes[A.OTEL_LLM_TAG_PREFIX + 'plan']}")

    inner = Starlette(routes=[Route("/answer", answer)])
    with asgi(Starlette(routes=[Mount("/inner", app=inner)])) as url:
        said = http.get(f"{url}/inner/answer", headers={"x-user-id": "ada", "x-plan": "pro"})
    assert said.text == "ada pro"
    assert everybody(spans) == {("ada", None, None, None), ("ada", None, None, "inner")}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, str], str]]:
    """A module of the application's, whose function says who it is; what it was asked."""
    asked: list[tuple[dict[str, str], str]] = []

    def identify(headers: Mapping[str, str], path: str) -> dict[str, Any] | None:
        asked.append((dict(headers), path))
        if headers["x-key"] == "nobody":
            return None
        return {"user_id": headers["x-key"], "feature": "own", "tags": {"plan": "pro"}}

    module = ModuleType("own_module")
    vars(module)["identify"] = identify
    monkeypatch.setitem(sys.modules, "own_module", module)
    return asked


@pytest.mark.usefixtures("no_fault")
def test_a_callable(own: list[Any], spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LLM_IDENTITY", "callable:own_module:identify")
    monkeypatch.setenv("OTEL_LLM_FEATURES", "*=everything")
    with asgi(starlette_app()) as url:
        for key in ("k-1", "nobody"):
            http.post(f"{url}/chat/1", headers={"x-key": key, "Cookie": "secret=1"})
    assert everybody(spans) == {("k-1", None, None, "own"), (None, None, None, "everything")}
    assert [path for _, path in own] == ["/chat/1"] * 2
    assert not any("cookie" in headers for headers, _ in own)


@pytest.mark.parametrize("text", ["", "Bearer", "Basic a.b.c", "Bearer a.b.c", "Bearer é.é.é", "Bearer a.W10.c"])
@pytest.mark.usefixtures("no_fault")
def test_a_token_that_is_none(text: str, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LLM_IDENTITY", "user=claim:sub")
    with asgi(starlette_app()) as url:
        assert http.post(f"{url}/chat/1", headers=[(b"authorization", text.encode())]).status_code == 200
    assert everybody(spans) == {(None,) * 4}


@pytest.mark.parametrize(
    ("setting", "text", "sentence"),
    [
        ("OTEL_LLM_IDENTITY", "user=x-user-id", "OTEL_LLM_IDENTITY says 'user=x-user-id'"),
        ("OTEL_LLM_IDENTITY", "user=header:Cookie", "OTEL_LLM_IDENTITY says 'user=header:Cookie'"),
        ("OTEL_LLM_IDENTITY", "owner=header:x-user-id", "OTEL_LLM_IDENTITY names 'owner'"),
        ("OTEL_LLM_IDENTITY", "callable:nowhere:identify", "OTEL_LLM_IDENTITY names 'nowhere:identify'"),
        ("OTEL_LLM_IDENTITY", "callable:json:nothing", "OTEL_LLM_IDENTITY names 'json:nothing'"),
        ("OTEL_LLM_FEATURES", "/chat/*", "OTEL_LLM_FEATURES says '/chat/*'"),
        ("OTEL_LLM_BAGGAGE", "user.id,owner", "OTEL_LLM_BAGGAGE names 'owner'"),
    ],
)
def test_a_bad_setting_is_said_once_and_harms_nothing(
    setting: str,
    text: str,
    sentence: str,
    spans: Spans,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(setting, text)
    with asgi(starlette_app()) as url:
        for _ in range(2):
            assert http.post(f"{url}/chat/1").json() == {"number": 1}
    assert everybody(spans) == {(None,) * 4}
    [warning] = [record.getMessage() for record in caplog.records if record.name == "otel_llm"]
    assert warning.startswith(sentence)
    assert warning.endswith("the setting is not used")


# Between services


def served_with(headers: dict[str, str]) -> None:
    with asgi(starlette_app()) as url:
        assert http.post(f"{url}/chat/1", headers=headers).status_code == 200


def sent(**who: Any) -> dict[str, str]:
    """The headers that a service sends in an interaction of `who`, and its id."""
    headers: dict[str, str] = {}
    with tracer.start_as_current_span("request"), otel_llm.interaction("act", **who) as it:
        propagate.inject(headers)
    return {**headers, "x-interaction": it.id}


@pytest.mark.usefixtures("no_fault")
def test_services_share_a_trace_and_no_identity(spans: Spans) -> None:
    headers = sent(user_id="ada", tenant="acme")
    assert set(headers) == {"traceparent", "x-interaction"}
    served_with({**headers, "baggage": "user.id=mallory"})
    [server] = [span for span in spans() if span.kind is SpanKind.SERVER]
    assert who(server) == (None,) * 4
    assert headers["traceparent"].split("-")[1] == (server.attributes or {})[A.OTEL_LLM_INTERACTION_ID]


@pytest.mark.usefixtures("no_fault")
def test_services_share_what_a_setting_names(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LLM_BAGGAGE", "user.id, tag.plan")
    monkeypatch.setenv("OTEL_LLM_FEATURES", "/chat/*=chat")
    headers = sent(user_id="ada lovelace", tenant="acme")
    assert "acme" not in headers["baggage"]
    served_with(headers)
    served = [span for span in spans() if span.name not in ("act", "request")]
    ids = {str((span.attributes or {})[A.OTEL_LLM_INTERACTION_ID]) for span in served}
    assert {who(span) for span in served} == {("ada lovelace", None, None, "chat")}
    assert ids == {headers["x-interaction"]}


def test_the_baggage_of_the_application_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LLM_BAGGAGE", "user")
    headers: dict[str, str] = {}
    context = baggage.set_baggage("colour", "red", Context())
    with otel_llm.interaction("act", user_id="ada") as it:
        inside = otel_context.get_current()
        propagate.inject(headers, baggage.set_baggage("colour", "red"))
        assert otel_context.get_current() is inside
    assert headers["baggage"] == f"colour=red,{A.OTEL_LLM_INTERACTION_ID}={it.id},{A.USER_ID}=ada"
    propagate.inject(headers, context)
    assert headers["baggage"] == "colour=red"


def test_fastapi_and_flask_are_none_the_wiser() -> None:
    """What the frameworks hand to the application has nothing of ours in it that a test of theirs would see."""
    app = fastapi.FastAPI(telemetry={"tracing": False})

    @app.get("/")
    def root(request: fastapi.Request) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        return {"headers": dict(request.headers), "query": dict(request.query_params)}

    with asgi(app) as url:
        seen = http.get(f"{url}/?a=1", headers={"x-user-id": "ada"}).json()
    assert seen["query"] == {"a": "1"}
    assert seen["headers"]["x-user-id"] == "ada"
    assert not {"traceparent", "baggage"} & seen["headers"].keys()
