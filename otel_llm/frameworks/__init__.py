"""Agent and web frameworks, one adapter per file, and the instrumentors that OpenTelemetry loads for them."""

from otel_llm.frameworks.langchain import LangChainInstrumentor
from otel_llm.frameworks.web import WebInstrumentor

__all__ = ["LangChainInstrumentor", "WebInstrumentor"]
