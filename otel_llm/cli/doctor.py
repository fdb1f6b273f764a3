"""What `otel-llm doctor` looks at, and what it says."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Literal

from rich.text import Text

from otel_llm.cli.output import number, when
from otel_llm.engine.patching import Patches, our_version
from otel_llm.frameworks import FRAMEWORKS, QUEUES, WEB_FRAMEWORKS, FrameworkInstrumentor
from otel_llm.frameworks.identity import FEATURES_SETTING, IDENTITY_SETTING, identity_reader, route_patterns
from otel_llm.instrumentor import disabled
from otel_llm.integrations import INTEGRATIONS
from otel_llm.pricing import PriceBook, PriceFileError
from otel_llm.settings import BAGGAGE_SETTING, SettingError, baggage_names, home, price_file
from otel_llm.spec import Integration
from otel_llm_exporters.clickhouse import queries
from otel_llm_exporters.clickhouse.drops import REASONS, REMEDIES, Drop
from otel_llm_exporters.clickhouse.server import server_url, shown
from otel_llm_exporters.clickhouse.shipper import last_failure
from otel_llm_exporters.clickhouse.spool import Spool
from otel_llm_exporters.clickhouse.stores import Store, StoreError

Level = Literal["good", "note", "bad"]
_MARKS = {"good": ("✓", "green"), "note": ("•", "yellow"), "bad": ("✗", "red")}
_OURS = "otel_llm"
_INSTRUMENTORS = "opentelemetry_instrumentor"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that doctor found, and what to do about it."""

    section: str
    level: Level
    text: str

    def line(self) -> Text:
        """The finding for a terminal."""
        mark, style = _MARKS[self.level]
        return Text(f"  {mark} ", style=style).append(self.text, style="default")

    def as_dict(self) -> dict[str, str]:
        """The finding for JSON."""
        return asdict(self)


def diagnose(open_store: Callable[[], AbstractContextManager[Store]]) -> list[Finding]:
    """Everything there is to say, the environment first."""
    return [*_environment(), *_sdks(), *_frameworks(), *_spool(), *_stored(open_store), *_prices()]


def _environment() -> Iterator[Finding]:
    section = "Environment"
    yield Finding(
        section,
        "good",
        f"otel-llm {our_version()}, OpenTelemetry {version('opentelemetry-sdk')}, Python {platform.python_version()}",
    )
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield Finding(section, "bad", "OTEL_SDK_DISABLED=true turns all of OpenTelemetry off: nothing is recorded.")
    disabled = os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")
    if disabled:
        yield Finding(section, "note", f"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS leaves out: {disabled}.")
    for role, setting in (("distro", "OTEL_PYTHON_DISTRO"), ("configurator", "OTEL_PYTHON_CONFIGURATOR")):
        names = [entry.name for entry in entry_points(group=f"opentelemetry_{role}")]
        chosen = os.environ.get(setting) or (names[0] if names else None)
        if chosen == _OURS:
            yield Finding(section, "good", f"`opentelemetry-instrument` loads our {role}.")
        else:
            yield Finding(
                section,
                "note",
                f"`opentelemetry-instrument` loads the {role} {chosen!r}, and ours is attached beside it; "
                f"{setting}={_OURS} chooses ours.",
            )
    readers: dict[str, Callable[[str], object]] = {
        IDENTITY_SETTING: identity_reader,
        FEATURES_SETTING: route_patterns,
        BAGGAGE_SETTING: baggage_names,
    }
    # A callable is the application's, which is started from here.
    sys.path.append(str(Path.cwd()))
    for setting, read in readers.items():
        if text := os.environ.get(setting, "").strip():
            try:
                read(text)
            except SettingError as error:
                yield Finding(section, "bad", f"{error}.")
            else:
                yield Finding(section, "good", f"{setting}={text} is in use.")
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if endpoint:
        yield Finding(section, "good", f"Spans also go to {endpoint} over OTLP.")


