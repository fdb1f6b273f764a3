"""A web app that knows nothing of telemetry."""

import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import openai
from fastapi import Body, FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()
client = openai.OpenAI()
Question = Annotated[str, Body(media_type="text/plain")]


def messages(question: str) -> list[Any]:
    return [{"role": "user", "content": question}]


@app.post("/chat/{item}")
def chat(item: str, question: Question) -> dict[str, str | None]:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages(question))
    return {"answer": answer.choices[0].message.content}


@app.post("/stream/{item}")
def stream(item: str, question: Question) -> StreamingResponse:
    def words() -> Iterator[str]:
        for model in ("gpt-4o-mini", "gpt-4o"):
            for chunk in client.chat.completions.create(model=model, messages=messages(question), stream=True):
                yield chunk.choices[0].delta.content or ""

    return StreamingResponse(words())


@app.get("/process")
def process() -> dict[str, int | bool]:
    return {"pid": os.getpid(), "chdb": "chdb" in sys.modules}
