"""Specs of the domain automation: servers, fleets of them, and what is done to them."""

from temporal.shared.specs.automation.hosts import HostSpec, Spec
from temporal.shared.specs.automation.server import (
    Answered,
    CheckAnswers,
    ConvergeHost,
    HttpAnswer,
    Planned,
    Provisioned,
    ServerSpec,
)

__all__ = [
    "Answered",
    "CheckAnswers",
    "ConvergeHost",
    "HostSpec",
    "HttpAnswer",
    "Planned",
    "Provisioned",
    "ServerSpec",
    "Spec",
]
