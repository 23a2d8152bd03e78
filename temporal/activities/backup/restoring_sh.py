"""What a restore runs on a host, as sh: which parts there are, and into a new place. Pure.

A restore may be begun anew where a power cut ended it: what it has decided, and how far it is, stands in
$D, the folder of its run. What it made itself by then it removes and makes again; once all is there and
proved, only the rest of a swap is done.
"""

from __future__ import annotations

from collections.abc import Mapping

from converge.shell import quote, words
from temporal.activities.backup import (
    mariadb_sh,
    postgresql_sh,
    proving_sh,
    redis_sh,
    sqlite_sh,
    swapping_sh,
)
from temporal.activities.backup.saving_sh import password, secret
from temporal.shared.specs.backup.proofs import Chosen
from temporal.shared.specs.backup.restoring import RestoreSpec
from temporal.shared.specs.backup.sources import (
    FilesSource,
    MariadbSource,
    PostgresqlSource,
    RedisSource,
    SqliteSource,
)

PREFIX = "temporal-ops-restore-"


def restore_script(
    spec: RestoreSpec, chosen: Chosen, values: Mapping[str, bytes], to: str, fresh: str
) -> str:
    """Restores it, and says what came of it.

    Records: `source NAME`; `to` with each place; `size FILES BYTES`; `free BYTES`; `working WHAT`;
    `progress`; `broken COUNT` with what restic could not restore; those of a comparison; `found PROVED
    UNPROVEN WRONG`; `took SECONDS`; `aside` with what was live and where it is now; `beside` with what
    was not put in the place of what is live, since it is wrong; `result NAME VERDICT WHY RC` with last
    words.

    Args:
        to: the folder, or the name of the database. Nothing, for files: a new folder that has
        fresh: in its name; or what is live.
    """
    parts = [
        proving_sh.library(spec.backup, spec.host, values),
        f"name={quote(spec.source)} id={chosen.snapshot} W={quote(base_of(chosen))}",
        f"dry={'yes' if spec.dry_run else ''} fresh={quote(fresh)} prefix={PREFIX}",
        f"scratch_folder={quote(spec.backup.drill.scratch)} needed={proving_sh.NEEDED}",
        _COMMON,
    ]
    if not isinstance(spec.what, FilesSource):
        last = live_name(spec) if spec.over_live else to
        parts += [loading(spec, values, to), _LOAD, f"load {words((to, last))}"]
    elif spec.over_live:
        parts.append(_over_live(spec, chosen))
    else:
        parts += [fetching(spec.what, chosen, spec.paths), _NEW, f"into_new {quote(to)}"]
    return "\n".join([*parts, "finish"])


def base_of(chosen: Chosen) -> str:
    """The folder of the source where the snapshot was made."""
    return chosen.proof.removesuffix("/proof")


def fetching(source: FilesSource, chosen: Chosen, paths: tuple[str, ...]) -> str:
    """sh that defines how these paths are measured, fetched and compared; without any: all there is."""
    defined = proving_sh.proving(source, paths or chosen.roots, {})
    if not paths:
        return (
            f'{defined}\nmeasuring() {{ measure; }}\nfetching() {{ fetch "$X"; }}\nonly() {{ :; }}'
        )
    included = [f"--include={proving_sh.included(each)}" for each in (*paths, chosen.proof)]
    fits = [f"-e {quote('^([^ ]+ ){7}' + _literal(each) + '(/|$)')}" for each in paths]
    return "\n".join(
        [
            defined,
            f"measuring() {{ measure_paths {words(paths)}; }}",
            f'fetching() {{ fetch "$X" {words(included)}; }}',
            # `PATH`, `PATH/...`, or `PATH//TARGET`.
            f'only() {{ some_of "$X$W/proof/manifest" {" ".join(fits)}; }}',
        ]
    )


def _literal(path: str) -> str:
    return "".join(f"\\{each}" if each in r"\.[]{}()*+?^$|" else each for each in path)


