"""How users call a resource, read what comes back, and stop reading."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.conformance.surfaces import Body, Surface, got

Each = Callable[[Any], Any]
"""What the user does with an item; may be async."""


def _itself(found: Any) -> Any:
    return found


@dataclass(frozen=True)
class Way:
    """One way to call a resource."""

    name: str
    call: Callable[[Surface, Any, Body], Any]
    read: Callable[[Any], Any] = _itself
    """What of the result the user reads: a value, or what has items."""
    stream: bool = False
    within: bool = False
    """The result is used in a `with` block."""
    needs: str = ""
    """The method of the surface's helper that this is about."""
    lines: bool = False
    """The user reads the lines of the body."""
    bytewise: bool = False
    """Items are pieces of the body, cut anywhere."""

    def applies(self, surface: Surface) -> bool:
        """Whether the surface can be called so."""
        if self.needs and not surface.helper:
            return False
        return not self.stream or (surface.streams and (surface.lines or not self.lines))

    def ready(self, surface: Surface, client: Any) -> None:
        """Skip the test where this version of the SDK does not know the way."""
        surface.resource_of(client)
        if self.needs:
            self._check(surface, hasattr(surface.resource_of(client, surface.helper), self.needs))
            self._check(surface, self.needs != "parse" or _can_parse(surface, client))

    def _check(self, surface: Surface, available: bool) -> None:
        if not available:
            pytest.skip(f"{surface.sdk.__name__} {surface.sdk.__version__} has no {surface.helper}.{self.needs}")


def _can_parse(surface: Surface, client: Any) -> bool:
    parse = surface.resource_of(client, surface.helper).parse
    return all(name in inspect.signature(parse).parameters for name in surface.shape)


def _raw(parse: bool = True, **fixed: Any) -> Callable[[Surface, Any, Body], Any]:
    async def call(surface: Surface, client: Any, body: Body) -> Any:
        raw = await got(surface.resource_of(client).with_raw_response.create(**body, **fixed))
        return await got(raw.parse()) if parse else raw

    return call


def _streaming(**fixed: Any) -> Callable[[Surface, Any, Body], Any]:
    return lambda surface, client, body: surface.resource_of(client).with_streaming_response.create(**body, **fixed)


def _create(**fixed: Any) -> Callable[[Surface, Any, Body], Any]:
    return lambda surface, client, body: surface.resource_of(client).create(**body, **fixed)


def _helped(method: str, *, shaped: bool = False) -> Callable[[Surface, Any, Body], Any]:
    def call(surface: Surface, client: Any, body: Body) -> Any:
        return getattr(surface.resource_of(client, surface.helper), method)(**body, **(surface.shape if shaped else {}))

    return call


VALUES: tuple[Way, ...] = (
    Way("create", _create()),
    Way("parse", _helped("parse", shaped=True), needs="parse"),
    Way("raw", _raw()),
    Way("raw http_response", _raw(parse=False), lambda raw: raw.http_response.json()),
    Way("streamed parse", _streaming(), lambda raw: raw.parse(), within=True),
    Way("streamed json", _streaming(), lambda raw: raw.json(), within=True),
    Way("streamed read", _streaming(), lambda raw: raw.read(), within=True),
    Way("streamed bytes", _streaming(), lambda raw: raw.iter_bytes(100), within=True, bytewise=True),
)
STREAMS: tuple[Way, ...] = (
    Way("stream", _create(stream=True), stream=True),
    Way("stream in a block", _create(stream=True), stream=True, within=True),
    Way("helper", _helped("stream"), stream=True, within=True, needs="stream"),
    Way("raw stream", _raw(stream=True), stream=True),
    Way("streamed stream", _streaming(stream=True), lambda raw: raw.parse(), stream=True, within=True),
    Way("streamed lines", _streaming(stream=True), lambda raw: raw.iter_lines(), stream=True, within=True, lines=True),
    Way("streamed chunks", _streaming(stream=True), lambda raw: raw.iter_bytes(), stream=True, within=True, lines=True,
        bytewise=True),
)  # fmt: skip


