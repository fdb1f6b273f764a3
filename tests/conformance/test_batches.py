"""Batches: each call in them counts when its result is read, at batch prices, and never twice."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.canned import CannedServer, response
from tests.conformance.conftest import Twice
from tests.conformance.surfaces import SURFACES, got
from tests.conformance.ways import VALUES, Seen
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

LONG = "[[offline: tokens in=150000 out=50]]"  # two of them together would be priced as long context
SCRIPTS = ("[[offline: tokens in=1000 out=50; cache hit 800]]", LONG, LONG, "[[offline: 500]]")


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest, provider: OfflineProvider) -> Callable[[str], Any]:
    """A client of the SDK."""

    def connect(package: str) -> Any:
        surface = next((surface for surface in SURFACES if surface.package == package), None)
        if surface is None:
            pytest.skip(f"{package} is not installed")
        return surface.connect(provider.url, asynchronous=request.param)

    return connect


async def _messages(client: Any) -> Any:
    """A batch of Anthropic's; skips where the SDK has none."""
    batches = getattr(client.messages, "batches", None) or pytest.skip("this anthropic has no batches")
    params = {"model": "claude-sonnet-4-5-20250929", "max_tokens": 1000}
    requests = [
        {"custom_id": str(i), "params": {**params, "messages": [{"role": "user", "content": script}]}}
        for i, script in enumerate(SCRIPTS)
    ]
    return await got(batches.create(requests=requests))


async def _lines(results: Any) -> list[Any]:
    return [line async for line in results] if hasattr(results, "__anext__") else list(results)


async def test_message_batches(connect: Callable[[str], Any], twice: Twice) -> None:
    client = connect("anthropic")

    async def use(seen: Seen) -> None:
        batch = await _messages(client)
        for _ in range(2):
            for line in await _lines(await got(client.messages.batches.results(batch.id))):
                seen.add(line)

    seen, calls = await twice(VALUES[0], use)
    assert len(seen.values) == 2 * len(SCRIPTS)
    assert [(call.attributes or {})[A.OTEL_LLM_PRICE_VARIANT] for call in calls] == ["batch"] * 3


@pytest.mark.usefixtures("instrumented")
async def test_results_that_are_read_half_way_and_again(connect: Callable[[str], Any], audited: Spans) -> None:
    client = connect("anthropic")
    batch = await _messages(client)
    results = await got(client.messages.batches.results(batch.id))
    await (anext(results) if hasattr(results, "__anext__") else got(next(results)))
    await got(results.close())
    await _lines(await got(client.messages.batches.results(batch.id)))
    assert len(audited()) == 3


def _requests(model: str, url: bool, *more: tuple[str, dict[str, Any]]) -> str:
    """What is asked in a batch."""
    chat = [("/v1/chat/completions", {"messages": [{"role": "user", "content": script}]}) for script in SCRIPTS]
    return "\n".join(
        json.dumps(
            {"custom_id": str(i), "body": {"model": model} | body} | ({"method": "POST", "url": path} if url else {})
        )
        for i, (path, body) in enumerate([*chat, *more])
    )


async def _openai_s(client: Any, file: str) -> str:
    """Hand it in; the file of its results."""
    given = await got(client.files.create(file=("batch.jsonl", file.encode()), purpose="batch"))
    batch = await got(
        client.batches.create(input_file_id=given.id, endpoint="/v1/chat/completions", completion_window="24h")
    )
    assert await _read(await got(client.files.content(given.id))) == file.encode()
    return (await got(client.batches.retrieve(batch.id))).output_file_id


async def _together_s(client: Any, file: str) -> str:
    # The SDK wants files of the disk, and stores for them.
    async with httpx.AsyncClient() as http:
        upload = await http.post(f"{client.base_url}/v1/files".replace("//v1", "/v1"), files={"file": file.encode()})
    batch = await got(client.batches.create(input_file_id=upload.json()["id"], endpoint="/v1/chat/completions"))
    return (await got(client.batches.retrieve(batch.job.id))).output_file_id


async def _read(content: Any) -> bytes:
    return await got(content.read())


