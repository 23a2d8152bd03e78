"""From a list with `- role: NAME` items to one of resources alone."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from converge.errors import ConvergeError
from converge.resource import Resource
from converge.roles.app_host import app_host
from converge.roles.baseline import baseline
from converge.roles.beside import FOLDER, RoleError, named, names
from converge.roles.postgresql import postgresql
from converge.roles.role import Role, catalogue
from converge.roles.web import haproxy, nginx

BUILT_IN = catalogue([baseline, nginx, haproxy, postgresql, app_host])
_MOST_DEEP = 16
_KEYS = {"role", "with"}

Loc = tuple[int | str, ...]


@dataclass(frozen=True)
class Finding:
    """What is wrong, and where: `loc` leads from the list to it."""

    loc: Loc
    message: str
    came: Any = None


class RoleMisfit(ConvergeError):
    """An item names no role, or its parameters do not fit."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("; ".join(finding.message for finding in findings))


def expand(
    items: Sequence[Any], folder: Path, variables: Mapping[str, Any] | None = None
) -> tuple[list[Any], list[int]]:
    """(the items, each role replaced by its resources; for each of these the index of its item)

    Roles are looked for in `folder`/roles first, so that one of ours can be replaced. `variables`
    can be used in the templates of YAML roles, as `vars`. Raises RoleMisfit.
    """
    made: list[Any] = []
    origins: list[int] = []
    findings: list[Finding] = []
    for index, item in enumerate(items):
        if not isinstance(item, Mapping) or "role" not in item:
            made.append(item)
            origins.append(index)
            continue
        try:
            resources = _one(item, folder, variables or {}, ())
        except RoleMisfit as error:
            findings += [
                Finding((index, *each.loc), each.message, each.came) for each in error.findings
            ]
            continue
        made += resources
        origins += [index] * len(resources)
    if findings:
        raise RoleMisfit(findings)
    return made, origins


def _one(
    item: Mapping[str, Any], folder: Path, variables: Mapping[str, Any], above: tuple[str, ...]
) -> list[Resource]:
    name, given = item["role"], item.get("with")
    strange = sorted(str(key) for key in item if key not in _KEYS)
    if strange:
        raise _misfit(
            (strange[0],), "a role takes `with` only: parameters stand below it", item[strange[0]]
        )
    if given is None:
        given = {}
    if not isinstance(name, str):
        raise _misfit(("role",), "must be the name of a role", name)
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise _misfit(("with",), "must be a mapping of parameters", given)
    if name in above or len(above) >= _MOST_DEEP:
        raise _misfit(("role",), f"roles lead in a circle: {' > '.join((*above, name))}", name)

    def nested(inner: Mapping[str, Any]) -> list[Resource]:
        return _one(inner, folder, variables, (*above, name))

    try:
        role = named(name, folder, variables, nested) or BUILT_IN.get(name)
        if role is None:
            raise _unknown(name, folder)
        return role(given)
    except ValidationError as error:
        raise _unfitting(role_name=name, error=error, role=role) from None
    except RoleError as error:
        raise _misfit(("role",), str(error), name) from None
    except (ValueError, TypeError) as error:
        raise _misfit(("with",), f"role {name}: {error}", given) from None


def _unfitting(role_name: str, error: ValidationError, role: Role | None) -> RoleMisfit:
    known = set(role.parameters.model_fields) if role else set()
    if error.title != (role.parameters.__name__ if role else ""):
        # The parameters fit; a resource made of them does not.
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        what = f"role {role_name} makes a {error.title} that does not fit: {where}: {first['msg']}"
        return _misfit(("with",), what, first.get("input"))
    findings = []
    for each in error.errors(include_url=False):
        message = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(each["loc"][-1]), known, 2, 0.6)
            offers = f"did you mean {' or '.join(near)}?" if near else _takes(known)
            message = f"role {role_name} has no such parameter; {offers}"
        elif each["type"] == "missing":
            message = f"role {role_name} needs this"
        findings.append(Finding(("with", *each["loc"]), message, each.get("input")))
    return RoleMisfit(findings)


def _takes(known: set[str]) -> str:
    return f"it takes {', '.join(sorted(known)) or 'none'}"


def _unknown(name: str, folder: Path) -> RoleMisfit:
    known = sorted({*BUILT_IN, *names(folder)})
    near = difflib.get_close_matches(name, known, 2, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    return _misfit(
        ("role",), f"there is no such role, neither ours nor in {folder / FOLDER}; {hint}", name
    )


def _misfit(loc: Loc, message: str, came: Any) -> RoleMisfit:
    return RoleMisfit([Finding(loc, message, came)])