def _sdks() -> Iterator[Finding]:
    active = _instrumentors()
    installed_ones, absent = _versions(INTEGRATIONS)
    for integration, installed in installed_ones:
        yield _usable("SDKs", integration, installed, integration.name) or _sdk(integration, installed)
        others = sorted(
            entry.dist.name
            for name, entry in active.items()
            if name.startswith(integration.name) and entry.dist is not None
        )
        if others:
            yield Finding(
                "SDKs",
                "note",
                f"{integration.distribution} is also instrumented by {', '.join(others)}: each call may get a second "
                f"span; OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={integration.name} turns that off.",
            )
    yield from _absent("SDKs", absent)


def _frameworks() -> Iterator[Finding]:
    # They are not imported: that takes seconds, and some of them tell their makers.
    names = {table.name: kind.name for kind in FrameworkInstrumentor.__subclasses__() for table in kind.tables}
    installed_ones, absent = _versions((*FRAMEWORKS, *WEB_FRAMEWORKS, *QUEUES))
    for table, installed in installed_ones:
        yield _usable("Frameworks", table, installed, names[table.name]) or _tested("Frameworks", table, installed)
    yield from _absent("Frameworks", absent)


@cache
def _instrumentors() -> Mapping[str, EntryPoint]:
    """All that OpenTelemetry would load. To find them is to read the metadata of every distribution."""
    return {entry.name: entry for entry in entry_points(group=_INSTRUMENTORS)}


def _versions(tables: Sequence[Integration]) -> tuple[list[tuple[Integration, str]], list[str]]:
    """What of these is installed, with its version, and the names of what is not."""
    installed: list[tuple[Integration, str]] = []
    absent: list[str] = []
    for table in tables:
        try:
            installed.append((table, version(table.distribution)))
        except PackageNotFoundError:
            absent.append(table.distribution)
    return installed, absent


def _absent(section: str, names: Sequence[str]) -> Iterator[Finding]:
    if names:
        yield Finding(section, "note", f"Not installed: {', '.join(names)}.")


def _usable(section: str, integration: Integration, installed: str, name: str) -> Finding | None:
    """Why it is not instrumented, whatever its version; None when it is."""
    said = f"{integration.distribution} {installed} is not instrumented: "
    if _OURS not in _instrumentors():
        return Finding(section, "bad", f"{said}reinstall otel-llm, its entry point is missing.")
    left_out = sorted({_OURS, f"{_OURS}_{name}"} & disabled())
    if left_out:
        why = f"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS leaves {' and '.join(left_out)} out"
        return Finding(section, "bad", f"{said}{why}.")
    return None


def _sdk(integration: Integration, installed: str) -> Finding:
    name = f"{integration.distribution} {installed}"
    failures: list[ImportError] = []
    modules = dict.fromkeys(patch.module for patch in integration.patches)
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            failures.append(error)
    if len(failures) == len(modules):  # releases differ in where they keep things
        return Finding("SDKs", "bad", f"{name} cannot be imported ({failures[0]}): it is not traced.")
    patches = Patches(integration)
    patches.apply()
    patches.remove()
    methods = {f"{patch.module}.{patch.attribute}": _method(patch.attribute) for patch in integration.patches}
    found = {method for target, method in methods.items() if target not in patches.missing}
    lost = [target for target in patches.missing if target in methods and methods[target] not in found]
    if lost:
        older = _numbers(installed) < _numbers(integration.oldest)
        remedy = f"upgrade it to {integration.oldest} or newer" if older else "upgrade otel-llm"
        return Finding("SDKs", "bad", f"{name} has no {' and no '.join(lost)}: its calls are not traced, {remedy}.")
    return _tested("SDKs", integration, installed)


def _tested(section: str, integration: Integration, installed: str) -> Finding:
    """How its version compares with those that are tested."""
    name = f"{integration.distribution} {installed}"
    tested = f"tested from {integration.oldest} to {integration.newest_major}.x"
    if _numbers(installed) < _numbers(integration.oldest):
        return Finding(section, "note", f"{name} is instrumented, but older than what is tested ({tested}).")
    if _numbers(installed)[0] > integration.newest_major:
        return Finding(section, "note", f"{name} is instrumented, but newer than what is tested ({tested}).")
    return Finding(section, "good", f"{name} is instrumented ({tested}).")


