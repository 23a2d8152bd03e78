"""What is backed up: folders, or a database.

sources:
  uploads:
    files: [/srv/shop/uploads]
    exclude: ["*.tmp", /srv/shop/uploads/cache]
  orders:
    postgresql: shop
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag, field_validator

from temporal.shared.secrets import SecretRef
from temporal.shared.specs.automation.hosts import Spec

Kind = Literal["files", "postgresql", "mariadb", "sqlite", "redis"]
KINDS: tuple[Kind, ...] = ("files", "postgresql", "mariadb", "sqlite", "redis")

AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00\n]*$", max_length=4096)]
DatabaseName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_$-]{0,62}$")]
UserName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
Hook = Annotated[str, StringConstraints(min_length=1, max_length=50_000)]


class _Source(Spec):
    """What all sources have.

    Attributes:
        before: sh, run on the host before it; if it fails, there is no backup.
        after: sh, run afterwards, whatever came of it.
        tags: further tags of its snapshots.
    """

    before: Hook | None = None
    after: Hook | None = None
    tags: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,60}$")], ...] = ()


class FilesSource(_Source):
    """Folders and files.

    Attributes:
        files: absolute paths.
        exclude: restic's patterns: `*.tmp` fits a name anywhere, `/srv/a/cache` that place; `*`, `?`
            and `[...]` stand for parts of one name, `**` for any folders.
        one_file_system: do not follow into other file systems.
    """

    files: tuple[AbsolutePath, ...] = Field(min_length=1)
    exclude: tuple[Annotated[str, StringConstraints(pattern=r"^[^\x00\n]+$")], ...] = ()
    one_file_system: bool = False

    @field_validator("files", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("files")
    @classmethod
    def _plain(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        clean = tuple(each.rstrip("/") or "/" for each in value)
        for each in clean:
            if "//" in each or {".", ".."} & set(each.split("/")):
                raise ValueError(f"{each!r} must be a plain path, without //, . and ..")
        for each in clean:
            for other in clean:
                if each != other and each.startswith(other.rstrip("/") + "/"):
                    raise ValueError(f"{each} is within {other}, which stands there too")
        if len(set(clean)) < len(clean):
            raise ValueError("the same path stands there twice")
        return clean

    @property
    def kind(self) -> Kind:
        """`files`."""
        return "files"


class PostgresqlSource(_Source):
    """One PostgreSQL database of the host, dumped by pg_dump as the system user `user`.

    Attributes:
        postgresql: name of the database.
        port: of the server's socket; default: the usual one.
        user: the system user that may read all of it.
    """

    postgresql: DatabaseName
    port: int | None = Field(None, ge=1, le=65535)
    user: UserName = "postgres"

    @property
    def kind(self) -> Kind:
        """`postgresql`."""
        return "postgresql"


class MariadbSource(_Source):
    """One MariaDB or MySQL database of the host, over its socket.

    Attributes:
        mariadb: name of the database.
        user: database user; default: root, whom the socket lets in.
        password: secret reference, where it asks for one.
        socket: default: the usual one.
    """

    mariadb: DatabaseName
    user: Annotated[str, StringConstraints(pattern=r"^[^\x00\n'\"\\-][^\x00\n'\"\\]{0,79}$")] = (
        "root"
    )
    password: SecretRef | None = None
    socket: AbsolutePath | None = None

    @property
    def kind(self) -> Kind:
        """`mariadb`."""
        return "mariadb"


class SqliteSource(_Source):
    """One SQLite database file.

    Attributes:
        sqlite: its path.
    """

    sqlite: AbsolutePath

    @property
    def kind(self) -> Kind:
        """`sqlite`."""
        return "sqlite"


class RedisSource(_Source):
    """All data of one Redis server of the host.

    Attributes:
        redis: path of its socket, or the port on 127.0.0.1.
        password: secret reference, where it asks for one.
    """

    redis: AbsolutePath | Annotated[int, Field(ge=1, le=65535)]
    password: SecretRef | None = None

    @property
    def kind(self) -> Kind:
        """`redis`."""
        return "redis"


def kind_of(value: Any) -> str | None:
    """Which kind a source is, by the field that names what is backed up; for pydantic."""
    for kind in KINDS:
        has = kind in value if isinstance(value, Mapping) else hasattr(value, kind)
        if has:
            return kind
    return None


Source = Annotated[
    Annotated[FilesSource, Tag("files")]
    | Annotated[PostgresqlSource, Tag("postgresql")]
    | Annotated[MariadbSource, Tag("mariadb")]
    | Annotated[SqliteSource, Tag("sqlite")]
    | Annotated[RedisSource, Tag("redis")],
    Discriminator(
        kind_of,
        custom_error_type="source_kind",
        custom_error_message="needs one of files, postgresql, mariadb, sqlite and redis",
    ),
]