@pytest.mark.parametrize(
    ("package", "hand_in", "file", "priced"),
    [
        ("openai", _openai_s, _requests("gpt-4o-mini-2024-07-18", True, ("/v1/responses", {"input": SCRIPTS[0]})), 4),
        ("groq", _openai_s, _requests("openai/gpt-oss-120b", True), 3),
        ("together", _together_s, _requests("meta-llama/Llama-3.3-70B-Instruct-Turbo", False), 0),
    ],
    ids=["openai", "groq", "together"],
)
async def test_batches_of_files(
    connect: Callable[[str], Any],
    twice: Twice,
    package: str,
    hand_in: Callable[[Any, str], Awaitable[str]],
    file: str,
    priced: int,
) -> None:
    client = connect(package)
    if not hasattr(client, "batches"):
        pytest.skip(f"this {package} has no batches")

    async def use(seen: Seen) -> None:
        id_ = await hand_in(client, file)
        for _ in range(2):
            seen.add(await _read(await got(client.files.content(id_))))
        async with Opened(client.files.with_streaming_response.content(id_)) as response:
            seen.add(await got(response.read()))

    _seen, calls = await twice(VALUES[0], use)
    # Together says "up to 50 %", and not of which model: then nothing is said of its price.
    assert sum((call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "priced" for call in calls) == priced
    assert [(call.attributes or {})[A.OTEL_LLM_SERVICE_TIER] for call in calls] == ["batch"] * max(priced, 3)


@pytest.mark.usefixtures("instrumented")
async def test_sounds_in_a_batch_do_not_name_their_model(calls: Spans) -> None:
    groq: Any = pytest.importorskip("groq")
    heard = [{"text": "Hi", "task": task, "duration": 12.5} for task in ("transcribe", "translate")]
    lines = [
        {"id": f"batch_req_{uuid4().hex}", "custom_id": "0", "response": {"status_code": 200, "body": body}}
        for body in heard
    ]
    with CannedServer() as server:
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        server.reply = lambda _: response(body, "application/octet-stream")
        client = groq.Groq(base_url=server.url, api_key="k", max_retries=0)
        if not hasattr(client, "files"):
            pytest.skip("this groq has no files")
        assert client.files.content(f"file-{uuid4().hex}").read() == body
    found = [call.attributes or {} for call in calls()]
    assert [call[A.GEN_AI_OPERATION_NAME] for call in found] == ["transcription", "translation"]
    assert [call[A.OTEL_LLM_USAGE_REQUESTS_PREFIX + "audio_ms"] for call in found] == [12_500] * 2
    assert [call[A.OTEL_LLM_COST_UNPRICED_REASON] for call in found] == ["no_model"] * 2


@pytest.mark.usefixtures("instrumented")
async def test_results_that_begin_with_the_request_s_id(calls: Spans) -> None:
    openai: Any = pytest.importorskip("openai", reason="the oldest SDKs do not fit into one environment")
    usage = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}
    chat: dict[str, Any] = {"id": "c-1", "object": "chat.completion", "choices": [], "usage": usage}
    chat["model"] = "gpt-4o-mini-2024-07-18"
    drawn: dict[str, Any] = {"created": 1, "data": [{}], "usage": {"input_tokens": 5, "output_tokens": 7}}
    asked = {"custom_id": "0", "method": "POST", "url": "/chat/completions", "body": {"model": "gpt-4o-mini"}}
    lines = [{"custom_id": "0", "response": {"status_code": 200, "body": made}} for made in (chat, drawn)]
    files: list[tuple[str, list[Any]]] = [("file-in", [asked]), (f"file-{uuid4().hex}", lines)]
    with CannedServer() as server:
        client = openai.AzureOpenAI(azure_endpoint=server.url, api_key="k", api_version="2024-10-21", max_retries=0)
        for id_, told in files:
            body = "".join(json.dumps(line) + "\n" for line in told).encode()
            server.reply = lambda _, body=body: response(body, "application/octet-stream")
            assert client.files.content(id_).text == body.decode()
    first, second = (call.attributes or {} for call in calls())
    assert (first[A.GEN_AI_RESPONSE_ID], first[A.GEN_AI_USAGE_INPUT_TOKENS]) == ("c-1", 1000)
    assert (second[A.GEN_AI_OPERATION_NAME], second[A.GEN_AI_USAGE_IMAGE_OUTPUT_TOKENS]) == ("image_generation", 7)


class Opened:
    """A context manager, sync or async."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    async def __aenter__(self) -> Any:
        enter = getattr(self._manager, "__aenter__", None) or self._manager.__enter__
        return await got(enter())

    async def __aexit__(self, *error: object) -> None:
        await got((getattr(self._manager, "__aexit__", None) or self._manager.__exit__)(*error))
