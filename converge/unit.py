"""The script that changes a host. It runs there by itself and writes what it does to a journal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from converge import preamble
from converge.armed import closing, opening, windows
from converge.armed_sh import DECIDE, LEFT, UNIT
from converge.changes import Change
from converge.graph import Spec
from converge.host import Host
from converge.planner import Step, steps
from converge.resource import Context, Item, State
from converge.resources import BY_KEY
from converge.shell import quote, words
from converge.survey import probes

KEPT_RUNS = 40


def unit_script(
    host: Host,
    spec: Spec,
    states: Sequence[State],
    changes: Mapping[int, Change],
    context: Context,
    *,
    run_id: str,
    number: int,
    nonce: str,
    token: str,
    holder: str,
    lock_wait: float,
    confirm_within: float,
) -> bytes:
    """Called as: sh script <journal>. Takes the lock, applies, probes again, and says how it went.

    `token` is what the survey found: if another run changed the host since, nothing is done.
    """
    planned = steps(spec, dict(changes))
    armed = windows(spec, planned, host.user)
    work = [_step(number, step, spec, states, context) for number, step in enumerate(planned)]
    for place, window in enumerate(armed):
        within = max(1, int(confirm_within))
        work[window.first] = f"{opening(host, window, place, within)}\n{work[window.first]}"
        work[window.last] += f"\n{closing(place)}"
    blocked = [index for index, change in changes.items() if change.action == "blocked"]
    used = BY_KEY.of(spec.resources[index] for index in changes)
    body = [
        'rm -f -- "$0"',  # the shell has read all of it; from here on secrets are in memory only
        preamble.ENVIRONMENT,
        preamble.record(nonce),
        preamble.places(host),
        f"ID={run_id} N={number} D=$S/runs/{run_id} T=$R/{run_id}.{number} L=$S/lock",
        'exec >>"$1"',
        f"holder={quote(holder)} expected={quote(token)} patience={int(max(lock_wait, 0))}",
        # Numbers, separated by blanks: what failed or was skipped.
        f"bad={quote(' ' + ''.join(f'{index} ' for index in blocked))}",
        BEGIN,
        "rec plan",
        f"printf '%s' {quote(_plan(spec, changes))}",
        _LOCK,
        _RUNNER,
        *dict.fromkeys(text for kind in used for text in kind.libraries()),
        *([DECIDE, UNIT] if armed else []),
        *work,
        probes(spec, replace(context, want_content=False)),
        # Who waited for the lock finds the host moved, and brings its own again.
        *([f"rm -f -- {words(context.spooled.values())}"] if context.spooled else []),
        'rm -rf -- "$T"',
        'printf "%s\\n" "$ID.$N" >"$S/token"',
        "trap - TERM INT",
        "rec end ok",
    ]
    main = "\n".join(body)
    return f'main() {{\n{main}\n}}\nmain "$@" </dev/null\n'.encode()


def _plan(spec: Spec, changes: Mapping[int, Change]) -> str:
    """What whoever attaches later must know to tell what this pass was about. No secrets."""
    dumped = {str(index): change.model_dump(mode="json") for index, change in changes.items()}
    return json.dumps({"spec": spec.digest, "changes": dumped}, separators=(",", ":"))


def _step(number: int, step: Step, spec: Spec, states: Sequence[State], context: Context) -> str:
    kind = type(spec.resources[step.members[0]])
    items = [Item(index, spec.resources[index], states[index]) for index in step.members]
    ids = {spec.resources[index].id: index for index in step.members}
    due: list[str] = []
    for resource in spec.resources:
        heard = [str(ids[ref]) for ref in resource.listens() if ref in ids]
        name = resource.trigger()
        if heard and name is not None:
            due.append(f"{name}:{','.join(heard)}")
    # Triggers go by position, not by name: unit names hold no blanks, colons they may.
    return (
        f"emit() {{\n{kind.emit(items, context)}\n}}\n"
        f"step {number} {quote(' '.join(map(str, step.members)))}"
        f" {quote(' '.join(map(str, step.needs)))} {words(due)}".rstrip()
    )


BEGIN = r"""
# The lock of this pass tells others that it is alive; under setsid it came with us already open.
if ! { true >&8; } 2>/dev/null; then
  exec 8>"$D/alive"
  # Who merely asks whether it is held holds it for a moment.
  n=0; until flock -n 8 || [ "$n" -ge 50 ]; do sleep 0.1 2>/dev/null || sleep 1; n=$((n + 1)); done
