"""azure-ai-inference: models on Azure, by the pipeline that all of Azure's SDKs share; the URL says which are calls.

`AIInferenceInstrumentor` of the SDK puts a span around the call, above ours: while ours is on, it says nothing of
models and tokens, so that it is no second call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast
from weakref import ref

from otel_llm.dialects.openai_chat import embeddings, unasked
from otel_llm.engine.recording import current_recording
from otel_llm.guard import guard
from otel_llm.integrations.sent import reader
from otel_llm.integrations.stainless import route
from otel_llm.providers import provider_of
from otel_llm.spec import Follower, Hook, Integration, Patch, Request

_ROUTES = {"/chat/completions": unasked, "/embeddings": embeddings}
_TRACING = "azure.ai.inference.tracing"
_sent = reader(_ROUTES, lambda host, port: provider_of(host, port, "azure.ai.inference"))


def _read(pipeline: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
    request = _sent(pipeline, args, kwargs)
    return request and replace(request, with_body=None, transport=_whole, follow=_follow)


def _whole(result: Any) -> Any:
    response = result.http_response
    return response if response.is_closed or response.status_code >= 400 else None


def _follow(result: Any, follower: Follower) -> Any:
    response = result.http_response
    response._stream_download_generator = partial(_download, response._stream_download_generator, follower)
    response.close = partial(_close, ref(response), follower)
    return result


def _download(download: Callable[..., Any], follower: Follower, **how: Any) -> Any:
    return follower.along(download(**how), follower.server_sent())


def _close(response: ref[Any], follower: Follower) -> Any:
    follower.closed()
    found = response()
    return cast("Any", type(found)).close(found)


def _increment(wrapped: Any, _policy: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    again = wrapped(*args, **kwargs)
    with guard:
        recording = current_recording()
        failed: Any = kwargs.get("response")
        # Credentials have pipelines of their own.
        if again and recording is not None and route(_ROUTES, failed.http_request.url) is not None:
            if kwargs.get("error") is None:
                recording.attempt_answered(failed.http_response.status_code)
            recording.retried(kwargs.get("error"))
    return again


def _silently(_wrapped: Any, _instance: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    return None


azure = Integration(
    name="azure_inference",
    distribution="azure-ai-inference",
    oldest="1.0.0b5",
    newest_major=1,
    surfaces="chat completions, embeddings",
    patches=(
        Patch("azure.core.pipeline._base", "Pipeline.run", _read),
        Patch("azure.core.pipeline._base_async", "AsyncPipeline.run", _read),
    ),
    hooks=(
        Hook("azure.core.pipeline.policies._retry", "RetryPolicyBase.increment", _increment),
        Hook(_TRACING, "_AIInferenceInstrumentorPreview._add_request_chat_attributes", _silently),
        Hook(_TRACING, "_AIInferenceInstrumentorPreview._add_response_chat_attributes", _silently),
    ),
)
