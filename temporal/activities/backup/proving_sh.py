"""What a restore and a drill have in common on a host, as sh: fetching a snapshot, and proving what came
of it. Pure; needs `restic_sh.library`, and $S, $T, $ID, $U (see converge.tasks).

A restored copy lies below $X as it lay below / where it is from. $W is the folder of its source there:
$X$W/proof is what proves it, $X$W/dump the dump of a database. `about` has to be read first. Then

    prove_files       compares it with its manifest
    prove_database    loads the dump into a scratch server, and compares what that holds

which set $proved, $unproven and $wrong; 1: it could not be done, and $T/out says why.
"""

from __future__ import annotations

from collections.abc import Mapping

from converge.shell import quote, words
from temporal.activities.backup import (
    manifest_sh,
    mariadb_sh,
    notes_sh,
    postgresql_sh,
    redis_sh,
    restic_sh,
    sqlite_sh,
)
from temporal.activities.backup.saving_sh import LAST_WORDS, password, secret
from temporal.shared.specs.backup.backup import Protection
from temporal.shared.specs.backup.proofs import SHOWN
from temporal.shared.specs.backup.restoring import SCRATCH, live_paths
from temporal.shared.specs.backup.sources import (
    FilesSource,
    MariadbSource,
    PostgresqlSource,
    RedisSource,
    Source,
    SqliteSource,
)

NEEDED = 3
"""A database needs so many times the bytes of its dump, until it is loaded: a guess."""


def library(plan: Protection, host: str, values: Mapping[str, bytes]) -> str:
    """All of it. `host` is whose backup it is."""
    return "\n".join(
        [
            restic_sh.library(plan.repository, host, values, plan.tries),
            # A repository that is made now holds nothing that could be restored.
            f"create= plan={quote(plan.name)} host={quote(host)}",
            notes_sh.NOTE,
            _COMMON,
            _ROOM,
            f'live_ones() {{ live_at {words(live_paths(plan))} "$S"; }}',
            _LIVE.replace("SCRATCH", words(SCRATCH)),
            _SCRATCH,
            _FETCH,
            manifest_sh.LIBRARY,
            manifest_sh.COMPARING,
            _PROVE,
        ]
    )


def proving(source: Source, roots: tuple[str, ...], values: Mapping[str, bytes]) -> str:
    """sh that defines what prove_files or prove_database calls, for this source.

    Args:
        roots: of files, what was restored: what the snapshot was made of, or parts of it.
    """
    if not isinstance(source, FilesSource):
        return f"proving() {{\n{database(source, values)}\nprove_it\n}}"
    copy = source.model_copy(update={"files": roots})
    calls = {
        owners: manifest_sh.compare_call(copy, owners=owners == "owners")
        for owners in ("owners", "others")
    }
    return (
        f'proving() {{\nif [ "$U" = 0 ]; then\n{calls["owners"]}\nelse\n{calls["others"]}\nfi\n}}\n'
        f"looking_for_touched() {{\n{manifest_sh.touched_call()}\n}}\n"
        f"looking_for_lost() {{\n{manifest_sh.lost_call()}\n}}"
    )


def database(source: Source, values: Mapping[str, bytes]) -> str:
    """sh that defines prove_it for a database."""
    match source:
        case PostgresqlSource():
            return postgresql_sh.prove_script(source)
        case MariadbSource():
            own = secret(source.password, values)
            return own + mariadb_sh.prove_script(source, password(source))
        case SqliteSource():
            return sqlite_sh.prove_script(source)
        case RedisSource():
            return redis_sh.prove_script(source)
        case FilesSource():
            raise AssertionError("files are compared")


def included(path: str) -> str:
    """restic's pattern that fits this path and nothing else.

    >>> included("/srv/a*[1]")
    '/srv/a\\\\*\\\\[1]'
    """
    return "".join(f"\\{each}" if each in "*?[\\" else each for each in path)


_COMMON = rf"""
last_words() {{ tail -c {LAST_WORDS} -- "$1" 2>/dev/null; }}
# A function, on its own; what it says goes to $T/out. Where `sh` is dash or busybox set -e holds in it,
# wherever this stands; bash ignores it in a condition, so each step tells of its own failure.
apart() {{
  ( exec 6>&-; set -eu; "$1" ) >"$T/out" 2>&1 </dev/null &
  wait "$!"
}}
ticks() {{ # hundredths of a second, by a clock that nobody sets
  read -r ticks _ </proc/uptime; ticks=${{ticks%.*}}${{ticks#*.}}
}}
seconds() {{ printf '%d.%02d' $(($1 / 100)) $(($1 % 100)); }}
count_of() {{ # a kind of record: the number that the last one in $T/out says
  count_of=$(sed -n "s/^[0-9a-f]* $1 \([0-9]*\)$/\1/p" "$T/out" | tail -n 1)
  echo "${{count_of:-0}}"
}}
"""

