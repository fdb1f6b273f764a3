"""`opentelemetry-instrument python app.py`: the whole integration."""

from __future__ import annotations

import sys

import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.zero_code.conftest import INSTRUMENT, Receiver, Stored, Workplace, calls, ledger

SCRIPT = (sys.executable, "script.py", "--flag", "argument")
MODULE = (sys.executable, "-m", "script", "--flag", "argument")


def assert_ledger_is_bill(spans: list[Stored], provider: OfflineProvider) -> None:
    provider.settle()
    recorded = {call.attributes[A.GEN_AI_RESPONSE_ID]: int(call.attributes[A.OTEL_LLM_COST_NANO_USD]) for call in spans}
    assert recorded == {entry.response_id: entry.cost_nano for entry in provider.bill}
    assert len(spans) == len(recorded)
    assert sum(recorded.values()) > 0


@pytest.mark.parametrize("command", [SCRIPT, MODULE], ids=["python app.py", "python -m app"])
def test_a_script(command: tuple[str, ...], workplace: Workplace, provider: OfflineProvider) -> None:
    plain = workplace.run(*command)
    provider.clear()
    files = workplace.files()
    instrumented = workplace.run(*INSTRUMENT, *command)
    assert instrumented.stderr == plain.stderr == ""
    assert instrumented.stdout == plain.stdout
    assert instrumented.stdout.endswith("False ['--flag', 'argument']\n")
    assert instrumented.returncode == plain.returncode == 3
    assert workplace.files() == files
    found = calls(ledger(workplace.home))
    assert len(found) == 2
    assert_ledger_is_bill(found, provider)
    assert len({call.attributes[A.OTEL_LLM_INTERACTION_ID] for call in found}) == 2


def test_the_same_spans_go_to_any_otlp_receiver(
    workplace: Workplace, provider: OfflineProvider, receiver: Receiver
) -> None:
    done = workplace.run(
        *INSTRUMENT,
        *SCRIPT,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert len(receiver.spans) == 2
    assert_ledger_is_bill(receiver.spans, provider)
    assert_ledger_is_bill(calls(ledger(workplace.home)), provider)
    for sent, stored in zip(receiver.spans, calls(ledger(workplace.home)), strict=True):
        assert sent.name == stored.name
        assert sent.attributes.keys() == stored.attributes.keys()
        assert sent.attributes[A.GEN_AI_USAGE_COST_AMOUNT] == float(stored.attributes[A.GEN_AI_USAGE_COST_AMOUNT])


def test_what_is_not_sampled_is_in_the_ledger_and_nowhere_else(
    workplace: Workplace, provider: OfflineProvider, receiver: Receiver
) -> None:
    done = workplace.run(
        *INSTRUMENT,
        *SCRIPT,
        OTEL_TRACES_SAMPLER="always_off",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
    )
    assert (done.returncode, done.stderr) == (3, "")
    assert receiver.spans == []
    assert_ledger_is_bill(calls(ledger(workplace.home)), provider)


def test_a_disabled_sdk_leaves_everything_alone(workplace: Workplace, provider: OfflineProvider) -> None:
    plain = workplace.run(*SCRIPT)
    bodies = [request.body for request in provider.requests]
    provider.clear()
    disabled = workplace.run(*INSTRUMENT, *SCRIPT, OTEL_SDK_DISABLED="true")
    assert (disabled.returncode, disabled.stdout, disabled.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert [request.body for request in provider.requests] == bodies
    assert not workplace.home.exists()


def test_exporter_and_ledger_store_a_call_once(workplace: Workplace, provider: OfflineProvider) -> None:
    done = workplace.run(*INSTRUMENT, *SCRIPT, OTEL_TRACES_EXPORTER="clickhouse")
    assert (done.returncode, done.stderr) == (3, "")
    assert_ledger_is_bill(calls(ledger(workplace.home)), provider)


EXPORTER_ALONE = """
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
_OTelSDKConfigurator().configure()
from opentelemetry import trace
trace.get_tracer("somebody").start_span("chat gpt-4o-mini", attributes={"gen_ai.provider.name": "openai"}).end()
"""


def test_the_exporter_works_alone(workplace: Workplace) -> None:
    done = workplace.run(
        sys.executable,
        "-c",
        EXPORTER_ALONE,
        OTEL_TRACES_EXPORTER="clickhouse",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
    )
    assert (done.returncode, done.stderr) == (0, "")
    [span] = ledger(workplace.home)
    assert (span.name, span.attributes) == ("chat gpt-4o-mini", {A.GEN_AI_PROVIDER_NAME: "openai"})


def test_results_of_a_batch_that_scripts_read_one_after_another(
    workplace: Workplace, provider: OfflineProvider
) -> None:
    workplace.environment |= {"ANTHROPIC_API_KEY": "any", "ANTHROPIC_BASE_URL": provider.url}
    id_: list[str] = []
    for _ in range(2):
        done = workplace.run(*INSTRUMENT, sys.executable, "read_batch.py", *id_)
        assert (done.returncode, done.stderr) == (0, "")
        id_ = [done.stdout.strip()]
        counted = [call for call in calls(ledger(workplace.home)) if A.OTEL_LLM_COST_STATUS in call.attributes]
        assert len(counted) == 5
        assert_ledger_is_bill(counted, provider)
