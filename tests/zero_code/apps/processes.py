"""A script whose interactions ask in child processes, and in pools that outlive them."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import openai

import otel_llm


def ask(question: object) -> None:
    openai.OpenAI().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": f"Question {question}"}]
    )


class Asking(multiprocessing.Process):
    """A process with a `run` of its own."""

    def run(self) -> None:
        ask("subclass")


def main(method: str) -> None:
    multiprocessing.set_start_method(method)
    executor = pool = None
    for number in range(2):
        with otel_llm.interaction("order", user_id=f"u-{number}") as it:
            print(it.id, flush=True)
            # It is born in the first interaction, and works for the second one as well.
            executor = executor or ProcessPoolExecutor(1)
            executor.submit(ask, "submitted").result()
            list(executor.map(ask, ["mapped"]))
            if number == 0 or method == "fork":
                child = Asking()
                child.start()
                assert "run" not in vars(child)
                child.join()
            if method == "fork":
                pool = pool or multiprocessing.Pool(1)
                pool.map(ask, ["mapped"])
                pool.apply(ask, ("applied",))
                if number == 0:
                    subprocess.run([sys.executable, __file__], check=True)
    if executor:
        executor.submit(ask, "nobody").result()
        executor.shutdown()
    if pool:
        pool.map(ask, ["nobody"])
        pool.close()
        pool.join()


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1])
    else:
        ask("program")
        ask("program again")