@dataclass
class Seen:
    """What the user saw."""

    result: type[Any] | None = None
    types: list[type[Any]] = field(default_factory=list[type[Any]])
    values: list[Any] = field(default_factory=list[Any])
    error: BaseException | None = None

    def add(self, item: Any) -> None:
        """Note an item."""
        self.types.append(cast("type[Any]", type(item)))
        self.values.append(plain(item))

    def must_equal(self, other: Seen, way: Way) -> None:
        """Fail unless it is what the user saw the other time."""
        assert self.result is other.result
        assert type(self.error) is type(other.error), f"{self.error!r} is not {other.error!r}"
        assert neutral(str(self.error)) == neutral(str(other.error))
        if way.bytewise:
            assert {*self.types} == {*other.types}
            assert neutral(b"".join(self.values)) == neutral(b"".join(other.values))
        else:
            assert list(map(id, self.types)) == list(map(id, other.types))
            assert neutral(self.values) == neutral(other.values)


async def use(way: Way, surface: Surface, client: Any, body: Body, seen: Seen, each: Each | None = None) -> None:
    """Call the resource and read all of it, noting what is seen; `each` is what the user does with an item."""
    try:
        result = await got(way.call(surface, client, body))
        seen.result = type(result)
        if not way.within:
            await _read(way, result, seen, each or _itself)
        elif hasattr(result, "__aenter__"):
            async with result as opened:
                await _read(way, opened, seen, each or _itself)
        else:
            with result as opened:
                await _read(way, opened, seen, each or _itself)
    except BaseException as error:
        seen.error = error
        raise


STOP = object()
"""What `each` returns to leave the loop, and the block around it."""


async def drop(way: Way, surface: Surface, client: Any, body: Body, seen: Seen) -> None:
    """Call the resource, read one item, and let everything go without a word."""
    opened = result = await got(way.call(surface, client, body))
    seen.result = type(result)
    if way.within:
        opened = await got(result.__aenter__() if hasattr(result, "__aenter__") else result.__enter__())
    found = await got(way.read(opened))
    seen.add(await anext(found) if hasattr(found, "__anext__") else next(found))


async def _read(way: Way, opened: Any, seen: Seen, each: Each) -> None:
    found = await got(way.read(opened))
    if hasattr(found, "__anext__"):
        async for item in found:
            seen.add(item)
            if await got(each(item)) is STOP:
                break
    elif hasattr(found, "__next__"):
        for item in found:
            seen.add(item)
            if await got(each(item)) is STOP:
                break
    else:
        seen.add(found)
        await got(each(found))


def plain(item: Any) -> Any:
    """An item as plain data, with what was set and what was not."""
    dump = getattr(item, "model_dump_json", None)
    return item if dump is None else json.loads(dump(warnings=False)) | {"set": sorted(item.model_fields_set)}


_IDS = re.compile(r"(?<=[_-])[0-9a-f]{8}\d{6}(?!\d)")
_CLOCKS = re.compile(r'((?:created|updated|(?:created|started|completed|expires)_at)\\?"\s*:\s*)(?:[\d.]+|"[^"]+")')


def neutral(value: Any) -> str:
    """A value without what differs from one call to the next: ids and clocks."""
    text = (
        value.decode()
        if isinstance(value, bytes)
        else value
        if isinstance(value, str)
        else json.dumps(value, default=repr)
    )
    return _CLOCKS.sub(r"\g<1>0", _IDS.sub("ID", text))


async def collect_garbage(*errors: BaseException | None) -> None:
    """Whatever was dropped is gone after this; it may be held by the traceback of an error that is still at hand."""
    for error in errors:
        if error is not None:
            error.__traceback__ = error.__context__ = error.__cause__ = None
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0.002)  # the loop closes dropped async generators, and then those that they held
