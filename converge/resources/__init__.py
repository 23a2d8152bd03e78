"""The resource types. To add one, write its module and name it here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag
from pydantic_core import PydanticCustomError

from converge.resource import Resource
from converge.resources.apt_repository import AptRepository
from converge.resources.archive import Archive
from converge.resources.authorized_keys import AuthorizedKeys
from converge.resources.block import Block
from converge.resources.command import Command
from converge.resources.cron import Cron
from converge.resources.directory import Directory
from converge.resources.file import File
from converge.resources.git import Git
from converge.resources.group import Group
from converge.resources.identity import Hostname, HostsEntry, Locale, Timezone
from converge.resources.kernel import KernelModule, Sysctl
from converge.resources.line import Line
from converge.resources.nftables import Nftables
from converge.resources.package import Package
from converge.resources.postgres_database import PostgresDatabase
from converge.resources.postgres_role import PostgresRole
from converge.resources.service import Service
from converge.resources.sshd import Sshd
from converge.resources.storage import Mount, Swap
from converge.resources.sudoers import Sudoers
from converge.resources.symlink import Symlink
from converge.resources.timer import Timer
from converge.resources.unit_files import Unit
from converge.resources.upgrades import UnattendedUpgrades
from converge.resources.user import User

TYPES: tuple[type[Resource], ...] = (
    AptRepository,
    Package,
    Group,
    User,
    AuthorizedKeys,
    Directory,
    File,
    Symlink,
    Archive,
    Git,
    Line,
    Block,
    Unit,
    Timer,
    Service,
    Hostname,
    HostsEntry,
    Timezone,
    Locale,
    KernelModule,
    Sysctl,
    Mount,
    Swap,
    Cron,
    Sudoers,
    Nftables,
    Sshd,
    UnattendedUpgrades,
    PostgresRole,
    PostgresDatabase,
    Command,
)
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
            "resource_type",
            "a resource is a mapping such as 'package: nginx'; types: {known}",
            {"known": known},
        )
    several = [key for key in BY_KEY if key in value]
    if several:
        raise PydanticCustomError(
            "resource_type",
            "is two resources in one item ({keys}): begin each with its own '-'",
            {"keys": " and ".join(several)},
        )
    near = [
        f"{match} for {key}"
        for key in value
        for match in difflib.get_close_matches(str(key).lower(), BY_KEY, 1, 0.6)
    ]
    hint = f"; perhaps you meant {near[0]}" if near else ""
    raise PydanticCustomError(
        "resource_type",
        "names no resource type among its keys ({keys}); types: {known}{hint}",
        {"keys": ", ".join(map(str, value)), "known": known, "hint": hint},
    )


AnyResource = Annotated[
    Annotated[Package, Tag("package")]
    | Annotated[User, Tag("user")]
    | Annotated[File, Tag("file")]
    | Annotated[AptRepository, Tag("apt_repository")]
    | Annotated[Archive, Tag("archive")]
    | Annotated[AuthorizedKeys, Tag("authorized_keys")]
    | Annotated[Block, Tag("block")]
    | Annotated[Directory, Tag("directory")]
    | Annotated[Git, Tag("git")]
    | Annotated[Group, Tag("group")]
    | Annotated[Line, Tag("line")]
    | Annotated[Symlink, Tag("symlink")]
    | Annotated[Service, Tag("service")]
    | Annotated[Unit, Tag("unit")]
    | Annotated[Timer, Tag("timer")]
    | Annotated[Hostname, Tag("hostname")]
    | Annotated[HostsEntry, Tag("hosts_entry")]
    | Annotated[Timezone, Tag("timezone")]
    | Annotated[Locale, Tag("locale")]
    | Annotated[KernelModule, Tag("kernel_module")]
    | Annotated[Sysctl, Tag("sysctl")]
    | Annotated[Mount, Tag("mount")]
    | Annotated[Swap, Tag("swap")]
    | Annotated[Cron, Tag("cron")]
    | Annotated[Sudoers, Tag("sudoers")]
    | Annotated[Nftables, Tag("nftables")]
    | Annotated[Sshd, Tag("sshd")]
    | Annotated[UnattendedUpgrades, Tag("unattended_upgrades")]
    | Annotated[PostgresRole, Tag("postgres_role")]
    | Annotated[PostgresDatabase, Tag("postgres_database")]
    | Annotated[Command, Tag("command")],
    Discriminator(_key),
    BeforeValidator(_check),
]
"""One item of a spec's list of resources: the key named like a type says which it is."""

__all__ = [
    "BY_KEY",
    "TYPES",
    "AnyResource",
    "AptRepository",
    "Archive",
    "AuthorizedKeys",
    "Block",
    "Command",
    "Cron",
    "Directory",
    "File",
    "Git",
    "Group",
    "Hostname",
    "HostsEntry",
    "KernelModule",
    "Line",
    "Locale",
    "Mount",
    "Nftables",
    "Package",
    "PostgresDatabase",
    "PostgresRole",
    "Service",
    "Sshd",
    "Sudoers",
    "Swap",
    "Symlink",
    "Sysctl",
    "Timer",
    "Timezone",
    "UnattendedUpgrades",
    "Unit",
    "User",
]
