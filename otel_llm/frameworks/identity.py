"""Whose a web request is, without a line of code: from its headers, as OTEL_LLM_IDENTITY and OTEL_LLM_FEATURES say.

Claims are read from a bearer token without checking it: they attribute cost, and prove nothing. Cookies are not read.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from typing import Any, cast

from otel_llm.call import AttributeValue
from otel_llm.guard import guard, logger
from otel_llm.interaction import identity_attributes
from otel_llm.settings import SettingError, attribute_of

IDENTITY_SETTING = "OTEL_LLM_IDENTITY"
FEATURES_SETTING = "OTEL_LLM_FEATURES"

Reader = Callable[[Mapping[str, str], str], Mapping[str, AttributeValue]]
"""`reader(headers, path)` gives attributes; names of headers are in lower case."""


def identity_of(headers: Mapping[str, str], path: str) -> dict[str, AttributeValue]:
    """The attributes that say who sent a request; empty when nobody configured how to tell."""
    with guard:
        reader = _in_use(os.environ.get(IDENTITY_SETTING, "").strip(), IDENTITY_SETTING)
        if reader is not None:
            return dict(reader({name: text for name, text in headers.items() if name != "cookie"}, path))
    return {}


def identifies() -> bool:
    """Whether somebody configured how to tell."""
    return bool(os.environ.get(IDENTITY_SETTING, "").strip())


def feature_of(route: str) -> str | None:
    """The feature that a route belongs to, if OTEL_LLM_FEATURES says."""
    patterns = _in_use(os.environ.get(FEATURES_SETTING, "").strip(), FEATURES_SETTING)
    return next((name for pattern, name in patterns or () if fnmatchcase(route, pattern)), None)


@cache
def _in_use(text: str, setting: str) -> Any:
    try:
        return (identity_reader if setting == IDENTITY_SETTING else route_patterns)(text) if text else None
    except SettingError as error:
        logger.warning("%s", error)
        return None


def identity_reader(text: str) -> Reader:
    """What OTEL_LLM_IDENTITY describes. Raises SettingError when it cannot be used."""
    if text.startswith("callable:"):
        return _callable(text.removeprefix("callable:"))
    sources: dict[str, tuple[str, str]] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        word, _, source = map(str.strip, part.partition("="))
        kind, _, name = map(str.strip, source.partition(":"))
        if kind not in ("header", "claim") or not name or (kind, name.lower()) == ("header", "cookie"):
            raise SettingError(
                f"{IDENTITY_SETTING} says {part!r}, which is not like user=header:x-user-id or tenant=claim:org: "
                "the setting is not used"
            )
        sources[attribute_of(word, IDENTITY_SETTING)] = (kind, name)

    def read(headers: Mapping[str, str], _path: str) -> dict[str, AttributeValue]:
        wants_claims = any(kind == "claim" for kind, _ in sources.values())
        claims: Mapping[str, Any] = _claims(headers.get("authorization", "")) if wants_claims else {}
        found = {
            attribute: headers.get(name.lower()) if kind == "header" else claims.get(name)
            for attribute, (kind, name) in sources.items()
        }
        return {name: str(value) for name, value in found.items() if isinstance(value, (str, int)) and value != ""}

    return read


def _callable(path: str) -> Reader:
    module, _, name = path.strip().partition(":")
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingError(
            f"{IDENTITY_SETTING} names {path!r}, which cannot be imported ({error}): the setting is not used"
        ) from None

    def read(headers: Mapping[str, str], request_path: str) -> dict[str, AttributeValue]:
        told: Mapping[str, Any] | None = function(headers, request_path)
        return identity_attributes(**told) if told else {}

    return read


def _claims(authorization: str) -> Mapping[str, Any]:
    """The payload of a JSON web token, unverified; empty when there is none."""
    scheme, _, token = authorization.partition(" ")
    parts = token.strip().split(".")
    if scheme.lower() != "bearer" or len(parts) != 3:
        return {}
    try:
        payload: Any = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return cast("dict[str, Any]", payload) if isinstance(payload, dict) else {}


def route_patterns(text: str) -> tuple[tuple[str, str], ...]:
    """The patterns of OTEL_LLM_FEATURES with their features. Raises SettingError when they cannot be used."""
    found: list[tuple[str, str]] = []
    for part in filter(None, map(str.strip, text.split(","))):
        pattern, _, feature = map(str.strip, part.rpartition("="))
        if not pattern or not feature:
            raise SettingError(
                f"{FEATURES_SETTING} says {part!r}, which is not like /chat/*=support: the setting is not used"
            )
        found.append((pattern, feature))
    return tuple(found)