fi
trap 'rec end aborted; rm -rf -- "$T"; exit 143' TERM INT
"""

# What somebody may come back for is kept for a day, and what still runs for as long as it does.
PRUNE = rf"""
over=" $(find "$S/runs" -mindepth 1 -maxdepth 1 -mmin +1440 2>/dev/null | sed 's|.*/||' | tr '\n' ' ')"
[ "$over" = ' ' ] || for old in $(ls -1t "$S/runs" | tail -n +{KEPT_RUNS + 1}); do
  case $over in *" $old "*) ;; *) continue ;; esac
  [ "$old" != "$ID" ] || continue
  [ ! -e "$S/runs/$old/alive" ] || flock -n "$S/runs/$old/alive" true || continue
  rm -rf -- "$S/runs/$old"
done
"""

# $L: which lock.
TAKE_LOCK = r"""
exec 9<>"$L"
waited=0
while ! flock -n 9; do
  if [ "$waited" -ge "$patience" ]; then
    rec holder; cat "$L"
    rm -rf -- "$T"; rec end locked; exit 0
  fi
  sleep 1; waited=$((waited + 1))
done
# Same file, written through another descriptor: the lock stays, the old name goes.
printf '%s\n' "$holder, run $ID, since $(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$L"
"""

_LOCK = (
    TAKE_LOCK
    + r"""
found=; [ ! -r "$S/token" ] || found=$(cat "$S/token")
if [ "$found" != "$expected" ]; then
  rm -rf -- "$T"; rec end stale; exit 0
fi
"""
    + LEFT
    + r"""
# Moved at the start and at the end: whoever looked at the host in between must look again.
printf '%s\n' "$ID.$N begun" >"$S/token"
mkdir -p "$S/pending"
# What killed passes left: this run's at once, others' when nobody can be waiting with them.
for old in "$R/$ID".*; do [ "$old" = "$T" ] || rm -rf -- "$old"; done
find "$R" -mindepth 1 -maxdepth 1 -mmin +1440 ! -path "$T" -exec rm -rf -- {} + 2>/dev/null
"""
    + PRUNE
)

_RUNNER = r"""
die() { printf '%s\n' "$*"; exit 1; }
changed() { echo "changed $1" >>"$T/marks"; }
failed() { echo "failed $1" >>"$T/marks"; }
step() { # number, members, needs, what is due when which of them change: unit:index,index ...
  number=$1 members=$2 needs=$3; shift 3
  for need in $needs; do
    case $bad in *" $need "*)
      rec skip "$number" "$need"; bad="$bad$members "; return 0 ;;
    esac
  done
  # A record is heard when the next one begins: this one must not wait for the end of the step.
  rec start "$number"; rec working
  case ${arm_barred-} in *" ${members%% *} "*)
    rec done "$number" 1 "changed= " "failed= $members "
    printf 'not begun, since it could not be taken back: %s\n' "$arm_why"
    bad="$bad$members "; return 0 ;;
  esac
  : >"$T/marks"
  # On record before the change is made: if we die in between, the next run still knows.
  armed=
  for due; do
    unit=${due%:*}
    [ -e "$S/pending/$unit" ] || { printf '%s\n' "$ID" >"$S/pending/$unit"; armed="$armed$due "; }
  done
  ( set -eu; exec 8>&- 9>&-; emit ) >"$T/out" 2>&1 </dev/null
  rc=$?
  now=' ' lost=' '
  while read -r what index; do
    case $what in changed) now="$now$index " ;; failed) lost="$lost$index " ;; esac
  done <"$T/marks"
  if [ "$rc" != 0 ] && [ "$lost" = ' ' ]; then lost=" $members "; fi
  bad="$bad${lost# }"
  [ "$rc$now" = '0 ' ] || arm_touched=1
  if [ "$rc" = 0 ]; then
    for due in $armed; do
      keep= list=${due##*:},
      while [ -n "$list" ]; do
        case $now in *" ${list%%,*} "*) keep=1 ;; esac
        list=${list#*,}
      done
      [ -n "$keep" ] || rm -f -- "$S/pending/${due%:*}"
    done
  fi
  rec done "$number" "$rc" "changed=$now" "failed=$lost"
  # What a command of the user's own said is wanted also when it went well.
  if [ "$rc" != 0 ] || [ -e "$T/tell" ]; then rm -f "$T/tell"; tail -c 16384 "$T/out"; fi
}
"""
