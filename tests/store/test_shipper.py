"""Sending the spool to a server: the real engine behind the real client, and everything that goes wrong in between.

Where OTEL_LLM_TEST_CLICKHOUSE names a real server, the same goes wrong in front of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote_plus, urlsplit

import pytest
import urllib3
from store_parts import DATABASE, TOKEN, MakeSpan, Place

from examples.offline_provider import OfflineProvider
from otel_llm_exporters.clickhouse.embedded import EmbeddedStore
from otel_llm_exporters.clickhouse.formats import FORMATS, Format, block
from otel_llm_exporters.clickhouse.rows import encode, row
from otel_llm_exporters.clickhouse.serve import ChServer, DropConnection, Refusal
from otel_llm_exporters.clickhouse.server import ServerError
from otel_llm_exporters.clickhouse.shipper import Shipper, last_failure
from otel_llm_exporters.clickhouse.spool import Spool
from otel_llm_exporters.clickhouse.stores import ServerStore

TOTALS = "SELECT count(), uniqExact(SpanId), sum(TotalCost) FROM llm_calls"
TRACES = "SELECT count(), uniqExact(SpanId) FROM otel_traces"


class Faults:
    """What happens to inserts, before and after the server has them: each entry is used up by one of them."""

    def __init__(self) -> None:
        self.before: list[Callable[[], None]] = []
        self.after: list[Callable[[], None]] = []
        self.inserts = 0


class Road(ThreadingHTTPServer):
    """The way to a server, on which inserts have accidents."""

    daemon_threads = True

    def __init__(self, target: str, faults: Faults) -> None:
        self.target, self.faults = urlsplit(target), faults
        self.servers = urllib3.PoolManager(retries=False)
        super().__init__(("127.0.0.1", 0), _Traveller)

    @property
    def url(self) -> str:
        login = self.target.netloc.rpartition("@")[0]
        return f"http://{login}@127.0.0.1:{self.server_address[1]}{self.target.path}"


class _Traveller(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        try:
            self._pass_on()
        except Refusal as refusal:
            self._answer(refusal.status, {}, str(refusal).encode())
        except DropConnection:
            self.close_connection = True

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        road = cast("Road", self.server)
        target, faults = road.target, road.faults
        is_insert = b"INSERT INTO otel_traces" in unquote_plus(self.path).encode() + body[:100]
        faults.inserts += is_insert
        if is_insert and faults.before:
            faults.before.pop(0)()
        host = target.netloc.rpartition("@")[2]
        headers = {**self.headers, "Host": host}
        url = f"{target.scheme}://{host}{self.path}"
        found = road.servers.request(self.command, url, body=body, headers=headers, decode_content=False)
        if is_insert and faults.after:
            faults.after.pop(0)()
        self._answer(found.status, found.headers, found.data)

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def overloaded() -> None:
    raise Refusal(503, "Code: 202. DB::Exception: Too many simultaneous queries. (TOO_MANY_SIMULTANEOUS_QUERIES)")


def full() -> None:
    raise Refusal(500, "Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)")


def read_only() -> None:
    raise Refusal(500, "Code: 242. DB::Exception: Table is in readonly mode. (TABLE_IS_READ_ONLY)")


def cut() -> None:
    raise DropConnection


def slow() -> None:
    time.sleep(1.5)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def url(place: Place, remote: ServerStore, faults: Faults) -> Iterator[str]:
    assert remote
    with Road(place.url, faults) as road:
        thread = threading.Thread(target=road.serve_forever, args=(0.05,))
        thread.start()
        yield f"{road.url}?send_receive_timeout=1"
        road.shutdown()
        thread.join()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "home")


@pytest.fixture
def fill(spool: Spool, make_span: MakeSpan, call_attributes: dict[str, Any]) -> Callable[[int], None]:
    """Put three segments of calls into the spool."""

    def fill(number: int) -> None:
        for _ in range(3):
            assert spool.write(encode([make_span(call_attributes) for _ in range(number)]))

    return fill


def try_until_sent(shipper: Shipper, tries: int = 10) -> int:
    """How many tries failed."""
    for failed in range(tries):
        try:
            assert shipper.ship()
        except ServerError:
            continue
        return failed
    raise AssertionError("never sent")


def test_everything_arrives_once_and_in_few_inserts(
    remote: ServerStore, spool: Spool, url: str, fill: Callable[[int], None], faults: Faults
) -> None:
    fill(7)
    shipper = Shipper(spool, url)
    assert shipper.ship()
    assert shipper.ship()
    assert spool.segments() == []
    assert faults.inserts == 1
    assert (shipper.moved.spans, shipper.moved.segments) == (21, 3)
    assert remote.query(TRACES).rows == [(21, 21)]
    assert remote.query(TOTALS).rows[0][:2] == (21, 21)


def test_small_and_large_segments_in_turns_are_two_inserts(
    remote: ServerStore, spool: Spool, url: str, fill: Callable[[int], None], faults: Faults
) -> None:
    for number in (2, 40, 3, 50):
        fill(number)
    assert {segment.format for segment in spool.segments()} == {"Native", "RowBinary"}
    assert Shipper(spool, url).ship()
    assert faults.inserts == 2
    assert remote.query(TRACES).rows == [(285, 285)]


@pytest.mark.parametrize("fault", [overloaded, full, read_only, cut, slow])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_whatever_happens_to_an_insert_each_span_arrives_once(
    remote: ServerStore,
    spool: Spool,
    url: str,
    fill: Callable[[int], None],
    faults: Faults,
    fault: Callable[[], None],
    moment: str,
) -> None:
    fill(5)
    getattr(faults, moment).extend([fault] * 5)
    shipper = Shipper(spool, url)
    try_until_sent(shipper)
    assert faults.inserts > 1
    assert spool.segments() == []
    assert remote.query(TRACES).rows == [(15, 15)]
    assert remote.query(TOTALS).rows[0][:2] == (15, 15)


def test_what_failed_is_said_and_kept_and_forgotten_when_it_works_again(
    spool: Spool, url: str, fill: Callable[[int], None], faults: Faults
) -> None:
    fill(2)
    home = spool.directory.parent
    assert last_failure(home) is None
    faults.before.extend([overloaded] * 5)
    shipper = Shipper(spool, url)
    with pytest.raises(ServerError, match="does not answer as it should: Too many simultaneous queries"):
        shipper.ship()
    failure = last_failure(home)
    assert failure
    assert (failure.tries, failure.segment) == (1, spool.segments()[0].path.name)
    assert TOKEN not in failure.message
    assert len(spool.segments()) == 3
    assert 0.5 <= shipper.pause() <= 1.5
    try_until_sent(shipper)
    assert last_failure(home) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("default:", "default:wrong"), "check the user and the password of OTEL_LLM_CLICKHOUSE_URL"),
        ((f"/{DATABASE}", "/nowhere"), "create the database, or name another one in OTEL_LLM_CLICKHOUSE_URL"),
        (("http://", "clickhouse://"), "must look like https://user:password@host:8443/database"),
        (("127.0.0.1", "127.0.0.2"), "does not answer \\(Connection refused\\): is it running"),
    ],
)
def test_a_wrong_address_is_one_sentence_and_keeps_everything(
    spool: Spool, url: str, fill: Callable[[int], None], change: tuple[str, str], said: str
) -> None:
    fill(1)
    with pytest.raises(ServerError, match=said) as caught:
        Shipper(spool, url.replace(*change)).ship()
    assert TOKEN not in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert len(spool.segments()) == 3
    assert spool.rejected() == []


def test_a_server_that_may_only_be_read_keeps_everything(
    opened_store: EmbeddedStore, spool: Spool, fill: Callable[[int], None]
) -> None:
    fill(1)
    with ChServer(opened_store.engine) as server, pytest.raises(ServerError, match="use a user that may write"):
        Shipper(spool, server.url).ship()
    assert len(spool.segments()) == 3


def test_tables_that_are_not_there_yet_or_are_others_keep_everything(
    remote: ServerStore, spool: Spool, url: str, fill: Callable[[int], None]
) -> None:
    fill(1)
    remote.execute("RENAME TABLE otel_traces TO hidden")
    try:
        with pytest.raises(ServerError, match="create the tables with `otel-llm schema apply`"):
            Shipper(spool, url).ship()
        remote.execute("CREATE TABLE otel_traces (Timestamp DateTime) ENGINE = MergeTree ORDER BY Timestamp")
        with pytest.raises(ServerError, match="bring the schema up to date with `otel-llm schema apply`"):
            Shipper(spool, url).ship()
    finally:
        remote.execute("DROP TABLE IF EXISTS otel_traces SYNC")
        remote.execute("RENAME TABLE hidden TO otel_traces")
    assert len(spool.segments()) == 3
    assert spool.rejected() == []
    assert Shipper(spool, url).ship()
    assert remote.query(TRACES).rows == [(3, 3)]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("poison", ["half a segment", "no spans at all"])
def test_a_poisoned_segment_is_put_aside_and_the_rest_arrives(
    remote: ServerStore,
    spool: Spool,
    url: str,
    fill: Callable[[int], None],
    make_span: MakeSpan,
    caplog: pytest.LogCaptureFixture,
    poison: str,
    format_: Format,
) -> None:
    # Native marks where a block begins; what is no rows of RowBinary may, once in a hundred times, be read as the
    # beginning of those after it. Only a mistake in our encoder could make such a segment: its checksum fits.
    after = 2 if format_ == "Native" else 0
    fill(4 - after)
    whole = block([row(make_span())], format_)
    half = whole.data[: len(whole.data) // 2]
    spool.write(whole._replace(data=half if poison == "half a segment" else poison.encode()))
    fill(after)
    shipper = Shipper(spool, url)
    try_until_sent(shipper)
    assert remote.query(TOTALS).rows[0][:2] == (12, 12)
    assert shipper.moved.rejected == spool.rejected()
    assert len(spool.rejected()) == 1
    assert spool.rejected()[0].name in caplog.text


def test_an_error_that_stays_and_has_no_name_of_ours_is_the_segment_s(
    remote: ServerStore, spool: Spool, url: str, fill: Callable[[int], None], faults: Faults
) -> None:
    def odd() -> None:
        raise Refusal(500, "Code: 49. DB::Exception: Logical error. (LOGICAL_ERROR)")

    fill(1)
    faults.before.extend([odd] * 7)  # five tries, then the group, then its first segment alone
    shipper = Shipper(spool, url)
    assert try_until_sent(shipper) == 5
    assert len(spool.rejected()) == 1
    assert remote.query(TRACES).rows == [(2, 2)]


def test_one_at_a_time(spool: Spool, url: str, fill: Callable[[int], None], faults: Faults) -> None:
    fill(1)
    arrived, go = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        go.wait(10)

    faults.before.append(hold)
    first = threading.Thread(target=Shipper(spool, url.partition("?")[0]).ship)
    first.start()
    assert arrived.wait(10)
    assert not Shipper(spool, url).ship()
    go.set()
    first.join()
    assert spool.segments() == []


def test_processes_that_share_a_spool_and_are_killed(
    remote: ServerStore, spool: Spool, url: str, fill: Callable[[int], None], faults: Faults
) -> None:
    """Each is killed while its insert is under way, before or after the server took it."""
    fill(4)
    code = (
        "import sys; from pathlib import Path; from otel_llm_exporters.clickhouse.shipper import Shipper; "
        "from otel_llm_exporters.clickhouse.spool import Spool; Shipper(Spool(Path(sys.argv[1])), sys.argv[2]).ship()"
    )
    home, address = str(spool.directory.parent), url.partition("?")[0]
    for waiting in (faults.before, faults.after, faults.before, faults.after):
        arrived, go = threading.Event(), threading.Event()

        def hold(arrived: threading.Event = arrived, go: threading.Event = go) -> None:
            arrived.set()
            go.wait(10)
            raise DropConnection

        waiting.append(hold)
        process = subprocess.Popen([sys.executable, "-c", code, home, address])
        assert arrived.wait(30)
        process.kill()
        process.wait()
        go.set()
        fill(1)
    assert Shipper(spool, url).ship()
    assert spool.segments() == []
    assert remote.query(TRACES).rows == [(24, 24)]
    assert remote.query(TOTALS).rows[0][:2] == (24, 24)


def test_the_application_s_thread_goes_on_until_the_server_is_back(
    remote: ServerStore,
    spool: Spool,
    url: str,
    fill: Callable[[int], None],
    faults: Faults,
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults.before.extend([overloaded] * 3)
    fill(2)
    shipper = Shipper(spool, url)
    shipper.start()
    patience = time.monotonic() + 120
    while spool.segments() and time.monotonic() < patience:
        time.sleep(0.05)
    fill(1)
    shipper.close(10)
    assert spool.segments() == []
    assert remote.query(TRACES).rows == [(9, 9)]
    warnings = [record for record in caplog.records if "The spans wait in the spool" in record.getMessage()]
    assert len(warnings) <= 1


def test_closing_does_not_wait_for_a_dead_server(spool: Spool, fill: Callable[[int], None]) -> None:
    fill(1)
    shipper = Shipper(spool, "http://127.0.0.1:9/")
    shipper.start()
    patience = time.monotonic() + 120
    while last_failure(spool.directory.parent) is None and time.monotonic() < patience:
        time.sleep(0.05)
    began = time.monotonic()
    shipper.close(10)
    assert time.monotonic() - began < 5
    assert len(spool.segments()) == 3


def test_a_torn_note_of_a_failure_is_none(spool: Spool) -> None:
    directory = spool.directory.parent / "shipping"
    directory.mkdir(parents=True)
    for text in ("", "{", json.dumps({"when": 1}), "[]"):
        (directory / "error.json").write_text(text)
        assert last_failure(spool.directory.parent) is None


APP = """
import openai, os, pathlib, time
for text in ("One", "Two"):
    openai.OpenAI().chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": text}])