def _method(attribute: str) -> str:
    """Of `httpx.Client.send` the class and the method: releases differ in where they have it from."""
    return ".".join(attribute.split(".")[-2:])


def _numbers(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found) or (0,)


def _spool() -> Iterator[Finding]:
    section = "Spool"
    folder = home()
    spool = Spool(folder)
    try:
        segments, rejected, drops = spool.segments(), spool.rejected(), spool.drops()
    except OSError as error:
        yield Finding(section, "bad", f"{spool.directory} cannot be read ({error.strerror}): set OTEL_LLM_HOME.")
        return
    existing = next(parent for parent in (spool.directory, *spool.directory.parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        yield Finding(section, "bad", f"{existing} is not writable: set OTEL_LLM_HOME to a folder that is.")
    rows, url = sum(segment.rows for segment in segments), server_url()
    since = f", the oldest since {when(segments[0].created)}" if segments else ""
    yield Finding(
        section,
        "good",
        f"{spool.directory}: {number(rows)} spans in {number(len(segments))} segments wait to be "
        f"{f'sent to {shown(url)}' if url else 'imported'}{since}.",
    )
    failure = last_failure(folder)
    if failure is not None and segments:
        segment = f", with {failure.segment}" if failure.segment else ""
        yield Finding(
            section,
            "bad",
            f"Sending failed {failure.tries} times, last {when(failure.at)}{segment}: {failure.message}",
        )
    for reason in dict.fromkeys(drop.reason for drop in drops):
        yield _dropped([drop for drop in drops if drop.reason == reason], spool)
    for path in rejected:
        yield Finding(
            section,
            "bad",
            f"{path} could not be read and was put aside: its spans are missing; delete it when you do not need it.",
        )


def _dropped(drops: Sequence[Drop], spool: Spool) -> Finding:
    spans, reason = sum(drop.spans for drop in drops), drops[0].reason
    return Finding(
        "Spool",
        "bad",
        f"{number(spans)} spans were dropped, because {REASONS[reason]}; the first {when(drops[0].at)}, "
        f"the last {when(drops[-1].at)}. {REMEDIES[reason]}, then delete {spool.directory / 'dropped'}.",
    )


def _stored(open_store: Callable[[], AbstractContextManager[Store]]) -> Iterator[Finding]:
    section = "Store"
    try:
        with open_store() as store:
            status = store.query(*queries.status()).dicts()[0]
            unpriced = store.query(*queries.unpriced()).dicts()
    except StoreError as error:
        yield Finding(section, "bad", str(error))
        return
    if not status["Calls"]:
        yield Finding(
            section, "note", "No call yet: start the application with `opentelemetry-instrument python app.py`."
        )
        return
    yield Finding(
        section,
        "good",
        f"{number(status['Calls'])} calls of {number(status['Interactions'])} interactions, "
        f"{number(status['Spans'])} spans, "
        f"{status['Bytes'] / 1e6:.1f} MB; from {when(status['FirstCall'])} to {when(status['LastCall'])}.",
    )
    for row in unpriced:
        yield Finding(
            section,
            "note",
            f"{row['CostStatus']}: {row['Provider']}/{row['Model'] or '?'}, "
            f"{number(row['Calls'])} calls ({row['Reason']}).",
        )


def _prices() -> Iterator[Finding]:
    section = "Prices"
    yield Finding(
        section, "good", f"genai-prices {version('genai-prices')}; a newer one is `pip install -U genai-prices`."
    )
    path = price_file()
    if path is not None:
        try:
            PriceBook(None, path).load_overrides()
        except PriceFileError as error:
            yield Finding(section, "bad", str(error))
        else:
            yield Finding(section, "good", f"{path} is in use.")
