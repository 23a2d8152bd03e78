"""Dump, prove and load a MariaDB or MySQL database, as sh. Pure.

One session takes the global read lock, begins the snapshot that it will read the fingerprint in, and
waits until mariadb-dump says that it reads the first table: then that has begun its own snapshot, of the
same moment, and the lock is given back. Where there are tables that know no snapshot (MyISAM, Aria,
MEMORY) it is kept until the end, and nobody writes to any database of the server meanwhile. Sequences
stand outside of snapshots: their line is what the dump says.

Databases cannot be renamed. To swap, all tables are, in one statement: the live ones into a database of
another name, the loaded ones into that of the live ones. Triggers bar that: they are dropped just before
and made again just after, as are views and routines; grants go by the name of the database, and stay.
"""

from __future__ import annotations

from converge.shell import quote
from temporal.activities.backup import databases_sh, mariadb_sql
from temporal.shared.specs.backup.sources import MariadbSource

DUMP = "dump/database.sql"
SERVER = "dump/server"


def dump_script(source: MariadbSource, password: str | None = None) -> str:
    """sh that defines dump_it: the live database to $W/dump and $W/proof/fingerprint.

    Args:
        password: the shell variable that holds it.
    """
    return "\n".join([databases_sh.LIBRARY, _LIBRARY, _live(source, password), _DUMP])


def prove_script(source: MariadbSource, password: str | None = None) -> str:
    """sh that defines prove_it: $X/dump in a scratch server, and what it holds then to $X/found.

    It asks for no password: the scratch server has none.
    """
    named = f"name={quote(source.mariadb)}"
    work = databases_sh.scratch("mysql", "mariadb-server", _LIBRARY, f"{named}\n{_SCRATCH}")
    return f"{databases_sh.LIBRARY}\nprove_it() {{\n{work}\n}}"


def load_script(source: MariadbSource, into: str, swap: bool, password: str | None = None) -> str:
    """sh that defines load_it: $X/dump to the live server as `into`, a database that is not there yet.

    Without its events, which would begin to act on a copy. With `swap` its tables take the place of the
    source's, which are kept in a database of another name, with their events disabled.
    """
    settings = f"into={quote(into)} swap={'yes' if swap else ''}"
    return "\n".join([databases_sh.LIBRARY, _LIBRARY, _live(source, password), settings, _LOAD])


def _live(source: MariadbSource, password: str | None) -> str:
    secret = f'"${password}"' if password else "''"
    return (
        f"name={quote(source.mariadb)} user={quote(source.user)} socket={quote(source.socket or '')}\n"
        f"my_secret() {{ printf %s {secret}; }}\n{_LIVE}"
    )


def _function(name: str, text: str) -> str:
    return f"{name}() {{ cat <<'SQL_END'\n{text}\nSQL_END\n}}"


