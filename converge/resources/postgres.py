"""Roles and databases of a PostgreSQL server on the host, through psql as its owner."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from converge.changes import SENSITIVE, FieldChange
from converge.resource import Around, Context, Resource
from converge.resources.owned import Owned, OwnedState, differs
from converge.resources.owned_sh import EMIT
from converge.resources.scram import verifier
from converge.shell import encode, quote

_RUN = r"""
pg_sql() { # port, database; SQL on stdin, so that nothing of it shows in the list of processes
  cd /
  set -- psql -X -A -t -q -w -v ON_ERROR_STOP=1 -d "${2:-postgres}" ${1:+-p "$1"} -f -
  if [ "$(id -un)" = postgres ]; then "$@"
  elif command -v runuser >/dev/null; then runuser -u postgres -- "$@"
  else su -s /bin/sh postgres -c 'exec "$0" "$@"' "$@"; fi
}
"""

_LOOK = _RUN + r"""
pg_see() { # number, port, database; base64 of SQL on stdin, whose answer is lines "key value"
  command -v psql >/dev/null || { cat >/dev/null; echo "live $1 lacks psql"; return 0; }
  out=$(base64 -d | ( pg_sql "$2" "${3-}" ) 2>&1) || {
    why=$(printf '%s\n' "$out" | grep -iE 'error|fatal|refused|denied|not found' | head -n 1)
    echo "live $1 lacks ${why:-psql failed}"; return 0; }
  printf '%s\n' "$out" | while read -r line; do [ -z "$line" ] || echo "live $1 $line"; done
}
"""

_EMIT = _RUN + r"""
pg_do() { # port, database; base64 of SQL on stdin
  command -v psql >/dev/null || die "the host has no psql: declare package postgresql before this"
  changed "$own_index"
  base64 -d | ( pg_sql "$1" "$2" ) || die "PostgreSQL refused it"
}
pg_ask() { # port, SQL without secrets
  command -v psql >/dev/null || die "the host has no psql: declare package postgresql before this"
  printf '%s\n' "$2" | ( pg_sql "$1" ) || die "PostgreSQL does not answer"
}
"""

# A database that is not there is no error: the first question told.
_EXTENSIONS = r"""
pg_extensions() { # number, port, database
  out=$(echo "SELECT string_agg(extname, E'\t') FROM pg_extension;" |
    ( pg_sql "$2" "$3" ) 2>/dev/null) || return 0
  echo "live $1 extensions $out"
}
"""

Privilege = Literal["connect", "create", "temporary"]


def name(value: str) -> str:
    if not value or len(value.encode()) > 63 or "\0" in value or "\n" in value:
        raise ValueError(f"{value!r} is no name for PostgreSQL: 1 to 63 bytes, one line")
    return value


def ident(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Safe whatever standard_conforming_strings says."""
    text = value.replace("'", "''")
    return "E'" + text.replace("\\", "\\\\") + "'" if "\\" in text else f"'{text}'"


def conninfo(database: str) -> str:
    """As psql's -d takes it whatever the name holds (libpq 34.1.1.1)."""
    value = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{value}'"


class _Postgres(Owned):
    """What roles and databases share."""

    library: ClassVar[str | tuple[str, ...]] = (EMIT, _EMIT)
    look_library: ClassVar[str] = _LOOK + _EXTENSIONS

    @property
    def wire(self) -> str:
        port = getattr(self, "port", None)
        return "" if port is None else str(port)

    def requires(self) -> frozenset[str]:
        return frozenset({"package:postgresql", "service:postgresql"})

    def follows(self) -> frozenset[str]:
        return frozenset({f"package:postgresql-{version}" for version in range(11, 30)})

    def there(self, state: OwnedState) -> bool:
        return state.get("there") == "t"

    def question(self, context: Context) -> str:
        raise NotImplementedError

    def look(self, number: int, context: Context) -> str:
        sql = encode(self.question(context).encode())
        return f"pg_see {number} '{self.wire}' <<'END'\n{sql}\nEND"

    def awaits(self, state: OwnedState, around: Around) -> str:
        if not state.get("lacks"):
            return ""
        if around.packages:
            return f"PostgreSQL does not answer yet, {around.bringers} may bring it"
        if "service:postgresql" in around.provided:
            return "PostgreSQL does not answer yet, its service is declared"
        return ""

    def trouble(self, state: OwnedState, around: Around) -> str:
        if not state.get("lacks") or self.awaits(state, around):
            return ""
        if state.get("lacks") == "psql":
            return "" if self.gone else "the host has no psql: declare package postgresql before this"
        return f"PostgreSQL does not answer: {state.get('lacks')}"

    def sql(self, statements: Sequence[str], database: str = "postgres") -> str:
        text = encode("\n".join(statements).encode() + b"\n")
        return f"pg_do '{self.wire}' {quote(conninfo(database))} <<'END'\n{text}\nEND"


