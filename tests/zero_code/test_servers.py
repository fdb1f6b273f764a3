"""`opentelemetry-instrument uvicorn app:app`, gunicorn, and every way to start them."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.zero_code.conftest import INSTRUMENT, Receiver, Serve, Workplace, calls, ledger, requests
from tests.zero_code.test_scripts import assert_ledger_is_bill

UVICORN = ("uvicorn", "--fd", "{fd}", "--no-access-log")
GUNICORN = ("gunicorn", "--bind", "fd://{fd}", "--workers", "2")
SERVERS = [
    pytest.param((*UVICORN, "starlette_app:app"), "/{}/{{item}}", id="uvicorn starlette"),
    pytest.param((*UVICORN, "fastapi_app:app"), "/{}/{{item}}", id="uvicorn fastapi"),
    pytest.param((*GUNICORN, "flask_app:app"), "/{}/<item>", id="gunicorn flask"),
    pytest.param((*GUNICORN, "--preload", "flask_app:app"), "/{}/<item>", id="gunicorn --preload flask"),
    pytest.param(
        (*GUNICORN, "-k", "uvicorn.workers.UvicornWorker", "--preload", "fastapi_app:app"),
        "/{}/{{item}}",
        id="gunicorn uvicorn --preload fastapi",
    ),
    pytest.param((*GUNICORN, "-k", "asgi", "starlette_app:app"), "/{}/{{item}}", id="gunicorn asgi starlette"),
]


@pytest.mark.parametrize(("command", "route"), SERVERS)
def test_a_server(
    command: tuple[str, ...], route: str, workplace: Workplace, serve: Serve, provider: OfflineProvider
) -> None:
    files = workplace.files()
    server = serve(*INSTRUMENT, *command)
    answers = [server.post(f"/chat/{number}", f"Question {number}") for number in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    streamed = server.post("/stream/7", "Count")
    assert streamed.status_code == 200
    assert len(streamed.text) > 20
    assert server.client.get(f"{server.url}/process").json()["chdb"] is False
    assert server.stop() in (0, -signal.SIGTERM)
    for word in ("Traceback", "otel", "opentelemetry", "Warning", "chdb"):
        assert word not in server.said
    assert workplace.files() == files
    spans = ledger(workplace.home)
    found = calls(spans)
    assert_ledger_is_bill(found, provider)
    assert Counter(call.attributes[A.OTEL_LLM_ENDPOINT] for call in found) == {
        route.format("chat"): 3,
        route.format("stream"): 2,
    }
    assert {call.attributes[A.OTEL_LLM_INTERACTION_NAME] for call in found} == {
        f"POST {route.format(name)}" for name in ("chat", "stream")
    }
    assert sorted(Counter(call.attributes[A.OTEL_LLM_INTERACTION_ID] for call in found).values()) == [1, 1, 1, 2]
    served = requests(spans)
    assert len(served) == 5
    if "fastapi" not in command[-1]:
        # FastAPI ends its own span without waiting for the first price of a model.
        assert sorted(span.attributes.get(A.OTEL_LLM_INTERACTION_CALLS, "0") for span in served) == list("01112")


@pytest.mark.parametrize("app", ["starlette_app", "fastapi_app"])
def test_an_unsampled_request_is_known_by_its_calls(
    app: str, workplace: Workplace, serve: Serve, provider: OfflineProvider, receiver: Receiver
) -> None:
    server = serve(
        *INSTRUMENT,
        *UVICORN,
        f"{app}:app",
        OTEL_TRACES_SAMPLER="always_off",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
    )
    assert server.post("/chat/1", "Hello").status_code == 200
    server.stop()
    found = calls(ledger(workplace.home))
    assert_ledger_is_bill(found, provider)
    assert receiver.spans == []
    assert {call.attributes[A.OTEL_LLM_ENDPOINT] for call in found} == {"/chat/{item}"}
    assert {call.attributes[A.OTEL_LLM_INTERACTION_NAME] for call in found} == {"POST /chat/{item}"}
    assert len({call.attributes[A.OTEL_LLM_INTERACTION_ID] for call in found}) == 1
