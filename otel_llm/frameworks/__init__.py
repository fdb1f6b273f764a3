"""Agent and web frameworks and thread pools, one adapter per file, and their instrumentors."""

from otel_llm.frameworks.langchain import LangChainInstrumentor
from otel_llm.frameworks.threads import ThreadsInstrumentor
from otel_llm.frameworks.web import WebInstrumentor

__all__ = ["LangChainInstrumentor", "ThreadsInstrumentor", "WebInstrumentor"]
