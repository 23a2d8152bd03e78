"""`temporal-ops runs watch`: follow a run that is under way, as `run` follows one that it started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporal.cli import follow
from temporal.cli.common import INTERRUPTED, emit, say, session
from temporal.cli.run import _follow, _left, _outcome

if TYPE_CHECKING:
    from temporal.config import Settings


async def watch_to_end(chosen: Settings, run_id: str, as_json: bool) -> int:
    """Follows a run to its end; gives the exit code that `run` would have given.

    Where the server is this command's own, its worker is as well: the run goes on.

    Raises:
        NoSuchRun: there is none with this id.
    """
    from temporal.runs import look

    quiet = as_json
    while True:
        async with session(chosen, work=True, quiet=quiet) as ops:
            found = await look(ops.client.get_workflow_handle(run_id), ops)
            entry = ops.registry.workflows.get(found.workflow)
            handle = ops.client.get_workflow_handle(
                run_id, result_type=entry.ret_type if entry else None
            )
            try:
                last = await _follow(handle, ops, as_json)
            except follow.Orphaned:
                say("the server ended with the command that had started it: going on with our own")
                quiet = True
                continue
            if last is not None:
                return await _outcome(handle, last, as_json)
            if as_json:
                emit({"id": run_id, "status": "running"})
            say(_left(run_id, ops))
            return INTERRUPTED
