"""Look into a repository from a host, without a trace there: no lock, and nothing that goes on alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from converge.errors import ConvergeError
from converge.framing import Record
from converge.shell import quote
from converge.tasks import ask
from temporal.activities.automation.converging import explained
from temporal.activities.automation.hosts import open_host
from temporal.activities.backup import judging, proving, restic_sh
from temporal.activities.backup.inspecting_sh import BOUNDED, LOOK_S
from temporal.activities.backup.listing import Listing, listing
from temporal.shared import Permanent, Progress, Retryable
from temporal.shared.progress import Pulse
from temporal.shared.secrets import resolve
from temporal.shared.specs.automation.hosts import HostSpec
from temporal.shared.specs.backup.backup import Protection

# What `restic_sh.library` needs of a task: a folder in memory, and that no other is at it.
_ALONE = r"""
umask 077
mkdir -p -- "$R" && T=$(mktemp -d -- "$R/look.XXXXXXXXXX") || return 1
trap 'rm -rf -- "$T"' EXIT
trap 'exit 143' HUP INT TERM
ID=look N=1 D=$T
"""
_LIST = f"""
[ "$release" -ge 14 ] || {{{{ rec listed unsupported 127; return 0; }}}}
bounded {LOOK_S} snapshots --json --no-lock {{tags}}
say listed
"""


async def snapshots(plan: Protection, of: str, at: HostSpec, source: str | None = None) -> Listing:
    """All snapshots and notes of host `of`, as `at` sees the repository.

    Args:
        source: of this source only.

    Raises:
        Permanent: the repository cannot be opened, with what to do.
        Retryable: the host was not reached, or the repository did not answer.
    """
    tags = f"backup:{plan.name}" + (f",source:{source}" if source else "")
    asked = _LIST.format(tags=f"--tag {quote(tags)} --host {quote(of)}")

    def script(values: dict[str, bytes]) -> str:
        return "\n".join([restic_sh.library(plan.repository, of, values, 1), BOUNDED, asked])

    for record in await looked(at, plan.repository.references, script):
        match record.words:
            case ("listed", "ok", _):
                return listing(record.body, plan.name)
            case ("listed", kind, status):
                said = proving.text(record)
                why = proving.explained(kind, int(status), said)
                if kind == "late":
                    why = judging.late_said(LOOK_S, said)
                raise (Retryable if kind == "locked" else Permanent)(f"{at.name}: {why}")
    raise Retryable(f"{at.name}: it said nothing of its snapshots")


async def looked(
    at: HostSpec, references: Iterable[str], script: Callable[[dict[str, bytes]], str]
) -> list[Record]:
    """What a look on host `at` says. `script` is given what the references stand for; it has $T."""
    async with Pulse(Progress(what="looking", host=at.name)):
        values = {ref: await asyncio.to_thread(resolve, ref) for ref in references}
        host = await open_host(at)
        try:
            return await ask(host, f"{_ALONE}\n{script(values)}", secrets=resolve)
        except ConvergeError as error:
            raise explained(error, at.name) from error