_LIBRARY = r"""
my_tool() { # names of a program, the first that is there: sets $tool
  for tool; do ! command -v "$tool" >/dev/null || return 0; done
  return 1
}
my_need() { # variable, package, names
  my_variable=$1 my_package=$2; shift 2
  my_tool "$@" || db_oops "the host has no $1: install $my_package"
  eval "$my_variable=\$tool"
}
my_tools() {
  my_need client mariadb-client mariadb mysql
  my_need dumper mariadb-client mariadb-dump mysqldump
}
my_clean() { env -i PATH="$PATH" LC_ALL=C HOME="$D" "$@"; }
my() { # the client; nobody else's settings
  my_clean "$client" --defaults-file="$D/my.cnf" --batch --raw --skip-column-names \
    --init-command='SET SESSION lock_wait_timeout = 60' "$@"
}
my_sql() { # database, a file of statements
  { my_session; cat "$2"; } >"$D/run"
  my ${1:+-D "$1"} <"$D/run"
}
# A session on fds 7 and 8; what it says ends with a word that nothing else says.
my_open() { # database
  trap '' PIPE
  read -r mark </proc/sys/kernel/random/uuid
  rm -f -- "$D/in" "$D/out" && mkfifo "$D/in" "$D/out" || db_oops "cannot write below $T"
  ( exec 7>&- 8>&-; my -n --quick -D "$1" ) <"$D/in" >"$D/out" 2>"$D/err" &
  asked=$!
  exec 7>"$D/in" 8<"$D/out"
  my_session >&7 2>/dev/null || return 1
}
my_ask() { # statements; the answer
  rm -f -- "$D/mark"
  printf "%s\nSELECT '%s';\n" "$1" "$mark" >&7 2>/dev/null || return 1
  sed -n "/^$mark/{w $D/mark
q};p" <&8
  [ -s "$D/mark" ]
}
my_close() { exec 7>&- 8>&-; wait "$asked"; }
my_fingerprint() { # a file for it: what the session's database holds, but for sequences
  my_ask "$(my_objects)" >"$D/lines" && my_ask "$(my_tables)" >"$D/tables" || return 1
  tab=$(printf '\t')
  while IFS= read -r line; do
    table=${line%%"$tab"*} line=${line#*"$tab"}
    columns=${line%%"$tab"*} statement=${line#*"$tab"}
    rm -f -- "$D/mark"
    printf "PREPARE asked FROM '%s';\nEXECUTE asked;\nSELECT CONCAT('%s ', FOUND_ROWS());\n" \
      "$statement" "$mark" >&7 2>/dev/null || return 1
    hash=$(sed -n "/^$mark /{w $D/mark
q};p" <&8 | sha256sum)
    read -r _ rows <"$D/mark" || return 1
    printf 'table\t%s\trows\t%s\tsha256\t%s\t%s\n' "$table" "$rows" "${hash%% *}" "$columns" >>"$D/lines"
  done <"$D/tables"
  cp -- "$D/lines" "$1"
}
my_found() { # database, a file: its fingerprint, sequences as they are
  my_open "$1" && my_fingerprint "$2" && my_ask "$(my_sequences)" >"$D/sequences" || return 1
  tab=$(printf '\t')
  while IFS= read -r line; do
    value=$(my_ask "PREPARE asked FROM '${line#*"$tab"}'; EXECUTE asked;") || return 1
    printf 'sequence\t%s\t%s\n' "${line%%"$tab"*}" "$value" >>"$2"
  done <"$D/sequences"
  my_close || return 1
  sort -o "$2" "$2"
}
my_make() { # database, a fingerprint: makes it as that one was
  my -e "CREATE DATABASE \`$1\` $(my_charset "$2")"
}
my_charset() { # a fingerprint
  sed -n 's/^database\tcharset \([A-Za-z0-9_]*\)\tcollation \([A-Za-z0-9_]*\)$/\1 \2/p' "$1" |
    sed 's/\(.*\) \(.*\)/CHARACTER SET \1 COLLATE \2/'
}
my_whole() { tail -n 1 "$1" 2>/dev/null | grep -q '^-- Dump completed'; }
""" + "\n".join(
    [
        _function("my_session", mariadb_sql.SESSION),
        _function("my_objects", mariadb_sql.OBJECTS),
        _function("my_tables", mariadb_sql.TABLES),
        _function("my_sequences", mariadb_sql.SEQUENCES),
    ]
)

