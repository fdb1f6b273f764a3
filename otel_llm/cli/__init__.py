"""`otel-llm`: what each user action cost, from the embedded store."""

from otel_llm.cli.commands import main

__all__ = ["main"]