class PostgresRole(_Postgres):
    """A role (user) of PostgreSQL.

        PostgresRole("app", password="env://APP_DB_PASSWORD")
        PostgresRole("readers", login=False)
        PostgresRole("report", password="env://REPORT", member_of=["readers"], connection_limit=5)
        PostgresRole("app", absent=True)

    In YAML: `- postgres_role: app` with `password: env://APP_DB_PASSWORD`. What is not given is left
    alone. The password never gets to the host: its SCRAM-SHA-256 verifier is made here, goes over
    standard input, and is compared by the server. One set by other means has another salt and is set
    once more. A role that owns something is not dropped: PostgreSQL says what.
    """

    key: ClassVar[str] = "postgres_role"

    postgres_role: str
    password: str | None = None
    """A secret reference."""
    login: bool = True
    superuser: bool | None = None
    createdb: bool | None = None
    createrole: bool | None = None
    replication: bool | None = None
    connection_limit: int | None = Field(default=None, ge=-1)
    member_of: tuple[str, ...] = ()
    port: int | None = Field(default=None, ge=1, le=65535)
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            postgres_role: str,
            /,
            *,
            password: str | None = None,
            login: bool = True,
            superuser: bool | None = None,
            createdb: bool | None = None,
            createrole: bool | None = None,
            replication: bool | None = None,
            connection_limit: int | None = None,
            member_of: Sequence[str] = (),
            port: int | None = None,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("postgres_role")
    @classmethod
    def _valid(cls, value: str) -> str:
        if value.startswith("pg_"):
            raise ValueError(f"{value!r}: names that begin with pg_ are PostgreSQL's own")
        return name(value)

    @field_validator("member_of")
    @classmethod
    def _groups(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name(group) for group in value)

    @field_validator("password")
    @classmethod
    def _reference(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"[a-z]+://|[a-z]+:", value):
            raise ValueError("a password is a reference such as env://APP_DB_PASSWORD, not the password")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent and (self.password or self.member_of):
            raise ValueError("a role that is to be absent has nothing else")
        if self.absent and self.postgres_role == "postgres":
            raise ValueError("postgres is not removed")
        return self

    @property
    def flags(self) -> dict[str, bool]:
        given = {"login": self.login, "superuser": self.superuser, "createdb": self.createdb,
                 "createrole": self.createrole, "replication": self.replication}
        return {flag: value for flag, value in given.items() if value is not None}

    def provides(self) -> frozenset[str]:
        return frozenset({self.id, f"{'no-' if self.absent else ''}pg-role:{self.postgres_role}"})

    def requires(self) -> frozenset[str]:
        return super().requires() | {f"pg-role:{group}" for group in self.member_of}

    def secrets(self) -> tuple[str, ...]:
        return () if self.password is None else (self.password,)

    def _verifier(self, context: Context) -> str:
        assert self.password is not None
        return verifier(context.secrets[self.password], self.postgres_role)

    def question(self, context: Context) -> str:
        who = literal(self.postgres_role)
        wanted = [
            "SELECT 'there ' || EXISTS (SELECT 1 FROM pg_authid WHERE rolname = " + who + ")::text;",
            "SELECT 'login ' || rolcanlogin || E'\\nsuperuser ' || rolsuper || E'\\ncreatedb ' ||"
            " rolcreatedb || E'\\ncreaterole ' || rolcreaterole || E'\\nreplication ' ||"
            f" rolreplication || E'\\nlimit ' || rolconnlimit FROM pg_authid WHERE rolname = {who};",
            "SELECT 'in ' || coalesce(string_agg(g.rolname, E'\\t' ORDER BY g.rolname), '') FROM"
            " pg_auth_members m JOIN pg_authid g ON g.oid = m.roleid JOIN pg_authid r ON"
            f" r.oid = m.member WHERE r.rolname = {who};",
        ]
        if self.password is not None:
            wanted.append(
                f"SELECT 'password ' || coalesce((rolpassword = {literal(self._verifier(context))})"
                f"::text, 'none') FROM pg_authid WHERE rolname = {who};"
            )
        return "\n".join(wanted) + "\n"

    def there(self, state: OwnedState) -> bool:
        return state.get("there") == "true"

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        there = self.there(state)
        if self.absent:
            gone = FieldChange(field="role", before=self.postgres_role, after=None)
            return [gone] if there else []
        fields: list[FieldChange] = []
        for flag, wanted in self.flags.items():
            fields += differs(flag, state.get(flag), "true" if wanted else "false")
        if self.connection_limit is not None:
            fields += differs("connection limit", state.get("limit"), str(self.connection_limit))
        has = set(filter(None, state.get("in").split("\t")))
        fields += [
            FieldChange(field="member of", before=None, after=group)
            for group in self.member_of if group not in has
        ]
        if self.password is not None and state.get("password") != "true":
            before = None if state.get("password") in ("", "none") else SENSITIVE
            fields.append(FieldChange(field="password", before=before, after=SENSITIVE))
        return fields

    def settle(self, context: Context) -> str:
        who = ident(self.postgres_role)
        if self.absent:
            return (
                f"[ \"$(pg_ask '{self.wire}' {quote(self._exists)})\" != t ] ||\n"
                + self.sql([f"DROP ROLE IF EXISTS {who};"])
            )
        how = [flag.upper() if value else f"NO{flag.upper()}" for flag, value in self.flags.items()]
        if self.connection_limit is not None:
            how.append(f"CONNECTION LIMIT {self.connection_limit}")
        if self.password is not None:
            how.append(f"PASSWORD {literal(self._verifier(context))}")
        statements = [
            # A statement that fails is written into the server's log, with the verifier in it.
            "SET log_min_error_statement = panic; SET log_statement = none;",
            "BEGIN;",
            f"SELECT 'CREATE ROLE ' || quote_ident({literal(self.postgres_role)}) WHERE NOT EXISTS"
            f" (SELECT 1 FROM pg_authid WHERE rolname = {literal(self.postgres_role)}) \\gexec",
            f"ALTER ROLE {who} {' '.join(how)};",
            *(f"GRANT {ident(group)} TO {who};" for group in self.member_of),
            "COMMIT;",
        ]
        return self.sql(statements)

    @property
    def _exists(self) -> str:
        return f"SELECT EXISTS (SELECT 1 FROM pg_authid WHERE rolname = {literal(self.postgres_role)});"


class PostgresDatabase(_Postgres):
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
            who = "0" if role.lower() == "public" else (
                f"(SELECT oid FROM pg_authid WHERE rolname = {literal(role)})")
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
                fields.append(FieldChange(
                    field=f"privileges of {role}", before=", ".join(sorted(found)) or None,
                    after=", ".join(sorted(wanted)) or "none"))
        has = state.get("extensions").split("\t")
        fields += [
            FieldChange(field="extension", before=None, after=extension)
            for extension in self.extensions if extension not in has
        ]
        return fields

    def settle(self, context: Context) -> str:
        which, told = ident(self.postgres_database), literal(self.postgres_database)
        if self.absent:
            exists = f"SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = {told});"
            return (
                f"[ \"$(pg_ask '{self.wire}' {quote(exists)})\" != t ] ||\n"
                + self.sql([f"DROP DATABASE IF EXISTS {which};"])
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
