"""google-genai: one SDK over several transports, for the Gemini API and for Vertex."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry.trace import StatusCode
from pydantic import BaseModel

from examples.offline_provider import OfflineProvider
from otel_llm import content
from otel_llm_semconv import attributes as A
from tests.conformance.canned import CannedServer, response
from tests.conformance.conftest import Twice, become_another_process
from tests.conformance.surfaces import got
from tests.conformance.ways import STOP, Seen, Way, plain
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

genai = pytest.importorskip("google.genai", reason="the oldest SDKs do not fit into one environment")
httpx = pytest.importorskip("httpx")
types: Any = genai.types
OPTIONS = types.HttpOptions.model_fields
FLASH, PRO, LATER = "gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-flash-preview"
USAGE = "tokens in=1000 out=50; cache hit 800; reasoning 10"
SLOWLY = "chunks 20; slow chunks 60ms"
WAY = Way("generate", lambda _surface, _client, _body: None)

Each = Callable[[Any], Any]
_clients: dict[str, Any] = {}


class Caller:
    """One kind of client: on which transport, and of which service."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind, self.url = kind, url
        self.vertex, self.asynchronous = "vertex" in kind, "async" in kind

    def client(self, **options: Any) -> Any:
        """Its client of the service; `options` are those of its requests."""
        key = f"{self.kind} {self.url} {options}"
        if key not in _clients:  # which load certificates, and that takes longer than the test
            _clients[key] = self._connect({"base_url": self.url, **options})
        return _clients[key]

    def _connect(self, options: dict[str, Any]) -> Any:
        if self.kind == "async httpx":
            if "httpx_async_client" not in OPTIONS:
                pytest.skip("this google-genai takes no client")
            options["httpx_async_client"] = httpx.AsyncClient()
        given: dict[str, Any] = {"api_key": "k"}
        if self.vertex:
            from google.oauth2.credentials import Credentials

            signed = Credentials("token")  # pyright: ignore[reportNoUntypedCall]
            given = {"vertexai": True, "project": "p", "location": "us-central1", "credentials": signed}
        return genai.Client(**given, http_options=types.HttpOptions(**options))

    def models(self, **options: Any) -> Any:
        client = self.client(**options)
        return (client.aio if self.asynchronous else client).models

    async def ask(
        self,
        said: Any,
        seen: Seen,
        *,
        stream: bool,
        model: str = FLASH,
        each: Each = lambda _item: None,
        **options: Any,
    ) -> None:
        """Ask, and read the answer, noting what is seen."""
        config = options.pop("config", None)
        models = self.models(**options)
        try:
            if not stream:
                seen.add(await got(models.generate_content(model=model, contents=said, config=config)))
                return
            answer = await got(models.generate_content_stream(model=model, contents=said, config=config))
            seen.result = type(answer)
            if self.asynchronous:
                async for item in answer:
                    seen.add(item)
                    if await got(each(item)) is STOP:
                        break
            else:
                for item in answer:
                    seen.add(item)
                    if each(item) is STOP:
                        break
        except BaseException as error:
            seen.error = error
            raise


@pytest.fixture(params=["sync", "async", "async httpx", "vertex sync", "vertex async"])
def caller(request: pytest.FixtureRequest, provider: OfflineProvider) -> Caller:
    caller = Caller(request.param, provider.url)
    caller.client()  # or skip the test
    return caller


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Content is captured during the test."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    content.modes.cache_clear()
    yield
    monkeypatch.undo()
    content.modes.cache_clear()


streaming = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


def question(script: str) -> str:
    return f"[[offline: {script}]] Why?"


def attributes_of(call: Any) -> dict[str, Any]:
    return dict(call.attributes or {})


class Answer(BaseModel):
    answer: str


SEARCH: dict[str, Any] = {"tools": [{"google_search": {}}]}
GOOD: list[tuple[str, str, dict[str, Any]]] = [
    (FLASH, USAGE, {"temperature": 0.5, "max_output_tokens": 100, "system_instruction": "Be brief."}),
    (FLASH, "audio in=100 out=0; tokens in=300 out=20", {"candidate_count": 2}),
    (FLASH, "web search", SEARCH),
    (LATER, "web search 3; tokens in=100 out=9", SEARCH),
    (PRO, "tokens in=200001 out=10; cache hit 5000", {}),
    (FLASH, "tokens in=10 out=0", {}),
    (FLASH, "", {"response_mime_type": "application/json", "response_schema": Answer}),
]


