"""A command of one's own on real servers: as a unit, as root by login or sudo, as somebody else."""

from __future__ import annotations

import pytest

import lab
from converge import run
from lab.testing import FreshServer, Servers, fresh_lab, lab_machines, machine, session_lab  # noqa: F401
from tests.converge.servers import host_of, on

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(lab.missing()), reason="; ".join(lab.missing())),
]


async def test_it_is_a_unit_of_its_own_and_runs_as_who_is_asked_for(lab_machines: Servers) -> None:  # noqa: F811
    server = lab_machines(1)[0]
    text = "id -un; echo $HOME; pwd; cat /proc/self/cgroup"
    ran = await run(host_of(server), text, run_id="as-root")
    assert ran.stdout.text.splitlines()[:3] == ["root", "/root", "/root"], ran
    assert "converge-as-root-1.service" in ran.stdout.text
    ran = await run(host_of(server), text, user="daemon")
    assert ran.stdout.text.splitlines()[:3] == ["daemon", "/usr/sbin", "/usr/sbin"], ran
    ran = await run(host_of(server), "true", user="nobody-knows")
    assert ran.status == 126 and "there is no user nobody-knows" in ran.stdout.text
    left = on(server, "systemctl list-units --no-legend 'converge-*' | wc -l; ls /run/converge")
    assert left == "0", "nothing of them is left"


async def test_a_unit_that_is_stopped_half_way_is_unknown(machine: FreshServer) -> None:  # noqa: F811
    server = machine()
    ran = await run(
        host_of(server),
        "systemctl kill --signal=KILL converge-r1-1.service; sleep 60",
        run_id="r1",
    )
    assert (ran.ending, ran.status) == ("unknown", None)
    again = await run(
        host_of(server),
        "systemctl kill --signal=KILL converge-r1-1.service; sleep 60",
        run_id="r1",
    )
    assert again.ending == "unknown" and again.attached
    started = on(server, "journalctl -q --no-pager | grep -c 'Started converge-r1-1'")
    assert started == "1", "it was not begun again"
