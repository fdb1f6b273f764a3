"""google-genai: the Gemini API, and Vertex. Its interactions are those of a generated SDK inside of it."""

from __future__ import annotations

from otel_llm.dialects.gemini import PATHS, TUNED
from otel_llm.dialects.gemini_live import conversation
from otel_llm.spec import Integration
from otel_llm.transports import google_api, speakeasy
from otel_llm.transports.retries import tenacity

_INTERACTIONS = ["google.genai._gaos"]

google = Integration(
    name="google_genai",
    distribution="google-genai",
    oldest="1.7.0",
    newest_major=3,
    surfaces="generate_content, chats, interactions and agents, also in the background, decisions, embeddings, Imagen, "
    "Veo, batches, Live; Gemini API and Vertex",
    patches=(
        *google_api.patches({**PATHS, **TUNED}),
        *speakeasy.patches(_INTERACTIONS, PATHS, "gcp.gemini", ["BaseSDK.do_request", "AsyncBaseSDK.do_request_async"]),
    ),
    hooks=(tenacity("google"), *speakeasy.hooks(_INTERACTIONS), *google_api.sockets(conversation)),
)
