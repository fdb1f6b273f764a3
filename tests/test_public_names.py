"""The public names: adding one is a decision, removing one breaks somebody."""

from __future__ import annotations

import inspect

import otel_llm


def test_public_names() -> None:
    assert sorted(otel_llm.__all__) == ["Interaction", "attribute", "current_interaction", "interaction", "outcome"]
    assert all(hasattr(otel_llm, name) for name in otel_llm.__all__)


def test_arguments() -> None:
    who = ["user_id", "session_id", "feature", "tenant", "tags"]
    assert list(inspect.signature(otel_llm.interaction).parameters) == ["name", *who]
    assert list(inspect.signature(otel_llm.attribute).parameters) == who
    assert list(inspect.signature(otel_llm.outcome).parameters) == ["outcome", "success", "interaction_id"]
    assert not inspect.signature(otel_llm.current_interaction).parameters


def test_what_an_interaction_says() -> None:
    said = ["id", "name", "calls", "attempts", "nano_usd", "cost", "input_tokens", "output_tokens", "priced_calls"]
    it = otel_llm.Interaction("i-1", "support.answer")
    assert all(hasattr(it, name) for name in said)
    assert (it.calls, it.nano_usd, it.cost) == (0, 0, 0)
