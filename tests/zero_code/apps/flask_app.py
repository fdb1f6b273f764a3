"""A web app that knows nothing of telemetry."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import openai
from flask import Flask, Response, request

app = Flask(__name__)
client = openai.OpenAI()


def messages(question: str) -> list[Any]:
    return [{"role": "user", "content": question}]


@app.post("/chat/<item>")
def chat(item: str) -> dict[str, str | None]:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages(request.get_data(as_text=True)))
    return {"answer": answer.choices[0].message.content}


@app.post("/stream/<item>")
def stream(item: str) -> Response:
    question = request.get_data(as_text=True)

    def words() -> Iterator[str]:
        for model in ("gpt-4o-mini", "gpt-4o"):
            for chunk in client.chat.completions.create(model=model, messages=messages(question), stream=True):
                yield chunk.choices[0].delta.content or ""

    return Response(words())


@app.get("/process")
def process() -> dict[str, int | bool]:
    return {"pid": os.getpid(), "chdb": "chdb" in sys.modules}
