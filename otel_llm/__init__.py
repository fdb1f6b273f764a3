"""What every user action of an AI product cost, to the cent, without changing its code.

`opentelemetry-instrument python app.py` is the whole integration. The functions here are for those who want to name
their interactions, and say who they were for and what became of them.
"""

from otel_llm.interaction import Interaction, attribute, current_interaction, interaction, outcome

__all__ = ["Interaction", "attribute", "current_interaction", "interaction", "outcome"]