awaited = pathlib.Path(os.environ["OTEL_LLM_HOME"], os.environ["AWAITED"])
while not awaited.exists():
    time.sleep(0.05)
"""


@pytest.mark.parametrize("alive", [True, False], ids=["server", "dead server"])
def test_an_application_sends_by_itself(
    remote: ServerStore, url: str, spool: Spool, provider: OfflineProvider, alive: bool
) -> None:
    address = url.partition("?")[0] if alive else "http://127.0.0.1:9/"
    subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "opentelemetry-instrument", sys.executable, "-c", APP],
        env={
            **os.environ,
            "OTEL_LLM_HOME": str(spool.directory.parent),
            "OTEL_LLM_CLICKHOUSE_URL": address,
            "OPENAI_API_KEY": "offline",
            "OPENAI_BASE_URL": provider.openai_url,
            # A process with a dead server waits for the first try: how soon it comes is the machine's.
            "AWAITED": "." if alive else "shipping/error.json",
        },
        check=True,
        timeout=120,
    )
    provider.settle()
    billed = sum(entry.cost_nano or 0 for entry in provider.bill)
    if alive:
        assert spool.segments() == []
        assert remote.query(TOTALS).rows == [(2, 2, Decimal(billed) / 10**9)]
    else:
        assert sum(segment.rows for segment in spool.segments()) == 2
        assert last_failure(spool.directory.parent)
