"""Attach to a run, or start its next pass and then attach. Safe to send again at any time."""

from __future__ import annotations

from converge import preamble
from converge.host import Host
from converge.shell import complete


def launcher_script(
    host: Host,
    nonce: str,
    run_id: str,
    *,
    start: tuple[int, str, bytes] | None = None,
    gentle: bool = False,
) -> bytes:
    """Streams the journals of all passes; the last one until its unit ends.

    `start` is (pass number, nonce of its journal, script of the unit). If that pass was started
    before, by whomever, it is not started again. A `gentle` one is asked to end, and ends what it
    started itself.
    """
    body = [
        preamble.ENVIRONMENT,
        preamble.record(nonce),
        preamble.places(host),
        f"ID={run_id} D=$S/runs/{run_id}",
        preamble.ALIVE,
        "rec begin $U",
    ]
    if start is not None:
        number, journal_nonce, script = start
        mark = f"END_{journal_nonce}"
        text = script.decode(errors="surrogateescape")  # secrets are any bytes
        body += [
            f"P={number} T=$R/{run_id}.{number} JN={journal_nonce}",
            "gentle=yes kill_mode=mixed stop_sec=150"
            if gentle
            else "gentle= kill_mode=control-group stop_sec=20",
            _LIBRARY,
            f"write_script() {{\ncat >\"$T/script\" <<'{mark}'\n{text}{mark}\n}}",
            "( start_pass ) || { rec failed; rec .; return 0; }",
        ]
    body += [_FOLLOW, "rec followed", "rec ."]
    return complete("\n".join(body))


_LIBRARY = r"""
oops() { rec error; printf '%s\n' "$*"; exit 1; }
start_pass() {
  umask 077
  # A closed connection must not leave a journal without the unit that fills it.
  trap '' HUP
  why=$(mkdir -p -- "$D" 2>&1) || oops "cannot make $D: $why"
  command -v flock >/dev/null || oops "the host has no flock (util-linux)"
  exec 7>"$D/start"
  flock 7
  [ ! -e "$D/journal.$P" ] || return 0
  why=$({ rm -rf -- "$T" && mkdir -p -- "$T" && write_script; } 2>&1) ||
    oops "cannot write below $R: $why"
  # Through cat: of a full disk the shell itself only says that it could not.
  why=$({ echo "converge-journal $P $JN" | cat >"$D/journal.$P"; } 2>&1) && [ -s "$D/journal.$P" ] ||
    { rm -f -- "$D/journal.$P"; rm -rf -- "$T"; oops "cannot write below $S: $why"; }
  touch -- "$D"
  rm -f -- "$D/pid" "$D/gentle"
  [ -z "$gentle" ] || : >"$D/gentle"
  if [ "$U" = 0 ] && [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
    why=$(systemd-run --quiet --collect --unit="converge-$ID-$P" --service-type=exec \
      --description="converge run $ID, pass $P" -p KillMode=$kill_mode -p OOMPolicy=continue \
      -p TimeoutStopSec=$stop_sec -p SendSIGHUP=no -- /bin/sh "$T/script" "$D/journal.$P" 2>&1) ||
      { rm -f -- "$D/journal.$P"; rm -rf -- "$T"; oops "cannot start the unit: $why"; }
    systemctl show -p MainPID --value -- "converge-$ID-$P.service" >"$D/pid"
  else
    command -v setsid >/dev/null || { rm -f -- "$D/journal.$P"; oops "the host has no setsid"; }
    exec 8>"$D/alive"
    flock -n 8 || { rm -f -- "$D/journal.$P"; rm -rf -- "$T"; oops "an earlier pass is alive"; }
    trap - HUP
    setsid sh "$T/script" "$D/journal.$P" </dev/null >/dev/null 2>&1 7>&- &
    echo "$!" >"$D/pid"
  fi
}
"""

_FOLLOW = r"""
newest
n=0
while [ "$n" -lt "$N" ]; do
  n=$((n + 1))
  # A power cut may leave it empty: that pass was interrupted as well.
  word=; read -r word number journal_nonce <"$D/journal.$n" || :
  [ "$word" = converge-journal ] || journal_nonce=lost.$n
  rec journal "$n" "$journal_nonce" "$N"
  [ "$n" = "$N" ] || { cat "$D/journal.$n"; continue; }
  pid=0; [ ! -r "$D/pid" ] || read -r pid <"$D/pid"
  if alive "$n" && [ "${pid:-0}" != 0 ]; then
    # GNU tail wakes on writes and ends with the unit, but looks now and then where the file system tells
    # nobody of writes (overlays); others get a plain loop.
    tail -c +1 -f -s 0.02 --pid="$pid" -- "$D/journal.$n" 2>/dev/null && continue
  fi
  at=1
  while :; do
    over=; alive "$n" || over=1
    size=$(wc -c <"$D/journal.$n"); size=$((size + 0))
    if [ "$size" -ge "$at" ]; then
      tail -c "+$at" "$D/journal.$n" | head -c "$((size - at + 1))"
      at=$((size + 1))
    fi
    [ -z "$over" ] || break
    sleep 0.2 2>/dev/null || sleep 1
  done
done
"""
