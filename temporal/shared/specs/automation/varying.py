"""Fleets whose hosts are to be like different things, by the same roles and their own variables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from temporal.shared.specs.reading import Loc, Reading

if TYPE_CHECKING:
    from temporal.shared.specs.automation.provisioning import FleetSpec
    from temporal.shared.specs.automation.rollout import Rollout
    from temporal.shared.specs.automation.server import ServerSpec


def varied(wanted: Iterable[Sequence[Any]]) -> tuple[list[list[Any]], list[int]]:
    """(the different ones among `wanted`, in the order in which they come; for each which it is)"""
    different: dict[str, int] = {}
    kept: list[list[Any]] = []
    numbers = []
    for resources in wanted:
        key = json.dumps(to_jsonable_python(resources), sort_keys=True)
        if key not in different:
            different[key] = len(kept)
            kept.append(list(resources))
        numbers.append(different[key])
    return kept, numbers


def expanded_for(rest: dict[str, Any], folder: Path, members: list[dict[str, Any]]) -> Reading:
    """What a fleet's file says besides its hosts, made ready for each of `members` with its own
    variables where roles or templates take any; says in each which variant it is to be like."""
    from temporal.shared.specs.automation.expanding import expand

    if not _takes_variables(rest.get("resources"), folder):
        return expand(rest, folder)
    given = rest.get("variables")
    common = dict(given) if isinstance(given, Mapping) else {}
    material: dict[str, str] = {}
    wanted: list[Sequence[Any]] = []
    origins: Mapping[str, Sequence[Loc]] = {}
    for member in members:
        variables = {**common, **member.get("variables", {})}
        ready = expand({**rest, "variables": variables}, folder)
        material |= ready.value.get("material") or {}
        wanted.append(ready.value["resources"])
        origins = origins or ready.origins
    kept, numbers = varied(wanted)
    for member, number in zip(members, numbers, strict=True):
        member["variant"] = number
    value = {**rest, "resources": kept[0], "variants": kept[1:]}
    return Reading({**value, "material": material} if material else value, origins)


def _takes_variables(resources: Any, folder: Path) -> bool:
    """Whether what becomes of them may depend on a host's variables: templates do, and roles in YAML
    beside the spec."""
    from converge.roles.beside import FOLDER

    if not isinstance(resources, list):
        return False
    written = (folder / FOLDER).is_dir()
    return any(
        isinstance(item, Mapping) and ("template" in item or (written and "role" in item))
        for item in resources
    )


def as_fleet(specs: Sequence[ServerSpec], rollout: Rollout) -> FleetSpec:
    """The servers as a fleet, each with what its own spec says: all of one file, with the same
    answers. What their variables have in common is kept once."""
    from temporal.shared.specs.automation.provisioning import FleetSpec

    first = specs[0]
    common = {
        name: value
        for name, value in first.variables.items()
        if all(name in spec.variables and spec.variables[name] == value for spec in specs)
    }
    kept, numbers = varied([each.resources for each in specs])
    members = [
        {
            "host": spec.host,
            "variables": {k: v for k, v in spec.variables.items() if k not in common},
            "variant": number,
        }
        for spec, number in zip(specs, numbers, strict=True)
    ]
    rest = {
        "resources": kept[0],
        "variants": kept[1:],
        "answers": first.answers,
        "variables": common,
        "material": {name: body for spec in specs for name, body in spec.material.items()},
        "rollout": rollout,
    }
    return FleetSpec.model_validate(FleetSpec.of(rest, members))
