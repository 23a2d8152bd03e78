"""Spec files made ready: roles expanded and files taken in, so that a run needs nothing beside it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from converge.resource import Material, Resource
from converge.resources import AnyResource
from temporal.shared.specs.reading import Loc, Misfit, Reading

MOST = 32_000_000
"""Bytes of files in one spec: they travel in the run's input. Without a store (TEMPORAL_STORE) that is
refused over 2 MB, as Temporal's own limit is; bigger ones are a download by URL and checksum."""


def expand(value: Any, folder: Path) -> Reading:
    """A ServerSpec's value without roles, with the files that its resources take.

    Raises Misfit for what is wrong with a role or a file.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("resources"), list):
        return Reading(value)
    # Imported late: workflows import the specs, and expand nothing.
    from converge.roles import RoleMisfit
    from converge.roles import expand as expanded

    variables = value.get("variables")
    given = variables if isinstance(variables, Mapping) else {}
    try:
        resources, origins = expanded(value["resources"], folder, given)
    except RoleMisfit as error:
        raise Misfit(
            *((("resources", *each.loc), each.message, each.came) for each in error.findings)
        ) from None
    places: list[Loc] = [("resources", index) for index in origins]
    ready = {**value, "resources": resources}
    material = _material(resources, places, folder, given)
    if material:
        ready["material"] = {**(value.get("material") or {}), **material}
    return Reading(ready, {"resources": places})


def _material(
    resources: list[Any], places: list[Loc], folder: Path, variables: Mapping[str, Any]
) -> dict[str, str]:
    """What the resources read when they compose themselves: templates and what those include too."""
    from converge.material import folder as below

    adapter: TypeAdapter[Any] = TypeAdapter(AnyResource)
    read = below(folder)
    taken: dict[str, bytes] = {}
    total = 0

    def load(name: str) -> bytes:
        nonlocal total
        if name not in taken:
            body = read(name)
            total += len(body)
            if total > MOST:
                raise ValueError(f"with {name} the spec's files are over {MOST} bytes")
            taken[name] = body
        return taken[name]

    for item, place in zip(resources, places, strict=True):
        try:
            resource = item if isinstance(item, Resource) else adapter.validate_python(item)
        except ValidationError:
            continue  # whoever reads the whole spec says so, and where
        # What a secret holds is not known here; that it stands in a template is no matter.
        secrets = _Blank()
        try:
            resource.compose(Material(load, variables, secrets))
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            named = getattr(error, "filename", None)
            raise Misfit((place, f"{named}: {said}" if named else str(said), item)) from None
    return {name: b64encode(body).decode() for name, body in taken.items()}


class _Blank(dict[str, bytes]):
    """Any secret, unknown."""

    def __missing__(self, key: str) -> bytes:
        return b"(secret)"
