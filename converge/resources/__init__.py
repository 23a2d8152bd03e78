"""The resource types. To add one, write its module and name it here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag
from pydantic_core import PydanticCustomError

from converge.resource import Resource
from converge.resources.file import File
from converge.resources.package import Package
from converge.resources.service import Service
from converge.resources.user import User

TYPES: tuple[type[Resource], ...] = (Package, User, File, Service)
BY_KEY: dict[str, type[Resource]] = {kind.key: kind for kind in TYPES}


def _key(value: Any) -> str | None:
    if isinstance(value, Resource):
        return value.key
    if not isinstance(value, Mapping):
        return None
    keys = [key for key in BY_KEY if key in value]
    if len(keys) > 1:
        # One type's name may be another's field: the type that has room for all of them it is.
        keys = [k for k in keys if all(other in BY_KEY[k].model_fields for other in keys)]
    return keys[0] if len(keys) == 1 else None


def _check(value: Any) -> Any:
    if isinstance(value, Resource) or _key(value) is not None:
        return value
    known = ", ".join(BY_KEY)
    if not isinstance(value, Mapping):
        raise PydanticCustomError(
            "resource_type", "a resource is a mapping such as 'package: nginx'; types: {known}",
            {"known": known},
        )
    several = [key for key in BY_KEY if key in value]
    if several:
        raise PydanticCustomError(
            "resource_type", "is two resources in one item ({keys}): begin each with its own '-'",
            {"keys": " and ".join(several)},
        )
    near = [
        f"{match} for {key}"
        for key in value
        for match in difflib.get_close_matches(str(key).lower(), BY_KEY, 1, 0.6)
    ]
    hint = f"; perhaps you meant {near[0]}" if near else ""
    raise PydanticCustomError(
        "resource_type", "names no resource type among its keys ({keys}); types: {known}{hint}",
        {"keys": ", ".join(map(str, value)), "known": known, "hint": hint},
    )


AnyResource = Annotated[
    Annotated[Package, Tag("package")]
    | Annotated[User, Tag("user")]
    | Annotated[File, Tag("file")]
    | Annotated[Service, Tag("service")],
    Discriminator(_key),
    BeforeValidator(_check),
]
"""One item of a spec's list of resources: the key named like a type says which it is."""

__all__ = ["BY_KEY", "TYPES", "AnyResource", "File", "Package", "Service", "User"]
