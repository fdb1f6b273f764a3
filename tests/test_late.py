"""The finisher's thread."""

from __future__ import annotations

import threading

from otel_llm.late import drain, later


def test_draining_waits_for_what_jobs_bring_along() -> None:
    done: list[str] = []
    started, go = threading.Event(), threading.Event()

    def first() -> None:
        started.set()
        go.wait(10)
        later(second)
        done.append("first")

    def second() -> None:
        later(lambda: done.append("third"))
        done.append("second")

    later(first)
    assert started.wait(10)
    threading.Timer(0.05, go.set).start()
    assert drain()
    assert done == ["first", "second", "third"]


def test_draining_gives_up() -> None:
    go = threading.Event()

    def wait() -> None:
        go.wait(10)

    later(wait)
    assert not drain(0.01)
    go.set()
    assert drain()
