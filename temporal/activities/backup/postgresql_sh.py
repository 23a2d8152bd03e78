"""Dump, prove and load a PostgreSQL database, as sh. Pure.

The dump is pg_dump's custom format, uncompressed, so that restic finds what did not change, and the
roles that it names. The fingerprint is read in the same snapshot by a session of its own; a third one
holds the snapshot, and every table in it against DROP and TRUNCATE. Only sequences stand outside of
snapshots: their line is what the dump says.

Sorting a table whose key no index gives in order may take as much of the server's temporary space as the
table is large.
"""

from __future__ import annotations

from converge.shell import quote
from temporal.activities.backup import databases_sh, postgresql_sql
from temporal.shared.specs.backup.sources import PostgresqlSource

PORT = 5432
DUMP = "dump/database.pgdump"
ROLES = "dump/roles.sql"


def dump_script(source: PostgresqlSource) -> str:
    """sh that defines dump_it: the live database to $W/dump and $W/proof/fingerprint."""
    return "\n".join([databases_sh.LIBRARY, _LIBRARY, _live(source), _SEQUENCES, _DUMP])


def prove_script(source: PostgresqlSource) -> str:
    """sh that defines prove_it: $X/dump in a scratch server, and what it holds then to $X/found."""
    named = f"name={quote(source.postgresql)}"
    work = databases_sh.scratch("postgres", "postgresql", _LIBRARY, f"{named}\n{_SCRATCH}")
    return f"{databases_sh.LIBRARY}\nprove_it() {{\n{work}\n}}"


def load_script(source: PostgresqlSource, into: str, swap: bool) -> str:
    """sh that defines load_it: $X/dump to the live server as `into`, a database that is not there yet.

    With `swap` it takes the name of the source's then, and that one is kept under another; both in one
    transaction. Whoever is connected to the old one is disconnected.
    """
    settings = f"into={quote(into)} swap={'yes' if swap else ''}"
    return "\n".join([databases_sh.LIBRARY, _LIBRARY, _live(source), settings, _LOAD])


def _live(source: PostgresqlSource) -> str:
    place = f"user={quote(source.user)} port={source.port or PORT}"
    return f"name={quote(source.postgresql)} {place}\n{_LIVE}"


_LIBRARY = r"""
pg_bin() { # major version, program, package: sets B to the oldest that is no older; 0: the newest
  B= pg_best=
  for pg_dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
    "$(dirname -- "$(command -v "$2" || echo /none/none)")"
  do
    [ -x "$pg_dir/$2" ] || continue
    pg_version=$("$pg_dir/$2" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
    pg_version=${pg_version:-0}
    [ "$pg_version" -ge "$1" ] || continue
    [ -z "$B" ] || if [ "$1" = 0 ]; then [ "$pg_version" -gt "$pg_best" ]
      else [ "$pg_version" -lt "$pg_best" ]; fi || continue
    B=$pg_dir pg_best=$pg_version
  done
  [ -n "$B" ] || if [ "$1" = 0 ]; then db_oops "the host has no $2: install $3"
    else db_oops "the host has no $2 of PostgreSQL $1 or newer: install $3-$1"; fi
}
pg_options() { # major version: settings of all sessions
  echo "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c lock_timeout=600s \
-c client_min_messages=warning -c default_transaction_read_only=off -c synchronous_commit=on \
-c max_parallel_workers_per_gather=0 -c jit=off$([ "$1" -lt 17 ] || echo ' -c transaction_timeout=0')"
}
# pg PROGRAM ARGUMENT... is defined by who uses this: it knows the way to the server.
pg_sql() { pg psql -XqAt -v ON_ERROR_STOP=1 "$@"; }
pg_ask() { # database, a file of statements, a file for the answer. What was said: $D/err
  { pg_begin; cat -- "$2"; } | pg_sql -d "$1" >"$3" 2>"$D/err"
}
pg_fingerprint() { # database, a file for it. What was said: $D/err
  { pg_settings; pg_tables; } >"$D/ask"
  pg_ask "$1" "$D/ask" "$D/tables" || return 1
  { pg_settings; pg_objects; cat "$D/tables"; printf '%s\n' '\echo .'; } >"$D/ask"
  pg_ask "$1" "$D/ask" "$D/answer" || return 1
  # Of a table: its name, what sha256sum says, the number of rows.
  awk -F '\t' '
    /^\+/ { kind = substr($1, 2); name = $2; more = $3; getline; hash = $0; getline
      if (hash !~ /^[0-9a-f]+  -$/ || $0 !~ /^#[0-9]+$/) exit 1
      sub(/ .*/, "", hash)
      print kind "\t" name "\trows\t" substr($0, 2) "\tsha256\t" hash (more == "" ? "" : "\t" more)
      next }
    /^\.$/ { whole = 1; exit } { print } END { exit !whole }' <"$D/answer" >"$D/lines" ||
    { echo "psql's answer was not whole" >"$D/err"; return 1; }
  sort <"$D/lines" >"$2" 2>"$D/err"
}
""" + "\n".join(
    f"{name}() {{ cat <<'SQL_END'\n{sql}\nSQL_END\n}}"
    for name, sql in {
        "pg_settings": postgresql_sql.SETTINGS,
        "pg_begin": postgresql_sql.BEGIN,
        "pg_tables": postgresql_sql.TABLES,
        "pg_objects": postgresql_sql.OBJECTS + postgresql_sql.LARGE_OBJECTS,
    }.items()
)

