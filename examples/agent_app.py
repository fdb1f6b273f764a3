"""A small AI product: three features, several users at once. Nothing in here measures anything.

The two lines that name otel_llm say which feature and which user a piece of work is for; without them it runs the
same, and each web request or local root is an interaction of its own.

    opentelemetry-instrument python -m examples.agent_app

It talks to whatever OPENAI_API_KEY and ANTHROPIC_API_KEY are for. With EXAMPLE_OFFLINE=1 its prompts carry stage
directions for the offline provider, so that one run shows retries, an abandoned stream and a model without a price.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, cast

import openai
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

import otel_llm

OFFLINE = os.environ.get("EXAMPLE_OFFLINE") == "1"
OPENAI = OFFLINE or bool(os.environ.get("OPENAI_API_KEY"))
ANTHROPIC = OFFLINE or bool(os.environ.get("ANTHROPIC_API_KEY"))
USERS = ("ada", "grace", "linus")


def directed(prompt: str, stage_direction: str) -> str:
    """The prompt, and what the offline provider shall do with it."""
    return f"{prompt}\n[[offline: {stage_direction}]]" if OFFLINE else prompt


@tool
def find_order(order: str) -> str:
    """Look up an order by its number."""
    return f"Order {order}: two lamps, shipped on Monday, carrier DHL."


@tool
def track_parcel(carrier: str) -> str:
    """Ask a carrier where a parcel is."""
    return f"{carrier}: held in customs since Tuesday."


@tool
def refund_policy(reason: str) -> str:
    """Read the refund policy for a reason."""
    return f"Refund for '{reason}': full, within 30 days."


def chat_model() -> Any:
    """The model of the support agent: OpenAI's where there is a key for it, else Anthropic's."""
    if OPENAI:
        return ChatOpenAI(model="gpt-5.2" if OFFLINE else "gpt-5-mini")
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model_name="claude-haiku-4-5", timeout=60, stop=None)


async def answer_support(user: str, question: str) -> str:
    """An agent with tools: plans, looks things up in parallel, then answers."""
    with otel_llm.interaction("support.answer", user_id=user, feature="support", tags={"plan": "pro"}) as it:
        agent = cast("Any", create_agent)(chat_model(), [find_order, track_parcel, refund_policy], name="support-agent")
        plan = (
            f'429 once; id={user}; turns: tool find_order {{"order":"4711"}} + reasoning 280 + tokens in=6200 out=410 '
            '| tool track_parcel {"carrier":"DHL"} + tool refund_policy {"reason":"late"} '
            "+ cache hit 6100 + tokens in=9400 out=350 "
            "| say Your lamps are held in customs; you may have a refund. + cache hit 9300 + tokens in=12800 out=520"
        )
        state = await agent.ainvoke({"messages": [{"role": "user", "content": directed(question, plan)}]})
        it.outcome("answered", success=True)
        return str(state["messages"][-1].content)


def write_digest(user: str, patience: int | None = None) -> str:
    """A streamed text, in a worker thread; a user without patience leaves before it is finished."""
    with otel_llm.interaction("digest.write", user_id=user, feature="digest"):
        prompt = directed(
            "Write the weekly digest of our three open support cases.", "tokens in=2300 out=640; chunks 24"
        )
        text = ""
        if OPENAI:
            for chunk in openai.OpenAI().chat.completions.create(
                model="gpt-4o-mini", stream=True, messages=[{"role": "user", "content": prompt}]
            ):
                text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
                if patience is not None and len(text) > patience:
                    break
            return text
        import anthropic

        with anthropic.Anthropic().messages.stream(
            model="claude-haiku-4-5", max_tokens=300, messages=[{"role": "user", "content": prompt}]
        ) as events:
            for piece in events.text_stream:
                text += piece
        return text


async def plan_trip(user: str) -> str:
    """A long prompt on another provider, most of it cached."""
    import anthropic

    with otel_llm.interaction("trip.plan", user_id=user, feature="trips"):
        client = anthropic.AsyncAnthropic()
        handbook = "Our travel handbook: book early, prefer trains, keep receipts. " * 60
        draft = ""
        for wish, direction in (
            ("Plan three days in Oslo.", "tokens in=5200 out=420; cache write 5m 4800"),
            ("Make it cheaper.", "tokens in=5650 out=310; cache hit 4800; 529 twice"),
        ):
            message = await client.messages.create(
                model="claude-sonnet-4-5" if OFFLINE else "claude-haiku-4-5",
                max_tokens=600,
                system=[{"type": "text", "text": handbook, "cache_control": {"type": "ephemeral"}}],
                messages=[{"role": "user", "content": directed(draft + wish, direction)}],
            )
            draft = "".join(block.text for block in message.content if block.type == "text") + "\n"
        return draft


async def try_preview(user: str) -> str:
    """A model that no price list knows yet."""
    with otel_llm.interaction("lab.preview", user_id=user, feature="lab"):
        reply = await openai.AsyncOpenAI().chat.completions.create(
            model="acme-preview-1", messages=[{"role": "user", "content": "Say hello."}]
        )
        return reply.choices[0].message.content or ""


async def main() -> None:
    """Serve everybody at once."""
    work: list[Coroutine[Any, Any, str]] = [
        answer_support(user, "Where is my order 4711, and can I get my money back?") for user in USERS
    ]
    work += [asyncio.to_thread(write_digest, USERS[0]), asyncio.to_thread(write_digest, USERS[1], patience=40)]
    if ANTHROPIC:
        work += [plan_trip(user) for user in USERS[:2]]
    if OFFLINE:
        work.append(try_preview(USERS[2]))
    answers = await asyncio.gather(*work)
    print(f"{len(answers)} user actions served.")


if __name__ == "__main__":
    asyncio.run(main())
