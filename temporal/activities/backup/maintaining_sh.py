"""What maintaining a repository runs on a host, as sh: forget, prune, check. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from converge.shell import quote
from temporal.activities.backup import restic_sh
from temporal.activities.backup.clock_sh import clock
from temporal.activities.backup.inspecting_sh import BOUNDED, LAST_WORDS, LOCKS, LOOK_S
from temporal.activities.backup.notes_sh import NOTE
from temporal.shared.specs.backup.backup import Protection
from temporal.shared.specs.backup.maintaining import MaintainChoice

AT_ONCE = 100
"""Snapshots that one call of restic forgets."""
NAMED = 20
FIND_S = 3600
"""Seconds for finding out which snapshots need what is damaged."""


def maintain_script(
    plan: Protection, host: str, values: Mapping[str, bytes], choice: MaintainChoice, now: int
) -> str:
    """Does what was chosen, and says what came of it.

    Records: `working WHAT`; `progress` with a line of restic's; `ended STEP KIND RC` with last words, or
    of prune with what it did; `left COUNT`: so many of what was to be forgotten is still there;
    `checked PART RESULT KIND RC SECONDS HITS SURE` with last words, `packs` and `hit` with an id a line;
    `noted STEP KIND RC`; `unlocked PID...`; where somebody else's lock is in the way `machine NAME` and
    `lock ID` with restic's JSON.
    """
    steps = plan.maintain.steps
    parts = [
        restic_sh.library(plan.repository, host, values, plan.tries),
        f"plan={quote(plan.name)} host={quote(host)} look_s={LOOK_S} find_s={FIND_S}",
        clock(now),
        NOTE,
        BOUNDED,
        LOCKS,
        _STEPS,
    ]
    if "forget" in steps and choice.ids:
        ids = "\n".join(choice.ids)
        parts.append(f"printf '%s\\n' {quote(ids)} >\"$T/ids\"\nforget_them")
    if "prune" in steps:
        options = f"--max-repack-size {quote(plan.maintain.max_repack)}"
        options += f" --max-unused {quote(plan.maintain.max_unused)}"
        parts.append(f"prune_it {options}")
    if "check" in steps:
        parts.append(_CHECK)
        parts += [f"check_it {quote(part)}" for part in choice.checks]
    return "\n".join(parts)


_STEPS = rf"""
last_words() {{ tail -c {LAST_WORDS} -- "$1" 2>/dev/null; }}
heard() {{ # restic's lines: kept, and the one that says how far it is told
  : >"$T/out"
  while IFS= read -r line; do
    case $line in
      '['*%*) rec progress; printf '%s' "$line" ;;
      *) printf '%s\n' "$line" >>"$T/out" ;;
    esac
  done
}}
over() {{ [ -e "$T/ending" ]; }}
step_ended() {{ # step: how it ended
  rec ended "$1" "$kind" "$rc"
  case $kind in ok) ;; *) last_words "$T/err" ;; esac
  [ "$kind" != locked ] || ( tell_locks )
}}
noted_it() {{ # step, tags
  noted_step=$1; shift
  note "$host" "$@"
  rec noted "$noted_step" "$kind" "$rc"; [ "$kind" = ok ] || last_words "$T/err"
}}
forget_them() {{
  rec working forget "$(wc -l <"$T/ids")"
  kind=ok rc=0; cp -- "$T/ids" "$T/rest"
  while [ -s "$T/rest" ] && ! over; do
    # shellcheck disable=SC2046 # ids hold no blanks
    set -- $(head -n {AT_ONCE} "$T/rest")
    attempt heard forget -q "$@"
    [ "$kind" = ok ] || break
    sed "1,{AT_ONCE}d" "$T/rest" >"$T/next"; mv -- "$T/next" "$T/rest"
  done
  step_ended forget
  # restic ends with 0 also where it did not find what was to go: what is there is looked at.
  bounded "$look_s" list snapshots --no-lock -q
  if [ "$kind" = ok ]; then rec left "$(grep -cFx -f "$T/ids" "$T/said")"; else rec left unknown; fi
}}
prune_it() {{
  ! over || return 0
  rec working prune
  attempt heard prune "$@"
  step_ended prune
  [ "$kind" = ok ] || return 0
  rec pruned; last_words "$T/out"
  size=$(sed -n 's/^remaining: .* \/ *\([0-9.]* *[A-Za-z]*\) *$/\1/p' "$T/out" | head -n 1 | bytes)
  [ -z "$size" ] || noted_it prune note:prune "size:$size"
}}
bytes() {{ # 28.617 MiB -> a number of bytes
  awk '{{ n["B"] = 1; n["KiB"] = 1024; n["MiB"] = n["KiB"] * 1024; n["GiB"] = n["MiB"] * 1024
    n["TiB"] = n["GiB"] * 1024; if ($2 in n) printf "%.0f\n", $1 * n[$2] }}'
}}
"""

# A check takes no lock at first: backups go on, however long it reads. What it then finds may come from
# a repository that changed meanwhile, so it is believed only once it is found again under the lock.
_CHECK = rf"""
check_it() {{ # part
  part=$1 sure=yes began=$(date +%s) usual=$tries tries=1
  ! over || return 0
  case $part in structure) set -- ;; *) set -- "--read-data-subset=$part" ;; esac
  rec working check "$part"
  attempt heard check --no-lock "$@"
  result=$(verdict)
  if [ "$result" = damaged ] && ! over; then
    cp -- "$T/err" "$T/first"
    rec working again "$part"
    attempt heard check "$@"
    result=$(verdict)
    case $result in ok|damaged) ;; *)
      # Not under the lock, since somebody has it: better a false alarm than none.
      over || {{ cp -- "$T/first" "$T/err"; result=damaged sure=no rc=1; }} ;;
    esac
  fi
  took=$(($(date +%s) - began)) tries=$usual hits=0
  : >"$T/packs"; : >"$T/hit"
  cp -- "$T/err" "$T/words"
  check_end="$kind $rc"
  [ "$result" != damaged ] || find_hit
  rec checked "$part" "$result" "$check_end" "$took" "$hits" "$sure"; words
  if [ "$result" = damaged ]; then
    rec packs; head -n {NAMED} "$T/packs"
    rec hit; head -n {NAMED} "$T/hit"
  fi
  ! over || return 0
  set -- "subset:$part" "result:$result" "took:$took" "hits:$hits"
  [ ! -s "$T/hit" ] || set -- "$@" "hit:$(short "$T/hit" {NAMED})"
  [ ! -s "$T/packs" ] || set -- "$@" "pack:$(short "$T/packs" 5)"
  noted_it "$part" note:check "$@"
}}
verdict() {{ # of a check
  if [ "$kind" = ok ]; then echo ok
  elif grep -q 'repository contains errors\|LoadIndex returned errors\|is damaged and must be repaired' \
    "$T/err"; then echo damaged
  else echo failed; fi
}}
words() {{ # what restic found, without what it advises
  grep -v '^ *$\|returned error, retrying\|repository contains errors\|^The repository\|^restic repair' \
    "$T/words" | grep -v '^Damaged pack files can' | head -c {LAST_WORDS}
}}
short() {{ # beginnings of the ids in a file, as one word
  head -n "$2" "$1" | cut -c 1-8 | paste -s -d + -
}}
finding() {{ # restic find: adds to the snapshots that are hit
  bounded "$find_s" find --no-lock --json "$@"
  [ "$kind" = ok ] || hits=unknown
  {{ tr ',' '\n' <"$T/said" | sed -n 's/.*"snapshot":"\([0-9a-f]*\)".*/\1/p'
    sed -n 's/.*belongs to snapshot \([0-9a-f]*\).*/\1/p' "$T/said"; }} >>"$T/all"
}}
find_hit() {{ # which snapshots need what is damaged
  : >"$T/all"; : >"$T/blobs"; : >"$T/trees"
  rec working hit
  sed -n -e 's/^Pack ID does not match, want \([0-9a-f]*\),.*/\1/p' \
    -e 's/^pack \([0-9a-f]*\)[: ].*/\1/p' "$T/words" | sort -u >"$T/packs"
  sed -n 's/^error for tree \([0-9a-f]*\):.*/\1/p' "$T/words" >"$T/trees"
  # A snapshot's own file.
  sed -n -e 's/^error: .*load <snapshot\/\([0-9a-f]*\)>.*/\1/p' \
    -e 's/^error: failed to load snapshot \([0-9a-f]*\):.*/\1/p' "$T/words" | cut -c 1-8 >"$T/all"
  ! grep -q 'error loading index' "$T/words" || hits=unknown
  # What is in a pack the index says; the pack itself may have lost it.
  [ ! -s "$T/packs" ] || {{
    bounded "$look_s" list index --no-lock -q; cp -- "$T/said" "$T/indexes"
    [ "$kind" = ok ] || hits=unknown
    while read -r each; do
      bounded "$look_s" cat index "$each" --no-lock -q
      if [ "$kind" != ok ]; then hits=unknown; continue; fi
      tr -d ' \n' <"$T/said" | tr '{{' '\n' | awk -v packs="$T/packs" '
        BEGIN {{ while ((getline each <packs) > 0) wanted[each] = 1 }}
        /^"id":"/ {{ id = substr($0, 7, 64)
          if (index($0, "\"blobs\":")) now = id in wanted
          else if (now) print (index($0, "\"type\":\"tree\"") ? "tree" : "data"), id }}'
    done <"$T/indexes" >"$T/parts"
    sed -n 's/^data //p' "$T/parts" | sort -u >"$T/blobs"
    sed -n 's/^tree //p' "$T/parts" >>"$T/trees"
  }}
  sort -u -o "$T/trees" "$T/trees"
  # shellcheck disable=SC2046 # ids hold no blanks
  if [ -s "$T/blobs" ]; then finding --blob $(head -n 1000 "$T/blobs"); fi
  if [ -s "$T/trees" ]; then
    finding --tree $(head -n 1000 "$T/trees")
    # restic before 0.15 does not find a snapshot's own root.
    bounded "$look_s" snapshots --json --no-lock
    tr ',{{' '\n\n' <"$T/said" | awk -v trees="$T/trees" '
      BEGIN {{ while ((getline each <trees) > 0) wanted[each] = 1 }}
      /^"tree":"/ {{ tree = substr($0, 9, 64) }}
      /^"id":"/ {{ if (tree in wanted || substr(tree, 1, 8) in wanted) print substr($0, 7, 64) }}' \
      >>"$T/all"
  fi
  [ "$(cat "$T/blobs" "$T/trees" | wc -l)" -le 1000 ] || hits=unknown
  [ -s "$T/all" ] || [ -s "$T/packs" ] || hits=unknown
  # The same one may be there by its whole id and by a part of it.
  sort "$T/all" | awk '!seen[substr($0, 1, 8)]++' >"$T/hit"
  [ "$hits" = unknown ] || hits=$(wc -l <"$T/hit")
}}
"""
