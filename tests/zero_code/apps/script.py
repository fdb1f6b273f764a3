"""A script that knows nothing of telemetry: a call, a stream, and an exit code."""

import sys

import openai

client = openai.OpenAI()


def ask(question: str) -> str:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": question}])
    return answer.choices[0].message.content or ""


def main() -> int:
    print(ask("[[offline: cache hit]]"))
    with client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Count"}], stream=True
    ) as stream:
        print("".join(chunk.choices[0].delta.content or "" for chunk in stream))
    print("chdb" in sys.modules, sys.argv[1:])
    return 3


if __name__ == "__main__":
    sys.exit(main())
