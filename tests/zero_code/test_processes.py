"""However an application multiplies and ends: every call once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_exporters.clickhouse.spool import Spool
from tests.zero_code.conftest import INSTRUMENT, Serve, Server, Workplace, calls, ledger
from tests.zero_code.test_scripts import SCRIPT, assert_ledger_is_bill

FAMILY = (*INSTRUMENT, sys.executable, "family.py")
UVICORN = ("uvicorn", "--fd", "{fd}", "--no-access-log")
NOT_AT_ONCE = {"OTEL_LLM_LEDGER_INTERVAL": "3600000"}


@pytest.mark.parametrize(("way", "count"), [("fork", 7), ("multiprocessing", 8), ("spawn", 8), ("forkserver", 8)])
def test_a_family(way: str, count: int, workplace: Workplace, provider: OfflineProvider) -> None:
    done = workplace.run(*FAMILY, way)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(provider.bill) == count
    assert_ledger_is_bill(calls(ledger(workplace.home)), provider)


@pytest.mark.parametrize(
    ("way", "status", "count"),
    [("terminated", -signal.SIGTERM, 1), ("handled", 7, 2), ("survived", 0, 2), ("terminated child", 0, 2)],
)
def test_sigterm(way: str, status: int, count: int, workplace: Workplace, provider: OfflineProvider) -> None:
    plain = workplace.run(sys.executable, "family.py", way)
    provider.clear()
    done = workplace.run(*FAMILY, way, **NOT_AT_ONCE)
    assert done.returncode == plain.returncode == status
    assert done.stderr == ""
    assert len(provider.bill) == count
    assert_ledger_is_bill(calls(ledger(workplace.home)), provider)


@pytest.mark.parametrize(
    ("preload", "writers"), [((), 2), (("--preload",), 3)], ids=["each worker imports", "--preload"]
)
def test_gunicorn_workers_of_an_app_that_asks_on_import(
    preload: tuple[str, ...], writers: int, workplace: Workplace, serve: Serve, provider: OfflineProvider
) -> None:
    server = serve(*INSTRUMENT, "gunicorn", "--bind", "fd://{fd}", "--workers", "2", *preload, "eager_app:app")
    ask_until_processes_wrote(server, writers, workplace)
    server.stop()
    assert_ledger_is_bill(calls(ledger(workplace.home)), provider)


def test_uvicorn_workers(workplace: Workplace, serve: Serve, provider: OfflineProvider) -> None:
    server = serve(*INSTRUMENT, *UVICORN, "--workers", "2", "starlette_app:app")
    ask_until_processes_wrote(server, 2, workplace)
    server.stop()
    assert_ledger_is_bill(calls(ledger(workplace.home)), provider)


def test_uvicorn_reload(workplace: Workplace, serve: Serve, provider: OfflineProvider) -> None:
    server = serve(*INSTRUMENT, *UVICORN, "--reload", "--reload-delay", "0.1", "starlette_app:app")
    ask_until_processes_wrote(server, 1, workplace)
    app = workplace.folder / "starlette_app.py"
    app.write_text(app.read_text() + "\n# changed\n")
    ask_until_processes_wrote(server, 2, workplace)
    server.stop()
    assert_ledger_is_bill(calls(ledger(workplace.home)), provider)


@pytest.mark.parametrize("children", [(), ("--max-tasks-per-child", "1")], ids=["long-lived", "a child per task"])
def test_celery_prefork(children: tuple[str, ...], workplace: Workplace, provider: OfflineProvider) -> None:
    enqueued = workplace.run(sys.executable, "-c", "import celery_app; [celery_app.ask.delay(n) for n in range(4)]")
    assert enqueued.returncode == 0, enqueued.stderr
    log = workplace.folder.parent / "worker.log"
    with log.open("w") as said:
        worker = subprocess.Popen(
            [*INSTRUMENT, "celery", "-A", "celery_app", "worker", "--concurrency", "2", *children],
            cwd=workplace.folder,
            env=workplace.environment,
            stdout=said,
            stderr=said,
        )
    try:
        eventually(lambda: len(provider.bill) == 4)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
    assert "Traceback" not in log.read_text()
    assert_ledger_is_bill(calls(ledger(workplace.home)), provider)


def test_what_gives_way_is_said_and_leaves_the_application_alone(
    workplace: Workplace, provider: OfflineProvider
) -> None:
    done = workplace.run(*INSTRUMENT, *SCRIPT, OTEL_LLM_SPOOL_MAX_BYTES="1")
    assert done.returncode == 3
    assert done.stderr.count("OTEL_LLM_SPOOL_MAX_BYTES") == 2  # when it began, and the sum at exit
    assert ledger(workplace.home) == []
    assert len(provider.bill) == 2
    findings = json.loads(workplace.run("otel-llm", "doctor", "--format", "json").stdout)
    (found,) = [finding for finding in findings if "dropped" in finding["text"]]
    assert (found["section"], found["level"]) == ("Spool", "bad")
    assert found["text"].startswith("2 spans were dropped, because the spool had reached OTEL_LLM_SPOOL_MAX_BYTES;")
    assert str(workplace.home / "spool" / "dropped") in found["text"]


def ask_until_processes_wrote(server: Server, number: int, workplace: Workplace) -> None:
    """Ask, on a new connection each time, until that many processes have written to the spool."""

    def asked() -> bool:
        server.post("/chat/1", "Hello", connection="close").raise_for_status()
        return len({segment.path.name.split("-")[1] for segment in Spool(workplace.home).segments()}) >= number

    eventually(asked)


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.02)
