"""app_host: a place where an application of one's own runs as a systemd service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from converge.names import Mode, PackageName, Path, UserName
from converge.resource import Resource
from converge.resources import Directory, File, Package, Service, Unit, User


def app_host(
    name: UserName,
    command: Annotated[str, Field(min_length=1)],
    home: Path | None = None,
    packages: tuple[PackageName, ...] = (),
    environment: dict[str, str] | None = None,
    secret_environment: str | None = None,
    directories: dict[Path, Mode] | None = None,
    memory: str | None = None,
    open_files: Annotated[int, Field(ge=64)] = 65536,
    running: bool = True,
) -> Iterator[Resource]:
    """A system user, its folders (releases, shared), and a hardened unit that runs `command`.

    `secret_environment` is a reference such as file:///path to lines NAME=value that only root and
    the app can read. Without `running` the unit waits for a deployment to bring what it runs.
    """
    home = home or f"/srv/{name}"
    for package in packages:
        yield Package(package)
    yield User(name, system=True, home=home, shell="/usr/sbin/nologin")
    yield Directory(home, owner=name, mode="0755")
    for folder in ("releases", "shared"):
        yield Directory(f"{home}/{folder}", owner=name, mode="0755")
    for path, mode in (directories or {}).items():
        yield Directory(path, owner=name, mode=mode)
    changes: list[Resource] = []
    service: dict[str, object] = {
        "ExecStart": command,
        "User": name,
        "WorkingDirectory": home,
        "Restart": "on-failure",
        "RestartSec": "2",
        "LimitNOFILE": str(open_files),
        # Source: systemd.exec(5), "Sandboxing".
        "NoNewPrivileges": "yes",
        "ProtectSystem": "full",
        "PrivateTmp": "yes",
        "ProtectKernelTunables": "yes",
        "ProtectControlGroups": "yes",
        "RestrictSUIDSGID": "yes",
    }
    if environment:
        service["Environment"] = [_pair(key, value) for key, value in environment.items()]
    if secret_environment is not None:
        file = File(
            f"/etc/{name}/environment", secret=secret_environment, owner="root", mode="0600"
        )
        service["EnvironmentFile"] = f"/etc/{name}/environment"
        changes.append(file)
        yield file
    if memory is not None:
        service["MemoryMax"] = memory
    unit = Unit(
        f"{name}.service",
        sections={
            "Unit": {
                "Description": f"Application {name}",
                "After": "network-online.target",
                "Wants": "network-online.target",
            },
            "Service": service,
            "Install": {"WantedBy": "multi-user.target"},
        },
    )
    yield unit
    yield Service(name, enabled=True, running=running or None, on_change=[unit, *changes])


def _pair(name: str, value: str) -> str:
    """Source: systemd.exec(5), Environment=: quotes for blanks, %% for a percent sign."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{name}={escaped}"'