def _over_live(spec: RestoreSpec, chosen: Chosen) -> str:
    assert isinstance(spec.what, FilesSource)
    lines = [swapping_sh.SWAPPING]
    paths = spec.paths or chosen.roots
    for number, path in enumerate(paths):
        defined = fetching(spec.what, chosen, (path,))
        lines += [f"staging_{number}() {{\n{defined}\nstage {number} {quote(path)}\n}}"]
    return "\n".join([*lines, f"over_live {words(paths)}"])


def loading(spec: RestoreSpec, values: Mapping[str, bytes], into: str) -> str:
    """sh that defines loading, which loads the dump into the live server."""
    source, swap, own = spec.what, spec.over_live, ""
    match source:
        case PostgresqlSource():
            script = postgresql_sh.load_script(source, into, swap)
        case MariadbSource():
            own = secret(source.password, values)
            script = mariadb_sh.load_script(source, into, swap, password(source))
        case SqliteSource():
            script = sqlite_sh.load_script(source, into, swap)
        case RedisSource():
            own = secret(source.password, values)
            script = redis_sh.load_script(source, into, swap, password(source))
        case FilesSource():
            raise AssertionError("files are not loaded")
    return f"loading() {{\n{own}{script}\nload_it\n}}"


def live_name(spec: RestoreSpec) -> str:
    """What the live database is called."""
    match spec.what:
        case PostgresqlSource(postgresql=name) | MariadbSource(mariadb=name):
            return name
        case SqliteSource(sqlite=path):
            return path
        case RedisSource(redis=where):
            return f"redis:{where}"
        case FilesSource():
            raise AssertionError("files are no database")


_COMMON = r"""
verdict=failed why=other rc=0 fetched_all=0 loaded=0 proved=0 unproven=0 wrong=0
rec source "$name"
: >"$T/out"; : >"$T/err"
finish() {
  [ ! -e "$T/ending" ] || [ "$verdict" = restored ] || why=cancelled
  rec found "$proved" "$unproven" "$wrong"
  rec took "$(seconds $((fetched_all + loaded)))"
  rec result "$name" "$verdict" "$why" "$rc"; last_words "$T/out"
}
gave_up() { why=$1; cp -- "$T/err" "$T/out"; }
refused() { why=$1 rc=0; printf '%s\n' "$2" >"$T/out"; }
sized() { # path, times: says how large it is, and whether there is room
  rec working looking
  measuring
  case $kind in
    ok) rec size "$files" "$size" ;;
    absent) refused place "the snapshot holds no $absent"; return 1 ;;
    # What is damaged is found out by restoring it.
    other) ;;
    *) gave_up "$kind"; return 1 ;;
  esac
  enough=; room "$1" $((size * $2)) "$files" || enough=no
  rec free "$free"
  [ -z "$enough" ] || { refused room "$1 has $free bytes free, and it needs $((size * $2))"; return 1; }
}
fetched_it() { # 1: nothing that could be judged is there
  rec working restoring
  fetching
  fetched_all=$((fetched_all + fetched)) restored=$kind restored_rc=$rc
  case $kind in
    ok) ;;
    other|killed) [ -s "$T/broken" ] || { gave_up "$kind"; return 1; } ;;
    *) gave_up "$kind"; return 1 ;;
  esac
}
some_of() { # manifest, grep's patterns: leaves only what fits
  manifest=$1; shift
  [ -e "$manifest" ] || return 0
  grep -azE "$@" "$manifest" >"$manifest.some"
  mv -- "$manifest.some" "$manifest"
}
judge() { # compares what is below $X, and removes the proof from there; sets $verdict and $why
  rec working comparing
  cp -- "$T/err" "$T/said"
  was_proved=$proved was_unproven=$unproven was_wrong=$wrong
  verdict=failed why=ok
  if ! about; then why=proof
  elif [ ! -e "$X$W/proof/manifest" ]; then verdict=restored why=manifest
  else
    only
    if prove_files; then verdict=restored; else why=prove; fi
    proved=$((proved + was_proved)) unproven=$((unproven + was_unproven)) wrong=$((wrong + was_wrong))
  fi
  if [ "$wrong" -gt 0 ]; then verdict=wrong why=ok
  elif [ "$restored" != ok ]; then
    verdict=failed why=$restored rc=$restored_rc; cp -- "$T/said" "$T/out"; fi
  rm -rf -- "$X/.temporal-ops" "$X$W/proof"
  at=${W#/}
  while [ -n "$at" ] && rmdir -- "$X/$at" 2>/dev/null; do
    case $at in */*) at=${at%/*} ;; *) at= ;; esac
  done
}
"""

