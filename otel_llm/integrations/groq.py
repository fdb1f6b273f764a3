"""groq: speaks as OpenAI does. Only `verbose_json` tells how long a sound was, which is what it costs."""

from __future__ import annotations

from otel_llm.dialects.groq import transcriptions, translations
from otel_llm.dialects.openai_batches import results
from otel_llm.dialects.openai_chat import chat, embeddings
from otel_llm.dialects.openai_media import speech
from otel_llm.integrations.stainless import hooks, patches
from otel_llm.providers import provider_of
from otel_llm.spec import Integration

_BATCH = results({"chat.completion": chat, "translate": translations}, {"text": transcriptions})

groq = Integration(
    name="groq",
    distribution="groq",
    oldest="0.9.0",
    newest_major=1,
    surfaces="chat completions, compound systems, embeddings, audio, batches",
    patches=patches(
        "groq",
        {
            "/openai/v1/chat/completions": chat,
            "/openai/v1/embeddings": embeddings,
            "/openai/v1/audio/transcriptions": transcriptions,
            "/openai/v1/audio/translations": translations,
            "/openai/v1/audio/speech": speech,
        },
        lambda _client, host, port: provider_of(host, port, "groq"),
        {"GET .*/files/(?P<id>[^/]+)/content": _BATCH},
    ),
    hooks=hooks("groq"),
)
