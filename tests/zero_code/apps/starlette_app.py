"""A web app that knows nothing of telemetry."""

import os
import sys
from collections.abc import AsyncIterator

import openai
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

client = openai.AsyncOpenAI()


async def chat(request: Request) -> JSONResponse:
    question = (await request.body()).decode()
    answer = await client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": question}])
    return JSONResponse({"answer": answer.choices[0].message.content})


async def stream(request: Request) -> StreamingResponse:
    question = (await request.body()).decode()

    async def words() -> AsyncIterator[str]:
        for model in ("gpt-4o-mini", "gpt-4o"):
            chunks = await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": question}], stream=True
            )
            async for chunk in chunks:
                yield chunk.choices[0].delta.content or ""

    return StreamingResponse(words())


async def process(request: Request) -> JSONResponse:
    return JSONResponse({"pid": os.getpid(), "chdb": "chdb" in sys.modules})


app = Starlette(
    routes=[
        Route("/chat/{item}", chat, methods=["POST"]),
        Route("/stream/{item}", stream, methods=["POST"]),
        Route("/process", process),
    ]
)