_LIVE = r"""
my_live() { # folder of the dump: the way in, and whether it is open
  my_tools
  db_begin "$1"
  {
    echo '[client]'
    printf '%s' "$user" | sed 's/.*/user="&"/'; echo
    my_secret | sed 's/[\\"]/\\&/g; s/.*/password="&"/'; echo
    [ -z "$socket" ] || { printf '%s' "$socket" | sed 's/[\\"]/\\&/g; s/.*/socket="&"/'; echo; }
  } >"$D/my.cnf"
  my -e 'SELECT 1' >"$D/out" 2>"$D/err" || my_why "MariaDB" "$D/err"
}
my_why() { # what was done, what was said
  case $(cat "$2") in
    *"No space left"*|*"rrcode: 28"*|*"rrno: 28"*|*"errno 28"*|*"is full"*)
      db_oops "$1: the disk is full ($(db_room "$db_data" /var/lib/mysql))" ;;
    *max_allowed_packet*) db_oops "$1: a row is larger than the server's max_allowed_packet: raise it" ;;
    *"Can't connect to"*)
      db_oops "MariaDB does not run at ${socket:-its usual socket}: start it" \
        "(systemctl status mariadb says more)" ;;
    *"gone away"*|*"Lost connection"*|*"shutdown in progress"*)
      db_oops "$1: MariaDB went down: $(my_first "$2")" ;;
    *"Unknown database"*)
      db_oops "MariaDB has no database $name; it has: $(my -e 'SHOW DATABASES' 2>/dev/null |
        grep -vxE 'information_schema|performance_schema|mysql|sys' | paste -s -d , - |
        sed 's/,/, /g')" ;;
    *"Access denied for user"*"to database"*|*"command denied"*|*"ou need"*"privilege"*)
      db_oops "$1: the database user $user may not: $(my_first "$2")" ;;
    *"Access denied"*) db_oops "MariaDB does not let the database user $user in: $(my_first "$2")" ;;
    *"Lock wait timeout"*)
      db_oops "$1: other sessions kept tables locked or a statement running for 60 s" ;;
    *"Table definition has changed"*|*"doesn't exist"*)
      db_oops "$1: a table was changed meanwhile: $(my_first "$2")" ;;
    *) db_oops "$1 failed: $(my_first "$2")" ;;
  esac
}
my_first() { { grep -m 1 -E '^ERROR|rror: |rror ' "$1" || db_first "$1"; } | cut -c 1-500; }
my_dump() { # arguments
  my_clean "$dumper" --defaults-file="$D/my.cnf" --default-character-set=utf8mb4 --hex-blob \
    --single-transaction --quick --skip-dump-date --no-tablespaces --max-allowed-packet=1G "$@"
}
"""

_DUMP = (
    "\n".join(
        [
            _function("my_server", mariadb_sql.SERVER),
            _function("my_unsteady", mariadb_sql.UNSTEADY),
        ]
    )
    + rf"""
my_history() {{ # whether rows of the past are to be dumped as well
  [ "$(my -D "$name" -e "SELECT COUNT(*) FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_type = 'SYSTEM VERSIONED'" 2>/dev/null)" != 0 ]
}}
dump_it() {{
  my_live "$W/dump"
  my -D "$name" -e 'SELECT 1' >"$D/said" 2>"$D/err" || my_why "reading $name" "$D/err"
  my_server >"$D/ask"
  my_sql "$name" "$D/ask" >"$W/{SERVER}" 2>"$D/err" || my_why "reading $name" "$D/err"
  set -- -v --routines --triggers --events
  ! my_history || set -- "$@" --dump-history
  my_open "$name" &&
    my_ask 'FLUSH TABLES WITH READ LOCK; START TRANSACTION WITH CONSISTENT SNAPSHOT;' >"$D/said" &&
    my_ask "$(my_unsteady)" >"$D/unsteady" || my_why "locking $name" "$D/err"
  read -r unsteady <"$D/unsteady" || unsteady=0
  mkfifo "$D/dumping" || db_oops "cannot write below $T"
  : >"$D/dumped"
  my_dump "$@" "$name" >"$W/{DUMP}" 2>"$D/dumping" 7>&- 8>&- & dumping=$!
  # It asks for the tables right after it began its snapshot. Of tables that know none nobody writes
  # until the end: to lock those alone would let waiting writers go before us.
  locked=1; [ "$unsteady" = 0 ] || locked=
  while IFS= read -r line; do
    case $line in
      "-- Retrieving "*)
        [ -z "$locked" ] || {{
          my_ask 'UNLOCK TABLES;' >"$D/said" && my_ask "$(my_objects)" >"$D/before" &&
            my_ask "$(my_tables)" >>"$D/before" || my_why "reading $name" "$D/err"
        }}
        locked= ;;
      "-- "*) ;;
      *) printf '%s\n' "$line" >>"$D/dumped" ;;
    esac
  done <"$D/dumping"
  wait "$dumping" || my_why "$dumper of $name" "$D/dumped"
  my_whole "$W/{DUMP}" || db_oops "$dumper of $name ended before its end; what it wrote is no dump"
  my_fingerprint "$D/found" || my_why "reading $name" "$D/err"
  # What is no row is in no snapshot: changed meanwhile, the fingerprint is not that of the dump.
  if [ -e "$D/before" ]; then
    sort -o "$D/before" "$D/before"
    {{ grep -v '^table[[:blank:]]' "$D/found" || :; cat "$D/tables"; }} | sort >"$D/after"
    cmp -s "$D/before" "$D/after" || {{ db_differs "$D/before" "$D/after"
      db_oops "tables, views or programs of $name were changed while it was dumped"; }}
  fi
  my_close || my_why "reading $name" "$D/err"
  count=$(my -D "$name" -e "SELECT COUNT(*) FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_type = 'SEQUENCE'" 2>"$D/err") ||
    my_why "reading $name" "$D/err"
  if [ "$count" != 0 ]; then
    my_values "$W/{DUMP}" >"$D/values"
    [ "$(wc -l <"$D/values")" = "$count" ] ||
      db_oops "$name has $count sequences, and the dump $(wc -l <"$D/values")"
    cat "$D/values" >>"$D/found"
  fi
  sort <"$D/found" >"$W/proof/fingerprint" 2>"$D/err" || my_why "writing the fingerprint" "$D/err"
}}
my_values() {{ # a dump: what it sets its sequences to
  awk '
    /^-- Sequence structure for/ {{ armed = 1 }}
    armed && /^(DO|SELECT) SETVAL\(`/ {{ text = ""; on = 1; armed = 0 }}
    on {{ line = $0; gsub(/\\/, "\\\\", line); gsub(/\t/, "\\t", line)
      text = text (text == "" ? "" : "\\n") line }}
    on && /, -?[0-9]+, [01]\);$/ {{ on = 0
      sub(/^(DO|SELECT) SETVAL\(`/, "", text); sub(/, [01]\);$/, "", text)
      value = text; sub(/^.*, /, "", value); sub(/`, -?[0-9]+$/, "", text); gsub(/``/, "`", text)
      print "sequence\t" text "\t" value }}' <"$1"
}}
"""
)

