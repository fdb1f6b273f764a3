"""Agent and web frameworks and thread pools, one adapter per file, and their instrumentors."""

from otel_llm.engine.instrumentor import TableInstrumentor
from otel_llm.frameworks.langchain import langchain
from otel_llm.frameworks.threads import threads
from otel_llm.frameworks.web import WEB_FRAMEWORKS
from otel_llm.spec import Integration

FRAMEWORKS: tuple[Integration, ...] = (langchain,)
"""Every agent framework that is instrumented."""


class FrameworkInstrumentor(TableInstrumentor):
    """Puts the tables of one framework, or of one kind of them, to work."""


def _instrumentor(name: str, *tables: Integration) -> type[FrameworkInstrumentor]:
    about = {"name": name, "tables": tables, "__doc__": name}
    return type(f"{name.title()}Instrumentor", (FrameworkInstrumentor,), about)


# For those who instrument one by hand.
LangChainInstrumentor = _instrumentor("langchain", langchain)
ThreadsInstrumentor = _instrumentor("threads", threads)
WebInstrumentor = _instrumentor("web", *WEB_FRAMEWORKS)
