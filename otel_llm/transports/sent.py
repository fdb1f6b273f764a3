"""What an SDK sends, as one sees it where the SDK sends it, and which call that is: its method and path say that."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import unquote

from otel_llm.providers import provider_of
from otel_llm.spec import Batch, Dialect, Follower, Late, Paths, Request, Speaks, nothing

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
_NAME = re.compile(r"\{(\w+)\}")


@dataclass(slots=True)
class Sent:
    """A request, as its transport finds it in the arguments of the method that sends it.

    What is the same in `Request` and `Late` is said there.
    """

    method: str
    url: str
    """Or the path of it."""
    body: Callable[[], Any]
    """The request body, parsed; anything but a mapping is no call's."""
    host: str | None
    port: int | None
    stream: bool | None = None
    """None where the request itself says it."""
    provider: str | None = None
    """Whose server it is, where the SDK says so."""
    with_body: Callable[[dict[str, Any]], Arguments] | None = None
    transport: Callable[[Any], Any] = nothing
    follow: Callable[[Any, Follower], Any] | None = None
    lazy: bool = False
    answer: Callable[[Any], Any] = lambda result: result


Look = Callable[[Any, tuple[Any, ...], dict[str, Any]], Sent | None]
"""`look(instance, args, kwargs)`: what is sent; None when it is nothing of the SDK's."""
Provider = Callable[[Any, Sent, Speaks], str]
"""`provider(instance, sent, speaks)`: whose server it is sent to."""
Read = Callable[[Any, tuple[Any, ...], dict[str, Any]], Request | Late | None]


class Found(NamedTuple):
    """What is spoken at a path, and what the path names."""

    speaks: Speaks
    names: Mapping[str, str]


class Routes:
    """The dialects by the ends of paths, each with its method, unless that is POST.

    In them `{id}` is what an earlier request began: this one only asks what became of it. Other names, like `{model}`,
    are fields of the body that only the path has. All else is a regular expression. The longest that fits is meant.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self.find = lru_cache(maxsize=256)(self._find)
        """`find(method, url)`, or with the path of it; None where no call is made."""

    @cached_property
    def _known(self) -> list[tuple[re.Pattern[str], Speaks]]:
        # Not before it is asked: most of the SDKs are in no application.
        longest_first = sorted(self._paths.items(), key=lambda known: -len(known[0]))
        return [(_pattern(path), speaks) for path, speaks in longest_first]

    def _find(self, method: str, url: str) -> Found | None:
        asked = f"{method} {url.partition('?')[0]}"
        for pattern, speaks in self._known:
            if place := pattern.fullmatch(asked):
                names = {name: unquote(value) for name, value in place.groupdict().items()}
                return Found(speaks, MappingProxyType(names))
        return None


def _pattern(path: str) -> re.Pattern[str]:
    method, _, end = path.rpartition(" ")
    return re.compile(f"{method or 'POST'} .*" + _NAME.sub(r"(?P<\1>[^/]+)", end))


def at(
    default: str, kinds: Mapping[str, str] = MappingProxyType({}), makers: Mapping[Speaks, str] | None = None
) -> Provider:
    """The provider that has the server; where nobody is known to, whoever the SDK says, or `default`.

    `kinds` are providers by parts of the names of client classes, which know better; `makers` are defaults by what is
    spoken.
    """

    @lru_cache(maxsize=256)
    def provider(kind: type, host: str | None, port: int | None, said: str) -> str:
        names = [each.__name__ for each in kind.__mro__]
        told = (known for mark, known in kinds.items() if any(mark in name for name in names))
        return next(told, None) or provider_of(host, port, said)

    def named(client: Any, sent: Sent, speaks: Speaks) -> str:
        said = sent.provider or (default if makers is None else makers.get(speaks, default))
        return provider(client.__class__, sent.host, sent.port, said)

    return named


def reader(look: Look, paths: Paths, provider: Provider | str) -> Read:
    """The `read` of a patch: calls are the requests to these paths."""
    routes = Routes(paths)
    whose = at(provider) if isinstance(provider, str) else provider

    def read(instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | Late | None:
        sent = look(instance, args, kwargs)
        found = None if sent is None else routes.find(sent.method, sent.url)
        if sent is None or found is None:
            return None
        speaks, names = found
        if "id" in names and isinstance(speaks, Dialect | Batch):
            name, seen = whose(instance, sent, speaks), (sent.transport, sent.answer)
            return Late(names["id"], speaks, name, sent.stream is True, sent.host, sent.port, *seen)
        body: Any = sent.body()
        if not hasattr(body, "keys") or isinstance(speaks, Batch):
            return None
        if names:
            body = {**body, **names}
        dialect = speaks if isinstance(speaks, Dialect) else speaks(body)
        said = body.get("stream")
        return Request(
            dialect=dialect,
            provider=whose(instance, sent, dialect),
            body=body,
            # Some stream every response, to read it whole.
            stream=said is True or ":stream" in sent.url if sent.stream is None else sent.stream and said is not False,
            server_address=sent.host,
            server_port=sent.port,
            with_body=sent.with_body,
            transport=sent.transport,
            follow=sent.follow,
            lazy=sent.lazy,
            answer=sent.answer,
        )

    return read
