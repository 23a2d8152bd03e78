"""Dump, prove and load a SQLite database file, as sh. Pure.

Fingerprint and copy are made in one transaction of one session. In WAL mode writers go on meanwhile; in
the others they wait for its end, as for every reader. The copy is made page by page, so rows are
compared with their rowids.

The new file takes the place of the live one by one rename, when no process has that one open: one that
had would go on writing into what is put aside.
"""

from __future__ import annotations

from urllib.parse import quote as percent

from converge.shell import quote
from temporal.activities.backup import databases_sh
from temporal.shared.specs.backup.sources import SqliteSource

DUMP = "dump/database.sqlite"


def dump_script(source: SqliteSource) -> str:
    """sh that defines dump_it: the live file to $W/dump and $W/proof/fingerprint."""
    return "\n".join([_library(source), _DUMP])


def prove_script(source: SqliteSource) -> str:
    """sh that defines prove_it: checks $X/dump, and writes what it holds to $X/found."""
    return "\n".join([_library(source), _PROVE])


def load_script(source: SqliteSource, into: str, swap: bool) -> str:
    """sh that defines load_it: $X/dump to the new file `into`, with the live one's owner and mode.

    With `swap` that takes the place of the live one, which is kept beside.
    """
    settings = f"into={quote(into)} swap={'yes' if swap else ''}"
    return "\n".join([_library(source), settings, _LOAD])


def _library(source: SqliteSource) -> str:
    uri = "file:" + percent(source.sqlite.encode(errors="surrogateescape")) + "?mode=rw"
    return "\n".join(
        [databases_sh.LIBRARY, f"live={quote(source.sqlite)} live_uri={quote(uri)}", _LIBRARY]
    )


_ESCAPED = (
    r"replace(replace(replace(replace({}, '\', '\\'), char(9), '\t'), char(10), '\n'),"
    r" char(13), '\r')"
)

# Each table by its rowid, or by its primary key where it has no rowid. What is computed as it is read is
# no data, and may need functions of the application.
_TABLES = rf"""
SELECT printf('SELECT %Q || count(*) || char(9) || ''sha3'' || char(9)'
    || ' || lower(hex(sha3_query(%Q, 256))) || char(9) || %Q FROM "%w";',
  'table' || char(9) || {_ESCAPED.format("name")} || char(9) || 'rows' || char(9),
  printf('SELECT %s%s FROM "%w" ORDER BY %s', coalesce(rowid_name || ', ', ''), columns, name,
    coalesce(rowid_name, keys, columns)),
  {_ESCAPED.format("columns")}, name)
FROM (
  SELECT t.name,
    (SELECT group_concat(printf('"%w"', c.name), ', ') FROM pragma_table_xinfo(t.name) c
      WHERE c.hidden IN (0, 3)) AS columns,
    (SELECT group_concat(printf('"%w"', k.name), ', ') FROM
      (SELECT name FROM pragma_table_xinfo(t.name) WHERE pk > 0 ORDER BY pk) k WHERE t.wr) AS keys,
    (SELECT a.alias FROM (SELECT 'rowid' AS alias UNION ALL SELECT '_rowid_' UNION ALL SELECT 'oid') a
      WHERE NOT t.wr AND a.alias NOT IN (SELECT lower(name) FROM pragma_table_xinfo(t.name))
      LIMIT 1) AS rowid_name
  FROM pragma_table_list t
  WHERE t.schema = 'main' AND t.type IN ('table', 'shadow') AND t.name <> 'sqlite_schema'
) ORDER BY name;
"""

_REST = rf"""
SELECT 'database' || char(9) || 'encoding ' || encoding || char(9) || 'user_version ' || user_version
  || char(9) || 'application_id ' || application_id
FROM pragma_encoding, pragma_user_version, pragma_application_id;
SELECT 'schema' || char(9) || type || char(9) || {_ESCAPED.format("name")} || char(9) || 'sha3'
  || char(9) || lower(hex(sha3(coalesce(sql, ''), 256))) FROM sqlite_schema;
"""

