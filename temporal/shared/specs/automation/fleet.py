"""A fleet: which hosts, and in what steps they are gone over.

inventory: hosts.yml          # or hosts: [admin@web1, ...]
limit: web,!web3
rollout:
  canary: 1
  wave: 25%
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, TypeAdapter, field_validator

from temporal.shared.errors import SpecError
from temporal.shared.specs.automation.hosts import HostSpec, Spec
from temporal.shared.specs.automation.notices import Notify
from temporal.shared.specs.automation.outcome import FleetState
from temporal.shared.specs.automation.rollout import Point, Rollout
from temporal.shared.specs.reading import Misfit, Reading

PAGE = 500
"""Members in one page: what a workflow has decoded at a time."""
PLACES = ("hosts", "inventory", "limit")
"""Fields of a file that say which hosts."""


class Member(Spec):
    """One host of a fleet, and what templates are rendered with there.

    Attributes:
        variant: which of the fleet's variants it is to be like.
        approved: beginning of the digest of the plan that somebody approved for it; another one is
            not applied. Nothing: any is.
    """

    host: HostSpec
    variables: dict[str, Any] = Field(default_factory=dict)
    variant: int = 0
    approved: str | None = None


_MEMBERS: TypeAdapter[tuple[Member, ...]] = TypeAdapter(tuple[Member, ...])


class Fleet(Spec):
    """Many hosts, and in what steps they are gone over. Inputs of fleet workflows begin with it.

    In a file, `hosts` (a list) or `inventory` (a path beside the file) with `limit` says which hosts.

    Attributes:
        pages: the members, as JSON, a page at a time: ten thousand of them are not all decoded at once.
        total: how many members there are.
        rollout: in what steps.
        notify: who is told, and when.
        state: how far it is, where a run goes on from another; nobody writes that in a file.
    """

    points: ClassVar[frozenset[Point]] = frozenset({"canary"})
    """At which of them somebody can be asked for approval."""

    pages: tuple[str, ...]
    total: int = Field(ge=1)
    rollout: Rollout = Rollout()
    notify: Notify | None = None
    state: FleetState = FleetState()

    @field_validator("rollout")
    @classmethod
    def _asked_only_where_it_asks(cls, rollout: Rollout) -> Rollout:
        for point in rollout.approve:
            if point not in cls.points:
                raise ValueError(f"approve: {point} is not waited for by this workflow")
        return rollout

    @classmethod
    def of(cls, rest: dict[str, Any], members: list[dict[str, Any]]) -> dict[str, Any]:
        """The value of a fleet of `members`, each a Member's value, with its other fields."""
        checked = _MEMBERS.validate_python(members)
        parts = [checked[at : at + PAGE] for at in range(0, len(checked), PAGE)]
        pages = [_MEMBERS.dump_json(part, exclude_defaults=True).decode() for part in parts]
        return {**rest, "pages": pages, "total": len(checked)}

    def members(self, start: int, stop: int) -> Iterator[Member]:
        """The members from `start` to before `stop`."""
        for number in range(start // PAGE, math.ceil(stop / PAGE)):
            first = number * PAGE
            page = _MEMBERS.validate_json(self.pages[number])
            yield from page[max(0, start - first) : stop - first]

    def picked(self, places: Sequence[int]) -> Iterator[Member]:
        """The members at these places, in ascending order."""
        decoded, page = -1, tuple[Member, ...]()
        for place in places:
            if place // PAGE != decoded:
                decoded = place // PAGE
                page = _MEMBERS.validate_json(self.pages[decoded])
            yield page[place % PAGE]

    def going_on(self, state: FleetState, *, whole: bool = True) -> Self:
        """The same fleet, as far as `state`: the input of the run that goes on from this one.

        Not `whole`: pages of which every member has had its turn are empty, so that what is handed
        on, and held in memory, gets smaller from run to run.
        """
        done = 0 if whole else state.next // PAGE
        pages = (*("[]" for _ in range(done)), *self.pages[done:])
        return self.model_copy(update={"state": state, "pages": pages})

    @classmethod
    def read_as(cls, value: Any, folder: Path) -> Reading:
        """How a spec file becomes this: hosts gathered, the rest made ready."""
        if not isinstance(value, dict) or "pages" in value:
            return Reading(value)
        members = _named_apart(_gathered(value, folder))
        rest = {k: v for k, v in value.items() if k not in PLACES}
        ready = cls.made_ready_for(rest, folder, members)
        return Reading(cls.of(ready.value, members), ready.origins)

    @classmethod
    def made_ready_for(
        cls, rest: dict[str, Any], folder: Path, members: list[dict[str, Any]]
    ) -> Reading:
        """The same for the hosts that it is for; may say more of each of these."""
        return cls.made_ready(rest, folder)

    @classmethod
    def made_ready(cls, rest: dict[str, Any], folder: Path) -> Reading:
        """What a file says besides its hosts, as the fields want it; here: as it stands."""
        return Reading(rest)


def _gathered(value: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    from temporal.shared.specs.automation.selecting import chosen

    hosts, inventory = value.get("hosts"), value.get("inventory")
    if (hosts is None) == (inventory is None):
        raise Misfit(((), "give exactly one of hosts and inventory", None))
    if "limit" in value and value["limit"] is None:
        # All of them would be a surprise to who cleared it.
        raise Misfit((("limit",), "says nothing: leave it out for all hosts", None))
    if inventory is None:
        if "limit" in value:
            why = "chooses hosts of an inventory: list under hosts just those that are meant"
            raise Misfit((("limit",), why, value["limit"]))
        if not isinstance(hosts, list) or not hosts:
            raise Misfit((("hosts",), "must be a list of hosts, with one at least", hosts))
        return [{"host": each} for each in hosts]
    if not isinstance(inventory, str):
        raise Misfit((("inventory",), "must be the path of an inventory", inventory))
    try:
        found = chosen(folder / inventory, value.get("limit"))
    except SpecError as error:
        named = "limit" if "limit" in value else "inventory"
        raise Misfit(((named,), str(error), value[named])) from None
    return [{"host": each.host, "variables": dict(each.variables)} for each in found]


class _Hosts(Spec):
    hosts: list[HostSpec]


def _named_apart(members: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The members, each place once and each with a name that no other has.

    The same place under two names would be worked on by two at a time; of two hosts with one name
    nobody could say which one a report means. One address with several ports needs no alias.
    """
    # As a field of that name, so that a host that does not fit is told with its place in the file.
    hosts = _Hosts.model_validate({"hosts": [member["host"] for member in members]}).hosts
    names = Counter(host.name for host in hosts)
    seen: dict[tuple[Any, ...], str] = {}
    for host in hosts:
        place = (host.local, host.lab_name, host.lab, host.address, host.port or 22, host.jump)
        if place in seen:
            other = seen[place]
            both = host.name if other == host.name else f"{other} and {host.name}"
            where = host.address or host.lab or "local"
            raise Misfit((("hosts",), f"the same host stands there twice: {both} ({where})", None))
        seen[place] = host.name
    apart = []
    for host, member in zip(hosts, members, strict=True):
        port = host.port or 22
        if names[host.name] == 1:
            apart.append(member)
        elif host.alias or not host.address:
            raise Misfit((("hosts",), f"two hosts are called {host.name}: give them aliases", None))
        else:
            alias = f"{host.name}:{port}" + (f" through {host.jump}" if host.jump else "")
            apart.append({**member, "host": host.model_copy(update={"alias": alias})})
    return apart
