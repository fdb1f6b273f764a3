"""anthropic: its own service, and Claude on Bedrock, Vertex and Foundry.

From version 1 the SDK traces itself. Its span of a call would be a second one, so beneath ours it stays silent; its
spans of tool runners and tools are its own, and stay.
"""

from __future__ import annotations

from otel_llm.dialects.anthropic_messages import PATHS
from otel_llm.spec import Integration
from otel_llm.transports import stainless
from otel_llm.transports.own_spans import lent
from otel_llm.transports.sent import at

_GOOGLE, _FOUNDRY = "gcp.vertex_ai", "azure.ai.inference"
_CLOUDS = {"Bedrock": "aws.bedrock", "Vertex": _GOOGLE, "GoogleCloud": _GOOGLE, "Foundry": _FOUNDRY}

anthropic = Integration(
    name="anthropic",
    distribution="anthropic",
    oldest="0.40.0",
    newest_major=2,
    surfaces="messages, beta messages, tool runner, message batches; Bedrock, Vertex and Foundry clients",
    patches=stainless.patches("anthropic", PATHS, at("anthropic", _CLOUDS)),
    hooks=(*stainless.hooks("anthropic"), lent("anthropic._base_client", "start_api_call_span")),
)
