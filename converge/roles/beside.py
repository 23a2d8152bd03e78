"""Your own roles, in a folder `roles/` beside the spec: NAME.yml, or NAME.py with a function NAME."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from converge.resource import Resource
from converge.roles.role import Role, role_of

FOLDER = "roles"
_NAME = re.compile(r"[a-z][a-z0-9_]*")

Nested = Callable[[Mapping[str, Any]], list[Resource]]


class RoleError(ValueError):
    """A role's own file is wrong; the message names file and line."""


def names(folder: Path) -> list[str]:
    """The roles that lie beside a spec in `folder`."""
    place = folder / FOLDER
    if not place.is_dir():
        return []
    kinds = (".yml", ".yaml", ".py")
    return sorted(
        {
            path.stem
            for path in place.iterdir()
            if path.suffix in kinds and _NAME.fullmatch(path.stem)
        }
    )


def named(name: str, folder: Path, variables: Mapping[str, Any], nested: Nested) -> Role | None:
    """The role of that name, or None. Raises RoleError if its file is wrong."""
    if not _NAME.fullmatch(name):
        return None
    there = [
        path
        for kind in (".yml", ".yaml", ".py")
        if (path := folder / FOLDER / f"{name}{kind}").is_file()
    ]
    if len(there) > 1:
        raise RoleError(f"role {name} is there twice: {there[0]} and {there[1].name}")
    if not there:
        return None
    if there[0].suffix == ".py":
        return _python(name, there[0])
    from converge.roles.written import read_role

    return read_role(name, there[0], variables, nested)


def _python(name: str, path: Path) -> Role:
    """Runs the file: it is the user's own program, as a spec in Python would be."""
    spec = importlib.util.spec_from_file_location(f"_roles_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Types are looked up in the module's name space, also those in quotes.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise RoleError(f"{path}:{error.lineno}: {error.msg}") from None
    except Exception as error:
        line = _line_in(path, error)
        raise RoleError(f"{path}:{line}: {type(error).__name__}: {error}") from None
    make = getattr(module, name, None)
    if not callable(make):
        raise RoleError(f"{path}: has no function {name}")
    return role_of(make)


def _line_in(path: Path, error: BaseException) -> int:
    line, step = 1, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == str(path):
            line = step.tb_lineno
        step = step.tb_next
    return line