_LIVE = r"""
pg() { # program, arguments
  pg_program=$1; shift
  db_as "$user" env "PGOPTIONS=$options" "$B/$pg_program" -p "$port" "$@"
}
pg_open() { # database: finds the server's programs
  options=
  db_can "$user"
  pg_bin 0 psql postgresql-client
  server=$(pg_sql -d "$1" -c 'SHOW server_version_num' 2>"$D/err") || pg_why "PostgreSQL" "$D/err"
  server=$((server / 10000))
  pg_bin "$server" pg_dump postgresql-client
  options=$(pg_options "$server")
}
pg_why() { # what was done, what was said: one sentence
  case $(cat "$2") in
    *"No space left on device"*|*"wrote only"*)
      db_oops "$1: the disk is full ($(db_room "$db_data" /var/lib/postgresql))" ;;
    *"Is the server running"*|*"Connection refused"*)
      db_oops "PostgreSQL does not run on port $port: start it" \
        "(systemctl status postgresql says more)" ;;
    *"the database system is"*|*"server closed the connection"*|*"terminating connection"*)
      db_oops "$1: PostgreSQL on port $port went down or is not up yet: $(db_first "$2")" ;;
    *"database \"$name\" does not exist"*)
      db_oops "PostgreSQL on port $port has no database $name; it has: $(pg_sql -d template1 -c "
        SELECT string_agg(datname, ', ' ORDER BY datname) FROM pg_database WHERE datallowconn" 2>&1)" ;;
    *"authentication failed"*|*"no pg_hba.conf entry"*|*"FATAL:  role "*"does not exist"*)
      db_oops "PostgreSQL on port $port does not let the system user $user in: $(db_first "$2")" ;;
    *"permission denied"*|*"must be superuser"*|*"must be owner"*|*"row-level security"*)
      db_oops "$1: the user $user may not: $(db_first "$2")" ;;
    *"statement timeout"*)
      db_oops "$1: another session waits to change or truncate a table of $name: try again" ;;
    *"lock timeout"*)
      db_oops "$1: another session kept a table of $name locked for 10 minutes" ;;
    *"max_locks_per_transaction"*)
      db_oops "$1: $name has too many tables for the server's max_locks_per_transaction: raise it" ;;
    *) db_oops "$1 failed: $(db_first "$2")" ;;
  esac
}
"""

