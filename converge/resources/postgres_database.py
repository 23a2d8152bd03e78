"""Databases of PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from converge.changes import FieldChange
from converge.resource import Around, Context, Resource
from converge.resources.owned import OwnedState, differs
from converge.resources.postgres import LOOK, Postgres, conninfo, ident, literal, name
from converge.shell import quote

# A database that is not there is no error: the first question told.
_EXTENSIONS = r"""
pg_extensions() { # number, port, database
  out=$(echo "SELECT string_agg(extname, E'\t') FROM pg_extension;" |
    ( pg_sql "$2" "$3" ) 2>/dev/null) || return 0
  echo "live $1 extensions $out"
}
"""

Privilege = Literal["connect", "create", "temporary"]


class PostgresDatabase(Postgres):
    """A database of PostgreSQL, its owner, and who may use it.

        PostgresDatabase("app", owner="app")
        PostgresDatabase("app", owner="app", encoding="UTF8", locale="C.UTF-8",
                         privileges={"report": ["connect"]}, extensions=["pg_trgm"])
        PostgresDatabase("app", absent=True)

    In YAML: `- postgres_database: app` with `owner: app`. Encoding and locale are of the creation:
    one that differs later cannot be changed, and is told. `absent` drops the database with all that
    is in it, unless somebody is connected; take a backup first.
    """

    key: ClassVar[str] = "postgres_database"
    look_library: ClassVar[str] = LOOK + _EXTENSIONS

    postgres_database: str
    owner: str | None = None
    encoding: str | None = None
    locale: str | None = None
    template: str | None = None
    connection_limit: int | None = Field(default=None, ge=-1)
    privileges: dict[str, tuple[Privilege, ...]] | None = None
    """Role -> what it may do here. Roles not named are left alone."""
    extensions: tuple[str, ...] = ()
    port: int | None = Field(default=None, ge=1, le=65535)
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            postgres_database: str,
            /,
            *,
            owner: str | None = None,
            encoding: str | None = None,
            locale: str | None = None,
            template: str | None = None,
            connection_limit: int | None = None,
            privileges: Mapping[str, Sequence[Privilege]] | None = None,
            extensions: Sequence[str] = (),
            port: int | None = None,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("postgres_database", "owner", "template")
    @classmethod
    def _valid(cls, value: str | None) -> str | None:
        return None if value is None else name(value)

    @field_validator("extensions")
    @classmethod
    def _extensions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name(extension) for extension in value)

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_-]{2,30}", value):
            raise ValueError(f"{value!r} is no encoding: write UTF8")
        return "UTF8" if value and value.upper().replace("-", "") == "UTF8" else value

    @field_validator("locale")
    @classmethod
    def _locale(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_.@-]{1,60}", value):
            raise ValueError(f"{value!r} is no locale: write C.UTF-8")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        rest = (self.owner, self.encoding, self.locale, self.template, self.privileges)
        if self.absent and (any(rest) or self.extensions):
            raise ValueError("a database that is to be absent has nothing else")
        if self.absent and self.postgres_database in ("postgres", "template0", "template1"):
            raise ValueError(f"{self.postgres_database} is PostgreSQL's own and not removed")
        for role in self.privileges or {}:
            name(role)
        return self

    def requires(self) -> frozenset[str]:
        roles = {*(self.privileges or {}), *([self.owner] if self.owner else [])}
        return super().requires() | {f"pg-role:{role}" for role in roles}

    def forbids(self) -> Mapping[str, str]:
        roles = {*(self.privileges or {}), *([self.owner] if self.owner else [])}
        return {f"no-pg-role:{role}": f"it removes {role}, who is named here" for role in roles}

    def question(self, context: Context) -> str:
        which = literal(self.postgres_database)
        asked = [
            f"SELECT 'there ' || EXISTS (SELECT 1 FROM pg_database WHERE datname = {which})::text;",
            "SELECT 'owner ' || pg_get_userbyid(datdba) || E'\\nencoding ' ||"
            " pg_encoding_to_char(encoding) || E'\\nlocale ' || datcollate || E'\\nlimit ' ||"
            f" datconnlimit FROM pg_database WHERE datname = {which};",
        ]
        for number, role in enumerate(self.privileges or {}):
            who = (
                "0"
                if role.lower() == "public"
                else (f"(SELECT oid FROM pg_authid WHERE rolname = {literal(role)})")
            )
            asked.append(
                f"SELECT 'role.{number} ' || coalesce(string_agg(lower(a.privilege_type), ','"
                " ORDER BY a.privilege_type), '') FROM pg_database d,"
                " aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a"
                f" WHERE d.datname = {which} AND a.grantee = {who};"
            )
        return "\n".join(asked) + "\n"

    def look(self, number: int, context: Context) -> str:
        asked = super().look(number, context)
        if self.extensions:
            where = quote(conninfo(self.postgres_database))
            asked += f"\npg_extensions {number} '{self.wire}' {where}"
        return asked

    def there(self, state: OwnedState) -> bool:
        return state.get("there") == "true"

    def trouble(self, state: OwnedState, around: Around) -> str:
        if why := super().trouble(state, around):
            return why
        if self.absent or not self.there(state):
            return ""
        for what, wanted in (("encoding", self.encoding), ("locale", self.locale)):
            found = state.get(what)
            if wanted and _plain(found) != _plain(wanted):
                return f"its {what} is {found} and not {wanted}: that is decided when it is created"
        return ""

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        there = self.there(state)
        if self.absent:
            gone = FieldChange(field="database", before=self.postgres_database, after=None)
            return [gone] if there else []
        fields: list[FieldChange] = []
        if not there:
            fields.append(FieldChange(field="database", before=None, after=self.postgres_database))
        if self.owner:
            fields += differs("owner", state.get("owner"), self.owner)
        if self.connection_limit is not None:
            fields += differs("connection limit", state.get("limit"), str(self.connection_limit))
        for number, (role, wanted) in enumerate((self.privileges or {}).items()):
            found = set(filter(None, state.get(f"role.{number}").split(",")))
            if found != set(wanted) and role != state.get("owner"):
                fields.append(
                    FieldChange(
                        field=f"privileges of {role}",
                        before=", ".join(sorted(found)) or None,
                        after=", ".join(sorted(wanted)) or "none",
                    )
                )
        has = state.get("extensions").split("\t")
        fields += [
            FieldChange(field="extension", before=None, after=extension)
            for extension in self.extensions
            if extension not in has
        ]
        return fields

    def settle(self, context: Context) -> str:
        which, told = ident(self.postgres_database), literal(self.postgres_database)
        if self.absent:
            exists = f"SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = {told});"
            return f"[ \"$(pg_ask '{self.wire}' {quote(exists)})\" != t ] ||\n" + self.sql(
                [f"DROP DATABASE IF EXISTS {which};"]
            )
        how = ""
        if self.encoding:
            how += f" ENCODING {literal(self.encoding)}"
        if self.locale:
            how += f" LC_COLLATE {literal(self.locale)} LC_CTYPE {literal(self.locale)}"
        # Only template0 lets another encoding or locale be chosen.
        template = self.template or ("template0" if how else None)
        if template:
            how += f" TEMPLATE {ident(template)}"
        if self.owner:
            how += f" OWNER {ident(self.owner)}"
        create = f"CREATE DATABASE {which}{how}"
        statements = [
            f"SELECT {literal(create)} WHERE NOT EXISTS"
            f" (SELECT 1 FROM pg_database WHERE datname = {told}) \\gexec",
        ]
        if self.owner:
            statements.append(f"ALTER DATABASE {which} OWNER TO {ident(self.owner)};")
        if self.connection_limit is not None:
            statements.append(f"ALTER DATABASE {which} CONNECTION LIMIT {self.connection_limit};")
        for role, wanted in (self.privileges or {}).items():
            who = "PUBLIC" if role.lower() == "public" else ident(role)
            statements.append("BEGIN;")
            statements.append(f"REVOKE ALL ON DATABASE {which} FROM {who};")
            if wanted:
                rights = ", ".join(right.upper() for right in wanted)
                statements.append(f"GRANT {rights} ON DATABASE {which} TO {who};")
            statements.append("COMMIT;")
        made = self.sql(statements)
        if self.extensions:
            more = [f"CREATE EXTENSION IF NOT EXISTS {ident(e)};" for e in self.extensions]
            made += "\n" + self.sql(more, self.postgres_database)
        return made


def _plain(text: str) -> str:
    return text.lower().replace("-", "")
