"""Jobs for RQ, and who enqueues them: three users, each in an interaction of their own."""

from typing import Any

import openai
import redis
import rq

import otel_llm


def ask(number: int) -> None:
    openai.OpenAI().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": f"Question {number}"}]
    )


def main(url: str) -> None:
    connection: Any = redis.Redis
    queue: Any = rq.Queue(connection=connection.from_url(url))
    for number in range(3):
        with otel_llm.interaction("order", user_id=f"u-{number}", tags={"number": str(number)}) as it:
            first = queue.enqueue(ask, number, meta={"own": 1})
            queue.enqueue(ask, number, depends_on=first)
            print(it.id, flush=True)
    queue.enqueue(ask, 7)
