"""litellm: what it sends with its own HTTP clients. What it sends with openai's SDK is recorded there.

Every request passes exactly one of the two, so it counts once; the Router's retries and fallbacks are calls of their
own, each at its deployment's model. A cache hit or a mocked response sends nothing, and is no call.
"""

from __future__ import annotations

from otel_llm.dialects.every import MAKERS, PATHS
from otel_llm.spec import Integration
from otel_llm.transports import litellm_http
from otel_llm.transports.sent import at

litellm = Integration(
    name="litellm",
    distribution="litellm",
    oldest="1.95.0",
    newest_major=1,
    surfaces="completion, text completion, responses, embeddings, rerank, messages, images, audio, Router: "
    "what it sends itself",
    patches=litellm_http.patches(PATHS, at("litellm", makers=MAKERS)),
    hooks=(litellm_http.RETRIES,),
)
