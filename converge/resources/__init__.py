"""The resource types. To add one: write its module, and name it in the table and the imports here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from converge.resource import Resource
from converge.resources.item import OneOf, reader
from converge.resources.late import Types

if TYPE_CHECKING:  # what the table says, for those who do not run it; a test compares the two
    from converge.resources.apt_repository import AptRepository as AptRepository
    from converge.resources.archive import Archive as Archive
    from converge.resources.authorized_keys import AuthorizedKeys as AuthorizedKeys
    from converge.resources.block import Block as Block
    from converge.resources.command import Command as Command
    from converge.resources.cron import Cron as Cron
    from converge.resources.directory import Directory as Directory
    from converge.resources.file import File as File
    from converge.resources.git import Git as Git
    from converge.resources.group import Group as Group
    from converge.resources.identity import Hostname as Hostname
    from converge.resources.identity import HostsEntry as HostsEntry
    from converge.resources.identity import Locale as Locale
    from converge.resources.identity import Timezone as Timezone
    from converge.resources.kernel import KernelModule as KernelModule
    from converge.resources.kernel import Sysctl as Sysctl
    from converge.resources.line import Line as Line
    from converge.resources.nftables import Nftables as Nftables
    from converge.resources.package import Package as Package
    from converge.resources.postgres_database import PostgresDatabase as PostgresDatabase
    from converge.resources.postgres_role import PostgresRole as PostgresRole
    from converge.resources.service import Service as Service
    from converge.resources.sshd import Sshd as Sshd
    from converge.resources.storage import Mount as Mount
    from converge.resources.storage import Swap as Swap
    from converge.resources.sudoers import Sudoers as Sudoers
    from converge.resources.symlink import Symlink as Symlink
    from converge.resources.timer import Timer as Timer
    from converge.resources.unit_files import Unit as Unit
    from converge.resources.upgrades import UnattendedUpgrades as UnattendedUpgrades
    from converge.resources.user import User as User

BY_KEY = Types(
    __name__,
    {
        "apt_repository": "apt_repository.AptRepository",
        "package": "package.Package",
        "group": "group.Group",
        "user": "user.User",
        "authorized_keys": "authorized_keys.AuthorizedKeys",
        "directory": "directory.Directory",
        "file": "file.File",
        "symlink": "symlink.Symlink",
        "archive": "archive.Archive",
        "git": "git.Git",
        "line": "line.Line",
        "block": "block.Block",
        "unit": "unit_files.Unit",
        "timer": "timer.Timer",
        "service": "service.Service",
        "hostname": "identity.Hostname",
        "hosts_entry": "identity.HostsEntry",
        "timezone": "identity.Timezone",
        "locale": "identity.Locale",
        "kernel_module": "kernel.KernelModule",
        "sysctl": "kernel.Sysctl",
        "mount": "storage.Mount",
        "swap": "storage.Swap",
        "cron": "cron.Cron",
        "sudoers": "sudoers.Sudoers",
        "nftables": "nftables.Nftables",
        "sshd": "sshd.Sshd",
        "unattended_upgrades": "upgrades.UnattendedUpgrades",
        "postgres_role": "postgres_role.PostgresRole",
        "postgres_database": "postgres_database.PostgresDatabase",
        "command": "command.Command",
    },
)
"""Key -> type, imported when asked for. Probes and listings follow this order."""

AnyResource = Annotated[Resource, OneOf(BY_KEY)]
"""One item of a spec's list of resources."""


def load_all() -> None:
    """Load and build every type now: for a process that lives long or that others are forked from."""
    for kind in BY_KEY.values():
        reader(kind)


if not TYPE_CHECKING:  # a checker would take it for every name that there is not

    def __getattr__(name: str) -> Any:
        try:
            return BY_KEY.named(name)
        except KeyError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *BY_KEY.names})
