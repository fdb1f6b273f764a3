"""Mistral's own: conversations, documents, classifiers, and sound, which it bills by its length or its characters.

Of a chat with sound, the tokens of the sound are in the total alone. A conversation's built-in tools ("connectors")
read tokens of their own: more input of the same model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from otel_llm.call import Call, Usage
from otel_llm.dialects import openai_media
from otel_llm.dialects.content import mistral_content
from otel_llm.dialects.openai import UNASKED
from otel_llm.dialects.openai_batches import results
from otel_llm.dialects.openai_chat import chat_usage, embeddings, unasked
from otel_llm.dialects.reading import count, disagreement, fields, get, items, parameters, text
from otel_llm.spec import Dialect, Paths
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {
    "max_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "top_p": (A.GEN_AI_REQUEST_TOP_P, float),
    "random_seed": (A.GEN_AI_REQUEST_SEED, int),
    "frequency_penalty": (A.GEN_AI_REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (A.GEN_AI_REQUEST_PRESENCE_PENALTY, float),
    "stop": (A.GEN_AI_REQUEST_STOP_SEQUENCES, list),
}


def _chat_response(call: Call, body: Any) -> None:
    usage = get(body, "usage")
    seconds = count(get(usage, "prompt_audio_seconds"))
    unasked.response(call, {**body, "usage": {**usage, "total_tokens": None}} if seconds else body)
    # The tier that decides the price is told with the usage.
    call.service_tier = text(get(usage, "service_tier")) or call.service_tier
    if seconds and call.usage is not None:
        call.usage.requests["audio_ms"] = seconds * 1000


def _conversation_request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))
    parameters(call, _object(body.get("completion_args")), _PARAMETERS)


def _object(found: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _conversation_response(call: Call, body: Any) -> None:
    conversation = text(get(body, "conversation_id"))
    if conversation is not None:
        call.response[A.GEN_AI_CONVERSATION_ID] = conversation
    outputs = items(body, "outputs")
    # Agents that hand over to each other share one usage: then no single model's price is theirs.
    models = sorted({model for entry in outputs if (model := text(get(entry, "model")))})
    call.response_model = ", ".join(models) or None
    ids = [id_ for entry in outputs if (id_ := text(get(entry, "id")))]
    call.response_id = ids[-1] if ids else None
    usage = _object(get(body, "usage"))
    if usage:
        call.usage = _usage(usage)
        called = any(get(entry, "type") == "function.call" for entry in outputs)
        call.finish_reasons = ["tool_call" if called else "stop"]


def _usage(usage: Mapping[str, Any]) -> Usage:
    asked, made = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    read, total = count(usage.get("connector_tokens")), count(usage.get("total_tokens"))
    given = asked if read is None else (asked or 0) + read
    used = {tool: number for tool, said in _object(usage.get("connectors")).items() if (number := count(said))}
    return Usage(input=given, output=made, requests=used, inconsistent=disagreement(total, asked, read, made))


def _conversation_fold(body: dict[str, Any], event: Any) -> None:
    kind = text(get(event, "type")) or ""
    match kind.removeprefix("conversation.response."):
        case "started":
            body["conversation_id"] = get(event, "conversation_id")
        case "done":
            body.update(usage=get(event, "usage"), over=True)
        case "error":
            body["error"] = event
        case _ if (id_ := text(get(event, "id"))) is not None:
            entries: dict[str, Any] = body.setdefault("by_id", {})
            entry = entries.setdefault(id_, {"id": id_, "type": kind.removesuffix(".delta")})
            entry["model"] = get(event, "model") or entry.get("model")
            body["outputs"] = list(entries.values())
        case _:
            pass


def _heard(call: Call, body: Any) -> None:
    call.response_model = text(get(body, "model"))
    seconds = count(get(body, "usage", "prompt_audio_seconds"))
    if seconds is not None:
        call.usage = Usage(requests={"audio_ms": seconds * 1000})


def _heard_fold(body: dict[str, Any], event: Any) -> None:
    if get(event, "type") == "transcription.done":
        body.update(event, over=True)


def _request(call: Call, body: Mapping[str, Any]) -> None:
    call.request_model = text(body.get("model"))


def _pages(call: Call, body: Any) -> None:
    call.response_model = text(get(body, "model"))
    pages = count(get(body, "usage_info", "pages_processed"))
    pictures = (picture for page in items(body, "pages") for picture in items(page, "images"))
    notes = (get(body, "document_annotation"), *(get(picture, "image_annotation") for picture in pictures))
    if pages is not None:
        call.usage = Usage(requests={"annotated_pages" if any(notes) else "pages": pages})


def _judged(call: Call, body: Any) -> None:
    call.response_id = text(get(body, "id"))
    call.response_model = text(get(body, "model"))
    # It is billed by what it read, which not every answer tells.
    usage = get(body, "usage")
    call.usage = None if usage is None else chat_usage(fields(usage))


def _spoken(_call: Call, _body: Any) -> None:
    """Characters are billed; the tokens that a stream ends with are the same again."""


def _outputs(job: Any) -> tuple[str, list[Any]]:
    """The results in a job that has ended; the file of them, where there is one, has them, too."""
    goes_on = get(job, "status") in ("QUEUED", "RUNNING", "CANCELLATION_REQUESTED")
    return text(get(job, "output_file")) or text(get(job, "id")) or "", [] if goes_on else items(job, "outputs")


chat = replace(unasked, name="mistral.chat", response=_chat_response)
conversations = Dialect(
    name="mistral.conversations",
    operation="chat",
    request=_conversation_request,
    response=_conversation_response,
    fold=_conversation_fold,
    content=mistral_content,
)
transcriptions = Dialect(
    name="mistral.transcriptions", operation="transcription", request=_request, response=_heard, fold=_heard_fold
)
speech = replace(openai_media.speech, name="mistral.speech", response=_spoken)
moderations = Dialect(name="mistral.moderations", operation="moderation", request=_request, response=_judged)
classifications = replace(moderations, name="mistral.classifications", operation="classification")
ocr = Dialect(name="mistral.ocr", operation="ocr", request=_request, response=_pages)
batch_file = results(
    {"chat.completion": chat, "list": embeddings, "conversation.response": conversations},
    {"pages": ocr, "results": moderations, "text": transcriptions},
    re.compile(rb'\s*\{\s*"(?:id|custom_id)"\s*:'),
)
"""The results of a job, downloaded."""
batch_job = replace(batch_file, inside=_outputs)
"""The same, in what tells of the job."""

PATHS: Paths = {
    **UNASKED,
    "/chat/completions": chat,
    "/fim/completions": chat,
    "/agents/completions": chat,
    "/conversations": conversations,
    "/conversations/.+": conversations,
    "/ocr": ocr,
    "/audio/transcriptions": transcriptions,
    "/audio/speech": speech,
    "/moderations": moderations,
    "/classifications": classifications,
    "GET /files/{id}/content": batch_file,
    "GET /batch/jobs/{id}": batch_job,
}
