"""replicate: a prediction goes on without its request, until the SDK asks how it ended."""

from __future__ import annotations

from otel_llm.dialects.replicate import PATHS
from otel_llm.spec import Integration
from otel_llm.transports import replicate_client

replicate = Integration(
    name="replicate",
    distribution="replicate",
    oldest="1.0.1",
    newest_major=1,
    surfaces="run, predictions of models, versions and deployments, waited for or polled",
    patches=replicate_client.patches(PATHS, "replicate"),
)
