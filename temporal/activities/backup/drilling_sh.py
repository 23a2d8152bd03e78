"""What a drill runs on a host, as sh: the newest snapshots restored into scratch, one after the other,
proved, noted in the repository, and removed again. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from converge.shell import quote, words
from temporal.activities.backup import proving_sh
from temporal.activities.backup.clock_sh import clock
from temporal.shared.specs.backup.backup import Protection
from temporal.shared.specs.backup.proofs import Chosen
from temporal.shared.specs.backup.sources import FilesSource

PREFIX = "temporal-ops-drill-"
"""Of the folders that drills work in. In no other is anything removed."""


def drill_script(
    plan: Protection, host: str, chosen: Sequence[Chosen], values: Mapping[str, bytes], now: int
) -> str:
    """Tries the restore of each, and says what came of it.

    Records: `source NAME`; `swept` with a folder that was left over; `working WHAT`; `progress`;
    `size FILES BYTES`; `broken COUNT` with what restic could not restore; those of a comparison; `found
    PROVED UNPROVEN WRONG`; `took SECONDS`; `result NAME VERDICT WHY RC` with last words; `noted NAME`.
    """
    parts = [
        proving_sh.library(plan, host, values),
        clock(now),
        f"scratch_folder={quote(plan.drill.scratch)} prefix={PREFIX} needed={proving_sh.NEEDED}",
        _DRILL,
    ]
    for each in chosen:
        source = plan.sources[each.source]
        roots = each.roots if isinstance(source, FilesSource) else ()
        call = words((each.source, each.kind, each.snapshot, each.proof))
        parts += [proving_sh.proving(source, roots, values), f"drill {call}"]
    return "\n".join(parts)


_DRILL = r"""
drill() { # name, kind, snapshot, proof
  name=$1 kind_of=$2 id=$3 W=${4%/proof}
  verdict=failed why=other rc=0 fetched=0 loaded=0 proved=0 unproven=0 wrong=0
  rec source "$name"
  : >"$T/out"
  if [ -e "$T/ending" ]; then verdict=cancelled why=cancelled
  elif scratch "$scratch_folder" "$prefix"; then
    try_it
    # Left alone, it is found and removed by the next drill.
    scratch_gone "$prefix"
  else why=scratch
  fi
  [ ! -e "$T/ending" ] || verdict=cancelled why=cancelled
  took=$((fetched + loaded))
  rec found "$proved" "$unproven" "$wrong"
  rec took "$(seconds "$took")"
  rec result "$name" "$verdict" "$why" "$rc"; last_words "$T/out"
  case $verdict:$why in
    cancelled:*|*:none|*:password|*:unsupported) return 0 ;;
    unproven:*) noted_as=failed ;; # what was not proved must not pass for it
    *) noted_as=$verdict ;;
  esac
  note "$host" note:proof "source:$name" "of:$id" "result:$noted_as" "took:$(seconds "$took")" \
    "unproven:$unproven"
  if [ "$kind" = ok ]; then rec noted "$name"
  else rec unnoted "$name" "$kind" "$rc"; last_words "$T/err"; fi
}
gave_up() { # reason: restic's
  why=$1; cp -- "$T/err" "$T/out"
}
try_it() {
  rec working looking
  measure
  case $kind in
    ok) rec size "$files" "$size" ;;
    # What is damaged is found out by restoring it.
    other) ;;
    *) gave_up "$kind"; return ;;
  esac
  need=$size; [ "$kind_of" = files ] || need=$((size * needed))
  if ! room "$X" "$need" "$files"; then
    why=room rc=0; echo "$base has $free bytes free, and it needs $need" >"$T/out"; return; fi
  rec working restoring
  fetch "$X"
  restored=$kind restored_rc=$rc
  case $restored in
    ok) ;;
    other|killed) [ -s "$T/broken" ] || { gave_up "$restored"; return; } ;;
    *) gave_up "$restored"; return ;;
  esac
  cp -- "$T/err" "$T/said"
  rec working comparing
  prove
  if [ "$wrong" = 0 ] && [ "$restored" != ok ]; then
    verdict=failed why=$restored rc=$restored_rc; cp -- "$T/said" "$T/out"; fi
}
prove() {
  about || { why=proof; return; }
  if [ "$kind_of" != files ]; then
    # A dump of which something is missing proves nothing.
    [ "$restored" = ok ] || return
    prove_database || { why=prove; return; }
  elif [ ! -e "$X$W/proof/manifest" ]; then verdict=unproven why=manifest; return
  else prove_files || { why=prove; return; }
  fi
  why=ok
  if [ "$wrong" -gt 0 ]; then verdict=wrong
  elif [ "$unproven" -gt "$proved" ]; then verdict=unproven why=most
  else verdict=proved; fi
}
"""
