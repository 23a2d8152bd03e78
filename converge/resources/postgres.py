"""What roles and databases of PostgreSQL share: psql as its owner, and the quoting of SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from converge.resource import Around, Context
from converge.resources.owned import Owned, OwnedState
from converge.resources.owned_sh import EMIT
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

LOOK = (
    _RUN
    + r"""
pg_see() { # number, port, database; base64 of SQL on stdin, whose answer is lines "key value"
  command -v psql >/dev/null || { cat >/dev/null; echo "live $1 lacks psql"; return 0; }
  out=$(base64 -d | ( pg_sql "$2" "${3-}" ) 2>&1) || {
    why=$(printf '%s\n' "$out" | grep -iE 'error|fatal|refused|denied|not found' | head -n 1)
    echo "live $1 lacks ${why:-psql failed}"; return 0; }
  printf '%s\n' "$out" | while read -r line; do [ -z "$line" ] || echo "live $1 $line"; done
}
"""
)

_EMIT = (
    _RUN
    + r"""
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
)


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


class Postgres(Owned):
    """What roles and databases share."""

    library: ClassVar[str | tuple[str, ...]] = (EMIT, _EMIT)
    look_library: ClassVar[str] = LOOK

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
            return (
                "" if self.gone else "the host has no psql: declare package postgresql before this"
            )
        return f"PostgreSQL does not answer: {state.get('lacks')}"

    def sql(self, statements: Sequence[str], database: str = "postgres") -> str:
        text = encode("\n".join(statements).encode() + b"\n")
        return f"pg_do '{self.wire}' {quote(conninfo(database))} <<'END'\n{text}\nEND"
