"""Two hundred users at once, through thread pools and streams: zero cents on the wrong one."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fastapi
import httpx
import openai
import pytest
from fastapi.responses import StreamingResponse

from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import ThreadsInstrumentor, WebInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.serving import asgi

_USER = re.compile(r"user-\d+")
USERS = [f"user-{number}" for number in range(200)]


@pytest.fixture
def everything(instrumented: None) -> Iterator[None]:
    """Web frameworks and threads are instrumented, too."""
    for kind in (WebInstrumentor, ThreadsInstrumentor):
        kind().instrument()
    yield
    for kind in (WebInstrumentor, ThreadsInstrumentor):
        kind().uninstrument()


def build(provider: OfflineProvider, pool: ThreadPoolExecutor) -> fastapi.FastAPI:
    client: Any = openai.OpenAI(base_url=provider.openai_url, api_key="offline", max_retries=0, timeout=120)
    app = fastapi.FastAPI(telemetry={"tracing": False})

    def ask(text: str, **options: Any) -> Any:
        return client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": text}], **options
        )

    @app.post("/chat/{way}")
    def chat(way: str, question: dict[str, str]) -> StreamingResponse:  # pyright: ignore[reportUnusedFunction]
        text = question["text"]
        if way == "pool":
            pool.submit(ask, f"{text} pooled").result()
        else:
            thread = threading.Thread(target=ask, args=(f"{text} threaded",))
            thread.start()
            thread.join()

        def words() -> Iterator[str]:
            for chunk in ask(f"{text} streamed", stream=True):
                yield chunk.choices[0].delta.content or "" if chunk.choices else ""

        return StreamingResponse(words())

    return app


@pytest.mark.usefixtures("everything", "no_fault")
async def test_two_hundred_users_at_once(
    provider: OfflineProvider, calls: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_LLM_IDENTITY", "user=header:x-user-id")
    with ThreadPoolExecutor(8) as pool, asgi(build(provider, pool)) as url:
        async with httpx.AsyncClient(
            timeout=120, verify=False, limits=httpx.Limits(max_connections=len(USERS))
        ) as client:

            async def use(user: str, way: str) -> int:
                answer = await client.post(
                    f"{url}/chat/{way}", json={"text": f"I am {user}"}, headers={"x-user-id": user}
                )
                return answer.status_code

            statuses = await asyncio.gather(
                *(use(user, ("pool", "thread")[number % 2]) for number, user in enumerate(USERS))
            )
    assert set(statuses) == {200}
    provider.settle()
    asked = {request.response_id: str(_USER.findall(str(request.body))[0]) for request in provider.requests}
    assert set(asked.values()) == set(USERS)
    theirs: Counter[str] = Counter()
    for entry in provider.bill:
        theirs[asked[entry.response_id]] += entry.cost_nano or 0
    ours: Counter[str] = Counter()
    interactions: dict[str, set[str]] = {}
    for call in calls():
        said: dict[str, Any] = dict(call.attributes or {})
        assert asked[said[A.GEN_AI_RESPONSE_ID]] == said[A.USER_ID]
        ours[said[A.USER_ID]] += said[A.OTEL_LLM_COST_NANO_USD]
        interactions.setdefault(said[A.OTEL_LLM_INTERACTION_ID], set()).add(said[A.USER_ID])
    assert ours == theirs
    assert min(ours.values()) > 0
    assert sorted(users.pop() for users in interactions.values() if len(users) == 1) == sorted(USERS)