@streaming
@pytest.mark.parametrize(("model", "script", "config"), GOOD)
async def test_all_goes_well(
    caller: Caller, stream: bool, model: str, script: str, config: dict[str, Any], twice: Twice
) -> None:
    seen, [call] = await twice(
        WAY, lambda seen: caller.ask(question(script), seen, stream=stream, model=model, config=config)
    )
    assert seen.values
    attributes = attributes_of(call)
    assert call.name == f"generate_content {model}"
    assert attributes[A.GEN_AI_PROVIDER_NAME] == ("gcp.vertex_ai" if caller.vertex else "gcp.gemini")
    assert attributes[A.OTEL_LLM_COST_STATUS] == "priced"
    assert attributes[A.SERVER_ADDRESS] == "127.0.0.1"
    assert attributes.get(A.OTEL_LLM_STREAM_OUTCOME) == ("completed" if stream else None)
    assert attributes.get(A.GEN_AI_REQUEST_TEMPERATURE) == config.get("temperature")
    assert attributes.get(A.GEN_AI_OUTPUT_TYPE) == ("json" if "response_schema" in config else None)


@streaming
async def test_a_tier_without_a_price(caller: Caller, stream: bool, twice: Twice) -> None:
    _seen, [call] = await twice(WAY, lambda seen: caller.ask(question("tier flex"), seen, stream=stream))
    assert attributes_of(call)[A.OTEL_LLM_SERVICE_TIER] == "flex"
    assert attributes_of(call)[A.OTEL_LLM_COST_UNPRICED_REASON] == "variant:flex"


@streaming
@pytest.mark.parametrize("status", [401, 429, 500])
async def test_the_provider_refuses(caller: Caller, stream: bool, status: int, twice: Twice) -> None:
    seen, [call] = await twice(WAY, lambda seen: caller.ask(question(str(status)), seen, stream=stream))
    assert getattr(seen.error, "code", None) == status
    attributes = attributes_of(call)
    assert call.status.status_code is StatusCode.ERROR
    assert attributes[A.ERROR_TYPE] == f"google.genai.errors.{'Server' if status == 500 else 'Client'}Error"
    assert attributes[A.HTTP_RESPONSE_STATUS_CODE] == status
    assert attributes[A.OTEL_LLM_COST_STATUS] == "free"
    assert attributes.get(A.OTEL_LLM_STREAM_OUTCOME) == ("failed" if stream else None)


@streaming
async def test_retries_are_attempts_of_one_call(caller: Caller, stream: bool, twice: Twice) -> None:
    if "retry_options" not in OPTIONS:
        pytest.skip("this google-genai does not retry")
    retries = types.HttpRetryOptions(attempts=3, initial_delay=0.01, max_delay=0.02, jitter=0.01)
    _seen, [call] = await twice(
        WAY, lambda seen: caller.ask(question(f"429 twice; {USAGE}"), seen, stream=stream, retry_options=retries)
    )
    assert attributes_of(call)[A.OTEL_LLM_ATTEMPTS] == 3
    failed = [event.attributes or {} for event in call.events if event.name == A.OTEL_LLM_ATTEMPT_FAILED]
    assert [attempt[A.OTEL_LLM_ATTEMPT_STATUS_CODE] for attempt in failed] == [429, 429]


@pytest.mark.parametrize("script", ["slow 300ms", "cut before body"])
@streaming
async def test_the_provider_does_not_answer(caller: Caller, stream: bool, script: str, twice: Twice) -> None:
    if not stream and "cut" in script and "retry_options" in OPTIONS and not caller.asynchronous:
        pytest.skip("httpx reads an empty body")
    options: dict[str, Any] = {"timeout": 100} if "slow" in script else {}
    if "retry_options" in OPTIONS:  # or aiohttp is tried again after seconds
        options["retry_options"] = types.HttpRetryOptions(attempts=1)
    seen, [call] = await twice(WAY, lambda seen: caller.ask(question(script), seen, stream=stream, **options))
    assert seen.error is not None
    assert A.ERROR_TYPE in attributes_of(call)


