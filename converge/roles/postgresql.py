"""postgresql: Debian's PostgreSQL with settings, who may connect, roles and databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from converge.resource import Resource
from converge.resources import File, Package, PostgresDatabase, PostgresRole, Service
from converge.roles.role import Parameters

_LOCAL = (
    "local all postgres peer",
    "local all all peer",
    "host all all 127.0.0.1/32 scram-sha-256",
    "host all all ::1/128 scram-sha-256",
)


class DbRole(Parameters):
    """Who connects."""

    name: str
    password: str | None = None
    """A secret reference such as env://APP_DB_PASSWORD."""
    login: bool = True


class Database(Parameters):
    """A database and whose it is."""

    name: str
    owner: str | None = None
    extensions: tuple[str, ...] = ()


def postgresql(
    version: Annotated[int, Field(ge=9, le=99)] = 15,
    settings: dict[str, str | int | float | bool] | None = None,
    access: tuple[str, ...] = (),
    roles: tuple[DbRole, ...] = (),
    databases: tuple[Database, ...] = (),
) -> Iterator[Resource]:
    """PostgreSQL `version` of the release (bookworm 15, trixie 17) as Debian's cluster "main".

    `access` are lines of pg_hba.conf that come after those for this machine.
    """
    yield Package(f"postgresql-{version}")
    folder = f"/etc/postgresql/{version}/main"
    text = "".join(f"{name} = {_setting(value)}\n" for name, value in (settings or {}).items())
    conf = File(f"{folder}/conf.d/50-settings.conf", content=text, mode="0644", owner="postgres")
    lines = "".join(f"{line}\n" for line in (*_LOCAL, *access))
    hba = File(
        f"{folder}/pg_hba.conf", content=lines, mode="0640", owner="postgres", group="postgres"
    )
    yield conf
    yield hba
    yield Service(f"postgresql@{version}-main", running=True, on_change=[conf], action="restart")
    yield Service("postgresql", enabled=True, on_change=[hba], action="reload")
    for role in roles:
        yield PostgresRole(role.name, password=role.password, login=role.login)
    for database in databases:
        yield PostgresDatabase(database.name, owner=database.owner, extensions=database.extensions)


def _setting(value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if not isinstance(value, str) else "'" + value.replace("'", "''") + "'"
