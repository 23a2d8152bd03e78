"""What a backup runs on a host, as sh: source by source a dump or a manifest, then restic. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from converge.shell import quote, words
from temporal.activities.backup import (
    manifest_sh,
    mariadb_sh,
    postgresql_sh,
    redis_sh,
    restic_sh,
    sqlite_sh,
)
from temporal.activities.backup.clock_sh import clock
from temporal.shared.specs.backup.backup import Protection
from temporal.shared.specs.backup.sources import (
    FilesSource,
    MariadbSource,
    PostgresqlSource,
    RedisSource,
    Source,
    SqliteSource,
)

LAST_WORDS = 3000
"""Bytes of what a program said last that are worth telling."""
LISTED = 100


def save_script(plan: Protection, host: str, values: Mapping[str, bytes], now: int) -> str:
    """Backs up every source, and says of each what came of it.

    Records: `source NAME KIND`; `working WHAT`; `progress` with one of restic's status lines;
    `unreadable COUNT` with the first of them, a line each; `summary` with restic's; `result NAME END RC`
    with last words.

    Args:
        now: seconds since 1970 by the worker's clock. A host's that is off by over two minutes must not
            decide which snapshot is the newest.
    """
    parts = [
        restic_sh.library(plan.repository, host, values, plan.tries),
        f"plan={quote(plan.name)} host={quote(host)} calm={'yes' if plan.nice else ''}",
        clock(now),
        _SAVE,
    ]
    if any(isinstance(each, FilesSource) for each in plan.sources.values()):
        parts.append(manifest_sh.LIBRARY)
    for name, source in plan.sources.items():
        parts.append(_source(name, source, values, plan.manifest))
    return "\n".join(parts)


def _source(name: str, source: Source, values: Mapping[str, bytes], manifest: bool) -> str:
    arguments: list[str] = []
    for tag in source.tags:
        arguments += ["--tag", tag]
    if isinstance(source, FilesSource):
        arguments += manifest_sh.restic_arguments(source)
        prepare = manifest_sh.make_call(source) if manifest else f"are_there {words(source.files)}"
        targets = [*source.files]
    else:
        prepare, targets = f"{dumping(source, values)}\ndump_it", []
    return "\n".join(
        [
            # By eval: what is no sh is the failure of this source alone, and says so.
            f"before() {{ eval {quote(source.before or ':')}; }}",
            f"after() {{ eval {quote(source.after or ':')}; }}",
            f"prepare() {{\n{prepare}\n}}",
            f"set -- {words([*arguments, '--', *targets])}",
            f'save {quote(name)} {quote(source.kind)} "$@"',
        ]
    )


def dumping(source: Source, values: Mapping[str, bytes]) -> str:
    """sh that defines dump_it for a database."""
    match source:
        case PostgresqlSource():
            return postgresql_sh.dump_script(source)
        case MariadbSource():
            return secret(source.password, values) + mariadb_sh.dump_script(
                source, password(source)
            )
        case SqliteSource():
            return sqlite_sh.dump_script(source)
        case RedisSource():
            return secret(source.password, values) + redis_sh.dump_script(source, password(source))
        case FilesSource():
            raise AssertionError("files are not dumped")


def password(source: MariadbSource | RedisSource) -> str | None:
    """The variable that holds a database's password, if it asks for one."""
    return None if source.password is None else "db_password"


def secret(reference: str | None, values: Mapping[str, bytes]) -> str:
    """sh that sets that variable."""
    if reference is None:
        return ""
    return f"db_password={quote(values[reference].decode(errors='surrogateescape'))}\n"


