"""What looks into a repository, as sh: without a lock of its own, and not for ever. Pure; needs
`restic_sh.library`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from converge.shell import quote, words
from temporal.activities.backup import restic_sh
from temporal.activities.backup.listing import moment
from temporal.shared.specs.backup.backup import Protection
from temporal.shared.specs.backup.status import Lock

LOOK_S = 120
"""Seconds that one question to a repository may take. restic 0.18 goes on for a quarter of an hour where
nothing answers."""
LAST_WORDS = 3000

BOUNDED = rf"""
bounded() {{ # seconds, restic's arguments; how it ended is in $kind, what it said in $T/said and $T/err
  bound=$1; shift
  rm -f -- "$T/late"
  r "$@" >"$T/said" 2>"$T/err" & job=$!
  ( trap 'kill "$nap"; exit' TERM
    sleep "$bound" & nap=$!; wait "$nap"
    : >"$T/late"
    for each in /proc/[0-9]*; do
      # After the name in brackets: state, parent.
      set -- $(sed 's/.*) //' "$each/stat" 2>/dev/null)
      [ "${{2-}}" != "$job" ] || kill -INT "${{each#/proc/}}"
    done ) >/dev/null 2>&1 </dev/null & dog=$!
  wait "$job"; rc=$?
  kill "$dog" 2>/dev/null
  if [ -e "$T/late" ]; then kind=late; else kind=$(end_kind); fi
}}
say() {{ # words that say what bounded was for: all of it, or why there is nothing
  rec "$@" "$kind" "$rc"
  if [ "$kind" = ok ]; then cat "$T/said"; else tail -c {LAST_WORDS} "$T/err"; fi
}}
"""

LOCKS = r"""
tell_locks() { # each lock there is, twenty at most
  rec machine "$(uname -n)"
  bounded "$look_s" list locks --no-lock -q
  [ "$kind" = ok ] || return 0
  for lock in $(head -n 20 "$T/said"); do
    bounded "$look_s" cat lock "$lock" --no-lock -q
    [ "$kind" != ok ] || { rec lock "$lock"; cat "$T/said"; }
  done
}
"""


def look_script(
    plan: Protection, host: str, values: Mapping[str, bytes], forget: bool = False
) -> str:
    """Says what is in the repository.

    Records: `snapshots KIND RC` with restic's JSON, or why there is none; `beside` with what it said
    besides; `machine NAME` and `lock ID` with restic's JSON; with `forget` for each source
    `verdict SOURCE KIND RC`, with what restic's rules say of it.
    """
    ours = [f"temporal-ops,backup:{plan.name}", f"temporal-ops-note,backup:{plan.name}"]
    tags = [word for each in ours for word in ("--tag", each)]
    parts = [
        restic_sh.library(plan.repository, host, values, 1),
        f"look_s={LOOK_S}",
        BOUNDED,
        LOCKS,
        '[ "$release" -ge 14 ] || { rec snapshots unsupported 127; return 0; }',
        f'bounded "$look_s" snapshots --json --no-lock {words(tags)}',
        "say snapshots",
        '[ "$kind" = ok ] || return 0',
        f'rec beside; head -c {LAST_WORDS} "$T/err"',
        "tell_locks",
    ]
    if forget and plan.keep is not None:
        # By restic's own tags and nobody's else: a mistyped one fits nothing, or all there is.
        rules = words(["--group-by", "host", *plan.keep.arguments])
        for source in plan.sources:
            tag = quote(f"temporal-ops,backup:{plan.name},source:{source}")
            parts += [
                f'bounded "$look_s" forget --dry-run --json --no-lock --tag {tag} {rules}',
                f"say verdict {quote(source)}",
            ]
    return "\n".join(parts)


def lock(id: str, text: bytes | str, here: str) -> Lock | None:
    """A lock, of what `restic cat lock` printed; nothing if that says too little.

    Args:
        here: the machine that looked.
    """
    try:
        value = json.loads(text)
        made: datetime = moment(str(value["time"]))
        machine = str(value["hostname"])
        pid = int(value["pid"])
    except (ValueError, KeyError, TypeError):
        return None
    return Lock(
        id=id,
        machine=machine,
        pid=pid,
        user=str(value.get("username", "")),
        time=made,
        exclusive=bool(value.get("exclusive")),
        here=machine == here,
    )