_ROOM = r"""
once() { # as attempt, but what fails is not worth another try
  once_tries=$tries tries=1
  attempt "$@"; once_rc=$?
  tries=$once_tries
  return "$once_rc"
}
keep_it() { cat >"$T/said"; }
measure() { # sets $size and $files; of a damaged repository they may stay unknown
  size=0 files=0
  once keep_it stats --json "$id" || return 1
  size=$(sed -n 's/.*"total_size":\([0-9]*\).*/\1/p' "$T/said")
  files=$(sed -n 's/.*"total_file_count":\([0-9]*\).*/\1/p' "$T/said")
  size=${size:-0} files=${files:-0}
}
measure_paths() { # paths: the same for these and what is below them; $kind absent: $absent is not in it
  size=0 files=0
  for absent; do
    once add_up ls --json --recursive "$id" "$absent" || return 1
    read -r entries these bytes <"$T/said"
    [ "$entries" -gt 0 ] || { kind=absent; return 1; }
    files=$((files + these)) size=$((size + bytes))
  done
}
add_up() {
  sed -n -e 's/.*"type":"file".*,"size":\([0-9]*\),"mode".*/file \1/p' -e t \
    -e 's/.*"struct_type":"node".*/other 0/p' |
    awk '{ all += $2; files += $1 == "file" } END { printf "%d %d %.0f\n", NR, files, all }' >"$T/said"
}
room() { # path, bytes, files: whether there is room for them, as far as that is known; sets $free
  at=$1; until [ -e "$at" ]; do at=${at%/*}; at=${at:-/}; done
  free=$(df -B1 --output=avail -- "$at" 2>/dev/null | tail -n 1 | tr -cd 0-9)
  free=${free:-$2}
  [ "$free" -ge $(($2 + $2 / 20 + 4096 * $3)) ]
}
"""

_LIVE = r"""
live() { # path: 1: nothing may be restored there, and says why; sets $at to what it really is
  at=$(realpath -m -- "$1") || return 1
  live_ones
}
live_at() {
  for each; do
    each=$(realpath -m -- "$each")
    case $each/ in "${at%/}"/*) echo "$at is or contains $each, which is live"; return 1 ;; esac
    case $at/ in "${each%/}"/*) ;; *) continue ;; esac
    [ "$each" != / ] || continue
    usual=
    for scratch_place in SCRATCH; do
      case $at/ in "$scratch_place"/?*) case $each/ in "$scratch_place"/?*) ;; *) usual=1 ;; esac ;; esac
    done
    [ -n "$usual" ] || { echo "$at lies in $each, which is live"; return 1; }
  done
}
"""

# Fd 6 holds the lock that tells others that we are alive. It goes with our processes, however they end.
_SCRATCH = r"""
scratch() { # folder, prefix: a new folder $Z of ours in it, to work in nowhere else; $T/out: why not
  { mkdir -p -- "$1" && base=$(realpath -e -- "$1") && live "$base/$2"; } >"$T/out" 2>&1 || return 1
  # One at a time: between its making and its lock a folder looks dead.
  exec 5>"$S/lock.scratch"
  flock 5
  scratch_sweep "$base" "$2"
  { Z=$(mktemp -d -- "$base/$2XXXXXXXXXX") && scratch_is "$2" && mkdir -m 700 -- "$Z/x" &&
    : >"$Z/alive"; } 2>"$T/out" || { exec 5>&-; return 1; }
  exec 6<>"$Z/alive"
  flock 6
  exec 5>&-
  X=$Z/x
}
scratch_is() { # prefix
  case ${Z##*/} in "$1"??????????) ;; *) return 1 ;; esac
  [ -d "$Z" ] && [ ! -h "$Z" ] && [ "$(stat -c '%u %a' -- "$Z")" = "$U 700" ]
}
scratch_gone() { # prefix
  exec 6>&-
  cd /
  ! scratch_is "$1" || rm -rf -- "$Z"
}
scratch_sweep() { # folder, prefix: removes what killed ones have left
  for old in "$1/$2"??????????; do
    [ -d "$old" ] && [ ! -h "$old" ] && [ "$(stat -c %u -- "$old")" = "$U" ] || continue
    [ ! -e "$old/alive" ] || flock -n "$old/alive" true || continue
    # A server that outlived its drill.
    for each in /proc/[0-9]*; do
      case $(readlink "$each/cwd" 2>/dev/null)/ in "$old"/*) kill -KILL "${each#/proc/}" ;; esac
    done
    rm -rf -- "$old" && { rec swept; printf '%s' "$old"; }
  done
}
"""

