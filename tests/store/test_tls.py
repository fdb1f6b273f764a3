"""TLS to a server: a certificate that is trusted, one that is not, and how that is said."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from store_parts import TOKEN, MakeSpan, Store

from otel_llm_exporters.clickhouse.embedded import EmbeddedStore
from otel_llm_exporters.clickhouse.rows import encode
from otel_llm_exporters.clickhouse.serve import ChServer
from otel_llm_exporters.clickhouse.server import ServerError
from otel_llm_exporters.clickhouse.shipper import Shipper, last_failure
from otel_llm_exporters.clickhouse.spool import Spool
from otel_llm_exporters.clickhouse.stores import ServerStore, StoreError


def certificate(directory: Path, host: str = "127.0.0.1", *, days: int = 1) -> Path:
    """A self-signed certificate with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "otel-llm test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=3))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{host}-{days}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


class TlsProxy:
    """Takes TLS off in front of a server, as a load balancer does."""

    def __init__(self, pem: Path, port: int) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(pem)
        self._behind = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> int:
        self._thread.start()
        # Clients that mistrust us leave in the middle of the handshake.
        self._loop.set_exception_handler(_ignore)
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(10)
        return self._server.sockets[0].getsockname()[1]

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection("127.0.0.1", self._behind)
        await asyncio.gather(self._pass(reader, behind[1]), self._pass(behind[0], writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.close()


def _ignore(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None: ...


@pytest.fixture
def proxied(store: Store) -> Iterator[Callable[[Path], str]]:
    """Starts a server with a certificate; returns its URL."""
    with ExitStack() as stack:
        server = stack.enter_context(ChServer(store.embedded.engine, write=True, token=TOKEN))
        behind = urlsplit(server.url).port

        def start(pem: Path) -> str:
            port = stack.enter_context(TlsProxy(pem, behind or 0))
            return f"https://default:{TOKEN}@127.0.0.1:{port}/default"

        yield start


@pytest.fixture
def spool(tmp_path: Path, make_span: MakeSpan, call_attributes: dict[str, Any]) -> Spool:
    spool = Spool(tmp_path / "home")
    assert spool.write(encode([make_span(call_attributes)]))
    return spool


@pytest.mark.parametrize("trust", ["ca_cert={pem}", "verify=false"])
def test_a_server_with_a_certificate_of_one_s_own(
    proxied: Callable[[Path], str], store: Store, spool: Spool, tmp_path: Path, trust: str
) -> None:
    pem = certificate(tmp_path)
    url = f"{proxied(pem)}?{trust.format(pem=pem)}"
    assert Shipper(spool, url).ship()
    assert spool.segments() == []
    assert store.rows("SELECT count() FROM llm_calls") == [(1,)]
    with ServerStore(url) as remote:
        assert remote.query("SELECT count() FROM llm_calls FINAL").rows == [(1,)]


@pytest.mark.parametrize(
    ("made", "trusted", "said"),
    [
        ({}, False, "self-signed certificate"),
        ({"days": -1}, True, "certificate has expired"),
        ({"host": "10.1.2.3"}, True, "IP address mismatch"),
    ],
)
def test_a_certificate_that_is_not_to_be_trusted_is_one_sentence(
    proxied: Callable[[Path], str], spool: Spool, tmp_path: Path, made: dict[str, Any], trusted: bool, said: str
) -> None:
    pem = certificate(tmp_path, **made)
    url = proxied(pem) + (f"?ca_cert={pem}" if trusted else "")
    sentence = f"cannot be reached by TLS: .*{said}.*; who vouches for it, OTEL_LLM_CLICKHOUSE_URL must say"
    with pytest.raises(ServerError, match=sentence) as caught:
        Shipper(spool, url).ship()
    with pytest.raises(StoreError, match=sentence):
        ServerStore(url).__enter__()
    failure = last_failure(spool.directory.parent)
    assert failure
    assert failure.message == str(caught.value)
    assert len(failure.message) < 300
    assert TOKEN not in failure.message
    assert len(spool.segments()) == 1
    assert spool.rejected() == []


def test_what_else_can_be_wrong_with_tls(
    proxied: Callable[[Path], str], opened_store: EmbeddedStore, spool: Spool, tmp_path: Path
) -> None:
    url = proxied(certificate(tmp_path))
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with ChServer(opened_store.engine) as plain:
        for address, said in (
            (url.replace("https://", "http://"), "does not answer"),
            (plain.url.replace("http://", "https://"), "it speaks plain HTTP"),
            (f"{url}?ca_cert=/nowhere/ca.pem", "must be a file of certificates"),
            (f"{url}?ca_cert={broken}", "must be a file of certificates"),
        ):
            with pytest.raises(ServerError, match=said) as caught:
                Shipper(spool, address).ship()
            assert len(str(caught.value)) < 300
    assert len(spool.segments()) == 1
