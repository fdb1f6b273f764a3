"""The message runtime of AutoGen, which Semantic Kernel has a copy of: messages belong to whoever sent them.

It delivers them in tasks of the loop that it was started in, maybe by another interaction, or by none.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_llm.driving import within
from otel_llm.guard import guard
from otel_llm.spec import Hook

_FLOW = otel_context.create_key("otel_llm.flow")
_SLOT = "_otel_llm_context"


def message_hooks(runtime: str, kind: str, tracing: str) -> tuple[Hook, ...]:
    """For the class `kind` in the module `runtime`; its own traces, a span for each message and more, are in the module
    `tracing`. They are off, but where the user gave the runtime a tracer provider.
    """
    return (
        Hook(runtime, "SendMessageEnvelope.__init__", _posted),
        Hook(runtime, "PublishMessageEnvelope.__init__", _posted),
        Hook(runtime, f"{kind}._process_send", _delivered),
        Hook(runtime, f"{kind}._process_publish", _delivered),
        Hook(tracing, "TraceHelper.__init__", _traced),
    )


def _posted(wrapped: Any, envelope: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        # Who asks somebody waits for the answer: that is inside. What is published goes on beside it.
        here = otel_context.get_current()
        setattr(envelope, _SLOT, here if "recipient" in kwargs else otel_context.get_value(_FLOW) or here)
    return wrapped(*args, **kwargs)


async def _delivered(wrapped: Any, _runtime: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    around = getattr(args[0], _SLOT, None) if args else None
    if around is None:
        return await wrapped(*args, **kwargs)
    with within(otel_context.set_value(_FLOW, around, around)):
        return await wrapped(*args, **kwargs)


def _traced(wrapped: Any, _helper: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with guard:
        if args and args[0] is None:
            args = (trace.NoOpTracerProvider(), *args[1:])
    return wrapped(*args, **kwargs)
