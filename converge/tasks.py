"""Work of one's own on a host, done there by itself: under the lock, with a journal, never twice.

What `apply` is for resources, `run_task` is for a piece of sh: it runs as a transient unit, outlives
whoever started it, and the same run id attaches to it again. `ask` is for what only looks, or may be
done any number of times.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from converge import names, preamble
from converge.armed_sh import LEFT
from converge.engine import _whoami
from converge.errors import (
    Aborted,
    ConnectionLost,
    HostFailed,
    Interrupted,
    Locked,
)
from converge.framing import Record, new_nonce
from converge.graph import arrange
from converge.host import Host
from converge.launcher import launcher_script
from converge.shell import complete, quote
from converge.talk import collect, records
from converge.unit import PRUNE, TAKE_LOCK
from converge.work import Secrets, Work

MOST_TRIES = 3
"""So often a task is begun that something on the host interrupts (a power cut)."""


@dataclass
class _Pass:
    number: int
    nonce: str
    records: list[Record] = field(default_factory=list)

    @property
    def end(self) -> str | None:
        words = self.records[-1].words if self.records else ()
        return words[1] if len(words) > 1 and words[0] == "end" else None

    @property
    def holder(self) -> str:
        bodies = [record.body for record in self.records if record.kind == "holder"]
        return bodies[0].decode(errors="replace").strip() if bodies else ""


async def run_task(
    host: Host,
    run_id: str,
    body: str | Callable[[], str],
    *,
    secrets: Secrets | None = None,
    on_record: Callable[[Record], None] = lambda record: None,
    lock_wait: float = 30.0,
    reconnects: int = 5,
    lock: str | None = None,
    gently: tuple[str, ...] | None = None,
) -> list[Record]:
    """Runs `body` (sh) on the host, or attaches to it; hands back what it said with `rec word...`.

    `body` runs as root or whoever logs in, with no standard input, output beyond records lost in
    the journal, $T a folder in memory, $S the state folder. It must be able to begin anew where a
    power cut stopped it: then it is begun again, up to three times. A task that ended is not run
    again under its run id.

    Args:
        body: or a function that makes it, asked whenever it is begun: for one that tells the time.
        lock: a lock of its own, by this name, for work that changes nothing `apply` looks at and may
            take hours; default: the lock of `apply`.
        gently: it is ended step by step: $T/ending is there from then on, for `body` to see; programs
            of these names get SIGINT, others SIGTERM, but for shells and while $T/hook is there.
            `body` has two minutes for its end. Default: all of it is ended at once.

    Raises ConnectError, SudoRefused, HostUnsupported, HostFailed, Locked, Interrupted, Aborted,
    SecretUnresolved.
    """
    run = names.run_id(run_id)
    work = await Work.open(host, arrange([]), secrets)
    number = 1
    lost = 0
    while True:
        nonce = new_nonce()
        script = _task_script(
            *(host, body if isinstance(body, str) else body()),
            run_id=run,
            number=number,
            nonce=nonce,
            lock_wait=lock_wait,
            lock=lock,
            gently=gently,
        )
        try:
            start = (number, nonce, script)
            passes = await _attach(work, run, start, on_record, gently is not None)
        except ConnectionLost:
            if lost >= reconnects:
                raise
            lost += 1
            await asyncio.sleep(random.uniform(0.1, min(10.0, 0.5 * 2**lost)))
            continue
        last = passes[-1]
        if last.end == "locked" and last.nonce == nonce:
            raise Locked(
                f"another run holds the host: {last.holder or 'unknown'}; waited {lock_wait:g} s",
                host=host.name,
                holder=last.holder,
            )
        if last.end == "aborted":
            raise Aborted(f"run {run} was stopped by abort", host=host.name)
        if last.end == "ok":
            return last.records
        if sum(1 for one in passes if one.end is None) >= MOST_TRIES:
            raise Interrupted(f"run {run} was interrupted {MOST_TRIES} times", host=host.name)
        number = last.number + 1


async def ask(host: Host, body: str, *, secrets: Secrets | None = None) -> list[Record]:
    """Runs `body` (sh) over a connection of its own; hands back what it said with `rec word...`.

    Raises ConnectError, SudoRefused, HostUnsupported, HostFailed, SecretUnresolved.
    """
    work = await Work.open(host, arrange([]), secrets)
    nonce = new_nonce()
    parts = [preamble.ENVIRONMENT, preamble.record(nonce), preamble.places(host), body, "rec ."]
    await work.transport.renew()
    return await collect(work.transport, host, nonce, complete("\n".join(parts)), work.password)


async def _attach(
    work: Work,
    run: str,
    start: tuple[int, str, bytes],
    on_record: Callable[[Record], None],
    gentle: bool,
) -> list[_Pass]:
    """All passes of the run, the last one to its end; starts pass `start` if nobody did."""
    nonce = new_nonce()
    script = launcher_script(work.host, nonce, run, start=start, gentle=gentle)
    passes: list[_Pass] = []
    total = error = ""
    ended = False

    def over(words: tuple[str, ...]) -> bool:
        return words[:1] == ("end",) and bool(passes) and str(passes[-1].number) == total

    stream = records(work.transport, work.host, nonce, script, work.password, over)
    async with contextlib.aclosing(stream):
        async for record in stream:
            match record.words:
                case ("journal", number, journal_nonce, total):
                    passes.append(_Pass(int(number), journal_nonce))
                    continue
                case ("error",):
                    error = record.body.decode(errors="replace").strip()
            if record.nonce == nonce and record.kind in ("followed", "failed"):
                ended = True
            elif passes and record.nonce == passes[-1].nonce:
                passes[-1].records.append(record)
                on_record(record)
                ended = ended or over(record.words)
    if error:
        raise HostFailed(error, host=work.host.name)
    if not ended or not passes:
        raise ConnectionLost("the journal stopped coming", host=work.host.name)
    return passes


def _task_script(
    host: Host,
    body: str,
    *,
    run_id: str,
    number: int,
    nonce: str,
    lock_wait: float,
    lock: str | None,
    gently: tuple[str, ...] | None,
) -> bytes:
    """Called as: sh script <journal>."""
    holder = f"{_whoami()} on {socket.gethostname()}, process {os.getpid()}"
    parts = [
        'rm -f -- "$0"',
        preamble.ENVIRONMENT,
        preamble.record(nonce),
        preamble.places(host),
        f"ID={run_id} N={number} D=$S/runs/{run_id} T=$R/{run_id}.{number}",
        f"L=$S/{'lock' if lock is None else quote(f'lock.{lock}')}",
        'exec >>"$1" 2>/dev/null',
        f"holder={quote(holder)} patience={int(max(lock_wait, 0))}",
        _BEGIN if gently is None else _begin_gently(gently),
        TAKE_LOCK,
        # Who planned before this one must look again.
        *((LEFT, 'printf "%s\\n" "$ID.$N begun" >"$S/token"') if lock is None else (PRUNE,)),
        f"task() {{\n{body}\n}}",
        # In a subshell: whatever it does to itself, its end is told.
        "( exec 8>&- 9>&-; task )" + ("" if gently is None else ' & job=$!; wait "$job"'),
        *(('printf "%s\\n" "$ID.$N" >"$S/token"',) if lock is None else ()),
        'rm -rf -- "$T"',
        "trap - TERM INT",
        "rec end ok",
    ]
    main = "\n".join(parts)
    return f'main() {{\n{main}\n}}\nmain "$@" </dev/null\n'.encode(errors="surrogateescape")


_ALIVE = r"""
if ! { true >&8; } 2>/dev/null; then
  exec 8>"$D/alive"
  n=0; until flock -n 8 || [ "$n" -ge 50 ]; do sleep 0.1 2>/dev/null || sleep 1; n=$((n + 1)); done