_SCRATCH = rf"""
[ -s {DUMP} ] || db_oops "the snapshot holds no dump of MariaDB"
my_whole {DUMP} || db_oops "the dump ends before its end"
my_tools
my_need daemon mariadb-server mariadbd mysqld
server=
db_stop() {{ [ -z "$server" ] || {{ kill -KILL "$server"; wait "$server"; }}; }}
scratch_why() {{
  case $(cat "$2" "$P/log" 2>/dev/null) in
    *"No space left"*|*"rrcode: 28"*|*"rrno: 28"*|*"rror 28"*|*"is full"*)
      db_oops "$1: the disk is full ($(db_room "$P"))" ;;
    *) db_oops "$1 failed: $(db_first "$2")" ;;
  esac
}}
: >"$D/options"
[ ! -e {SERVER} ] || grep -xE '(lower-case-table-names|innodb-page-size)=[0-9]+' {SERVER} |
  sed 's/^/--/' >"$D/options" || :
set -- --no-defaults --datadir="$P/data" $(cat "$D/options")
if my_tool mariadb-install-db mysql_install_db; then
  db_as "$db_user" "$tool" "$@" --auth-root-authentication-method=normal --skip-test-db \
    --skip-name-resolve >"$D/made" 2>&1 || scratch_why "making a scratch server" "$D/made"
else
  db_as "$db_user" "$daemon" "$@" --initialize-insecure >"$D/made" 2>&1 ||
    scratch_why "making a scratch server" "$D/made"
fi
db_exec "$db_user" "$daemon" "$@" --socket="$P/socket" --pid-file="$P/pid" --log-error="$P/log" \
  --tmpdir="$P" --skip-networking --skip-log-bin --event-scheduler=OFF --max-connections=10 \
  --max-allowed-packet=1G --log-bin-trust-function-creators=ON --innodb-strict-mode=OFF \
  --loose-innodb-doublewrite=OFF --innodb-flush-log-at-trx-commit=0 --loose-mysqlx=OFF \
  >"$D/started" 2>&1 &
server=$!
printf '[client]\nuser=root\nsocket=%s/socket\n' "$P" >"$D/my.cnf"
until my -e 'SELECT 1' >"$D/said" 2>&1; do
  kill -0 "$server" 2>/dev/null || {{
    cat "$P/log" >>"$D/started" 2>/dev/null
    scratch_why "starting a scratch server" "$D/started"
  }}
  sleep 0.1
done
my_make "$name" proof/fingerprint >"$D/said" 2>"$D/why" || scratch_why "making the database" "$D/why"
my -D "$name" --max-allowed-packet=1G <{DUMP} >"$D/said" 2>"$D/why" ||
  scratch_why "loading the dump" "$D/why"
my_found "$name" "$D/found" || scratch_why "reading what was loaded" "$D/err"
cat "$D/found" >"$X/found"
"""