_NEW = r"""
into_new() { # folder, or nothing
  to=$1
  if [ -z "$dry" ] && [ -e "$D/to" ]; then
    # A power cut ended us: what is there is ours.
    to=$(cat "$D/to"); [ ! -d "$to" ] || find "$to" -mindepth 1 -delete
  else
    [ -n "$to" ] || a_new_one
    live "$to" >"$T/out" || { why=place; return; }
    if [ -h "$to" ] || { [ -e "$to" ] && [ ! -d "$to" ]; }; then
      refused place "$to is there, and is no folder"; return
    fi
    [ ! -d "$to" ] || [ -z "$(ls -A -- "$to" 2>&1 | head -n 1)" ] ||
      { refused place "$to is not empty"; return; }
  fi
  rec to; printf '%s' "$to"
  sized "$to" 1 || return
  [ -z "$dry" ] || { verdict=planned why=ok; return; }
  { mkdir -p -- "${to%/*}/" && printf '%s' "$to" >"$D/to" && { [ -d "$to" ] || mkdir -m 700 -- "$to"; }
  } >"$T/out" 2>&1 || { why=place; return; }
  X=$to
  if fetched_it; then judge; else find "$to" -mindepth 1 -delete; fi
}
a_new_one() {
  if [ "$U" = 0 ]; then first=/var/restore/$fresh; else first=$HOME/restore/$fresh; fi
  to=$first n=1
  while [ -e "$to" ] || [ -h "$to" ]; do n=$((n + 1)); to=$first.$n; done
}
"""

_LOAD = r"""
measuring() { measure; }
fetching() { fetch "$X"; }
load() { # the name that it is loaded under, the one that it has at last
  rec to; printf '%s' "$2"
  case $1 in /*)
    [ "$1" != "$2" ] || live "$1" >"$T/out" || { why=place; return; }
    if [ -h "$1" ] || [ -e "$1" ]; then refused place "$1 is there already"; return; fi
  esac
  sized "$scratch_folder" "$needed" || return
  [ -z "$dry" ] || { verdict=planned why=ok; return; }
  scratch "$scratch_folder" "$prefix" || { why=scratch; return; }
  load_from "$1"
  # Left alone, it is found and removed by the next one.
  scratch_gone "$prefix"
}
load_from() {
  fetched_it || return
  [ "$restored" = ok ] || { gave_up "$restored"; return; }
  about || { why=proof; return; }
  mv -- "$X$W/dump" "$X$W/proof" "$X/" >"$T/out" 2>&1 || { why=proof; return; }
  case $1 in /*) mkdir -p -m 700 -- "${1%/*}" >"$T/out" 2>&1 || { why=place; return; } ;; esac
  rec working loading
  ticks; loaded=$ticks
  apart loading; loading_rc=$?; rm -f -- "$T/hook"
  ticks; loaded=$((ticks - loaded))
  case $1 in /var/restore/*) rmdir -- "${1%/*}" 2>/dev/null ;; esac # a server has taken it from there
  [ "$loading_rc" = 0 ] || { why=load rc=$loading_rc; return; }
  proved=$(wc -l <"$X/proof/fingerprint")
  verdict=restored why=ok
}
"""
