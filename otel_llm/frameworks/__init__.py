"""Agent and web frameworks and thread pools, one adapter per file, and their instrumentors."""

from otel_llm.engine.instrumentor import TableInstrumentor
from otel_llm.frameworks.agent_framework import agent_framework
from otel_llm.frameworks.agno import agno
from otel_llm.frameworks.autogen import autogen
from otel_llm.frameworks.claude_agent_sdk import claude_agent_sdk
from otel_llm.frameworks.crewai import crewai
from otel_llm.frameworks.dspy import dspy
from otel_llm.frameworks.google_adk import google_adk
from otel_llm.frameworks.haystack import haystack
from otel_llm.frameworks.langchain import langchain
from otel_llm.frameworks.llama_index import llama_index
from otel_llm.frameworks.mcp import mcp
from otel_llm.frameworks.openai_agents import openai_agents
from otel_llm.frameworks.processes import processes
from otel_llm.frameworks.pydantic_ai import pydantic_ai
from otel_llm.frameworks.queues import QUEUES
from otel_llm.frameworks.semantic_kernel import semantic_kernel
from otel_llm.frameworks.smolagents import smolagents
from otel_llm.frameworks.strands import strands
from otel_llm.frameworks.threads import threads
from otel_llm.frameworks.web import WEB_FRAMEWORKS
from otel_llm.spec import Integration

FRAMEWORKS: tuple[Integration, ...] = (
    agent_framework,
    agno,
    autogen,
    claude_agent_sdk,
    crewai,
    dspy,
    google_adk,
    haystack,
    langchain,
    llama_index,
    mcp,
    openai_agents,
    pydantic_ai,
    semantic_kernel,
    smolagents,
    strands,
)
"""Every agent framework that is instrumented."""


class FrameworkInstrumentor(TableInstrumentor):
    """Puts the tables of one framework, or of one kind of them, to work."""


def _instrumentor(name: str, *tables: Integration) -> type[FrameworkInstrumentor]:
    about = {"name": name, "tables": tables, "__doc__": name}
    return type(f"{name.title()}Instrumentor", (FrameworkInstrumentor,), about)


# For those who instrument one by hand.
AgentFrameworkInstrumentor = _instrumentor("agent_framework", agent_framework)
AgnoInstrumentor = _instrumentor("agno", agno)
AutoGenInstrumentor = _instrumentor("autogen", autogen)
ClaudeAgentSDKInstrumentor = _instrumentor("claude_agent_sdk", claude_agent_sdk)
CrewAIInstrumentor = _instrumentor("crewai", crewai)
DSPyInstrumentor = _instrumentor("dspy", dspy)
GoogleADKInstrumentor = _instrumentor("google_adk", google_adk)
HaystackInstrumentor = _instrumentor("haystack", haystack)
LangChainInstrumentor = _instrumentor("langchain", langchain)
ProcessesInstrumentor = _instrumentor("processes", processes)
QueuesInstrumentor = _instrumentor("queues", *QUEUES)
LlamaIndexInstrumentor = _instrumentor("llama_index", llama_index)
OpenAIAgentsInstrumentor = _instrumentor("openai_agents", openai_agents)
MCPInstrumentor = _instrumentor("mcp", mcp)
PydanticAIInstrumentor = _instrumentor("pydantic_ai", pydantic_ai)
SemanticKernelInstrumentor = _instrumentor("semantic_kernel", semantic_kernel)
SmolagentsInstrumentor = _instrumentor("smolagents", smolagents)
StrandsInstrumentor = _instrumentor("strands", strands)
ThreadsInstrumentor = _instrumentor("threads", threads)
WebInstrumentor = _instrumentor("web", *WEB_FRAMEWORKS)
