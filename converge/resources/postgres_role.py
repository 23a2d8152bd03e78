"""Roles of PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from converge.changes import SENSITIVE, FieldChange
from converge.resource import Around, Context, Resource
from converge.resources.owned import OwnedState, differs
from converge.resources.postgres import Postgres, ident, literal, name
from converge.resources.scram import verifier
from converge.shell import quote


class PostgresRole(Postgres):
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
            raise ValueError(
                "a password is a reference such as env://APP_DB_PASSWORD, not the password"
            )
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
        given = {
            "login": self.login,
            "superuser": self.superuser,
            "createdb": self.createdb,
            "createrole": self.createrole,
            "replication": self.replication,
        }
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
            "SELECT 'there ' || EXISTS (SELECT 1 FROM pg_authid WHERE rolname = "
            + who
            + ")::text;",
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
            for group in self.member_of
            if group not in has
        ]
        if self.password is not None and state.get("password") != "true":
            before = None if state.get("password") in ("", "none") else SENSITIVE
            fields.append(FieldChange(field="password", before=before, after=SENSITIVE))
        return fields

    def settle(self, context: Context) -> str:
        who = ident(self.postgres_role)
        if self.absent:
            return f"[ \"$(pg_ask '{self.wire}' {quote(self._exists)})\" != t ] ||\n" + self.sql(
                [f"DROP ROLE IF EXISTS {who};"]
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