# pg_dump's own words, for one that reads a sequence sees what it is then.
_SEQUENCES = r"""
pg_sequences() { # a dump, a file for a line of each sequence in it
  "$B/pg_restore" -l "$1" | grep '^[0-9]*; [0-9]* [0-9]* SEQUENCE SET ' >"$D/list" || :
  : >"$2"
  [ -s "$D/list" ] || return 0
  "$B/pg_restore" -L "$D/list" -f - "$1" >"$D/sequences" || return 1
  # Names may go over several lines.
  awk -v q="'" '
    /^SELECT pg_catalog\.setval\(/ { text = ""; on = 1 }
    on { text = text (text == "" ? "" : "\\n") escaped($0) }
    on && /, (true|false)\);$/ { on = 0
      sub("^SELECT pg_catalog[.]setval[(]" q, "", text); sub(/\);$/, "", text)
      n = split(text, part, q ", "); name = part[1]
      for (i = 2; i < n; i++) name = name q ", " part[i]
      gsub(q q, q, name); sub(/, /, "\t", part[n]); print "sequence\t" name "\t" part[n] }
    function escaped(text) {
      gsub(/\\/, "\\\\", text); gsub(/\t/, "\\t", text); gsub(/\r/, "\\r", text); return text }
  ' <"$D/sequences" >"$2"
  [ "$(wc -l <"$2")" = "$(wc -l <"$D/list")" ]
}
"""

_DUMP = (
    "pg_roles() { cat <<'SQL_END'\n"
    + postgresql_sql.ROLES
    + "\nSQL_END\n}\npg_hold() { cat <<'SQL_END'\n"
    + postgresql_sql.SETTINGS
    + postgresql_sql.BEGIN_LOCKED
    + postgresql_sql.LOCKS
    + "SELECT pg_export_snapshot();\nSQL_END\n}"
    + rf"""
# In the session that holds the locks: another one would wait behind whoever waits for them, for ever.
pg_ask() {{
  read -r mark </proc/sys/kernel/random/uuid
  rm -f -- "$D/mark"
  {{ cat -- "$2"; printf '\n\\echo %s\n' "$mark"; }} >&5 2>/dev/null & pg_writing=$!
  sed -n "/^$mark\$/{{w $D/mark
q}};p" <&6 >"$3" 2>"$D/err" || return 1
  wait "$pg_writing" || :
  [ -s "$D/mark" ] || {{ cat -- "$D/held" >"$D/err"; return 1; }}
}}
dump_it() {{
  db_begin "$W/dump"
  pg_open "$name"
  pg_roles >"$D/ask"
  pg_sql -d "$name" <"$D/ask" >"$W/{ROLES}" 2>"$D/err" || pg_why "reading the roles of $name" "$D/err"
  # It holds the snapshot until its standard input ends.
  mkfifo "$D/in" "$D/out" || db_oops "cannot write below $T"
  ( pg_sql -d "$name" ) <"$D/in" >"$D/out" 2>"$D/held" & holder=$!
  exec 5>"$D/in" 6<"$D/out"
  pg_hold >&5 || :
  snapshot=
  read -r snapshot <&6 || {{ exec 5>&-; wait "$holder" || :; pg_why "reading $name" "$D/held"; }}
  # Nobody has a lock that it could wait for, but somebody may wait for ours. It knows no lock_timeout.
  pg pg_dump -Fc -Z0 --lock-wait-timeout=30s --snapshot="$snapshot" -d "$name" >"$W/{DUMP}" 2>"$D/err" ||
    pg_why "pg_dump of $name" "$D/err"
  [ -s "$W/{DUMP}" ] || db_oops "pg_dump of $name wrote nothing"
  pg_fingerprint "$name" "$D/all" || pg_why "reading $name" "$D/err"
  exec 5>&- 6<&-
  wait "$holder" || pg_why "holding the snapshot of $name" "$D/held"
  pg_sequences "$W/{DUMP}" "$D/set" 2>"$D/err" ||
    db_oops "the dump of $name cannot be read: $(db_first "$D/err")"
  {{ grep -v '^sequence[[:blank:]]' "$D/all" || :; cat "$D/set"; }} >"$D/lines"
  sort <"$D/lines" >"$W/proof/fingerprint" 2>"$D/err" || pg_why "writing the fingerprint" "$D/err"
  tables=$(grep -c '^table[[:blank:]]' "$W/proof/fingerprint" || :)
  dumped=$("$B/pg_restore" -l "$W/{DUMP}" | grep -c '^[0-9]*; [0-9]* [0-9]* TABLE DATA ' || :)
  [ "$tables" = "$dumped" ] || db_oops "$name has $tables tables, and the dump has data of $dumped"
}}
"""
)