fi
# A machine that goes down interrupts the task, a person aborts it.
leave() {
  case $(systemctl is-system-running 2>/dev/null) in stopping) ;; *) rec end aborted ;; esac
  rm -rf -- "$T"; exit 143
}
mkdir -p -- "$T"
"""
_BEGIN = _ALIVE + "trap leave TERM INT\n"


def _begin_gently(names: tuple[str, ...]) -> str:
    return f"{_ALIVE}\ngently={quote(' ' + ' '.join(names) + ' ')}\n{_GENTLY}"


_GENTLY = r"""
job= asked=' '
ours() { # the processes of this task: its unit's, or where there is none its session's
  group=; [ ! -r /proc/self/cgroup ] || group=$(sed -n 's/^0:://p' /proc/self/cgroup)
  case $group in
    */converge-*.service) cat "/sys/fs/cgroup$group/cgroup.procs" ;;
    *) for each in /proc/[0-9]*; do
         # After the name in brackets: state, parent, group, session.
         set -- $(sed 's/.*) //' "$each/stat" 2>/dev/null)
         [ "${4-}" != "$$" ] || echo "${each#/proc/}"
       done ;;
  esac 2>/dev/null
}
ask() { # once to each, and nobody while a hook runs
  for each in $(ours); do
    [ ! -e "$T/hook" ] || return 0
    name=; read -r name <"/proc/$each/comm" || continue
    case $name in sh|dash|bash|busybox|sleep) continue ;; esac
    case $asked in *" $each "*) continue ;; esac
    asked="$asked$each "
    case $gently in *" $name "*) kill -INT "$each" ;; *) kill -TERM "$each" ;; esac
  done 2>/dev/null
}
ended() {
  trap '' TERM INT
  : >"$T/ending"
  ( n=0; while [ "$n" -lt 240 ]; do ask; n=$((n + 1)); sleep 0.5 2>/dev/null || sleep 1; done
    kill -KILL "$job" ) &
  patient=$!
  [ -z "$job" ] || wait "$job"
  kill -KILL "$patient"
  leave
}
trap ended TERM INT
"""
