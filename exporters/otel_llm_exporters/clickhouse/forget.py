"""Removing a person from the store: who it was goes, what it cost stays.

The id, and the ids of sessions that were the person's alone, are replaced by a random pseudonym wherever they say who
it was. ClickHouse rewrites the rows; the old ones leave the disk some minutes later.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from otel_llm_exporters.clickhouse.migrations import mutable
from otel_llm_exporters.clickhouse.spool import Spool
from otel_llm_exporters.clickhouse.stores import Store
from otel_llm_semconv import attributes as A

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_COLUMNS = {
    "llm_calls": (
        *("UserId", "SessionId", "ConversationId", "Tenant"),
        *("ParentInteractionId", "InteractionName", "Endpoint", "AgentName", "Tags"),
    ),
    "interaction_roots": (
        *("UserId", "SessionId", "Feature", "Tenant"),
        *("ParentInteractionId", "InteractionName", "Endpoint", "Tags"),
    ),
    "otel_traces": ("SpanAttributes", "ResourceAttributes", "Events.Attributes", "Links.Attributes"),
}
"""Where an id says whom something was for."""
_KEYS = {
    "llm_calls": ("Feature", "InteractionId"),
    "interaction_roots": ("InteractionId",),
    "reprice_changes": ("Feature", "InteractionId"),
}
"""Where it does so in a key: such rows cannot be updated, they are written anew."""
_NESTED = "Array(Map"
_SESSION = (A.SESSION_ID, "traceloop.association.properties.session_id")
# A person whose id is "1" is not in what is measured, and one called "chat" not in what was done.
_MEASURED = r"^(gen_ai|llm|embedding|openai|anthropic|otel_llm|http|server|network|error|process|telemetry)\\."
_OURS = (
    A.OTEL_LLM_INTERACTION_ID,
    A.OTEL_LLM_INTERACTION_PARENT_ID,
    A.OTEL_LLM_INTERACTION_NAME,
    A.OTEL_LLM_FEATURE,
    A.OTEL_LLM_TENANT,
    A.OTEL_LLM_ENDPOINT,
    A.GEN_AI_CONVERSATION_ID,
    A.GEN_AI_AGENT_NAME,
)
_SESSIONS = "SELECT Id FROM forgetting WHERE Kind = 'session'"
_SESSION_IDS = "SELECT groupArray(Id) FROM forgetting WHERE Kind = 'session'"
_TEXTS = """
SELECT table, name, type
FROM system.columns
WHERE database = currentDatabase() AND match(type, 'String') AND default_kind != 'ALIAS' AND table IN (
    SELECT name FROM system.tables WHERE database = currentDatabase() AND match(engine, 'MergeTree$|^Distributed$'))