_SCRATCH = rf"""
pg() {{
  pg_program=$1; shift
  env -i PATH="$PATH" LC_ALL=C HOME=/nonexistent "PGOPTIONS=$options" \
    "$B/$pg_program" -h "$P" -p {PORT} -U postgres "$@"
}}
db_stop() {{ db_as "$db_user" "$B/pg_ctl" -D "$P/data" stop -m immediate; }}
scratch_why() {{
  case $(cat "$2" "$P/log" 2>/dev/null) in
    *"No space left on device"*|*"wrote only"*) db_oops "$1: the disk is full ($(db_room "$P"))" ;;
    *"invalid locale name"*|*"invalid LC_COLLATE"*)
      db_oops "$1: the host lacks a locale: $(db_first "$2")" ;;
    *) db_oops "$1 failed: $(db_first "$2")" ;;
  esac
}}
[ -s {DUMP} ] || db_oops "the snapshot holds no dump of PostgreSQL"
pg_bin 0 pg_restore postgresql
"$B/pg_restore" -l {DUMP} >"$D/list" 2>"$D/err" ||
  db_oops "the dump cannot be read: $(db_first "$D/err")"
major=$(sed -n 's/^; *Dumped from database version: \([0-9]*\).*/\1/p' "$D/list")
pg_bin "$major" initdb postgresql
name=$(sed -n 's/^; *dbname: //p' "$D/list")
options=$(pg_options "$pg_best")
db_as "$db_user" "$B/initdb" -D "$P/data" -A trust -U postgres -E UTF8 --locale=C --no-sync \
  >"$D/err" 2>&1 || scratch_why "initdb" "$D/err"
cat >>"$P/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$P'
port = {PORT}
max_connections = 10
max_locks_per_transaction = 2048
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
wal_level = minimal
max_wal_senders = 0
maintenance_work_mem = 128MB
END
db_as "$db_user" "$B/pg_ctl" -D "$P/data" -l "$P/log" -t 120 -w start >"$D/err" 2>&1 ||
  {{ tail -n 3 "$P/log" >>"$D/err" 2>/dev/null; scratch_why "starting a scratch server" "$D/err"; }}
if [ -e {ROLES} ]; then
  pg_sql -v SHOW_CONTEXT=never -d postgres <{ROLES} >"$D/out" 2>"$D/err" ||
    scratch_why "loading the roles" "$D/err"
fi
# Of the database itself pg_restore keeps it, whatever it is told.
"$B/pg_restore" -C -l {DUMP} | grep -E '^[0-9]+; [0-9]+ [0-9]+ DATABASE ' >"$D/some" || :
"$B/pg_restore" -C -L "$D/some" -f - {DUMP} 2>"$D/err" |
  sed -n 's/^CREATE DATABASE .* TABLESPACE = \(.*\);$/\1/p' >"$D/space"
if read -r space <"$D/space"; then
  db_as "$db_user" mkdir -- "$P/space" &&
    pg_sql -d postgres -c "CREATE TABLESPACE $space LOCATION '$P/space'" >"$D/out" 2>"$D/err" ||
    scratch_why "making a tablespace" "$D/err"
fi
pg pg_restore --exit-on-error -C --no-tablespaces -d postgres <{DUMP} >"$D/out" 2>"$D/err" ||
  scratch_why "loading the dump" "$D/err"
pg_fingerprint "$name" "$D/found" || scratch_why "reading what was loaded" "$D/err"
cat "$D/found" >"$X/found"
"""

