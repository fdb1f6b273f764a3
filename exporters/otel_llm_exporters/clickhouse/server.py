"""A ClickHouse server, through clickhouse-connect: how to reach it, and what it minds, as one sentence each.

Settings: `OTEL_LLM_CLICKHOUSE_URL` (`https://user:password@host:8443/database`; options of clickhouse-connect such as
`?verify=false&ca_cert=...&connect_timeout=3` may follow) and `OTEL_LLM_CLICKHOUSE_PASSWORD`, for a URL without one.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

Fault = Literal["away", "refuses", "unreadable", "statement"]

_CONNECT_TIMEOUT = 5
_ANSWER_TIMEOUT = 120
_TEXT = re.compile(r"DB::Exception: (?!Code: )(?P<text>.*?)[.:]? ?\((?:[A-Z0-9_]+)\)", re.DOTALL)
# What the network says, deep inside what urllib3 says of it.
_NETWORK = re.compile(
    r"(?:\[Errno -?\d+\] |: |')"
    r"(?P<said>[\w ]+(?:refused|reset by peer|timed out|not known|unreachable|resolution|without response))"
)
_TLS = re.compile(
    r"\bSSL\w*Error\(.*?(?:verify failed: (?P<mistrust>.*?)\.? \(_ssl|(?P<plain>wrong version number)|\)\))"
)
_NOISE = re.compile(r",? Stack trace|\. Expected one of: | \(for url |: While executing | \(version ")
# What ClickHouse calls bytes that are not what they should be.
_UNREADABLE = {
    "ATTEMPT_TO_READ_AFTER_EOF",
    "CANNOT_DECOMPRESS",
    "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    "CANNOT_PARSE_TEXT",
    "CANNOT_READ_ALL_DATA",
    "CANNOT_READ_ARRAY_FROM_TEXT",
    "CANNOT_READ_MAP_FROM_TEXT",
    "INCORRECT_DATA",
    "TOO_LARGE_ARRAY_SIZE",
    "TOO_LARGE_STRING_SIZE",
    "ZSTD_DECODER_FAILED",
}
# What is wrong with the address, the user or the schema: a person must do something.
_REFUSES = {
    "ACCESS_DENIED": "grant that to the user (`otel-llm schema print` and the documentation name what is needed)",
    "AUTHENTICATION_FAILED": "check the user and the password of OTEL_LLM_CLICKHOUSE_URL",
    "NO_SUCH_COLUMN_IN_TABLE": "bring the schema up to date with `otel-llm schema apply`",
    "NUMBER_OF_COLUMNS_DOESNT_MATCH": "bring the schema up to date with `otel-llm schema apply`",
    "READONLY": "use a user that may write",
    "REQUIRED_PASSWORD": "check the user and the password of OTEL_LLM_CLICKHOUSE_URL",
    "TYPE_MISMATCH": "bring the schema up to date with `otel-llm schema apply`",
    "UNKNOWN_DATABASE": "create the database, or name another one in OTEL_LLM_CLICKHOUSE_URL",
    "UNKNOWN_TABLE": "create the tables with `otel-llm schema apply`",
    "UNKNOWN_USER": "check the user and the password of OTEL_LLM_CLICKHOUSE_URL",
    "WRONG_PASSWORD": "check the user and the password of OTEL_LLM_CLICKHOUSE_URL",
}


class ServerError(Exception):
    """What a server minds, as one sentence: what, where, what to do.

    `fault` says whose it is: the server is `away` (or overloaded: try again later), it `refuses` us (address, user,
    schema: somebody must act), the data is `unreadable`, or the `statement` is wrong.
    """

    def __init__(self, message: str, fault: Fault) -> None:
        super().__init__(message)
        self.fault: Fault = fault


def server_url() -> str | None:
    """The server that was chosen, None when there is none."""
    return os.environ.get("OTEL_LLM_CLICKHOUSE_URL", "").strip() or None


def shown(url: str) -> str:
    """The URL as it may be shown: without user, password and options."""
    parts = urlsplit(url)
    with suppress(ValueError):
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
    return "OTEL_LLM_CLICKHOUSE_URL"


def connect(url: str) -> Client:
    """Connect to the server of a URL. Raises ServerError."""
    scheme = urlsplit(url).scheme
    if scheme not in ("http", "https"):
        raise ServerError(
            f"{shown(url)} is no address of a ClickHouse server: OTEL_LLM_CLICKHOUSE_URL must look like "
            "https://user:password@host:8443/database.",
            "refuses",
        )
    from clickhouse_connect import driver

    # It logs every try that fails; where nobody listens, that would go to the application's standard error.
    logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())
    options: dict[str, Any] = {"connect_timeout": _CONNECT_TIMEOUT, "send_receive_timeout": _ANSWER_TIMEOUT}
    if not urlsplit(url).password:
        options["password"] = os.environ.get("OTEL_LLM_CLICKHOUSE_PASSWORD", "")
    with errors(url):
        # Without a session of its own, a client may be used by several threads.
        return cast("Any", driver).create_client(
            dsn=url, interface=scheme, client_name="otel-llm", autogenerate_session_id=False, **options
        )


class errors:  # noqa: N801 - reads as a phrase: `with errors(url):`
    """`with errors(url):` turns what clickhouse-connect raises into ServerError."""

    def __init__(self, url: str) -> None:
        self._where = shown(url)

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, ServerError):
            return
        from clickhouse_connect.driver.exceptions import Error

        if isinstance(error, Error):
            raise _explained(error, self._where) from None
        if isinstance(error, (OSError, ValueError)):
            raise ServerError(f"{self._where} cannot be used ({sentence(error)}).", "refuses") from None


def _explained(error: Any, where: str) -> ServerError:
    if tls := _TLS.search(str(error)):
        return ServerError(f"{where} cannot be reached by TLS: {_advice(tls)}.", "refuses")
    network = _NETWORK.search(str(error))
    if network:
        return ServerError(
            f"{where} does not answer ({network['said']}): is it running, and is OTEL_LLM_CLICKHOUSE_URL right?", "away"
        )
    text = sentence(error)
    # Older releases of clickhouse-connect do not name the error.
    names = cast("list[str]", re.findall(r"\(([A-Z][A-Z0-9_]+)\)", str(error)))
    name: str = getattr(error, "name", None) or (names[-1] if names else "")
    if name in _UNREADABLE:
        return ServerError(f"{where} cannot read what it was sent: {text}.", "unreadable")
    if name in _REFUSES:
        return ServerError(f"{where} refuses: {text}; {_REFUSES[name]}.", "refuses")
    coded = any(int(code) for code in re.findall(r"Code: (\d+)", str(error)))
    if (name or coded) and name not in _OVERLOADED:
        return ServerError(text, "statement")
    return ServerError(f"{where} does not answer as it should: {text}.", "away")


def _advice(tls: re.Match[str]) -> str:
    if tls["mistrust"]:
        return (
            f"{tls['mistrust']}; who vouches for it, OTEL_LLM_CLICKHOUSE_URL must say with `?ca_cert=/path/to/ca.pem`"
        )
    if tls["plain"]:
        return "it speaks plain HTTP; OTEL_LLM_CLICKHOUSE_URL must begin with http:// or name another port"
    return "the ca_cert of OTEL_LLM_CLICKHOUSE_URL must be a file of certificates in PEM"


# Named errors that pass by themselves.
_OVERLOADED = {
    "ALL_CONNECTION_TRIES_FAILED",
    "KEEPER_EXCEPTION",
    "MEMORY_LIMIT_EXCEEDED",
    "NETWORK_ERROR",
    "NOT_ENOUGH_SPACE",
    "NO_ZOOKEEPER",
    "QUOTA_EXCEEDED",
    "SOCKET_TIMEOUT",
    "TABLE_IS_READ_ONLY",
    "TIMEOUT_EXCEEDED",
    "TOO_FEW_LIVE_REPLICAS",
    "TOO_MANY_PARTS",
    "TOO_MANY_SIMULTANEOUS_QUERIES",
    "UNKNOWN_STATUS_OF_INSERT",
}


def sentence(message: object) -> str:
    """What ClickHouse or the network says, without what only a developer of them reads."""
    match = _TEXT.search(str(message))
    text = match["text"] if match else str(message)
    return " ".join(_NOISE.split(text)[0].split()).rstrip(".")
