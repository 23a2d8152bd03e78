"""The first round trip: what is the host like, and is there already a run of this id?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from converge import preamble
from converge.framing import Record
from converge.graph import Spec
from converge.host import Host
from converge.resource import Context, State
from converge.resources import BY_KEY
from converge.shell import complete, quote

TOOLS = ("base64", "cat", "chmod", "id", "mkdir", "mv", "rm", "sha256sum", "stat", "tail", "tr")

RunState = Literal["none", "running", "ended", "interrupted"]


@dataclass(frozen=True)
class Survey:
    run: RunState = "none"
    passes: int = 0
    """How many passes of this run the host knows."""
    token: str = ""
    """Which run changed this host last: what holds the lock next must find it unmoved."""
    states: tuple[State, ...] | None = None
    lacks: tuple[str, ...] = ()
    complete: bool = False
    details: dict[str, str] = field(default_factory=dict)


def probes(spec: Spec, context: Context) -> str:
    """The probes of all types, each in a record of its own."""
    parts: list[str] = []
    for kind in BY_KEY.of(spec.resources):
        # In a subshell: what one probe sets or breaks is not the next one's trouble.
        body = kind.probe([resource for _, resource in spec.of_type(kind)], context)
        parts.append(f"rec probe {kind.key}\n(\nprobe() {{\n{body}\n}}\nprobe\n)")
    return "\n".join(parts)


def states(spec: Spec, bodies: Mapping[str, bytes], context: Context) -> tuple[State, ...]:
    """What the records of `probes` say, in the order of the spec."""
    found: dict[int, State] = {}
    for kind in BY_KEY.of(spec.resources):
        mine = spec.of_type(kind)
        parsed = kind.parse(bodies.get(kind.key, b""), [r for _, r in mine], context)
        found.update({index: state for (index, _), state in zip(mine, parsed, strict=True)})
    return tuple(found[index] for index in range(len(spec.resources)))


def survey_script(
    host: Host, spec: Spec, context: Context, nonce: str, run_id: str | None
) -> bytes:
    """If the run is alive or over, says so and probes nothing: its journal has the answers."""
    body = [
        preamble.ENVIRONMENT,
        preamble.record(nonce),
        preamble.places(host),
        "rec begin $U",
        f"for t in {' '.join(TOOLS)}; do command -v $t >/dev/null || rec lacks $t; done",
        # Else content would show in the list of processes.
        "[ \"$(command -v printf)\" = printf ] || rec lacks 'a shell with printf built in'",
    ]
    if run_id is not None:
        body += [f"ID={run_id} D=$S/runs/{run_id}", preamble.ALIVE, _STATUS]
    body += [
        "rec token",
        '[ ! -r "$S/token" ] || cat "$S/token"',
        probes(spec, context),
        "rec end",
        "rec .",
    ]
    return complete("\n".join(body))


_STATUS = r"""
newest
state=none
if [ "$N" -gt 0 ]; then
  case $(tail -n 1 "$D/journal.$N") in
    *" end locked"|*" end stale") ;;
    *" end "*) state=ended ;;
    *) if alive "$N"; then state=running; else state=interrupted; fi ;;
  esac
fi
rec run "$state" "$N"
case $state in running|ended) rec end; rec .; return 0 ;; esac
"""


def read_survey(spec: Spec, context: Context, records: Sequence[Record]) -> Survey:
    run: RunState = "none"
    passes = 0
    token = ""
    lacks: list[str] = []
    bodies: dict[str, bytes] = {}
    ended = False
    for record in records:
        match record.words:
            case ("run", ("none" | "running" | "ended" | "interrupted") as state, number):
                run, passes = state, int(number) if number.isdecimal() else 0
            case ("lacks", *tool):
                lacks.append(" ".join(tool))
            case ("token",):
                token = record.body.decode(errors="replace").strip()
            case ("probe", key):
                bodies[key] = record.body
            case ("end",):
                ended = True
    probed = ended and run not in ("running", "ended")
    return Survey(
        run=run,
        passes=passes,
        token=token,
        states=states(spec, bodies, context) if probed else None,
        lacks=tuple(lacks),
        complete=ended,
    )


def abort_script(host: Host, nonce: str, run_id: str) -> bytes:
    """Stops the run's unit, if it is alive, and waits until it is gone."""
    return complete(
        "\n".join(
            [
                preamble.ENVIRONMENT,
                preamble.record(nonce),
                preamble.places(host),
                f"ID={quote(run_id)}; D=$S/runs/$ID",
                preamble.ALIVE,
                _ABORT,
            ]
        )
    )


_ABORT = r"""
newest
if [ "$N" -gt 0 ] && alive "$N"; then
  # The unit's shell writes its last record when the child it waits for is gone as well.
  if [ "$U" = 0 ] && systemctl is-active --quiet -- "converge-$ID-$N.service" 2>/dev/null; then
    systemctl stop -- "converge-$ID-$N.service"
  else
    pid=$(cat "$D/pid") n=0 most=50
    # One that is ended gently ends by itself what it has started.
    if [ -e "$D/gentle" ]; then kill -TERM "$pid"; most=700; else kill -TERM "-$pid"; fi
    while alive "$N" && [ "$n" -lt "$most" ]; do sleep 0.2 || sleep 1; n=$((n + 1)); done
    ! alive "$N" || kill -KILL "-$pid"
  fi
  rec stopped
else
  rec idle
fi
rec end
rec .
"""