_LOAD = rf"""
load_it() {{
  db_begin "$X/dump"
  [ -s "$X/{DUMP}" ] || db_oops "the snapshot holds no dump of PostgreSQL"
  pg_open postgres
  ! has "$into" || db_oops "the database $into is there already: choose another name, or drop it first"
  "$B/pg_restore" -C -l "$X/{DUMP}" >"$D/list" 2>"$D/err" || pg_why "reading the dump" "$D/err"
  # How the database itself is made, under its new name.
  was=$(sed -n 's/^; *dbname: //p' "$D/list")
  grep -E '^[0-9]+; [0-9]+ [0-9]+ (DATABASE|DATABASE PROPERTIES|ACL - DATABASE|COMMENT - DATABASE) ' \
    "$D/list" >"$D/some"
  "$B/pg_restore" -C -L "$D/some" -f - "$X/{DUMP}" >"$D/create" 2>"$D/err" ||
    pg_why "reading the dump" "$D/err"
  for old in "$was" "\"$was\""; do
    old=$(printf '%s' "$old" | sed 's/[$]/\\$/g')
    sed -e '/^\\connect /d' \
      -e "s/^\(CREATE DATABASE\|ALTER DATABASE\|COMMENT ON DATABASE\) $old /\1 \"$into\" /" \
      -e "s/^\(ALTER ROLE .* IN DATABASE\) $old SET /\1 \"$into\" SET /" \
      -e "s/^\(\(GRANT\|REVOKE\) .* ON DATABASE\) $old /\1 \"$into\" /" "$D/create" >"$D/renamed"
    mv -- "$D/renamed" "$D/create"
  done
  if [ -e "$X/{ROLES}" ]; then
    # Who may not make roles may still load what needs none. The context of an error holds a password.
    pg_sql -v SHOW_CONTEXT=never -d postgres <"$X/{ROLES}" >"$D/out" 2>&1 || cat "$D/out"
  fi
  pg_sql -d postgres <"$D/create" >"$D/out" 2>"$D/err" ||
    {{ cp "$D/err" "$D/why"; drop; pg_why "making the database $into" "$D/why"; }}
  pg pg_restore --exit-on-error -d "$into" <"$X/{DUMP}" >"$D/out" 2>"$D/err" ||
    {{ cp "$D/err" "$D/why"; drop; pg_why "loading the dump into $into" "$D/why"; }}
  pg_fingerprint "$into" "$D/found" || pg_why "reading $into" "$D/err"
  cmp -s "$X/proof/fingerprint" "$D/found" ||
    {{ db_differs "$X/proof/fingerprint" "$D/found"; drop
      db_oops "what was loaded is not what was backed up; the database $into was removed again"; }}
  pg_sql -d "$into" -c ANALYZE >"$D/out" 2>&1 || cat "$D/out"
  [ -z "$swap" ] || db_swap
}}
has() {{ # whether there is such a database
  echo "SELECT count(*) FROM pg_database WHERE datname = :'db';" >"$D/ask"
  pg_sql -d postgres -v db="$1" <"$D/ask" >"$D/out" 2>"$D/err" || pg_why "looking for $1" "$D/err"
  [ "$(cat "$D/out")" != 0 ]
}}
drop() {{ pg_sql -d postgres -c "DROP DATABASE IF EXISTS \"$into\"" >/dev/null 2>&1 || :; }}
swap_it() {{
  aside=
  if has "$name"; then
    aside=$(printf '%.39s' "$name")_before_$(date -u +%Y%m%dT%H%M%SZ)
    pg_sql -d postgres -c "ALTER DATABASE \"$name\" ALLOW_CONNECTIONS false" >"$D/err" 2>&1 ||
      pg_why "closing $name" "$D/err"
  fi
  cat >"$D/ask" <<'END'
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname IN (:'name', :'into') AND pid <> pg_backend_pid();
BEGIN;
END
  [ -z "$aside" ] || echo 'ALTER DATABASE :"name" RENAME TO :"aside";' >>"$D/ask"
  echo 'ALTER DATABASE :"into" RENAME TO :"name"; COMMIT;' >>"$D/ask"
  if pg_sql -d postgres -v name="$name" -v into="$into" -v aside="$aside" <"$D/ask" >"$D/out" 2>"$D/err"
  then
    [ -z "$aside" ] || pg_sql -d postgres -c "ALTER DATABASE \"$aside\" ALLOW_CONNECTIONS true" || :
    echo "$name is the restored one now${{aside:+; the one before it is kept as $aside}}"
  else
    [ -z "$aside" ] || pg_sql -d postgres -c "ALTER DATABASE \"$name\" ALLOW_CONNECTIONS true" || :
    echo "the restored database is kept as $into"
    pg_why "giving $into the name $name" "$D/err"
  fi
}}
"""
