"""What a person can get wrong: one clear sentence, an exit code, and nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from examples.offline_provider import OfflineProvider
from tests.cli.conftest import APP, BIN, Command, fill


def one_sentence(text: str) -> bool:
    return len(text.strip().splitlines()) == 1 and text.startswith("Error: ")


def test_an_unknown_dimension(otel_llm: Command) -> None:
    said = otel_llm("report", "--by", "colour", code=2)
    assert "Cannot group by 'colour': choose from user, feature" in said


def test_an_unknown_time(otel_llm: Command) -> None:
    assert "say 7d, 12h or 30m" in otel_llm("report", "--since", "yesterday-ish", code=2)


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = Command(tmp_path / "file" / "home")("interactions", code=1)
    assert one_sentence(said)
    assert "OTEL_LLM_HOME" in said


def test_a_home_without_a_call(tmp_path: Path) -> None:
    command = Command(tmp_path)
    assert command("interactions") == ""
    assert command.json("report") == []
    assert "opentelemetry-instrument" in command("show", "last", code=1)


def test_a_broken_price_file(otel_llm: Command, tmp_path: Path) -> None:
    broken = tmp_path / "prices.toml"
    broken.write_text('[[prices]]\nkey = "acme/x"\nusd_per_mtok = { input = 0.2 }\n')
    command = Command(otel_llm.home, OTEL_LLM_PRICES=str(broken))
    said = command("prices", "show", "gpt-4o", code=1)
    assert one_sentence(said)
    assert "prices.toml" in said
    assert "input" in said
    assert (
        "prices.toml"
        in subprocess.run(
            [BIN / "otel-llm", "doctor"], env=command.environment, capture_output=True, text=True, check=False
        ).stdout
    )


def test_settings_of_attribution_that_cannot_be_used(otel_llm: Command) -> None:
    bad = {"OTEL_LLM_IDENTITY": "user=x-user", "OTEL_LLM_FEATURES": "/chat", "OTEL_LLM_BAGGAGE": "user,owner"}
    command = [BIN / "otel-llm", "doctor", "--format", "json"]
    environment = Command(otel_llm.home, **bad).environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = [finding["text"] for finding in json.loads(done.stdout) if finding["level"] == "bad"]
    assert done.returncode == 1
    assert [text.split()[0] for text in said] == list(bad)
    assert all(text.endswith("the setting is not used.") for text in said)


@pytest.mark.parametrize("name", ["otel_llm_openai", "otel_llm"])
def test_an_sdk_that_was_left_out(otel_llm: Command, name: str) -> None:
    environment = Command(otel_llm.home, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=name).environment
    command = [BIN / "otel-llm", "doctor", "--format", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = [finding["text"] for finding in json.loads(done.stdout) if finding["level"] == "bad"]
    assert done.returncode == 1
    assert any(text.startswith("openai ") and text.endswith(f"leaves {name} out.") for text in said)
    assert any(text.startswith("anthropic ") for text in said) is (name == "otel_llm")


def test_a_full_disk_behind_the_answer(otel_llm: Command) -> None:
    for question in (["report"], ["sql", "SELECT 1", "--format", "csv"]):
        with Path("/dev/full").open("w") as full:
            command = [BIN / "otel-llm", *question]
            done = subprocess.run(
                command, env=otel_llm.environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 1
        assert done.stderr == "Error: the answer cannot be written or read: No space left on device.\n"


def test_a_terminal_that_knows_no_such_letters(otel_llm: Command) -> None:
    command = Command(otel_llm.home, PYTHONIOENCODING="ascii")
    assert "support.answer" in command("show", "costliest")
    assert "? $" in command("report", "--by", "feature,model") + command("interactions")


def test_a_corrupt_segment_costs_only_itself(tmp_path: Path) -> None:
    command = Command(tmp_path)
    bill = fill(tmp_path, APP)
    intact = next((tmp_path / "spool").glob("*.zst"))
    torn = intact.with_name(f"{time.time_ns()}-1-00000000-7-deadbeef.native.zst")
    torn.write_bytes(intact.read_bytes()[:100])
    running = command.start("sql", "SELECT count() AS calls FROM llm_calls FINAL", "--format", "json")
    out, error = running.communicate(timeout=120)
    assert running.returncode == 1, "it is not all"
    assert f'"calls": {len(bill)}' in out
    assert "put aside" in error
    assert (tmp_path / "spool" / "rejected" / torn.name).exists()
    doctor = command.start("doctor")
    assert "put aside: its spans are missing" in doctor.communicate(timeout=120)[0]
    assert doctor.returncode == 1


def test_two_terminals_at_once(otel_llm: Command) -> None:
    running = [otel_llm.start("report", "--by", by) for by in ("user", "feature", "model", "day")]
    for process in running:
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        assert "total" in out


def test_it_answers_while_the_application_runs(tmp_path: Path) -> None:
    with OfflineProvider() as provider:
        environment = {
            **os.environ,
            "OTEL_LLM_HOME": str(tmp_path),
            "OPENAI_API_KEY": "offline",
            "OPENAI_BASE_URL": provider.openai_url,
        }
        app = subprocess.Popen(
            [BIN / "opentelemetry-instrument", BIN / "python", "-c", APP + "\nprint('waiting', flush=True)\ninput()"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert app.stdout is not None
            assert app.stdout.readline() == "waiting\n"
            deadline = time.monotonic() + 30
            calls = 0
            while calls < 4 and time.monotonic() < deadline:
                rows = Command(tmp_path).json("sql", "SELECT count() AS calls FROM llm_calls FINAL")
                calls = rows[0]["calls"]
            assert calls == 4
            assert app.poll() is None
        finally:
            app.communicate("done\n", timeout=60)
