"""ibm-watsonx-ai: a client that insists on IBM's own host, which here leads to the offline provider."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice
from tests.conformance.methods import BROKEN, FAILED, LEFT, REFUSED, USAGE, captured, held, read
from tests.conformance.methods import said as content_of
from tests.conformance.surfaces import got
from tests.conftest import Spans

watsonx: Any = pytest.importorskip("ibm_watsonx_ai", reason="the oldest SDKs do not fit into one environment")
models: Any = pytest.importorskip("ibm_watsonx_ai.foundation_models")

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

MODEL = "ibm/granite-3-8b-instruct"
HOST = "us-south.ml.cloud.ibm.com"


@pytest.fixture(autouse=True)
def detour(provider: OfflineProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to IBM arrives at the provider."""
    there = urlsplit(provider.url)
    monkeypatch.setenv("WATSONX_MAX_RETRIES", "0")

    def led(request: httpx.Request) -> httpx.Request:
        url = request.url.copy_with(scheme="http", host=there.hostname, port=there.port)
        return httpx.Request(
            request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
        )

    def lead(handle: Callable[..., Any]) -> Callable[[Any, httpx.Request], Any]:
        return lambda transport, request: handle(transport, led(request))

    for kind, name in ((httpx.HTTPTransport, "handle_request"), (httpx.AsyncHTTPTransport, "handle_async_request")):
        monkeypatch.setattr(kind, name, lead(getattr(kind, name)))


@pytest.fixture(scope="module")
def client() -> Any:
    client = watsonx.APIClient(watsonx.Credentials(url=f"https://{HOST}", token="t"))
    client.default_project_id = "p"
    return client


@pytest.fixture(scope="module")
def client_of_ours() -> Any:
    """One that sends with HTTP clients of the application's."""
    http = {"httpx_client": httpx.Client(), "async_httpx_client": httpx.AsyncClient()}
    client = watsonx.APIClient(watsonx.Credentials(url=f"https://{HOST}", token="t"), **http)
    client.default_project_id = "p"
    return client


@pytest.fixture
def model(client: Any) -> Any:
    return models.ModelInference(model_id=MODEL, api_client=client, validate=False, max_retries=0)


@pytest.fixture(params=["", "a"], ids=["sync", "async"])
def twin(request: pytest.FixtureRequest) -> str:
    """What the names of asynchronous methods begin with."""
    return request.param


def chat(model: Any, twin: str, *, stream: bool) -> Callable[[str], Any]:
    method = getattr(model, twin + ("chat_stream" if stream else "chat"))
    return lambda script: method(messages=[{"role": "user", "content": f"[[offline: {script}]] Why?"}])


def generate(model: Any, twin: str, *, stream: bool) -> Callable[[str], Any]:
    method = getattr(model, "generate_text_stream" if stream and not twin else f"{twin}generate{'_stream' * stream}")
    return lambda script: method(prompt=f"[[offline: {script}]] Why?")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("how", [USAGE, *REFUSED, *BROKEN, FAILED, *LEFT])
async def test_chat(model: Any, twice: Twice, twin: str, how: str, stream: bool) -> None:
    if not stream and how in (BROKEN[1], FAILED, *LEFT):
        pytest.skip("that is no stream")
    _seen, call = await held(twice, chat(model, twin, stream=stream), how, stream=stream)
    assert (call[A.GEN_AI_PROVIDER_NAME], call[A.SERVER_ADDRESS]) == ("ibm.watsonx.ai", HOST)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_http_clients_of_the_applications(client_of_ours: Any, twice: Twice, twin: str, stream: bool) -> None:
    model = models.ModelInference(model_id=MODEL, api_client=client_of_ours, validate=False, max_retries=0)
    await held(twice, chat(model, twin, stream=stream), USAGE, stream=stream)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("how", [USAGE, *REFUSED])
async def test_generation(model: Any, twice: Twice, twin: str, how: str, stream: bool) -> None:
    _seen, call = await held(twice, generate(model, twin, stream=stream), how, stream=stream)
    assert call[A.GEN_AI_OPERATION_NAME] == "text_completion"
    assert call.get(A.GEN_AI_RESPONSE_FINISH_REASONS, ("stop",)) == ("stop",)


@pytest.mark.usefixtures("instrumented")
async def test_embeddings_and_reranking(client: Any, twin: str, audited: Spans) -> None:
    texts = ["Why is the sky blue?", "Why not?"]
    embeddings = models.Embeddings(model_id="ibm/slate-125m-english-rtrvr-v2", api_client=client)
    assert len(await got(getattr(embeddings, twin + "embed_documents")(texts=texts))) == 2
    rerank = models.Rerank(model_id="cross-encoder/ms-marco-minilm-l-12-v2", api_client=client)
    rerank.generate(query="Why?", inputs=texts)  # there is no other
    operations = [(call.attributes or {})[A.GEN_AI_OPERATION_NAME] for call in audited()]
    assert operations == ["embeddings", "rerank"]


@pytest.mark.usefixtures("instrumented")
async def test_retries_are_attempts_of_one_call(model: Any, twin: str, audited: Spans) -> None:
    await got(chat(model, twin, stream=False)(f"500 once; {USAGE}"))
    [call] = audited()
    assert (call.attributes or {})[A.OTEL_LLM_ATTEMPTS] == 2
    assert [(event.attributes or {})[A.OTEL_LLM_ATTEMPT_STATUS_CODE] for event in call.events] == [500]


@pytest.mark.usefixtures("instrumented")
async def test_its_content(model: Any, twin: str, calls: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    captured(monkeypatch)
    for make in (chat, generate):
        for stream in (False, True):
            await read(make(model, twin, stream=stream)("say Because."))
    asked = [{"role": "user", "parts": [{"type": "text", "content": "[[offline: say Because.]] Why?"}]}]
    answered = [{"role": "assistant", "parts": [{"type": "text", "content": "Because."}], "finish_reason": "stop"}]
    assert [content_of(call)[1:3] for call in calls()] == [[asked, answered]] * 4


@pytest.mark.usefixtures("instrumented")
def test_what_is_heard(client: Any, calls: Spans, tmp_path: Path) -> None:
    if not hasattr(models, "AudioModelInference"):
        pytest.skip("this ibm-watsonx-ai hears nothing")
    sound = tmp_path / "why.mp3"
    sound.write_bytes(b"offline" * 10)
    said = models.AudioModelInference(model="openai/whisper-large-v3", api_client=client).transcribe(sound)
    assert said["text"]
    [call] = calls()
    attributes = call.attributes or {}
    assert call.name == "transcription openai/whisper-large-v3"
    assert (attributes[A.GEN_AI_PROVIDER_NAME], attributes[A.SERVER_ADDRESS]) == ("ibm.watsonx.ai", HOST)
    # It does not tell how long the sound was.
    assert attributes[A.OTEL_LLM_COST_STATUS] == "unpriced"
    assert A.GEN_AI_USAGE_INPUT_TOKENS not in attributes
