"""What LangChain says of a call to a model, in its one form for all providers: the metadata of a run, and `LLMResult`.

Usage: for every provider `input_tokens` includes cached tokens and `output_tokens` includes reasoning. OpenAI's tiers
prefix the names of their details (`flex_cache_read`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from otel_llm.call import Call, Usage
from otel_llm.dialects.openai_chat import completions
from otel_llm.dialects.reading import count, get, items, parameters, rest, text
from otel_llm.providers import provider_named
from otel_llm_semconv import attributes as A

_PARAMETERS: dict[str, tuple[str, type]] = {
    "ls_max_tokens": (A.GEN_AI_REQUEST_MAX_TOKENS, int),
    "ls_temperature": (A.GEN_AI_REQUEST_TEMPERATURE, float),
    "ls_stop": (A.GEN_AI_REQUEST_STOP_SEQUENCES, list),
}
_FINISH = {
    "end_turn": "stop",
    "function_call": "tool_call",
    "max_tokens": "length",
    "stop_sequence": "stop",
    "tool_calls": "tool_call",
    "tool_use": "tool_call",
}


def call_of(operation: str, metadata: Mapping[str, Any]) -> Call:
    """The call that a run with this metadata is about to make."""
    provider = text(metadata.get("ls_provider")) or "langchain"
    call = Call(operation=operation, provider=provider_named(provider))
    call.request_model = text(metadata.get("ls_model_name"))
    parameters(call, metadata, _PARAMETERS)
    return call


def from_cache(result: Any) -> bool:
    """Whether LangChain's own cache answered, so that there was no call."""
    return any(count(get(found, "message", "usage_metadata", "total_cost")) == 0 for found in _generations(result))


def response(call: Call, result: Any) -> None:
    """Fill the call from an `LLMResult`."""
    completions.response(call, {"usage": get(result, "llm_output", "token_usage")})
    generations = _generations(result)
    said = [_said(result, generation) for generation in generations]
    if not said:
        return
    call.response_id, call.service_tier = text(said[0].get("id")), text(said[0].get("service_tier"))
    call.response_model = text(said[0].get("model_name")) or text(said[0].get("model"))
    reasons = [text(one.get("finish_reason")) or text(one.get("stop_reason")) for one in said]
    call.finish_reasons = [_FINISH.get(reason.lower(), reason.lower()) for reason in reasons if reason]
    # Of several choices, each carries the usage of all.
    call.usage = _usage(get(generations[0], "message", "usage_metadata")) or call.usage


def _generations(result: Any) -> list[Any]:
    choices = next(iter(items(result, "generations")), None)
    return cast("list[Any]", choices) if isinstance(choices, list) else []


def _said(result: Any, generation: Any) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for place in (get(result, "llm_output"), get(generation, "generation_info")):
        said.update(place or {})
    said.update(get(generation, "message", "response_metadata") or {})
    return said


def _usage(said: Any) -> Usage | None:
    total_in, total_out = count(get(said, "input_tokens")), count(get(said, "output_tokens"))
    if total_in is None and total_out is None:
        return None
    input_, output = get(said, "input_token_details"), get(said, "output_token_details")
    read, audio_in = _detail(input_, "cache_read"), _detail(input_, "audio")
    written_5m = _detail(input_, "ephemeral_5m_input_tokens")
    written_1h = _detail(input_, "ephemeral_1h_input_tokens")
    written = _detail(input_, "cache_creation")
    if written is not None:
        # Some versions say the sum beside its parts, others 0.
        written = max(0, written - (written_5m or 0) - (written_1h or 0))
    reasoning, audio_out = _detail(output, "reasoning"), _detail(output, "audio")
    uncached, too_much_in = rest(total_in, read, written_5m, written_1h, written, audio_in)
    visible, too_much_out = rest(total_out, reasoning, audio_out)
    return Usage(
        input=uncached,
        cache_read=read,
        cache_write_5m=written_5m,
        cache_write_1h=written_1h,
        cache_write_other=written,
        output=visible,
        reasoning=reasoning,
        input_audio=audio_in,
        output_audio=audio_out,
        inconsistent=too_much_in or too_much_out,
    )


def _detail(details: Any, name: str) -> int | None:
    return next((count(details[key]) for key in details or () if key == name or key.endswith("_" + name)), None)