_FETCH = r"""
heard() {
  while IFS= read -r line; do
    case $line in *'"message_type":"status"'*) rec progress; printf '%s' "$line" ;; esac
  done
}
watch() { # folder: of a restic that says nothing meanwhile
  while sleep 3; do
    there=$(du -sk -- "$1" 2>/dev/null | cut -f 1)
    # In one write, so that it is never in the middle of another record.
    line=$(rec progress
      printf '{"bytes_restored":%s,"total_bytes":%s}' "$((${there:-0} * 1024))" "$size")
    printf '%s' "$line"
  done
}
fetch() { # folder, restic's arguments: restores; sets $rc, $kind, $fetched, and lists in $T/broken
  fetch_to=$1; shift
  watcher=
  if [ "$release" -lt 16 ]; then ( exec 6>&-; watch "$fetch_to" ) & watcher=$!; fi
  fetch_left=$tries fetch_tries=$tries tries=1
  # Later than this nothing was backed up; and a copy that is changed later is not as it was.
  ended=$(($(date +%s) - 4))
  ticks; fetched=$ticks
  while :; do
    attempt heard restore --json "$@" --target "$fetch_to" "$id"
    # What lacked something lacks it again; what did not even begin may have met a bad moment.
    case $kind in other|killed) ;; *) break ;; esac
    fetch_left=$((fetch_left - 1))
    [ "$fetch_left" -gt 0 ] && ! grep -q 'ignoring error\|"message_type":"error"' "$T/err" || break
    rec working again; hold_on "$pause"
  done
  ticks; fetched=$((ticks - fetched)) tries=$fetch_tries
  [ -z "$watcher" ] || { kill "$watcher"; wait "$watcher"; } 2>/dev/null
  sed -n -e 's/^ignoring error for \(.*\)$/\1/p' \
    -e 's/^{"message_type":"error".*"message":"\(.*\)"},"during".*"item":"\(.*\)"}$/\2: \1/p' "$T/err" |
    sed -e 's/\\u003c/</g; s/\\u003e/>/g; s/\\u0026/\&/g' | sort -u >"$T/broken"
  [ ! -s "$T/broken" ] || { rec broken $(wc -l <"$T/broken"); head -n SHOWN "$T/broken" | cut -c 1-500; }
}
""".replace("SHOWN", str(SHOWN))

_PROVE = r"""
about() { # reads what the snapshot says of itself; sets $began and $ended
  [ -f "$X$W/proof/about" ] || { echo "it bears no proof" >"$T/out"; return 1; }
  grep -qx format=1 "$X$W/proof/about" ||
    { echo "its proof is of a later temporal-ops: update this one" >"$T/out"; return 1; }
  began=$(sed -n 's/^began=\([0-9]*\)$/\1/p' "$X$W/proof/about"); began=${began:-0}
}
prove_files() {
  proved=0 unproven=0 wrong=0
  # Without it what was moved while it was backed up seems wrong; with it at least the rest is judged.
  once touched_ones ls --json "$id" || rm -f -- "$T/touched"
  apart proving || return 1
  cat "$T/out"
  proved=$(sed -n 's/^[0-9a-f]* compared [0-9]* \([0-9]*\)$/\1/p' "$T/out") proved=${proved:-0}
  for each in changed created unread; do unproven=$((unproven + $(count_of "differ $each"))); done
  for each in corrupt metadata extra; do wrong=$((wrong + $(count_of "differ $each"))); done
  missing=$(count_of 'differ missing')
  [ "$missing" != 0 ] || return 0
  # What has gone while it was backed up restic never saw; all else was lost on the way.
  attempt lost_ones ls "$id" || { last_words "$T/err" >"$T/out"; return 1; }
  cat "$T/lost"
  cp -- "$T/lost" "$T/out"
  lost=$(count_of lost)
  wrong=$((wrong + lost)) unproven=$((unproven + missing - lost))
}
touched_ones() { looking_for_touched >/dev/null 2>&1; }
lost_ones() { looking_for_lost >"$T/lost" 2>&1; }
prove_database() { # sets $loaded as well: hundredths of a second
  proved=0 unproven=0 wrong=0
  mv -- "$X$W/dump" "$X$W/proof" "$X/" 2>"$T/out" || return 1
  ticks; loaded=$ticks
  apart proving || return 1
  ticks; loaded=$((ticks - loaded))
  # Both are sorted.
  comm -23 "$X/proof/fingerprint" "$X/found" >"$T/left" 2>"$T/out" &&
    comm -13 "$X/proof/fingerprint" "$X/found" >"$T/right" 2>"$T/out" || return 1
  wrong=$(wc -l <"$T/left") extra=$(wc -l <"$T/right")
  proved=$(($(wc -l <"$X/proof/fingerprint") - wrong))
  [ "$extra" -le "$wrong" ] || wrong=$extra
  # Whatever is not the same to the byte is wrong.
  [ "$wrong" -gt 0 ] || cmp -s "$X/proof/fingerprint" "$X/found" || wrong=1
  rec fingerprint "$proved" "$wrong"
  { sed 's/^/backed up: /' "$T/left"; sed 's/^/restored: /' "$T/right"; } | tr '\t' ' ' |
    cut -c 1-300 | head -n SHOWN
}
""".replace("SHOWN", str(SHOWN))
