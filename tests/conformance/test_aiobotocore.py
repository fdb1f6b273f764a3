"""Bedrock's models through aiobotocore: all that test_bedrock.py does, asynchronously."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.test_bedrock import *  # noqa: F403 - its tests, with the fixture below
from tests.conformance.test_bedrock import OPTIONS, SLOWLY, Connect, retries, use
from tests.conformance.ways import Seen
from tests.conftest import Spans

aiobotocore_session = pytest.importorskip(
    "aiobotocore.session", reason="the oldest SDKs do not fit into one environment"
)
aiobotocore_config = pytest.importorskip("aiobotocore.config")


@pytest.mark.parametrize("when", ["waiting", "reading"])
@pytest.mark.parametrize("surface", ["converse", "claude"])
@pytest.mark.usefixtures("instrumented")
async def test_the_user_cancels(
    connect: Connect,
    provider: OfflineProvider,
    calls: Spans,
    surface: str,
    when: str,
) -> None:
    client, seen = await connect(), Seen()
    text = "[[offline: slow 300ms]]" if when == "waiting" else SLOWLY
    doing = asyncio.create_task(use(client, surface, text, seen, stream=when == "reading"))
    while not (provider.requests if when == "waiting" else seen.values[1:]):  # noqa: ASYNC110 - of another thread
        await asyncio.sleep(0.002)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    [call] = calls()
    assert call.instrumentation_scope is not None
    assert call.instrumentation_scope.name == "otel_llm.aiobotocore"
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == "aborted"
    assert A.ERROR_TYPE not in (call.attributes or {})


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def connect(running_provider: OfflineProvider) -> AsyncIterator[Connect]:
    known: dict[Any, Any] = {}
    async with AsyncExitStack() as stack:

        async def connected(service: str = "bedrock-runtime", attempts: int = 1) -> Any:
            if (service, attempts) not in known:
                config = aiobotocore_config.AioConfig(**retries(attempts))
                options = {**OPTIONS, "endpoint_url": running_provider.url, "config": config}
                client = aiobotocore_session.get_session().create_client(service, **options)
                known[service, attempts] = await stack.enter_async_context(client)
            return known[service, attempts]

        yield connected