@pytest.mark.parametrize("script", ["cut in mid-stream after 3", "error event after 3"])
async def test_the_stream_breaks(caller: Caller, script: str, twice: Twice) -> None:
    said = question(f"chunks 9; {script}")
    seen, [call] = await twice(WAY, lambda seen: caller.ask(said, seen, stream=True))
    assert seen.error is not None or "error event" in script  # which older SDKs hand on as a chunk
    assert len(seen.values) >= 2
    assert attributes_of(call)[A.OTEL_LLM_STREAM_OUTCOME] == "failed"
    assert attributes_of(call)[A.OTEL_LLM_USAGE_SOURCE] == "partial"


@pytest.mark.parametrize("how", ["stops", "errs", "cancels"])
async def test_the_stream_is_left(caller: Caller, how: str, twice: Twice) -> None:
    if how == "cancels" and not caller.asynchronous:
        pytest.skip("nobody to cancel it")

    async def leave(seen: Seen) -> None:
        def each(_item: Any) -> Any:
            if how == "errs":
                raise ZeroDivisionError
            return STOP if how == "stops" else None

        doing = asyncio.ensure_future(caller.ask(question(SLOWLY), seen, stream=True, each=each))
        if how == "cancels":
            while not seen.values and not doing.done():  # noqa: ASYNC110 - what it waits for is in another thread
                await asyncio.sleep(0.002)
            doing.cancel()
        await asyncio.wait([doing])
        del seen.values[1:], seen.types[1:]
        if how != "stops":
            assert isinstance(
                doing.exception() if how == "errs" else seen.error, (ZeroDivisionError, asyncio.CancelledError)
            )
        seen.error = None
        del doing

    _seen, [call] = await twice(WAY, leave)
    assert attributes_of(call)[A.OTEL_LLM_STREAM_OUTCOME] == ("aborted" if how == "cancels" else "abandoned")
    assert attributes_of(call)[A.OTEL_LLM_USAGE_SOURCE] == "partial"
    assert A.ERROR_TYPE not in attributes_of(call)


@pytest.mark.usefixtures("instrumented")
async def test_a_dropped_stream_ends_without_the_garbage_collector(caller: Caller, calls: Spans) -> None:
    if caller.asynchronous:
        pytest.skip("the SDK itself leaves it to the garbage collector")
    gc.disable()
    try:
        await caller.ask(question(SLOWLY), Seen(), stream=True, each=lambda _item: STOP)
        for _ in range(100):
            if calls():
                break
            await asyncio.sleep(0.01)
    finally:
        gc.enable()
    assert len(calls()) == 1


@pytest.mark.parametrize("model", ["gemini-embedding-001", "models/gemini-embedding-001", "text-embedding-005"])
@pytest.mark.parametrize("texts", [["Why is the sky blue?"], ["Why?", "Because of the air."]], ids=["one", "two"])
@pytest.mark.usefixtures("capturing")
async def test_embeddings(caller: Caller, model: str, texts: list[str], twice: Twice) -> None:
    if caller.vertex and model.startswith("models/"):
        pytest.skip("Vertex knows no such name")

    async def embed(seen: Seen) -> None:
        seen.add(
            await got(caller.models().embed_content(model=model, contents=texts, config={"output_dimensionality": 2}))
        )

    _seen, [call] = await twice(WAY, embed)
    attributes = attributes_of(call)
    assert call.name == f"embeddings {model.removeprefix('models/')}"
    assert attributes[A.GEN_AI_EMBEDDINGS_DIMENSION_COUNT] == 2
    assert attributes[A.OTEL_LLM_COST_STATUS] == ("priced" if "001" in model else "unpriced")
    assert "air" not in json.dumps(attributes)


async def test_counting_tokens_is_no_call(caller: Caller, twice: Twice) -> None:
    async def count(seen: Seen) -> None:
        seen.add(await got(caller.models().count_tokens(model=FLASH, contents="Why?")))
        await caller.ask("Why?", seen, stream=False)

    seen, [_call] = await twice(WAY, count)
    assert len(seen.values) == 2


def weather(place: str) -> str:
    """The weather somewhere."""
    return f"It rains in {place}."


weather.__annotations__ = {"place": str, "return": str}  # older SDKs do not understand them as texts


