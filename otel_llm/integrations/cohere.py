"""cohere: version 2 and 1 of its API, also on AWS and Oracle's cloud."""

from __future__ import annotations

from otel_llm.dialects.cohere import PATHS
from otel_llm.spec import Integration
from otel_llm.transports import fern

cohere = Integration(
    name="cohere",
    distribution="cohere",
    oldest="5.16.0",
    newest_major=7,
    surfaces="chat, embed, rerank, generate, summarize, classify, parse, transcriptions; version 2 and 1; "
    "AWS and OCI clients",
    patches=fern.patches(PATHS, "cohere"),
    hooks=fern.hooks(),
)
