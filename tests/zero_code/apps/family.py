"""A script that asks in itself and in child processes, in the ways that Python has."""

import multiprocessing
import os
import signal
import sys
import time
from typing import Any

import openai


def ask(question: object) -> None:
    openai.OpenAI().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": f"Question {question}"}]
    )


def forked() -> None:
    ask("before")  # has ended, and is not written yet
    for number in range(3):
        if os.fork() == 0:
            ask(number)
            sys.exit()
        ask(f"between {number}")
    for _ in range(3):
        os.wait()


def started(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    ask("before")
    children = [context.Process(target=ask, args=(number,)) for number in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    with context.Pool(2) as pool:  # its end terminates the workers
        pool.map(ask, range(4, 8), chunksize=1)
    ask("after")


def terminated() -> None:
    ask("last words")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


def handled() -> None:
    ask("first")

    def leave(number: int, _: object) -> None:
        ask("in the handler")
        sys.exit(7)

    signal.signal(signal.SIGTERM, leave)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


def survived() -> None:
    ask("first")
    asked_before = signal.getsignal(signal.SIGTERM)

    def note(number: int, frame: Any) -> None:
        if callable(asked_before):
            asked_before(number, frame)  # as many libraries do

    signal.signal(signal.SIGTERM, note)
    os.kill(os.getpid(), signal.SIGTERM)
    ask("second")


def terminated_child() -> None:
    if (child := os.fork()) == 0:
        terminated()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    ask("in the parent")


if __name__ == "__main__":
    ways = {
        "fork": forked,
        "terminated": terminated,
        "handled": handled,
        "survived": survived,
        "terminated child": terminated_child,
    }
    if sys.argv[1] in ways:
        ways[sys.argv[1]]()
    else:
        started({"multiprocessing": "fork"}.get(sys.argv[1], sys.argv[1]))
