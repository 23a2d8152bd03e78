"""What a server should look like: probe, plan, apply, verify. One round trip each way.

    from converge import Host, Package, User, File, Service, plan, apply

    host = Host("198.18.0.2", user="root", key="id_ed25519", known_hosts="known_hosts")
    site = File("/etc/nginx/conf.d/site.conf", content="...")
    wanted = [
        Package("nginx"),
        site,
        Service("nginx", running=True, enabled=True, on_change=[site], action="reload"),
    ]
    print((await plan(host, wanted)).render())
    report = await apply(host, wanted)

The types are free of I/O and quick to import; the engine is loaded when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converge import errors
from converge.changes import Change, FieldChange
from converge.errors import ConvergeError
from converge.host import Host
from converge.plans import Plan
from converge.reports import Outcome, Report
from converge.resource import Ref, Resource
from converge.resources import (
    AnyResource,
    AptRepository,
    Archive,
    AuthorizedKeys,
    Block,
    Command,
    Cron,
    Directory,
    File,
    Git,
    Group,
    Hostname,
    HostsEntry,
    KernelModule,
    Line,
    Locale,
    Mount,
    Nftables,
    Package,
    PostgresDatabase,
    PostgresRole,
    Service,
    Sshd,
    Sudoers,
    Swap,
    Symlink,
    Sysctl,
    Timer,
    Timezone,
    UnattendedUpgrades,
    Unit,
    User,
)

if TYPE_CHECKING:
    from converge.engine import abort, apply, plan
    from converge.material import folder
    from converge.transport import close
    from converge.work import Progress

_LATE = {
    "Progress": "converge.work",
    "abort": "converge.engine",
    "apply": "converge.engine",
    "plan": "converge.engine",
    "close": "converge.transport",
    "folder": "converge.material",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'converge' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATE[name]), name)


__all__ = [
    "AnyResource",
    "AptRepository",
    "Archive",
    "AuthorizedKeys",
    "Block",
    "Change",
    "Command",
    "ConvergeError",
    "Cron",
    "Directory",
    "FieldChange",
    "File",
    "Git",
    "Group",
    "Host",
    "Hostname",
    "HostsEntry",
    "KernelModule",
    "Line",
    "Locale",
    "Mount",
    "Nftables",
    "Outcome",
    "Package",
    "Plan",
    "PostgresDatabase",
    "PostgresRole",
    "Progress",
    "Ref",
    "Report",
    "Resource",
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
    "abort",
    "apply",
    "close",
    "errors",
    "folder",
    "plan",
]