_LIBRARY = rf"""
lite_open() {{ # folder of the dump
  command -v sqlite3 >/dev/null || db_oops "the host has no sqlite3: install sqlite3"
  db_begin "$1"
}}
lite() {{ # database: what is on standard input, without anybody's settings
  env -i PATH="$PATH" LC_ALL=C HOME="$D" sqlite3 -batch -bail -noheader "$1"
}}
lite_whole() {{ # database, what it is
  echo 'PRAGMA integrity_check(5);' | lite "$1" >"$D/check" 2>&1 || :
  case $(cat "$D/check") in
    # Of an index that only the application can read, what it should hold is not known here: the other
    # tables are checked one by one, and of all of them the fingerprint reads every row.
    *"no such collation"*|*"unknown function"*)
      echo "SELECT printf('PRAGMA integrity_check(\"%w\");', name) FROM sqlite_schema
        WHERE type = 'table' AND rootpage > 0; SELECT '.print .';" |
        lite "$1" >"$D/each.sql" 2>"$D/said" || :
      env -i PATH="$PATH" LC_ALL=C HOME="$D" sqlite3 -batch -noheader "$1" \
        <"$D/each.sql" >"$D/check" 2>>"$D/said" || :
      # Each says ok, or what it lacks; the last line says that they came to their end.
      {{ grep -vx ok "$D/check" || :
        grep -i error "$D/said" | grep -vE 'no such collation|unknown function|error here' || :
      }} >"$D/each"
      if [ "$(cat "$D/each")" = . ]; then echo ok >"$D/check"; else mv -- "$D/each" "$D/check"; fi ;;
  esac
  [ "$(cat "$D/check")" = ok ] || db_oops "$2 is damaged: $(head -n 3 "$D/check" | paste -s -d ' ' -)"
}}
lite_script() {{ # more commands for the end of the transaction
  cat <<SQL_END
.timeout 60000
BEGIN;
.once "$D/tables.sql"
SQL_END
  cat <<'SQL_END'
{_TABLES}{_REST}
SQL_END
  printf '%s\n' ".read \"$D/tables.sql\"" "$1" 'COMMIT;' '.print .'
}}
lite_fingerprint() {{ # database, a file for it, commands. What was said: $D/err
  lite_script "$3" >"$D/ask"
  lite "$1" <"$D/ask" >"$D/answer" 2>"$D/err" || return 1
  [ "$(tail -n 1 "$D/answer")" = . ] || {{ echo "sqlite3's answer was not whole" >"$D/err"; return 1; }}
  sed '$d' "$D/answer" >"$D/lines" && sort <"$D/lines" >"$2" 2>"$D/err"
}}
lite_why() {{ # what was done, what was said
  case $(cat "$2") in
    *"disk is full"*|*"No space left"*) db_oops "$1: the disk is full ($(db_room "$db_data"))" ;;
    *"is locked"*) db_oops "$1: another process kept $live locked for 60 s" ;;
    *"not a database"*) db_oops "$1: $live is no SQLite database, or an encrypted one" ;;
    *"malformed"*) db_oops "$1: $live is damaged: $(db_first "$2")" ;;
    *) db_oops "$1 failed: $(db_first "$2")" ;;
  esac
}}
"""

_DUMP = r"""
dump_it() {
  lite_open "$W/dump"
  [ -f "$live" ] || db_oops "there is no SQLite database $live"
  [ -s "$live" ] || [ -s "$live-wal" ] || db_oops "$live is empty"
  cd -- "$W/dump" || db_oops "there is no folder $W/dump"
  lite_fingerprint "$live_uri" "$D/found" '.backup "database.sqlite"' ||
    lite_why "copying $live" "$D/err"
  [ -s database.sqlite ] || db_oops "sqlite3 copied nothing of $live"
  lite_whole 'file:database.sqlite?immutable=1' "the copy of $live"
  cat "$D/found" >"$W/proof/fingerprint" 2>"$D/err" || lite_why "writing the fingerprint" "$D/err"
}
"""

