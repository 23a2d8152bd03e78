"""The rules for names, in one place: what is refused here never reaches a shell.

Sources: Debian Policy 5.6.1 (package names) and 5.6.12 (versions), shadow's useradd(8)
(user and group names), systemd.unit(5) (unit names), path_resolution(7) and the limits
NAME_MAX and PATH_MAX of Linux.
"""

from __future__ import annotations

import posixpath
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9-]*[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9*][A-Za-z0-9.+~:*-]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]*\$?")
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]*")
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MODE = re.compile(r"[0-7]{3,4}")
UNIT_SUFFIXES = (
    ".service",
    ".socket",
    ".timer",
    ".path",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".slice",
    ".scope",
    ".device",
)


def package_name(value: str) -> str:
    # A trailing "-" is a legal name by the policy, but apt-get reads it as "remove".
    if not _PACKAGE.fullmatch(value):
        raise ValueError(
            f"{value!r} is no package name: at least two of a-z 0-9 + - . beginning with a letter"
            " or digit and not ending in '-', then perhaps ':architecture'"
        )
    return value


def package_version(value: str) -> str:
    if not _VERSION.fullmatch(value):
        raise ValueError(f"{value!r} is no package version: letters, digits and . + ~ : - *")
    return value


def user_name(value: str) -> str:
    if not _USER.fullmatch(value) or len(value) > 32:
        raise ValueError(
            f"{value!r} is no user or group name: at most 32 of a-z 0-9 _ - beginning with a"
            " letter or _"
        )
    return value


def unit_name(value: str) -> str:
    if not _UNIT.fullmatch(value) or len(value) > 240:
        raise ValueError(
            f"{value!r} is no unit name: at most 240 letters, digits and : _ . @ \\ -, no '-' first"
        )
    return value


def run_id(value: str) -> str:
    if not _RUN.fullmatch(value):
        raise ValueError(
            f"{value!r} is no run id: 1 to 128 letters, digits and . _ - beginning with a letter"
            " or digit"
        )
    return value


def text(value: str) -> str:
    """No NUL (no shell can hold it) and no lone surrogates (no JSON can carry them)."""
    if "\0" in value:
        raise ValueError("holds a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"is not valid UTF-8 at character {error.start}: such bytes cannot be carried in a plan"
        ) from None
    return value


def path(value: str) -> str:
    """An absolute, normalised path. Quotes, blanks, newlines and $() are fine."""
    try:
        text(value)
    except ValueError as error:
        raise ValueError(f"path {value!r} {error}") from None
    if not value.startswith("/"):
        raise ValueError(f"path {value!r} is not absolute: begin it with '/'")
    normal = posixpath.normpath(value)
    if normal.startswith("//"):
        normal = normal[1:]
    if value != normal:
        raise ValueError(f"path {value!r} is not in its plain form: write {normal!r}")
    if value == "/":
        raise ValueError("path '/' is the root directory")
    if len(value.encode()) > 4095 or any(len(p.encode()) > 255 for p in value.split("/")):
        raise ValueError(f"path {value[:40]!r}... is too long: 255 bytes a name, 4095 in all")
    return value


def login_shell(value: str) -> str:
    value = path(value)
    if ":" in value or "\n" in value:
        raise ValueError(f"{value!r} cannot stand in the passwd file: it holds ':' or a newline")
    return value


def comment(value: str) -> str:
    text(value)
    if ":" in value or "\n" in value:
        raise ValueError(f"{value!r} cannot stand in the passwd file: it holds ':' or a newline")
    return value


def mode(value: Any) -> str:
    if isinstance(value, int):
        raise ValueError(
            f'mode must be a quoted octal string such as "0644", not the number {value}: without'
            " quotes YAML and Python read other digits than you wrote"
        )
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise ValueError(f'mode must be a quoted octal string such as "0644", not {value!r}')
    return value.zfill(4)


PackageName = Annotated[str, AfterValidator(package_name)]
PackageVersion = Annotated[str, AfterValidator(package_version)]
UserName = Annotated[str, AfterValidator(user_name)]
UnitName = Annotated[str, AfterValidator(unit_name)]
Text = Annotated[str, AfterValidator(text)]
Comment = Annotated[str, AfterValidator(comment)]
Path = Annotated[str, AfterValidator(path)]
AccountPath = Annotated[str, AfterValidator(login_shell)]
Mode = Annotated[
    str,
    BeforeValidator(mode),
    WithJsonSchema({"type": "string", "pattern": "^[0-7]{3,4}$", "examples": ["0644"]}),
]
