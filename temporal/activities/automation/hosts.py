"""Hosts: from a spec to the way there, and waiting until they let us in."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from converge import Host
from converge.errors import ConvergeError, HostKeyChanged, HostKeyUnknown
from converge.transport import transport_for
from temporal.shared import Permanent, Progress, options
from temporal.shared.progress import Pulse
from temporal.shared.specs.automation import HostSpec
from temporal.shared.specs.automation.creating import AwaitLogin


async def open_host(spec: HostSpec) -> Host:
    """The host that `spec` means; looks a lab server up in its lab.

    Raises:
        Permanent: the lab has no such server, or it does not run.
    """
    if spec.local:
        return Host.local(sudo=spec.sudo)
    if spec.lab:
        return await asyncio.to_thread(_lab_host, spec.lab, spec.lab_name)
    assert spec.address is not None  # the spec has exactly one of the three
    return Host(
        spec.address,
        user=spec.user,
        port=spec.port,
        key=spec.key,
        certificate=spec.certificate,
        known_hosts=spec.known_hosts,
        jump=spec.jump,
        concurrency=spec.concurrency,
        host_keys="accept-new" if spec.accept_new_host_key else "strict",
        sudo=spec.sudo,
        sudo_password=spec.sudo_password,
    )


def _lab_host(name: str, lab_name: str) -> Host:
    from lab import Lab

    machines = Lab(lab_name).machines()
    found = next((machine for machine in machines if machine.name == name), None)
    if found is None or found.state != "running":
        names = ", ".join(f"{m.name} ({m.state})" for m in machines) or "none"
        raise Permanent(
            f"lab {lab_name!r} has no running server {name!r}; it has: {names}. "
            "Start one: `temporal-ops lab up`"
        )
    return Host(
        found.address,
        user=found.user,
        port=found.port,
        key=str(found.key),
        known_hosts=str(found.known_hosts),
    )


async def wait_until_ours(spec: HostSpec, deadline: datetime) -> None:
    """Ends when the host runs a command for us; a server that was just made takes its time.

    A refused key is waited for as well: sshd is often there before the key is.

    Raises:
        Permanent: it did not let us in before `deadline`, with what was last seen; or it shows a
            host key that is not believed.
    """
    last = ""
    pause = 0.2
    while True:
        try:
            async with asyncio.timeout(max(1.0, (deadline - datetime.now(UTC)).total_seconds())):
                host = await open_host(spec)
                async with transport_for(host).run("exit 0") as process:
                    exit = await process.wait()
                if exit.status == 0:
                    return
                last = f"{host.name}: its shell ends with {exit.status} at once"
        except (HostKeyChanged, HostKeyUnknown) as error:
            raise Permanent(str(error)) from None
        except ConvergeError as error:
            last = str(error)
        except TimeoutError:
            last = last or "no answer"
        if datetime.now(UTC) + timedelta(seconds=pause) > deadline:
            raise Permanent(f"{spec.name} did not let us in in time. Last seen: {last}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 5.0)


@activity.defn
@options(
    start_to_close=timedelta(hours=3),
    heartbeat=timedelta(seconds=30),
    retry=RetryPolicy(maximum_attempts=5),
)
async def wait_for_login(request: AwaitLogin) -> None:
    """Waits for ssh, however many attempts that takes: the time runs from when it was asked for.

    Raises:
        Permanent: as wait_until_ours.
    """
    deadline = activity.info().scheduled_time + timedelta(seconds=request.within)
    async with Pulse(Progress(what="waiting for ssh", host=request.host.name)):
        await wait_until_ours(request.host, deadline)
