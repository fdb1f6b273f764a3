"""`otel-llm outcome`: what became of an interaction, from a terminal or a job."""

from __future__ import annotations

import click
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

import otel_llm
from otel_llm.cli.options import opened_store
from otel_llm.distro import attach
from otel_llm_exporters.clickhouse import queries


@click.command()
@click.argument("interaction")
@click.argument("outcome")
@click.option("--success/--failure", default=None, help="Whether that was a success; unsaid if left out.")
def outcome(interaction: str, outcome: str, *, success: bool | None) -> None:
    """Say what became of an interaction, in your own words: `otel-llm outcome 3f2a resolved --success`.

    INTERACTION is an id, or the beginning of one that the store has. The last word counts, whoever says it; see
    `otel-llm report --by outcome`.
    """
    with opened_store() as store:
        found = [row["InteractionId"] for row in store.query(*queries.interactions(id_prefix=interaction)).dicts()]
    if interaction not in found and len(found) > 1:
        raise click.ClickException(f"More than one interaction begins with {interaction}: give more of its id.")
    name = interaction if interaction in found or not found else found[0]
    # A process of its own, which no setting samples.
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    trace.set_tracer_provider(provider)
    attach(provider)
    otel_llm.outcome(outcome, success=success, interaction_id=name)
    if not provider.force_flush():
        raise click.ClickException(
            "The outcome cannot be written: set OTEL_LLM_HOME to a folder that you may write to."
        )
    provider.shutdown()
    click.echo(f"{name}: {outcome}." + ("" if found else " The store has no call of it yet."))