_SAVE = rf"""
gentle() {{ # a program, after all others
  if [ -n "$calm" ]; then
    if command -v ionice >/dev/null; then nice -n 10 ionice -c 2 -n 7 "$@"; else nice -n 10 "$@"; fi
  else "$@"; fi
}}
last_words() {{ tail -c {LAST_WORDS} -- "$1" 2>/dev/null; }}
part() {{ # a function, on its own; what it says goes to $T/out
  ( set -eu; "$1" ) >"$T/out" 2>&1 </dev/null
}}
# Nobody ends a hook in the middle. It and `part` are never called in a condition, nor is what calls
# them: there the shell ignores set -e, and goes on after what failed.
hook() {{ # sets $hook_rc
  : >"$T/hook"; part "$1"; hook_rc=$?; rm -f -- "$T/hook"
}}
are_there() {{ # restic leaves out what is not there, and takes that for well done
  for path; do
    [ -e "$path" ] || [ -h "$path" ] || {{ printf '%s\n' "there is no $path"; exit 1; }}
  done
}}
heard() {{ # restic's lines, of which there may be one a file
  # By grep: `sed -u` reads byte by byte, which for a line a file takes as long as hashing what is in it.
  grep -a --line-buffered -e '"message_type":"\(status\|summary\)"' \
    -e '"item":"[^"]*/proof/manifest"' |
    while IFS= read -r line; do
      case $line in
        *'"message_type":"summary"'*) rec summary; printf '%s' "$line" ;;
        *'"action":'*|*'"message_type":"verbose_status"'*)
          case $line in *"\"item\":\"$W/proof/manifest\""*) : >"$T/taken" ;; esac ;;
        *) rec progress; printf '%s' "$line" ;;
      esac
    done
}}
unreadable() {{ # what restic could not read, a line each, as in JSON
  sed -n '/"during":"archival"/s/.*"item":"\(.*\)"}}$/\1/p' "$T/err" | sort -u >"$T/unread"
  rec unreadable $(wc -l <"$T/unread"); head -n {LISTED} "$T/unread"
}}
save() {{ # name, kind, restic's arguments
  name=$1 kind_of=$2; shift 2
  W=$S/backup/$plan/$name
  rec source "$name" "$kind_of"
  [ ! -e "$T/ending" ] || {{ rec result "$name" cancelled 0; return 0; }}
  ( umask 077; rm -rf -- "$W/proof" "$W/dump" && mkdir -p -- "$W/proof" "$W/dump" ) >"$T/out" 2>&1 ||
    {{ rec result "$name" space 1; last_words "$T/out"; return 0; }}
  rec working before
  hook before
  if [ "$hook_rc" != 0 ]; then
    rec result "$name" before 1; last_words "$T/out"; hook after; return 0; fi
  save_it "$@"
  hook after
  [ "$hook_rc" = 0 ] || {{ rec after "$name"; last_words "$T/out"; }}
  rm -rf -- "$W/dump"
}}
# Hashing a lot takes as long as it takes restic to read a good part of it, so they go on side by side.
# restic goes through folders by name: where all of it comes before our own folder, the manifest is
# nearly always there in time; whether it was, restic says.
beside() {{ # restic's arguments: whether restic may begin before the manifest is there
  [ "$kind_of" = files ] || return 1
  while [ ! -e "$T/prepared" ] && [ ! -e "$T/listed" ]; do sleep 0.01 || sleep 1; done
  [ ! -e "$T/prepared" ] || return 1
  while [ "$1" != -- ]; do shift; done
  shift
  for beside_path; do
    [ "$(printf '%s\n' "$beside_path" "$W" | tr / '\1' | LC_ALL=C sort | head -n 1)" = \
      "$(printf '%s\n' "$beside_path" | tr / '\1')" ] || return 1
    case $beside_path:$W/ in /:*) return 1 ;; *:"$beside_path"/*) return 1 ;; esac
  done
}}
is_prepared() {{ # or says why not; one that still goes on is
  [ -e "$T/prepared" ] || return 0
  read -r prepared <"$T/prepared"
  [ "$prepared" != 0 ] || return 0
  if [ -e "$T/ending" ]; then rec result "$name" cancelled 0
  else rec result "$name" prepare 1; last_words "$T/out"; fi
  return 1
}}
save_it() {{
  {{ echo "format=1"; echo "kind=$kind_of"; echo "began=$(date +%s)"; echo "off=${{skewed:+$off}}"
  }} >"$W/proof/about" 2>"$T/out" || {{ rec result "$name" space 1; last_words "$T/out"; return 0; }}
  if [ "$kind_of" = files ]; then rec working manifest; else rec working dump; fi
  rm -f -- "$T/prepared" "$T/listed" "$T/taken"
  ( part prepare; echo "$?" >"$T/prepared.now"; mv -f -- "$T/prepared.now" "$T/prepared" ) &
  preparing=$!
  beside "$@" || wait "$preparing"
  is_prepared || return 0
  if [ "$kind_of" = files ]; then
    keep_proof || {{ rec result "$name" space 1; return 0; }}
    set -- --exclude-file "$T/keep" "$@" "$W/proof"
  else set -- "$@" "$W/proof" "$W/dump"; fi
  set -- --json --host "$host" --tag temporal-ops --tag "backup:$plan" --tag "source:$name" \
    --tag "kind:$kind_of" "$@"
  # Counting beforehand what there is costs a walk of its own.
  [ "$release" -lt 15 ] || set -- --no-scan "$@"
  [ -z "$skewed" ] || set -- --time "$(corrected)" "$@"
  rec working restic
  if [ -e "$T/prepared" ]; then attempt heard backup "$@"
  else
    attempt heard backup -vv "$@"
    wait "$preparing"
    is_prepared || return 0
    # It came past before the manifest was there: once more, which takes no time now.
    case $kind in ok|incomplete) [ -e "$T/taken" ] || attempt heard backup "$@" ;; esac
  fi
  case $kind in
    ok) rec result "$name" ok 0 ;;
    incomplete) unreadable; rec result "$name" incomplete 3; last_words "$T/err" ;;
    *) rec result "$name" "$kind" "$rc"; last_words "$T/err" ;;
  esac
}}
"""
