"""Run a command on a host, once, and bring back what it said."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

import converge
from converge.errors import ConvergeError
from temporal.activities.automation.converging import abort_if_asked, explained
from temporal.activities.automation.hosts import open_host
from temporal.shared import Permanent, Progress, options
from temporal.shared.progress import Pulse
from temporal.shared.secrets import resolve
from temporal.shared.specs.automation.command import (
    MOST_HOURS,
    CommandResult,
    HostCommand,
    Output,
)
from temporal.shared.specs.automation.fleet import Member


@activity.defn
@options(
    start_to_close=timedelta(hours=MOST_HOURS + 1),
    # The host keeps for a day what it was asked to do: later it might be begun a second time.
    schedule_to_close=timedelta(hours=23),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=4),
)
async def run_on_host(wanted: HostCommand, member: Member) -> CommandResult:
    """Runs the command there, under a run id that outlives this attempt: an attempt whose predecessor
    died attaches to what goes on there, and never begins it again. That it fails is a result.

    Raises:
        Retryable: the host was not reached.
    """
    name = member.host.name
    info = activity.info()
    run_id = f"{info.workflow_run_id}-{info.activity_id}"
    async with Pulse(Progress(what="runs the command", host=name)):
        try:
            host = await open_host(member.host)
        except Permanent as error:
            return CommandResult(host=name, ending="not run", because=_alone(error, name))
        try:
            ran = await converge.run(
                host,
                wanted.text,
                run_id=run_id,
                user=wanted.user,
                cwd=wanted.cwd,
                environment=wanted.environment,
                secrets_environment=wanted.secrets_environment,
                within=wanted.timeout,
                secrets=resolve,
            )
        except ConvergeError as error:
            said = explained(error, name)
            if error.retryable:
                raise said from error
            return CommandResult(host=name, ending="not run", because=_alone(said, name))
        except Permanent as error:
            return CommandResult(host=name, ending="not run", because=_alone(error, name))
        except asyncio.CancelledError:
            await abort_if_asked(host, run_id)
            raise
    return CommandResult(
        host=name,
        ending=ran.ending,
        status=ran.status,
        seconds=ran.seconds,
        stdout=Output(text=ran.stdout.render(), cut=ran.stdout.cut),
        stderr=Output(text=ran.stderr.render(), cut=ran.stderr.cut),
    )


def _alone(error: ApplicationError, host: str) -> str:
    """What it says, without the host's name: so hosts that say the same are shown as one."""
    return error.message.removeprefix(f"{host}: ")
