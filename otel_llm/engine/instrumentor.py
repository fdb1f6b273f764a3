"""What OpenTelemetry calls an instrumentor, around tables."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # pyright: ignore[reportMissingTypeStubs]

from otel_llm.engine.patching import Patches
from otel_llm.spec import Integration


class TableInstrumentor(BaseInstrumentor):
    """Puts tables to work. It waits for what they name to be imported, and needs none of it to be installed."""

    name: ClassVar[str]
    """Its name for OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, after `otel_llm_`."""
    tables: ClassVar[tuple[Integration, ...]]
    _patches: tuple[Patches, ...] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing: a version outside the tested range is instrumented too."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        self._patches = tuple(Patches(table, kwargs.get("tracer_provider")) for table in self.tables)
        for patches in self._patches:
            patches.apply()

    def _uninstrument(self, **kwargs: Any) -> None:
        for patches in self._patches:
            patches.remove()