_LOAD = (
    "\n".join(
        [
            _function("my_views", mariadb_sql.VIEWS),
            _function("my_drop_triggers", mariadb_sql.DROP_TRIGGERS),
            _function("my_rename", mariadb_sql.RENAME),
            _function("my_clear", mariadb_sql.CLEAR),
        ]
    )
    + rf"""
load_it() {{
  my_live "$X/dump"
  [ -s "$X/{DUMP}" ] || db_oops "the snapshot holds no dump of MariaDB"
  my_whole "$X/{DUMP}" || db_oops "the dump ends before its end"
  ! has "$into" || db_oops "the database $into is there already: choose another name, or drop it first"
  # As in the server that proved it: as text a row takes up to twice its bytes.
  packet=$(my -e 'SELECT @@GLOBAL.max_allowed_packet' 2>/dev/null) || packet=
  db_end() {{
    [ -z "$packet" ] || my -e "SET GLOBAL max_allowed_packet = $packet" >/dev/null 2>&1 || :
    rm -rf -- "$D"
  }}
  my -e 'SET GLOBAL max_allowed_packet = 1073741824' >"$D/said" 2>&1 || packet=
  my_make "$into" "$X/proof/fingerprint" >"$D/said" 2>"$D/why" ||
    my_why "making the database $into" "$D/why"
  part_of no | unqualified | my -D "$into" --max-allowed-packet=1G >"$D/said" 2>"$D/why" ||
    {{ drop "$into"; my_why "loading the dump into $into" "$D/why"; }}
  same "$into" 'event' || {{ drop "$into"
    db_oops "what was loaded is not what was backed up; the database $into was removed again"; }}
  [ -z "$swap" ] || db_swap
}}
bare() {{ # whether a database has no table
  [ "$(my -e "SELECT COUNT(*) FROM information_schema.tables
    WHERE table_schema = '$1'" 2>/dev/null)" = 0 ]
}}
has() {{ my -D "$1" -e 'SELECT 1' >/dev/null 2>&1; }}
drop() {{ my -e "DROP DATABASE \`$1\`" >/dev/null 2>&1 || :; }}
part_of() {{ # yes: only the events in the dump; no: all else
  awk -v only="$1" '
    /^-- Dumping events for database / {{ events = 1 }}
    /^-- Dumping routines for database |^-- Final view structure |^-- Dump completed/ {{ events = 0 }}
    (only == "yes") == (events == 1)' "$X/{DUMP}"
}}
# A trigger is dumped as it was written: with the name of a database before its own and its table's, it
# would be made in that one, wherever it is loaded.
unqualified() {{
  awk -v ticks="\`$name\`." -v plain=" $name." '
    function bare(line, what, by,   at) {{
      while (at = index(line, what)) line = substr(line, 1, at - 1) by substr(line, at + length(what))
      return line
    }}
    /^\/\*!50003 CREATE\*\/ .*TRIGGER/ {{ head = 1 }}
    head {{
      at = index(toupper($0), "FOR EACH ROW")
      if (at) head = 0; else at = length($0) + 1
      $0 = bare(bare(substr($0, 1, at - 1), ticks, ""), plain, " ") substr($0, at)
    }}
    {{ print }}'
}}
same() {{ # database, a kind of line that is left out, or nothing: whether it is as the fingerprint says
  my_found "$1" "$D/found" || my_why "reading $1" "$D/err"
  grep -v "^${{2:-none}}[[:blank:]]" "$X/proof/fingerprint" >"$D/wanted" || :
  cmp -s "$D/wanted" "$D/found" || {{ db_differs "$D/wanted" "$D/found"; return 1; }}
}}
names() {{ # function that prints SQL: what it says of the three databases
  {{ my_session; echo "SET @live = '$name', @fresh = '$into', @aside = '$aside';"; "$1"; }} | my
}}
programs() {{ # database, a file: views, routines and triggers of it
  my_views >"$D/ask"
  my_sql "$1" "$D/ask" >"$D/views" || return 1
  set --  "$1" "$2"
  while IFS= read -r view; do set -- "$@" "$view"; done <"$D/views"
  programs_of=$1 programs_to=$2; shift 2
  : >"$programs_to"
  [ $# = 0 ] || my_dump --no-data --skip-triggers "$programs_of" "$@" >"$programs_to" || return 1
  my_dump --no-data --no-create-info --routines --triggers --skip-events "$programs_of" >"$D/programs" &&
    unqualified <"$D/programs" >>"$programs_to"
}}
swap_it() {{
  aside=
  programs "$into" "$D/fresh.sql" 2>"$D/why" || my_why "reading $into" "$D/why"
  if has "$name"; then
    aside=$(printf '%.39s' "$name")_before_$(date -u +%Y%m%dT%H%M%SZ)
    programs "$name" "$D/live.sql" 2>"$D/why" || my_why "reading $name" "$D/why"
    made=$(my -D "$name" -e "SELECT CONCAT('CHARACTER SET ', @@character_set_database, ' COLLATE ',
      @@collation_database)" 2>"$D/why") &&
      my -e "CREATE DATABASE \`$aside\` $made" >"$D/said" 2>"$D/why" ||
      my_why "making the database $aside" "$D/why"
  else
    my_make "$name" "$X/proof/fingerprint" >"$D/said" 2>"$D/why" ||
      my_why "making the database $name" "$D/why"
  fi
  # Triggers are there or not there for both; the names change in one statement.
  names my_drop_triggers >"$D/drop" 2>"$D/why" && names my_rename >"$D/rename" 2>"$D/why" ||
    my_why "reading $name" "$D/why"
  {{ echo 'SET foreign_key_checks = 0;'; cat "$D/drop" "$D/rename"; }} >"$D/swap"
  my_sql '' "$D/swap" >"$D/said" 2>"$D/why" || {{
    # All of them have their old names, and get their triggers again.
    [ -z "$aside" ] || {{ my --force -D "$name" <"$D/live.sql" >/dev/null 2>&1 || :; }}
    my --force -D "$into" <"$D/fresh.sql" >/dev/null 2>&1 || :
    # That we were not told of its end does not mean that nothing was renamed.
    [ -z "$aside" ] || {{ bare "$aside" && drop "$aside"; }} ||
      echo "look into $aside: what was live may be there"
    echo "the restored database is kept as $into"
    my_why "renaming the tables of $name and $into" "$D/why"
  }}
  names my_clear >"$D/swap" 2>"$D/why" && my_sql '' "$D/swap" >"$D/said" 2>"$D/why" ||
    my_why "removing the old views and routines of $name" "$D/why"
  [ -z "$aside" ] || my -D "$aside" <"$D/live.sql" >"$D/said" 2>"$D/why" ||
    echo "views, routines or triggers of $aside could not be made: $(my_first "$D/why")"
  charset=$(my_charset "$X/proof/fingerprint")
  part_of yes >"$D/events"
  {{ my -e "ALTER DATABASE \`$name\` $charset" && my -D "$name" <"$D/fresh.sql" &&
    my -D "$name" <"$D/events"; }} >"$D/said" 2>"$D/why" ||
    my_why "making views, routines and events of $name" "$D/why"
  drop "$into"
  same "$name" '' || echo "as said above, $name was written to since, or is not as it was backed up"
  echo "$name is the restored one now${{aside:+; the one before it is kept as $aside}}"
}}
"""
)