_PROVE = rf"""
prove_it() {{
  lite_open "$X/dump"
  [ -s "$X/{DUMP}" ] || db_oops "the snapshot holds no copy of a SQLite database"
  cd -- "$X/dump" || exit 1
  lite_whole 'file:database.sqlite?immutable=1' "what was restored of $live"
  lite_fingerprint 'file:database.sqlite?immutable=1' "$D/found" '' ||
    db_oops "reading what was restored of $live failed: $(db_first "$D/err")"
  cat "$D/found" >"$X/found" || db_oops "cannot write below $X ($(db_room "$X"))"
}}
"""

_LOAD = rf"""
load_it() {{
  lite_open "$X/dump"
  [ -s "$X/{DUMP}" ] || db_oops "the snapshot holds no copy of a SQLite database"
  [ ! -e "$into" ] && [ ! -h "$into" ] || db_oops "$into is there already: choose another name"
  folder=$(dirname -- "$into")
  cd -- "$folder" 2>/dev/null || db_oops "there is no folder $folder"
  part=$(mktemp .restored.XXXXXX) || db_oops "cannot write in $folder"
  part_at=$folder/$part
  db_end() {{ rm -rf -- "$D"; rm -f -- "$part_at"; }}
  cat "$X/{DUMP}" >"$part" 2>"$D/err" && sync -- "$part" || lite_why "writing $into" "$D/err"
  if [ -e "$live" ]; then like=$(realpath -- "$live"); chmod --reference="$like" -- "$part"
  else like=.; fi
  [ "$(id -u)" != 0 ] || chown --reference="$like" -- "$part"
  lite_whole "file:$part?immutable=1" "what was restored of $live"
  lite_fingerprint "file:$part?immutable=1" "$D/found" '' || lite_why "reading $into" "$D/err"
  cmp -s "$X/proof/fingerprint" "$D/found" ||
    {{ db_differs "$X/proof/fingerprint" "$D/found"
      db_oops "what was restored is not what was backed up; $into was not made"; }}
  mv -nT -- "$part" "$into" && [ ! -e "$part" ] || db_oops "$into is there already: choose another name"
  [ -z "$swap" ] || db_swap
}}
users() {{ # of a file: name and id of processes, their units
  find -L /proc/[0-9]*/fd -maxdepth 1 -type f -printf '%D %i %p\n' 2>/dev/null |
    grep -F "$(stat -c '%d %i ' -- "$1")" | cut -d / -f 3 | sort -u |
    while read -r pid; do
      unit=$(sed -nE 's,^.*/([^/]*\.(service|scope))$,\1,p' "/proc/$pid/cgroup" 2>/dev/null |
        head -n 1)
      echo "$(cat "/proc/$pid/comm" 2>/dev/null) (process $pid${{unit:+, $unit}})"
    done | paste -s -d , - | sed 's/,\([^ ]\)/, \1/g'
}}
swap_it() {{
  if [ ! -e "$live" ]; then
    mv -nT -- "$into" "$live" && [ ! -e "$into" ] || db_oops "cannot rename $into to $live"
    echo "$live is the restored one now; there was none"
    return 0
  fi
  place=$(realpath -- "$live")
  by=$(users "$place")
  [ -z "$by" ] || db_oops "$live is open in $by: stop that first; the restored one is $into"
  # What a crash left beside it is brought into it, so that it is one file.
  echo 'PRAGMA wal_checkpoint(TRUNCATE); SELECT count(*) FROM sqlite_schema;' |
    lite "$live_uri" >"$D/out" 2>&1 || :
  for end in -wal -journal; do
    [ ! -s "$place$end" ] || db_oops "$place$end is there, and what is in it belongs to $live:" \
      "open and close that by its application first; the restored one is $into"
  done
  rm -f -- "$place-wal" "$place-shm" "$place-journal"
  aside=$place.before_$(date -u +%Y%m%dT%H%M%SZ)
  {{ ln -T -- "$place" "$aside" || cp -p -- "$place" "$aside"; }} 2>"$D/err" &&
    mv -fT -- "$into" "$place" 2>"$D/err" || lite_why "putting $into in the place of $live" "$D/err"
  sync -- "$(dirname -- "$place")"
  echo "$live is the restored one now; the one before it is kept as $aside"
}}
"""
