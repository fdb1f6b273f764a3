"""What `opentelemetry-instrument` loads: every table at once.

One entry point, because OpenTelemetry reads the metadata of a distribution twice for each of its own.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # pyright: ignore[reportMissingTypeStubs]

from otel_llm.engine.instrumentor import TableInstrumentor
from otel_llm.frameworks import FrameworkInstrumentor
from otel_llm.guard import guard
from otel_llm.integrations import SDKInstrumentor


def instrumentors() -> list[type[TableInstrumentor]]:
    """Those of all SDKs and frameworks."""
    return [*SDKInstrumentor.__subclasses__(), *FrameworkInstrumentor.__subclasses__()]


def disabled() -> set[str]:
    """The names in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS."""
    return {name.strip() for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}


class Instrumentor(BaseInstrumentor):
    """Instruments all SDKs and frameworks, but for those that OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names.

    Their names are `otel_llm_openai`, `otel_llm_langchain`, `otel_llm_web` ... One that fails does not keep the next
    from its work.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing: each waits for what it instruments to be imported."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        left_out = disabled()
        for kind in instrumentors():
            with guard:
                if f"otel_llm_{kind.name}" not in left_out:
                    kind().instrument(**kwargs)

    def _uninstrument(self, **kwargs: Any) -> None:
        for kind in instrumentors():
            with guard:
                kind().uninstrument(**kwargs)
