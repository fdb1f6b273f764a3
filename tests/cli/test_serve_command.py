"""`otel-llm serve` and `otel-llm schema` as processes: started, asked, ended."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.cli.conftest import APP, Command, fill

ALL = "SELECT count() AS calls FROM llm_calls FINAL"


@contextmanager
def serving(command: Command, *options: str) -> Generator[tuple[subprocess.Popen[str], list[str]]]:
    """A running `otel-llm serve` and the lines that it has said."""
    process = command.start("serve", "--port", "0", *options)
    assert process.stdout
    try:
        lines = [process.stdout.readline()]
        if "token" in lines[0] and "--token" not in options:
            lines.append(process.stdout.readline())
        yield process, lines
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out, error) == (0, "", "")


def port(line: str) -> int:
    found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    assert found
    return int(found[1])


def connect(line: str, password: str = "") -> Any:
    return cast("Any", clickhouse_connect).get_client(host="127.0.0.1", port=port(line), password=password)


def test_while_it_runs_everybody_asks_it(tmp_path: Path) -> None:
    command = Command(tmp_path)
    with serving(command) as (process, lines):
        assert "no password; read-only" in lines[0]
        announced = tmp_path / "store" / "serve.json"
        assert announced.stat().st_mode & 0o777 == 0o600
        assert json.loads(announced.read_text())["pid"] == process.pid
        bill = fill(tmp_path, APP)
        client = connect(lines[0])
        for _ in range(100):
            if client.command(ALL) == len(bill):
                break
        assert command.json("sql", ALL) == [{"calls": len(bill)}]
        assert command.json("report", "--by", "feature")
        with pytest.raises(DatabaseError, match="readonly mode"):
            client.command("TRUNCATE TABLE llm_calls")
        with pytest.raises(DatabaseError, match="reaches beyond the tables"):
            client.command("SELECT * FROM file('serve.json', LineAsString)")
        said = command("serve", code=1)
        assert said.startswith(f"Error: http://127.0.0.1:{port(lines[0])} serves {tmp_path} already")
        assert said.count("\n") == 1
        with pytest.raises(DatabaseError, match=r"UNKNOWN_TABLE|FILE_DOESNT_EXIST"):
            client.command("SELECT * FROM `serve.json`")
    assert not announced.exists()
    assert command.json("sql", ALL) == [{"calls": len(bill)}]


def test_it_writes_for_bearers_of_the_token(tmp_path: Path) -> None:
    command = Command(tmp_path)
    with serving(command, "--write") as (_, lines):
        assert "reads and writes" in lines[0]
        token = lines[1].split()[-1]
        client = connect(lines[0], token)
        client.command("CREATE TABLE x (a Int8) ENGINE = MergeTree ORDER BY a")
        client.insert("x", [[1], [2]], column_names=["a"])
        assert client.command("SELECT count() FROM x") == 2
        with pytest.raises(DatabaseError, match="516"):
            connect(lines[0])
        assert command.json("sql", "SELECT count() AS n FROM x") == [{"n": 2}]


def test_one_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    command = Command(tmp_path)
    process = command.start("serve", "--port", "0")
    assert process.stdout
    assert process.stdout.readline()
    process.kill()
    process.communicate(timeout=60)
    assert (tmp_path / "store" / "serve.json").exists()
    assert command.json("sql", ALL) == [{"calls": 0}]
    with serving(command):
        assert command.json("sql", ALL) == [{"calls": 0}]


def test_an_address_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with serving(Command(tmp_path / "one")) as (_, lines):
        taken = port(lines[0])
        said = Command(tmp_path / "two")("serve", "--port", str(taken), code=1)
    assert said == f"Error: Cannot listen at 127.0.0.1:{taken} (Address already in use): choose another with --port.\n"


def test_the_schema_of_a_server(tmp_path: Path) -> None:
    token = "let-me-in"
    with serving(Command(tmp_path), "--write", "--token", token) as (_, lines):
        url = f"http://default@127.0.0.1:{port(lines[0])}/ours"
        command = Command(tmp_path / "elsewhere", OTEL_LLM_CLICKHOUSE_URL=url, OTEL_LLM_CLICKHOUSE_PASSWORD=token)
        assert "does not exist" in command("schema", "status", code=1)
        assert "1 otel_traces, 2 llm_calls" in command("schema", "apply")
        assert "is up to date" in command("schema", "apply", "--retention", "400d", "--backfill")
        assert "nothing to do" in command("schema", "apply", "--backfill")
        assert "missing" not in command("schema", "status")
        assert command.json("sql", "SELECT currentDatabase() AS d, count() AS n FROM llm_calls") == [
            {"d": "ours", "n": 0}
        ]
        assert not (tmp_path / "elsewhere" / "store").exists()
        missing = Command(tmp_path / "elsewhere", **{**command.environment, "OTEL_LLM_CLICKHOUSE_URL": url + "2"})
        assert "ours2 does not exist" in missing("sql", ALL, code=1)


def test_the_schema_is_printed(tmp_path: Path) -> None:
    command = Command(tmp_path)
    assert "ON CLUSTER" not in command("schema", "print")
    text = command("schema", "print", "--cluster", "c", "--database", "d", "--retention", "30d")
    assert text.startswith("CREATE DATABASE IF NOT EXISTS `d` ON CLUSTER `c`;")
    assert "INTERVAL 30 DAY" in text
    assert "say how many days, as 400d" in command("schema", "print", "--retention", "a while", code=2)
    assert "OTEL_LLM_CLICKHOUSE_URL is not set" in command("schema", "apply", code=1)
