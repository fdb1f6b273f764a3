"""Pictures, sounds and moderations: what has no tokens is billed by what it has, and what is free is free."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice
from tests.conformance.surfaces import Body, Surface, chat, got, installed, reached
from tests.conformance.test_matrix import stop
from tests.conformance.ways import VALUES, Each, Seen
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

CLIENT = Surface("openai", "openai", "OpenAI", "", chat(""), reached("base_url", "/v1", api_key="k"))
GROQ = Surface("groq", "groq", "Groq", "", chat(""), reached("base_url", api_key="k"))
TOGETHER = Surface("together", "together", "Together", "", chat(""), reached("base_url", "/together", api_key="k"))
SOUND = ("sound.mp3", b"s" * 9200)
LONG = ("sound.mp3", b"s" * 12_345)
VERBOSE = {"response_format": "verbose_json"}


@dataclass(frozen=True)
class Case:
    """A method, and how it is called with a script."""

    name: str
    method: str
    body: Callable[[str], Body]
    stream: bool = False
    priced: str = "priced"
    surface: Surface = CLIENT

    def connect(self, provider: OfflineProvider, asynchronous: bool, raw: str = "") -> Any:
        """The method of a client."""
        sdk = self.surface.sdk
        client = self.surface.connect(provider.url, asynchronous=asynchronous)
        resource, _, name = self.method.rpartition(".")
        found = self.surface.resource_of(client, resource)
        if unknown := self.body("").keys() - inspect.signature(getattr(found, name)).parameters.keys():
            pytest.skip(f"{sdk.__name__} {sdk.__version__} has no {', '.join(unknown)} in {self.method}")
        return getattr(getattr(found, raw) if raw else found, name)


def _said(script: str) -> str:
    return f"[[offline: {script}]] A red balloon."


_ALL = (
    Case("image", "images.generate", lambda s: {"model": "gpt-image-1", "prompt": _said(s), "n": 2}),
    Case("newer image", "images.generate", lambda s: {"model": "gpt-image-1.5", "prompt": _said(s)}),
    Case("edited image", "images.edit",
         lambda s: {"model": "gpt-image-1.5", "prompt": _said(s), "image": ("a.png", b"p" * 700)}),
    Case("image by piece", "images.generate",
         lambda s: {"model": "dall-e-3", "prompt": _said(s)}, priced="unpriced"),
    Case("streamed image", "images.generate",
         lambda s: {"model": "gpt-image-1", "prompt": _said(s), "stream": True}, stream=True),
    Case("transcription", "audio.transcriptions.create",
         lambda s: {"model": "gpt-4o-transcribe", "prompt": _said(s), "file": SOUND}),
    Case("transcription by length", "audio.transcriptions.create",
         lambda s: {"model": "whisper-1", "prompt": _said(s), "file": SOUND}),
    Case("streamed transcription", "audio.transcriptions.create",
         lambda s: {"model": "gpt-4o-transcribe", "prompt": _said(s), "file": SOUND, "stream": True}, stream=True),
    Case("translation", "audio.translations.create",
         lambda s: {"model": "whisper-1", "prompt": _said(s), "file": SOUND, "response_format": "verbose_json"}),
    Case("speech", "audio.speech.create", lambda s: {"model": "tts-1", "voice": "alloy", "input": _said(s)}),
    Case("speech by tokens", "audio.speech.create",
         lambda s: {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": _said(s), "stream_format": "sse"}),
    Case("speech by unknown tokens", "audio.speech.create",
         lambda s: {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": _said(s)}, priced="unpriced"),
    Case("groq transcription", "audio.transcriptions.create",
         lambda s: {"model": "whisper-large-v3-turbo", "prompt": _said(s), "file": LONG, **VERBOSE}, surface=GROQ),
    Case("groq transcription of less than is billed", "audio.transcriptions.create",
         lambda s: {"model": "whisper-large-v3", "prompt": _said(s), "file": SOUND, **VERBOSE}, surface=GROQ),
    Case("groq translation", "audio.translations.create",
         lambda s: {"model": "whisper-large-v3", "prompt": _said(s), "file": LONG, **VERBOSE}, surface=GROQ),
    Case("groq speech", "audio.speech.create",
         lambda s: {"model": "canopylabs/orpheus-v1-english", "voice": "troy", "input": _said(s)}, surface=GROQ),
    Case("together image", "images.generate", surface=TOGETHER, priced="unpriced",
         body=lambda s: {"model": "black-forest-labs/FLUX.1-schnell", "prompt": _said(s), "n": 2}),
    Case("together transcription", "audio.transcriptions.create", surface=TOGETHER, priced="unpriced",
         body=lambda s: {"model": "openai/whisper-large-v3", "prompt": _said(s), "file": SOUND, **VERBOSE}),
    Case("together translation", "audio.translations.create", surface=TOGETHER, priced="unpriced",
         body=lambda s: {"model": "openai/whisper-large-v3", "prompt": _said(s), "file": SOUND, **VERBOSE}),
    Case("together speech", "audio.speech.create", surface=TOGETHER, priced="unpriced",
         body=lambda s: {"model": "cartesia/sonic", "voice": "laidback woman", "input": _said(s)}),
    Case("together streamed speech", "audio.speech.create", stream=True, surface=TOGETHER, priced="unpriced",
         body=lambda s: {"model": "cartesia/sonic", "voice": "laidback woman", "input": _said(s), "stream": True}),
)  # fmt: skip
CASES = tuple(case for case in _ALL if installed(case.surface.package))
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
sync_or_async = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
VALUE, BYTES = VALUES[0], replace(VALUES[0], bytewise=True)


async def _read(result: Any, seen: Seen, each: Each = lambda _item: None) -> None:
    seen.result = type(result)
    if hasattr(result, "__anext__"):
        async for item in result:
            seen.add(item)
            if each(item):
                await result.close()
                return
    elif hasattr(result, "__next__"):
        for item in result:
            seen.add(item)
            if each(item):
                result.close()
                return
    else:
        seen.add(await got(result.read()) if hasattr(result, "read") else result)


@each_case
@sync_or_async
async def test_it_is_on_the_bill(case: Case, asynchronous: bool, provider: OfflineProvider, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        await _read(await got(case.connect(provider, asynchronous)(**case.body("tokens out=90; chunks 3"))), seen)

    _seen, [call] = await twice(BYTES if "speech" in case.name and not case.stream else VALUE, use)
    attributes = call.attributes or {}
    assert attributes[A.OTEL_LLM_COST_STATUS] == case.priced
    assert attributes[A.GEN_AI_PROVIDER_NAME] == case.surface.package
    assert A.GEN_AI_INPUT_MESSAGES not in attributes


@each_case
@sync_or_async
async def test_raw_responses(case: Case, asynchronous: bool, provider: OfflineProvider, twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        raw = await got(case.connect(provider, asynchronous, "with_raw_response")(**case.body("tokens out=90")))
        await _read(await got(raw.parse()), seen)
        opened = case.connect(provider, asynchronous, "with_streaming_response")(**case.body("tokens out=91"))
        if asynchronous:
            async with opened as response:
                seen.add(await response.read())
        else:
            with opened as response:
                seen.add(response.read())

    _seen, calls = await twice(BYTES if "speech" in case.name and not case.stream else VALUE, use)
    assert [(call.attributes or {})[A.OTEL_LLM_COST_STATUS] for call in calls] == [case.priced] * 2


@each_case
@sync_or_async
@pytest.mark.parametrize("status", [401, 429, 500])
async def test_refused_is_free(
    case: Case, asynchronous: bool, status: int, provider: OfflineProvider, twice: Twice
) -> None:
    async def use(seen: Seen) -> None:
        try:
            await got(case.connect(provider, asynchronous)(**case.body(str(status))))
        except case.surface.sdk.APIStatusError as error:
            seen.error = error

    seen, [call] = await twice(VALUE, use)
    assert getattr(seen.error, "status_code", None) == status
    assert (call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "free"


@pytest.mark.parametrize("case", [case for case in CASES if case.stream], ids=lambda case: case.name)
@sync_or_async
@pytest.mark.parametrize("script", ["", "cut in mid-stream after 2", "error event after 2"])
async def test_a_stream_that_ends_early(
    case: Case, asynchronous: bool, script: str, provider: OfflineProvider, twice: Twice
) -> None:
    async def use(seen: Seen) -> None:
        try:
            result = await got(
                case.connect(provider, asynchronous)(**case.body(f"chunks 20; slow chunks 9ms; {script}"))
            )
            await _read(result, seen, lambda _item: None if script else stop(_item))
        except Exception as error:
            seen.error = error
            raise

    seen, [call] = await twice(VALUE, use)
    assert (seen.error is not None) is bool(script)
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == ("failed" if script else "aborted")


@sync_or_async
@pytest.mark.usefixtures("instrumented")
async def test_moderations_are_free(asynchronous: bool, provider: OfflineProvider, calls: Spans) -> None:
    pytest.importorskip("openai")
    client = CLIENT.connect(provider.url, asynchronous=asynchronous)
    found = await got(client.moderations.create(model="omni-moderation-latest", input=["Nice."]))
    assert not found.results[0].flagged
    [call] = calls()
    attributes = call.attributes or {}
    assert attributes[A.GEN_AI_OPERATION_NAME] == "moderation"
    assert (attributes[A.OTEL_LLM_COST_STATUS], attributes[A.OTEL_LLM_COST_NANO_USD]) == ("free", 0)


@sync_or_async
@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize(
    ("surface", "asked"),
    [
        (CLIENT, {"model": "whisper-1", "response_format": "text"}),
        (GROQ, {"model": "whisper-large-v3"}),
        (TOGETHER, {"model": "openai/whisper-large-v3"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_plain_text_tells_no_usage(
    surface: Surface, asked: Body, asynchronous: bool, provider: OfflineProvider, calls: Spans
) -> None:
    pytest.importorskip(surface.package)
    client = surface.connect(provider.url, asynchronous=asynchronous)
    await got(client.audio.transcriptions.create(file=SOUND, **asked))
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "unpriced"
    assert "no_usage" in str((call.attributes or {})[A.OTEL_LLM_COST_UNPRICED_REASON]) or surface is TOGETHER
