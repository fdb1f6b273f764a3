"""A small offline stand-in for LLM providers: their wire formats on a real socket, and a bill of its own."""

from examples.offline_provider.bill import BillEntry, RequestEntry, Usage, cost_nano
from examples.offline_provider.server import OfflineProvider

__all__ = ["BillEntry", "OfflineProvider", "RequestEntry", "Usage", "cost_nano"]