@streaming
async def test_each_request_of_automatic_function_calling_is_a_call(caller: Caller, stream: bool, twice: Twice) -> None:
    said = question('turns: tool weather {"place": "Rome"} | say It rains.')
    seen, calls = await twice(WAY, lambda seen: caller.ask(said, seen, stream=stream, config={"tools": [weather]}))
    assert "It rains." in json.dumps(seen.values[-1])
    assert [attributes_of(call)[A.GEN_AI_RESPONSE_FINISH_REASONS] for call in calls] == [("tool_call",), ("stop",)]


async def test_every_message_of_a_chat_is_a_call(caller: Caller, twice: Twice) -> None:
    async def talk(seen: Seen) -> None:
        client = caller.client()
        chat = (client.aio if caller.asynchronous else client).chats.create(model=FLASH)
        for said in ("Why?", "And then?"):
            seen.add(await got(chat.send_message(said)))
        stream = await got(chat.send_message_stream("Go on."))
        if caller.asynchronous:
            async for item in stream:
                seen.add(item)
        else:
            for item in stream:
                seen.add(item)

    _seen, calls = await twice(WAY, talk)
    assert len(calls) == 3


@streaming
@pytest.mark.usefixtures("instrumented", "capturing")
async def test_what_is_said(caller: Caller, stream: bool, calls: Spans) -> None:
    picture = types.Part.from_bytes(data=b"abc", mime_type="image/png")
    given = [
        {
            "role": "user",
            "parts": [{"text": question('tool weather {"place": "Rome"}; say Wait.; reasoning 5')}, picture],
        },
    ]
    declared = {"function_declarations": [{"name": "weather", "parameters": {"type": "OBJECT"}}]}
    config = {"system_instruction": "Be brief.", "tools": [declared]}
    await caller.ask(given, Seen(), stream=stream, config=config)
    [call] = calls()
    names = (A.GEN_AI_SYSTEM_INSTRUCTIONS, A.GEN_AI_INPUT_MESSAGES, A.GEN_AI_TOOL_DEFINITIONS, A.GEN_AI_OUTPUT_MESSAGES)
    said = {name: json.loads(attributes_of(call)[name]) for name in names}
    assert said[A.GEN_AI_SYSTEM_INSTRUCTIONS] == [{"type": "text", "content": "Be brief."}]
    assert said[A.GEN_AI_TOOL_DEFINITIONS] == [{"type": "function", "name": "weather"}]
    [asked] = said[A.GEN_AI_INPUT_MESSAGES]
    assert asked["parts"][1] == {"type": "blob", "modality": "image", "mime_type": "image/png", "content": ""}
    [answered] = said[A.GEN_AI_OUTPUT_MESSAGES]
    assert answered == {
        "role": "assistant",
        "parts": [
            {"type": "reasoning", "content": "Let me think."},
            {"type": "text", "content": "Wait."},
            {"type": "tool_call", "id": None, "name": "weather", "arguments": {"place": "Rome"}},
        ],
        "finish_reason": "tool_call",
    }


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_pictures_are_billed_one_by_one(asynchronous: bool, calls: Spans) -> None:
    drawn = [{"bytesBase64Encoded": "YWJj", "mimeType": "image/png"}] * 2 + [{"raiFilteredReason": "no"}]
    with CannedServer() as server:
        server.reply = lambda _body: response(json.dumps({"predictions": drawn}).encode())
        models = Caller("vertex async" if asynchronous else "vertex sync", server.url).models()
        await got(models.generate_images(model="imagen-4.0-generate-001", prompt="A cat."))
    [call] = calls()
    attributes = attributes_of(call)
    assert call.name == "image_generation imagen-4.0-generate-001"
    assert attributes[f"{A.OTEL_LLM_USAGE_REQUESTS_PREFIX}images"] == 2
    assert attributes[A.OTEL_LLM_COST_NANO_USD] == 80_000_000


