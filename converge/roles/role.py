"""A role: a function of parameters to resources, whose signature says which parameters fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from converge.resource import Resource

Make = Callable[..., Iterable[Resource]]


class Parameters(BaseModel):
    """Base of what a role takes, and of the parts that are mappings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Role:
    """A name, what it takes, and what it makes of it."""

    name: str
    make: Make
    summary: str = ""

    @cached_property
    def parameters(self) -> type[BaseModel]:
        """The model of its parameters. Raises TypeError for a function that no YAML can call."""
        hints = get_type_hints(self.make, include_extras=True)
        fields: dict[str, Any] = {}
        for parameter in inspect.signature(self.make).parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"role {self.name}: *{parameter.name} cannot be given by name")
            if parameter.name not in hints:
                raise TypeError(f"role {self.name}: parameter {parameter.name} has no type")
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hints[parameter.name], default)
        return create_model(f"{self.name}_parameters", __base__=Parameters, **fields)

    def __call__(self, given: Mapping[str, Any]) -> list[Resource]:
        """Raises pydantic's ValidationError for parameters that do not fit, ValueError for those
        that do not go together."""
        checked = self.parameters.model_validate(dict(given))
        values = {name: getattr(checked, name) for name in type(checked).model_fields}
        made = list(self.make(**values))
        for each in made:
            if not isinstance(each, Resource):
                raise TypeError(f"role {self.name} makes {each!r}, which is no resource")
        return made


def role_of(make: Make) -> Role:
    """A function as a role, under its own name."""
    first, _, _ = (inspect.getdoc(make) or "").partition("\n")
    return Role(make.__name__, make, first)


def catalogue(makers: Sequence[Make]) -> dict[str, Role]:
    """Roles by name."""
    return {role.name: role for role in map(role_of, makers)}