ORDER BY table, position
"""
_COUNT = "SELECT count() FROM `{table}` WHERE {where}"
_TYPES = "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
_BEGUN = "SELECT Pseudonym FROM forgetting WHERE Kind = 'user' AND Id = {id:String}"
# Before the rows change that tell which sessions were the person's alone.
_BEGIN = f"""
INSERT INTO forgetting
SELECT {{pseudonym:String}}, 'session', SessionId
FROM
(
    SELECT UserId, SessionId FROM attributed_calls
    UNION ALL
    SELECT UserId, SessionId FROM interaction_roots
    UNION ALL
    SELECT SpanAttributes['{A.USER_ID}'] AS UserId, SpanAttributes['{A.SESSION_ID}'] AS SessionId FROM otel_traces
)
WHERE SessionId != ''
GROUP BY SessionId
HAVING countIf(UserId = {{id:String}}) > 0 AND countIf(UserId NOT IN ('', {{id:String}})) = 0
UNION ALL
SELECT {{pseudonym:String}}, 'user', {{id:String}}
"""  # noqa: S608 - names of attributes
_UPDATE = "ALTER TABLE {table} UPDATE {changes} WHERE {where} SETTINGS {settings}"
_DELETE = "ALTER TABLE {table} DELETE WHERE {where} SETTINGS {settings}"
# The inner SELECT, because `key` in a WHERE beside REPLACE would be the new one.
_INSERT = """
INSERT INTO {table} SELECT * REPLACE ({{pseudonym:String}} AS `{key}`) FROM (SELECT * FROM {table} WHERE {where})
"""
_SETTINGS = "mutations_sync = 2, allow_nondeterministic_mutations = 1"


class Found(NamedTuple):
    """Where the id is: rows of a table that have it in a column."""

    table: str
    column: str
    rows: int


def find(store: Store, user: str) -> list[Found]:
    """Every column of every table that has the id, as a value or as that of an attribute. Raises QueryError."""
    found: list[Found] = []
    for table, name, type_ in store.query(_TEXTS).rows:
        if has := _has(f"`{name}`", type_):
            rows = store.query(_COUNT.format(table=table, where=has), {"id": user}).rows[0][0]
            found += [Found(table, name, rows)] if rows else []
    return found


def forget(store: Store, user: str) -> str:
    """Replace the id by a pseudonym, which is returned. What was broken off is finished. Raises QueryError."""
    begun = store.query(_BEGUN, {"id": user}).rows
    pseudonym: str = begun[0][0] if begun else f"forgotten-{secrets.token_hex(4)}"
    names = {"id": user, "pseudonym": pseudonym}
    if not begun:
        store.execute(_BEGIN, names)
    for table, columns in _COLUMNS.items():
        types = dict(store.query(_TYPES, {"table": table}).rows)
        changes = ", ".join(f"`{name}` = {_replaced(f'`{name}`', name, types[name])}" for name in columns)
        where = " OR ".join(_touched(f"`{name}`", name, types[name]) for name in columns)
        store.execute(
            _UPDATE.format(table=mutable(store, table), changes=changes, where=where, settings=_SETTINGS), names
        )
    for table, keys in _KEYS.items():
        for key in keys:
            where = f"`{key}` = {{id:String}}"
            if store.query(_COUNT.format(table=table, where=where), names).rows[0][0]:
                store.execute(_INSERT.format(table=table, key=key, where=where), names)
                store.execute(_DELETE.format(table=mutable(store, table), where=where, settings=_SETTINGS), names)
    store.execute("TRUNCATE TABLE forgetting")
    return pseudonym


def mentions(spool: Spool, user: str) -> Iterator[tuple[Path, bool]]:
    """Files put aside in the spool that have the id in them; False beside one that cannot be read to its end."""
    for path in spool.rejected():
        data = path.read_bytes()
        text, whole = _unpacked(data)
        if user.encode() in text or user.encode() in data:
            yield path, True
        elif not whole:
            yield path, False


def _has(column: str, type_: str) -> str:
    """Whether a column of this type has the id; '' for a type that can have none."""
    if type_.startswith(_NESTED):
        return f"arrayExists(one -> has(mapValues(one), {{id:String}}), {column})"
    if type_.startswith("Map("):
        return f"has(mapValues({column}), {{id:String}})" if type_.endswith("String)") else ""
    if type_.startswith("Array("):
        return f"has({column}, {{id:String}})"
    return "" if type_.startswith("Tuple(") else f"{column} = {{id:String}}"


def _touched(column: str, name: str, type_: str) -> str:
    if name == "SessionId":
        return f"({_has(column, type_)} OR {column} IN ({_SESSIONS}))"
    if name == "SpanAttributes":
        sessions = " OR ".join(f"{column}['{name}'] IN ({_SESSIONS})" for name in _SESSION)
        return f"({_has(column, type_)} OR {sessions})"
    return _has(column, type_)


def _replaced(column: str, name: str, type_: str) -> str:
    if type_.startswith(_NESTED):
        return f"arrayMap(one -> {_replaced('one', name, 'Map(')}, {column})"
    if type_.startswith("Map("):
        ours = ", ".join(f"'{name}'" for name in _OURS)
        mine = f"value = {{id:String}} AND (NOT match(name, '{_MEASURED}') OR name IN ({ours}) OR {_tag('name')})"
        if name == "SpanAttributes":
            session = ", ".join(f"'{name}'" for name in _SESSION)
            mine = f"{mine} OR name IN ({session}) AND has(({_SESSION_IDS}), value)"
        return f"mapApply((name, value) -> (name, if({mine}, {{pseudonym:String}}, value)), {column})"
    return f"if({_touched(column, name, type_)}, {{pseudonym:String}}, {column})"


def _tag(name: str) -> str:
    return f"startsWith({name}, '{A.OTEL_LLM_TAG_PREFIX}')"


def _unpacked(data: bytes) -> tuple[bytes, bool]:
    """What can be unpacked of the frames in `data`, and whether that is all."""
    text = b""
    while data:
        frame = zstd.ZstdDecompressor()
        try:
            for start in range(0, len(data), 1 << 10):
                text += frame.decompress(data[start : start + (1 << 10)])
                if frame.eof:
                    data = frame.unused_data + data[start + (1 << 10) :]
                    break
            else:
                return text, False
        except zstd.ZstdError:
            return text, False
    return text, True
