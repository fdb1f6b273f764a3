"""Which entry of the price book a call's provider and model names mean."""

from __future__ import annotations

import re

# gen_ai.provider.name -> provider id of genai-prices. A name that is not here is looked up as it is; the library's own
# fuzzy matching is not used, because it takes any name that contains "openai" for OpenAI.
_BOOK_PROVIDERS = {
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "fireworks_ai": "fireworks",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "together_ai": "together",
    "voyage_ai": "voyageai",
    "x_ai": "x-ai",
    "z_ai": "zai",
}
# Nobody publishes a price per token for these: they run on the user's own machines, or under a private contract.
_NO_PUBLIC_PRICE = {"huggingface", "ibm.watsonx.ai", "llamafile", "lm_studio", "lmstudio", "ollama", "vllm"}
_NAMED_ARN = re.compile(r"arn:[^/]*:(?:inference-profile|foundation-model)/(.+)")
_ROUTER_ARN = re.compile(r"arn:[^/]*:(?:default-)?prompt-router/.+")


def names_model(model: str) -> bool:
    """Whether a model of Bedrock goes by its name, or by that of the model it was routed to.

    Other ARNs stand for what only the user knows: a profile of their own, capacity that is paid by the hour.
    """
    return not model.startswith("arn:") or any(arn.fullmatch(model) for arn in (_NAMED_ARN, _ROUTER_ARN))


def book_key(provider: str, model: str) -> str | None:
    """`provider/model` as the book is asked for it; None when the provider has no public price list."""
    provider = provider.strip().lower()
    if provider in _NO_PUBLIC_PRICE:
        return None
    provider = _BOOK_PROVIDERS.get(provider, provider)
    model = model.strip().lower()
    if provider == "google":
        # models/gemini-3, publishers/google/models/gemini-3, projects/p/locations/l/publishers/google/models/gemini-3
        model = model.rpartition("models/")[2]
    elif provider == "aws" and (named := _NAMED_ARN.fullmatch(model)):
        model = named[1]
    return f"{provider}/{model}"


def provider_names(book_provider: str) -> tuple[str, ...]:
    """Every `gen_ai.provider.name` that means this provider of the book, its own id first."""
    return (book_provider, *(name for name, found in _BOOK_PROVIDERS.items() if found == book_provider))


STANDARD = {"", "auto", "default", "global", "not_available", "on_demand", "standard", "standard_only"}
"""The providers' words for a tier, speed or region that is nothing special."""


def variant_context(service_tier: str, speed: str) -> dict[str, str]:
    """What the book wants to know of a request, in its own words; empty for an ordinary one."""
    context: dict[str, str] = {}
    if service_tier == "batch":
        context["processing"] = "batch"
    elif service_tier not in STANDARD:
        context["service_tier"] = service_tier
    if speed not in STANDARD:
        context["speed"] = speed
    return context
