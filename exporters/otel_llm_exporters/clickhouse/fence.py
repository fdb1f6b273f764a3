"""What somebody who may only read may ask an embedded ClickHouse.

`readonly` is not enough there: it is the engine of a command-line tool, and opens any file that its user may open, by
name, by function, and even to write. So a statement is taken apart by the engine itself before it runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from otel_llm_exporters.clickhouse.stores import QueryError

Ask = Callable[[str, Mapping[str, str]], str]
"""Runs a statement with parameters; returns its lines."""

_READING = ("SELECT", "WITH", "SHOW", "DESCRIBE", "EXISTS", "EXPLAIN")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`", re.DOTALL)
_OUTFILE = re.compile(r"\bINTO\s+OUTFILE\b", re.IGNORECASE)
_FUNCTION = re.compile(r"^ *Function (\w+)", re.MULTILINE)
_PATH = re.compile(r"Identifier [^\n]*/")
_MODEL = re.compile(r"ai[A-Z]")
# Their values are expressions, or names of files.
_SETTING = re.compile(r"\b(?:additional_|format_schema|format_template)\w*")
_OUTWARD = {"file", "catboostevaluate", "hascolumnintable", "joinget", "joingetornull"}
_INWARD_TABLES = {
    *("numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "values", "null", "view", "format"),
    *("generaterandom", "generateseries", "generate_series", "mergetreeindex", "sqlstandardvalues"),
}


class Fence:
    """Around the tables of one engine."""

    def __init__(self, table_functions: Iterable[str]) -> None:
        self._outward = _OUTWARD | {name.lower() for name in table_functions} - _INWARD_TABLES

    def check(self, ask: Ask, sql: str, parameters: Mapping[str, str], settings: Iterable[str]) -> None:
        """Let a statement pass that only reads tables. Raises QueryError for what else it is."""
        try:
            plain = ask("SELECT formatQuery({statement:String})", {"statement": _escaped(sql)})
        except QueryError as error:
            raise QueryError(str(error).split(": In scope SELECT formatQuery(")[0], error.code, error.name) from None
        bare = _QUOTED.sub("''", plain)
        if not bare.lstrip("( \n").startswith(_READING):
            raise QueryError("Cannot execute query in readonly mode", 164, "READONLY")
        if _OUTFILE.search(bare):
            raise _refused("INTO OUTFILE")
        setting = _SETTING.search(" ".join((bare, *settings)))
        if setting:
            raise _refused(f"the setting {setting[0]}")
        tree = ask(f"EXPLAIN AST {plain}", parameters)
        if _PATH.search(tree):
            raise _refused("a name with a slash")
        functions: list[str] = _FUNCTION.findall(tree)
        for name in functions:
            if name.lower() in self._outward or _MODEL.match(name):
                raise _refused(f"{name}()")


def _refused(what: str) -> QueryError:
    return QueryError(f"{what} reaches beyond the tables, which needs the right to write", 497, "ACCESS_DENIED")


def _escaped(text: str) -> str:
    # As parameters travel.
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
