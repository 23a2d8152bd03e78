"""Lab servers as a provider has them: marked with name and token before they start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lab import Lab, LabError, LabMissing, Machine
from temporal.shared.errors import Permanent, Retryable
from temporal.shared.specs.automation.creating import CloudServer, LabServer
from temporal.shared.specs.automation.hosts import HostSpec
from temporal.shared.specs.automation.places import Found, LabPlace


class LabProvider:
    """The servers of one lab on this machine."""

    def __init__(self, place: LabPlace) -> None:
        self._name = place.lab_name
        with self._explained():
            self._lab = Lab(place.lab_name)

    def find(self, *, token: str = "", name: str = "", id: str = "") -> list[Found]:
        with self._explained():
            everything = [_seen(machine) for machine in self._lab.machines()]
        return [
            found
            for found in everything
            if token in ("", found.token) and name in ("", found.name) and id in ("", found.id)
        ]

    def create(self, order: LabServer | CloudServer, token: str) -> Found:
        assert isinstance(order, LabServer)
        with self._explained():
            made = self._lab.marked(f"{order.name}/{token}", order.suite, disk_mib=order.disk_mib)
        return _seen(made)

    def destroy(self, id: str) -> bool:
        with self._explained():
            # Without names `down` takes the whole lab.
            return self._lab.down([id]) == [id] if id else False

    def host(self, found: Found) -> HostSpec:
        return HostSpec(lab=found.id, lab_name=self._name, alias=found.name)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except LabMissing as error:
            raise Permanent(f"lab {self._name}: {error}") from None
        except LabError as error:
            raise Retryable(f"lab {self._name}: {error}") from None


def _seen(machine: Machine) -> Found:
    name, _, token = machine.mark.rpartition("/")
    return Found(
        id=machine.name,
        name=name or machine.name,
        token=token,
        address=machine.address,
        state=machine.state,
    )
