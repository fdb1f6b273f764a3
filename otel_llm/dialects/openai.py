"""Where OpenAI's API speaks which dialect, and with it all who took it over."""

from __future__ import annotations

from otel_llm.dialects.openai_assistants import runs
from otel_llm.dialects.openai_batches import results
from otel_llm.dialects.openai_chat import chat, completions, embeddings, unasked, unasked_completions
from otel_llm.dialects.openai_media import images, moderations, speech, transcriptions, translations
from otel_llm.dialects.openai_responses import responses
from otel_llm.spec import Paths

PATHS: Paths = {
    "/chat/completions": chat,
    "/completions": completions,
    "/embeddings": embeddings,
    "/responses": responses,
    "/responses/compact": responses,
    "GET /responses/{id}": responses,
    "/responses/{id}/cancel": responses,
    "/decisions": responses,
    "/images/(generations|edits|variations)": images,
    "/audio/transcriptions": transcriptions,
    "/audio/translations": translations,
    "/audio/speech": speech,
    "/moderations": moderations,
    "/threads/runs": runs,
    "/threads/[^/]+/runs": runs,
    "GET /threads/[^/]+/runs/{id}": runs,
    "/threads/[^/]+/runs/{id}(/cancel|/submit_tool_outputs)?": runs,
    "GET /files/{id}/content": results(
        {
            "chat.completion": chat,
            "response": responses,
            "text_completion": completions,
            "list": embeddings,
            "translate": translations,
        },
        {"data": images, "text": transcriptions},
    ),
}
UNASKED: Paths = {**PATHS, "/chat/completions": unasked, "/completions": unasked_completions}
"""Of those who tell the usage of every stream unasked, and may not know the question."""