PICTURE: Any = {"image_bytes": b"abc", "mime_type": "image/png"}
CHANGES: dict[str, dict[str, Any]] = {
    "edit_image": {
        "model": "imagen-3.0-capability-001",
        "prompt": "A cat.",
        "reference_images": [types.RawReferenceImage(reference_id=1, reference_image=PICTURE)],
    },
    "upscale_image": {"model": "imagen-4.0-upscale-preview", "image": PICTURE, "upscale_factor": "x2"},
    "recontext_image": {"model": "imagen-product-recontext", "source": {"prompt": "A cat.", "person_image": PICTURE}},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_pictures_that_are_changed(method: str, asynchronous: bool, calls: Spans) -> None:
    drawn = [{"bytesBase64Encoded": "YWJj", "mimeType": "image/png"}]
    with CannedServer() as server:
        server.reply = lambda _body: response(json.dumps({"predictions": drawn}).encode())
        models = Caller("vertex async" if asynchronous else "vertex sync", server.url).models()
        if not hasattr(models, method):
            pytest.skip("this google-genai does not do that")
        await got(getattr(models, method)(**CHANGES[method]))
    [call] = calls()
    assert call.name == f"image_generation {CHANGES[method]['model']}"
    assert attributes_of(call)[f"{A.OTEL_LLM_USAGE_REQUESTS_PREFIX}images"] == 1
    assert attributes_of(call)[A.OTEL_LLM_COST_STATUS] == "unpriced"
    assert attributes_of(call)[A.OTEL_LLM_COST_UNPRICED_REASON] == "unknown_model"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("told", ["videos", "error"])
@pytest.mark.parametrize("kind", ["sync", "async", "vertex sync", "vertex async"])
async def test_videos_count_once_they_are_made(kind: str, told: str, calls: Spans) -> None:
    vertex = "projects/p/locations/us-central1/publishers/google/" if "vertex" in kind else ""
    operation: dict[str, Any] = {"name": f"{vertex}models/veo-3.0-generate-001/operations/{uuid4().hex}"}
    made: dict[str, Any] = {"videos": [{"gcsUri": "gs://bucket/video.mp4", "mimeType": "video/mp4"}] * 2}
    if not vertex:
        sample = {"video": {"uri": "https://offline.invalid/video.mp4"}}
        made = {"generateVideoResponse": {"generatedSamples": [sample] * 2}}
    ended = {"error": {"code": 13, "message": "no"}} if told == "error" else {"response": made}
    answers = [operation, operation, *[operation | {"done": True} | ended] * 2]
    with CannedServer() as server:
        server.reply = lambda _body: response(json.dumps(answers.pop(0)).encode())
        caller = Caller(kind, server.url)
        client: Any = caller.client().aio if caller.asynchronous else caller.client()
        try:
            begun = await got(client.models.generate_videos(model="veo-3.0-generate-001", prompt="A cat."))
        except ValueError as error:
            pytest.skip(str(error))  # newer ones make videos on Vertex only
        for done in (None, True, True):
            assert not calls() or done
            assert (await got(client.operations.get(begun))).done is done
    [call] = calls()
    attributes = attributes_of(call)
    assert call.name == "video_generation veo-3.0-generate-001"
    assert attributes[A.GEN_AI_PROVIDER_NAME] == ("gcp.vertex_ai" if vertex else "gcp.gemini")
    assert attributes.get(f"{A.OTEL_LLM_USAGE_REQUESTS_PREFIX}videos") == (2 if told == "videos" else None)
    assert attributes[A.OTEL_LLM_COST_STATUS] == "unpriced"
    assert attributes[A.OTEL_LLM_COST_UNPRICED_REASON] == "unknown_model"
    assert A.OTEL_LLM_COST_NANO_USD not in attributes


@pytest.fixture
def interact(caller: Caller) -> Callable[..., Any]:
    """Start an interaction and read its events."""
    client = caller.client()
    if not hasattr(client, "interactions"):
        pytest.skip("this google-genai has no interactions")

    async def use(seen: Seen, script: str, *, stream: bool, model: str = FLASH) -> None:
        create = (client.aio if caller.asynchronous else client).interactions.create
        try:
            answer = await got(create(model=model, input=question(script), stream=stream))
            if not stream:
                seen.add(answer)
            elif caller.asynchronous:
                async for event in answer:
                    seen.add(event)
            else:
                for event in answer:
                    seen.add(event)
        except Exception as error:
            seen.error = error
            raise

    return use


both = pytest.mark.parametrize("caller", ["sync", "async"], indirect=True)


@both
@streaming
@pytest.mark.parametrize(
    ("model", "script", "attempts"),
    [(FLASH, USAGE, 1), (LATER, "web search 3; 429 once", 2), (FLASH, "web search", 1), (PRO, "incomplete", 1)],
)
async def test_interactions(
    interact: Callable[..., Any], stream: bool, model: str, script: str, attempts: int, twice: Twice
) -> None:
    seen, [call] = await twice(WAY, lambda seen: interact(seen, script, stream=stream, model=model))
    assert seen.values
    attributes = attributes_of(call)
    assert call.name == f"generate_content {model}"
    assert attributes[A.GEN_AI_PROVIDER_NAME] == "gcp.gemini"
    assert attributes[A.OTEL_LLM_ATTEMPTS] == attempts
    assert attributes[A.OTEL_LLM_COST_STATUS] == "priced"
    assert attributes[A.GEN_AI_RESPONSE_FINISH_REASONS] == (("length" if script == "incomplete" else "stop"),)


@both
@streaming
async def test_an_interaction_is_refused(interact: Callable[..., Any], stream: bool, twice: Twice) -> None:
    seen, [call] = await twice(WAY, lambda seen: interact(seen, "401", stream=stream))
    assert seen.error is not None
    assert attributes_of(call)[A.HTTP_RESPONSE_STATUS_CODE] == 401
    assert attributes_of(call)[A.OTEL_LLM_COST_STATUS] == "free"


SLOW = {"input": question(USAGE), "background": True}


@pytest.fixture
def interactions(caller: Caller) -> Any:
    """The resource of a client."""
    client = caller.client()
    if not hasattr(client, "interactions"):
        pytest.skip("this google-genai has no interactions")
    return (client.aio if caller.asynchronous else client).interactions


async def events_of(stream: Any) -> list[Any]:
    return [event async for event in stream] if hasattr(stream, "__aiter__") else list(stream)


@both
@pytest.mark.parametrize("who", [{"model": FLASH}, {"agent": "deep-research-preview-04-2026"}], ids=["model", "agent"])
async def test_an_interaction_in_the_background_counts_once(
    interactions: Any, who: dict[str, str], twice: Twice
) -> None:
    async def use(seen: Seen) -> None:
        begun = await got(interactions.create(**SLOW, **who))
        seen.add(begun)
        for _ in range(4):
            seen.add(await got(interactions.get(begun.id)))

    seen, [call] = await twice(WAY, use)
    assert [value["status"] for value in seen.values] == ["queued", "in_progress", *["completed"] * 3]
    attributes = attributes_of(call)
    assert attributes[A.GEN_AI_REQUEST_MODEL] == attributes[A.GEN_AI_RESPONSE_MODEL] == next(iter(who.values()))
    assert attributes[A.GEN_AI_USAGE_INPUT_TOKENS] == 1000
    assert attributes[A.OTEL_LLM_COST_STATUS] == ("priced" if "model" in who else "unpriced")


@both
async def test_an_interaction_s_stream_is_left_and_taken_up_again(interactions: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        stream = await got(interactions.create(**SLOW, model=FLASH, stream=True))
        first: Any = await (anext(stream) if hasattr(stream, "__anext__") else got(next(stream)))
        await got(stream.close())
        more: dict[str, Any] = {"stream": True, "last_event_id": first.event_id}
        for event in await events_of(await got(interactions.get(first.interaction.id, **more))):
            seen.add(event)
        for _ in range(2):
            seen.add(await got(interactions.get(first.interaction.id)))

    seen, [call] = await twice(WAY, use)
    assert seen.values[-3]["event_type"] == "interaction.completed"
    assert attributes_of(call)[A.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)


@both
async def test_an_interaction_that_was_answered_at_once_is_not_counted_again(interactions: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        answered = await got(interactions.create(model=FLASH, input=question(USAGE)))
        for _ in range(3):
            seen.add(await got(interactions.get(answered.id)))
        seen.values += map(plain, await events_of(await got(interactions.get(answered.id, stream=True))))

    _seen, [_call] = await twice(WAY, use)


@both
@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("who", ["model", "agent"])
@pytest.mark.parametrize("how", ["polled", "told"])
async def test_another_process_began_the_interaction(interactions: Any, who: str, how: str, calls: Spans) -> None:
    begun = await got(interactions.create(**SLOW, **{who: FLASH}))
    if how == "told":
        await got(interactions.get(begun.id))
    become_another_process(elsewhere=True)
    for _ in range(3):
        await got(interactions.get(begun.id))
    # Of a model's it cannot be known who has it counted; that of an agent is always in the background.
    assert len(calls()) == (0 if (who, how) == ("model", "told") else 1)


@both
@pytest.mark.usefixtures("instrumented")
async def test_cancelling_an_interaction(interactions: Any, calls: Spans) -> None:
    begun = await got(interactions.create(**SLOW, model=FLASH))
    assert not calls()
    assert (await got(interactions.cancel(begun.id))).status == "cancelled"
    [call] = calls()
    assert attributes_of(call)[A.OTEL_LLM_COST_STATUS] == "unpriced"


LONG = "tokens in=150000 out=50"
IN_A_BATCH = (USAGE, LONG, "audio in=100 out=0; tokens in=300 out=20", "500")


@pytest.fixture
def gemini(caller: Caller) -> Any:
    """A client with batches whose results it can read."""
    if not hasattr(types, "InlinedResponse"):
        pytest.skip("this google-genai has no batches of the Gemini API")
    return caller.client().aio if caller.asynchronous else caller.client()


@both
async def test_batches_with_their_results_in_them(gemini: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        asked = [{"contents": question(script)} for script in IN_A_BATCH]
        batch = await got(gemini.batches.create(model=FLASH, src=asked))
        for _ in range(3):
            seen.add(await got(gemini.batches.get(name=batch.name)))

    seen, calls = await twice(WAY, use)
    assert len(seen.values[0]["dest"]["inlined_responses"]) == 4
    assert [attributes_of(call)[A.OTEL_LLM_PRICE_VARIANT] for call in calls] == ["batch"] * 3


@both
@pytest.mark.parametrize("to", ["memory", "file"])
async def test_batches_with_their_results_in_a_file(gemini: Any, to: str, tmp_path: Path, twice: Twice) -> None:
    lines = [
        {"key": str(i), "request": {"contents": [{"role": "user", "parts": [{"text": question(script)}]}]}}
        for i, script in enumerate(IN_A_BATCH)
    ]
    given = tmp_path / "batch.jsonl"
    given.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options: dict[str, Any] = {} if to == "memory" else {"destination": tmp_path / "results.jsonl"}
    if options and "destination" not in inspect.signature(gemini.files.download).parameters:
        pytest.skip("this google-genai downloads into memory only")

    async def use(seen: Seen) -> None:
        file = await got(gemini.files.upload(file=str(given), config={"mime_type": "jsonl"}))
        batch = await got(gemini.batches.create(model=FLASH, src=file.name))
        for _ in range(2):
            batch = await got(gemini.batches.get(name=batch.name))
            seen.add(await got(gemini.files.download(file=batch.dest.file_name, **options)))

    _seen, calls = await twice(WAY, use)
    assert [attributes_of(call)[A.OTEL_LLM_COST_STATUS] for call in calls] == ["priced"] * 3
    assert [attributes_of(call)[A.OTEL_LLM_SERVICE_TIER] for call in calls] == ["batch"] * 3


@both
async def test_batches_of_texts_to_embed(gemini: Any, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        asked = {"inlined_requests": {"contents": ["Why?", "Because of the air."]}}
        batch = await got(gemini.batches.create_embeddings(model="gemini-embedding-001", src=asked))
        for _ in range(2):
            seen.add(await got(gemini.batches.get(name=batch.name)))

    _seen, calls = await twice(WAY, use)
    assert [call.name for call in calls] == ["embeddings gemini-embedding-001"] * 2
    assert attributes_of(calls[0])[A.OTEL_LLM_COST_UNPRICED_REASON] == "variant:batch"


@both
async def test_decisions(caller: Caller, twice: Twice) -> None:
    client = caller.client()
    if not hasattr(client, "decisions"):
        pytest.skip("this google-genai has no decisions")
    create = (client.aio if caller.asynchronous else client).decisions.create
    questions = {"q": {"type": "noul", "instructions": "Is it blue?"}}

    async def use(seen: Seen) -> None:
        seen.add(await got(create(model=f"models/{FLASH}", input=question(USAGE), questions=questions)))

    _seen, [call] = await twice(WAY, use)
    assert call.name == f"generate_content {FLASH}"
    assert attributes_of(call)[A.OTEL_LLM_COST_STATUS] == "priced"


@both
@pytest.mark.parametrize("script", ["cut in mid-stream after 3", "error event after 3"])
async def test_an_interaction_breaks(interact: Callable[..., Any], script: str, twice: Twice) -> None:
    _seen, [call] = await twice(WAY, lambda seen: interact(seen, f"chunks 9; {script}", stream=True))
    assert attributes_of(call)[A.OTEL_LLM_STREAM_OUTCOME] == "failed"
