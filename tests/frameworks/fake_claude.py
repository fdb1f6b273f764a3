"""A `claude` that asks no model: it speaks the protocol of Claude Code's `stream-json`, and does what the prompt says.

A prompt is a JSON list of steps. `{"call": {...}}` is a call to a model: `model`, `in`, `out`, `read`, `write`, what it
says in `say`, the tools that it uses in `use`; `{"done": id}` is the end of a tool, `{"serve": ...}` asks this side for
one, `{"result": {...}}` ends the turn. Every call goes on a bill of its own: a line in the file FAKE_CLAUDE_BILL.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

USD = {"claude-sonnet-4-5": (3, 15, 0.3, 3.75), "claude-haiku-4-5": (1, 5, 0.1, 1.25)}
"""Per million tokens: input, output, cache reads, cache writes."""


class Claude:
    """One process."""

    def __init__(self) -> None:
        self.totals: dict[str, dict[str, Any]] = json.loads(os.environ.get("FAKE_CLAUDE_TOTALS", "{}"))
        self.calls = 0
        self.requests = 0
        self.waiting: list[dict[str, Any]] = []

    def main(self) -> None:
        """Run until nobody asks any more."""
        if "-v" in sys.argv:
            print("2.1.330 (Claude Code)")
            return
        if "--print" in sys.argv and "--input-format" not in sys.argv:
            self.turn(sys.argv[-1])
            return
        while (message := self.hear()) is not None:
            if message["type"] == "control_request":
                answer: Any = {"subtype": "success", "request_id": message["request_id"], "response": {"commands": []}}
                self.say(type="control_response", response=answer)
                if message["request"]["subtype"] == "initialize":
                    self.meet_servers()
            elif message["type"] == "user":
                self.turn(message["message"]["content"])

    def hear(self) -> dict[str, Any] | None:
        """The next line, or one that came while an answer was waited for."""
        if self.waiting:
            return self.waiting.pop(0)
        line = sys.stdin.readline()
        return json.loads(line) if line else None

    def say(self, **message: Any) -> None:
        """One line."""
        print(json.dumps({**message, "session_id": "s-1", "uuid": "u-1"}), flush=True)

    def ask(self, **request: Any) -> Any:
        """Ask this side for something."""
        self.requests += 1
        id_ = f"r-{self.requests}"
        self.say(type="control_request", request_id=id_, request=request)
        while (message := json.loads(sys.stdin.readline()))["type"] != "control_response":
            self.waiting.append(message)
        return message["response"]

    def mcp(self, server: str, method: str, params: dict[str, Any]) -> Any:
        """Ask a server of tools."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        if not method.startswith("notifications/"):
            message["id"] = self.requests
        return self.ask(subtype="mcp_message", server_name=server, message=message)

    def meet_servers(self) -> None:
        """Those of this side."""
        if "--mcp-config" not in sys.argv:
            return
        servers = json.loads(sys.argv[sys.argv.index("--mcp-config") + 1])["mcpServers"]
        for server in (name for name, config in servers.items() if config["type"] == "sdk"):
            client = {"name": "claude", "version": "2"}
            hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
            self.mcp(server, "initialize", hello)
            self.mcp(server, "notifications/initialized", {})

    def turn(self, prompt: str) -> None:
        """Do what the prompt says."""
        self.say(type="system", subtype="init", model="claude-sonnet-4-5", claude_code_version="2.1.330")
        self.used = {"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 0}
        self.used["cache_creation_input_tokens"] = 0
        for step in json.loads(prompt):
            ((verb, about),) = step.items()
            getattr(self, verb)(about)

    # The steps.

    def call(self, call: dict[str, Any]) -> None:
        """A call to a model. Each part of the answer is a message, with a placeholder for its output."""
        model = call.get("model", "claude-sonnet-4-5")
        counts = [call.get(name, 0) for name in ("in", "out", "read", "write")]
        micro_usd = sum(number * price for number, price in zip(counts, USD[model], strict=True))
        with Path(os.environ["FAKE_CLAUDE_BILL"]).open("a", encoding="utf-8") as bill:
            bill.write(json.dumps({"model": model, "counts": counts, "micro_usd": micro_usd}) + "\n")
        total = self.totals.setdefault(model, {"costUSD": 0.0, "webSearchRequests": 0, "contextWindow": 200000})
        names = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
        for name, number in zip(names, counts, strict=True):
            total[name] = total.get(name, 0) + number
        total["costUSD"] += micro_usd / 1e6
        agent = call.get("agent")
        if not agent and not call.get("hidden"):
            for name, number in zip(self.used, (counts[0], counts[1], counts[2], counts[3]), strict=True):
                self.used[name] += number
        if call.get("hidden"):
            return
        self.calls += 1
        usage = {"input_tokens": counts[0], "output_tokens": 1, "cache_read_input_tokens": counts[2]}
        usage["cache_creation_input_tokens"] = counts[3]
        message = {"id": f"msg_{self.calls}", "type": "message", "role": "assistant", "model": model, "usage": usage}
        parts: list[dict[str, Any]] = [{"type": "text", "text": call.get("say", "Well.")}]
        parts += [{"type": "tool_use", "input": {}, **tool} for tool in call.get("use", [])]
        for part in parts:
            self.say(type="assistant", message={**message, "content": [part]}, parent_tool_use_id=agent)

    def done(self, about: dict[str, Any]) -> None:
        """A tool is done."""
        part = {"type": "tool_result", "tool_use_id": about["id"], "content": "ok", "is_error": about.get("error")}
        message = {"role": "user", "content": [part]}
        self.say(type="user", message=message, parent_tool_use_id=about.get("agent"))

    def serve(self, about: dict[str, Any]) -> None:
        """This side has the tool."""
        answer = self.mcp(about["server"], "tools/call", {"name": about["name"], "arguments": about["arguments"]})
        assert answer["subtype"] == "success", answer

    def permit(self, about: dict[str, Any]) -> None:
        """May the tool be used?"""
        self.ask(subtype="can_use_tool", tool_name=about["name"], input={}, permission_suggestions=[])

    def sleep(self, seconds: float) -> None:
        """Take that long."""
        time.sleep(seconds)

    def exit(self, code: int) -> None:
        """Die."""
        sys.exit(code)

    def forget(self, about: dict[str, Any]) -> None:
        """The conversation begins anew."""
        self.totals.clear()
        self.say(type="conversation_reset", new_conversation_id="c-2", **about)

    def result(self, about: dict[str, Any]) -> None:
        """The turn is over."""
        cost = sum(total["costUSD"] for total in self.totals.values())
        told = {"duration_ms": 5, "duration_api_ms": 4, "num_turns": 1, "result": "Done.", "is_error": False}
        told |= {"total_cost_usd": cost, "usage": self.used, "modelUsage": self.totals, "subtype": "success"}
        self.say(type="result", **{name: value for name, value in {**told, **about}.items() if value is not None})


if __name__ == "__main__":
    Claude().main()
