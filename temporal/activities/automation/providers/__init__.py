"""Providers of servers, behind one small interface: a lab, and clouds through apache-libcloud.

Calls block, for as long as the provider's `patience` at most for each request; call them in a
thread. Each may be repeated: what is made bears the token that it was asked for with, and is looked
for before anything is made.
"""

from __future__ import annotations

from typing import Protocol

from temporal.shared.specs.automation.creating import CloudServer, LabServer
from temporal.shared.specs.automation.hosts import HostSpec
from temporal.shared.specs.automation.places import CloudPlace, Found, LabPlace


class Provider(Protocol):
    """Where servers come from. Everything raises Retryable or Permanent, in the provider's words."""

    def find(self, *, token: str = "", name: str = "", id: str = "") -> list[Found]:
        """What is there and fits all that is given; what has ended is left out unless asked by token."""

    def create(self, order: LabServer | CloudServer, token: str) -> Found:
        """The server that bears `token`: the one that is there, or a new one."""

    def destroy(self, id: str) -> bool:
        """Whether there was such a server; afterwards there is none."""

    def host(self, found: Found) -> HostSpec:
        """How to go there. Its address is known."""


def provider(place: LabPlace | CloudPlace) -> Provider:
    """The provider of `place`. Raises Permanent where the worker lacks what it needs."""
    if isinstance(place, LabPlace):
        from temporal.activities.automation.providers.lab import LabProvider

        return LabProvider(place)
    from temporal.activities.automation.providers.cloud import CloudProvider

    return CloudProvider(place)
