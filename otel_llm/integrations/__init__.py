"""SDKs, one table per file, and their instrumentors."""

from __future__ import annotations

from otel_llm.engine.instrumentor import TableInstrumentor
from otel_llm.integrations.anthropic import anthropic
from otel_llm.integrations.azure import azure
from otel_llm.integrations.bedrock import aiobotocore, bedrock
from otel_llm.integrations.cohere import cohere
from otel_llm.integrations.google import google
from otel_llm.integrations.groq import groq
from otel_llm.integrations.huggingface import huggingface
from otel_llm.integrations.litellm import litellm
from otel_llm.integrations.lm15 import lm15
from otel_llm.integrations.mistral import mistral
from otel_llm.integrations.ollama import ollama
from otel_llm.integrations.openai import openai
from otel_llm.integrations.openai_alike import cerebras, fireworks, together
from otel_llm.integrations.replicate import replicate
from otel_llm.integrations.voyage import voyage
from otel_llm.integrations.watsonx import watsonx
from otel_llm.integrations.xai import xai
from otel_llm.spec import Integration

INTEGRATIONS: tuple[Integration, ...] = (
    openai,
    anthropic,
    groq,
    mistral,
    together,
    fireworks,
    cerebras,
    azure,
    xai,
    watsonx,
    google,
    cohere,
    bedrock,
    aiobotocore,
    ollama,
    voyage,
    huggingface,
    replicate,
    litellm,
    lm15,
)
"""Every SDK that is instrumented: the one source of the support table, the test matrix and `otel-llm doctor`.

Those that send to all providers come last.
"""


class SDKInstrumentor(TableInstrumentor):
    """Puts the table of one SDK to work."""


def _instrumentor(table: Integration) -> type[SDKInstrumentor]:
    about = {"name": table.name, "tables": (table,), "__doc__": table.name}
    return type(f"{table.name.title()}Instrumentor", (SDKInstrumentor,), about)


# For those who instrument one SDK by hand.
OpenAIInstrumentor = _instrumentor(openai)
AnthropicInstrumentor = _instrumentor(anthropic)
GroqInstrumentor = _instrumentor(groq)
MistralInstrumentor = _instrumentor(mistral)
TogetherInstrumentor = _instrumentor(together)
FireworksInstrumentor = _instrumentor(fireworks)
CerebrasInstrumentor = _instrumentor(cerebras)
AzureInferenceInstrumentor = _instrumentor(azure)
LiteLLMInstrumentor = _instrumentor(litellm)
LM15Instrumentor = _instrumentor(lm15)
XAIInstrumentor = _instrumentor(xai)
WatsonxInstrumentor = _instrumentor(watsonx)
GoogleGenAIInstrumentor = _instrumentor(google)
CohereInstrumentor = _instrumentor(cohere)
OllamaInstrumentor = _instrumentor(ollama)
VoyageInstrumentor = _instrumentor(voyage)
HuggingFaceInstrumentor = _instrumentor(huggingface)
ReplicateInstrumentor = _instrumentor(replicate)
BedrockInstrumentor = _instrumentor(bedrock)
AiobotocoreInstrumentor = _instrumentor(aiobotocore)
