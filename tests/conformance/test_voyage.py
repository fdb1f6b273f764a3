"""voyageai: requests or aiohttp beneath, tenacity above, and no streams."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice
from tests.conformance.methods import BROKEN, REFUSED, USAGE, held
from tests.conformance.surfaces import got
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

voyageai: Any = pytest.importorskip("voyageai", reason="the oldest SDKs do not fit into one environment")
Ask = Callable[[Any, str], Any]
PICTURE = {"type": "image_url", "image_url": "https://example.com/a-secret-picture.png"}
METHODS: dict[str, Ask] = {
    "embed": lambda client, text: client.embed([text, "a secret"], "voyage-3.5", output_dimension=256),
    "contextualized_embed": lambda client, text: client.contextualized_embed(
        [[text, "a secret"]], model="voyage-context-3"
    ),
    "multimodal_embed": lambda client, text: client.multimodal_embed(
        [{"content": [{"type": "text", "text": text}, PICTURE]}], model="voyage-multimodal-3"
    ),
    "rerank": lambda client, text: client.rerank(text, ["a secret", "another"], "rerank-2.5", top_k=1),
}


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request: pytest.FixtureRequest, provider: OfflineProvider) -> Callable[..., Any]:
    return partial(getattr(voyageai, request.param), api_key="k", base_url=f"{provider.url}/voyage/v1")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", [USAGE, *REFUSED, *BROKEN])
async def test_all_methods(connect: Callable[..., Any], twice: Twice, method: str, how: str) -> None:
    client = connect()
    _seen, attributes = await held(
        twice, lambda script: METHODS[method](client, f"[[offline: {script}]] Why?"), how, stream=False
    )
    assert attributes[A.GEN_AI_PROVIDER_NAME] == "voyageai"
    assert attributes[A.GEN_AI_OPERATION_NAME] == ("rerank" if method == "rerank" else "embeddings")
    assert "secret" not in str(attributes)
    if how == USAGE:
        assert attributes[A.GEN_AI_USAGE_INPUT_TOKENS] == 1000
        assert attributes[A.OTEL_LLM_COST_STATUS] == "priced"


@pytest.mark.usefixtures("instrumented")
async def test_retries_are_attempts_of_one_call(
    connect: Callable[..., Any], audited: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenacity: Any = pytest.importorskip("tenacity")
    monkeypatch.setattr(tenacity.wait_exponential_jitter, "__call__", Mock(return_value=0.0))
    await got(connect(max_retries=3).embed([f"[[offline: 429 twice; {USAGE}]]"], model="voyage-3.5"))
    [call] = audited()
    assert (call.attributes or {})[A.OTEL_LLM_ATTEMPTS] == 3
    assert [(event.attributes or {})[A.OTEL_LLM_ATTEMPT_STATUS_CODE] for event in call.events] == [429, 429]
