"""What activities measure for whoever scrapes the worker: served at /metrics beside its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

REGISTRY = CollectorRegistry()
"""Of this process. A module registers its collector when it is imported, once."""
