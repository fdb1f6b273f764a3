"""Several tables on one method, put on and taken off in any order, by us and by others."""

from __future__ import annotations

import itertools
import sys
from types import ModuleType
from typing import Any, cast

import pytest
import wrapt

from otel_llm.engine.patching import Patches
from otel_llm.spec import Hook, Integration


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> str:
    class Client:
        def send(self) -> list[str]:
            return []

    found: Any = ModuleType("an_sdk")
    found.Client = Client
    monkeypatch.setitem(sys.modules, "an_sdk", found)
    return "an_sdk"


def _signing(name: str) -> Any:
    """A wrapper that adds a name to what a method returns."""

    def wrapper(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> list[str]:
        return [*wrapped(*args, **kwargs), name]

    return wrapper


def _table(module: str, name: str) -> Patches:
    hook = Hook(module, "Client.send", _signing(name))
    return Patches(Integration(name, name, "1", 1, "", patches=(), hooks=(hook,)))


def method() -> Any:
    return sys.modules["an_sdk"].__dict__["Client"].__dict__["send"]


def sent() -> list[str]:
    return sys.modules["an_sdk"].Client().send()


@pytest.mark.parametrize("order", itertools.permutations("abc"))
def test_tables_share_a_method(module: str, order: tuple[str, ...]) -> None:
    before = method()
    tables = {name: _table(module, name) for name in "abc"}
    for table in tables.values():
        table.apply()
    left = list("abc")
    assert sent() == left
    for name in order:
        tables[name].remove()
        left.remove(name)
        assert sent() == left
    assert method() is before


def test_somebody_elses_wrapper_stays(module: str) -> None:
    ours = _table(module, "ours")
    ours.apply()
    kind: Any = sys.modules[module].Client
    kind.send = theirs = cast("Any", wrapt.FunctionWrapper)(method(), _signing("theirs"))
    ours.remove()
    assert method() is theirs
    assert sent() == ["theirs"]
