"""The pipeline that all of Azure's SDKs share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit
from weakref import ref

from otel_llm.engine.recording import current_recording
from otel_llm.guard import guard
from otel_llm.spec import Follower, Hook, Patch, Paths
from otel_llm.transports.httpx_send import sent_by
from otel_llm.transports.sent import Sent, reader

_request = sent_by()


def patches(paths: Paths, provider: str) -> tuple[Patch, ...]:
    """The patches of the pipelines; the paths say what of Azure is meant."""
    read = reader(_sent, paths, provider)
    return (
        Patch("azure.core.pipeline._base", "Pipeline.run", read),
        Patch("azure.core.pipeline._base_async", "AsyncPipeline.run", read),
    )


def _sent(pipeline: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent | None:
    sent = _request(pipeline, args, kwargs)
    return sent and replace(sent, with_body=None, transport=_whole, follow=_follow)


def _whole(result: Any) -> Any:
    response = result.http_response
    return response if response.is_closed or response.status_code >= 400 else None


def _follow(result: Any, follower: Follower) -> Any:
    response = result.http_response
    response._stream_download_generator = partial(_download, response._stream_download_generator, follower)
    response.close = partial(_close, ref(response), follower)
    return result


def _download(download: Callable[..., Any], follower: Follower, **how: Any) -> Any:
    return follower.along(download(**how), follower.pieces())


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
        if again and recording is not None and _host(failed.http_request) == recording.call.server_address:
            if kwargs.get("error") is None:
                recording.attempt_answered(failed.http_response.status_code)
            recording.retried(kwargs.get("error"))
    return again


def _host(request: Any) -> str | None:
    return urlsplit(str(request.url)).hostname


RETRIES = Hook("azure.core.pipeline.policies._retry", "RetryPolicyBase.increment", _increment)
"""Attempts of a call."""
