"""Tasks of one's own on a host: under a lock of their own, and ended step by step."""

from __future__ import annotations

import asyncio

import pytest

import converge
from converge import File, apply
from converge.errors import Aborted, Locked
from converge.tasks import run_task
from lab.testing import Servers, fresh_lab, lab_machines, session_lab  # noqa: F401
from tests.converge.conftest import Scratch
from tests.converge.servers import host_of, on

# Hears how it is asked to end, tells, and takes its time.
STUBBORN = """
perl -e '$| = 1; for my $name (qw(INT TERM)) { $SIG{$name} = sub {
  open(my $told, ">>", "/srv/told"); print $told $name; close $told; sleep 1; exit 3 } }
  open(my $there, ">", "/srv/there"); close $there; sleep 1 while 1'
"""


async def until_there(server) -> None:
    await Scratch.until(lambda: on(server, "ls /srv").split().count("there"), "the program runs")


@pytest.mark.lab
@pytest.mark.parametrize(("gently", "signal"), [(("perl",), "INT"), (("restic",), "TERM")])
async def test_it_is_ended_step_by_step(lab_machines: Servers, gently, signal) -> None:  # noqa: F811
    server = lab_machines(1)[0]
    on(server, "rm -f /srv/told /srv/there")
    body = (
        f'{STUBBORN}\nrec status $?\n[ ! -e "$T/ending" ] || rec ending\n'
        # What comes after it, as a hook, is let be.
        ': >"$T/hook"; perl -e "sleep 2"; rec hook $?'
    )
    heard = []
    running = asyncio.create_task(
        run_task(host_of(server), f"ended-{signal}", body, gently=gently, on_record=heard.append)
    )
    await until_there(server)
    assert await converge.abort(host_of(server), f"ended-{signal}")
    with pytest.raises(Aborted):
        await running
    words = [record.words for record in heard]
    assert words == [("status", "3"), ("ending",), ("hook", "0"), ("end", "aborted")]
    assert on(server, "cat /srv/told") == signal
    assert on(server, "pgrep -c perl || :") == "0"


@pytest.mark.lab
async def test_a_lock_of_its_own_keeps_its_likes_out_and_not_apply(
    lab_machines: Servers,  # noqa: F811
) -> None:
    server = lab_machines(1)[0]
    host = host_of(server)
    on(server, "rm -f /srv/told /srv/there")
    running = asyncio.create_task(run_task(host, "long", STUBBORN, lock="saving"))
    await until_there(server)
    with pytest.raises(Locked) as refused:
        await run_task(host, "other", "true", lock="saving", lock_wait=0)
    assert "run long" in str(refused.value)
    assert await run_task(host, "elsewhere", "rec here", lock="other")
    assert (await apply(host, [File("/srv/beside", content="x")])).ok
    await converge.abort(host, "long")
    with pytest.raises(Aborted):
        await running


@pytest.mark.lab
async def test_a_journal_that_a_power_cut_left_empty_is_that_of_an_interrupted_pass(
    lab_machines: Servers,  # noqa: F811
) -> None:
    server = lab_machines(1)[0]
    # The file system had its name, and not yet what was in it.
    on(server, "mkdir -p /var/lib/converge/runs/cut; : >/var/lib/converge/runs/cut/journal.1")
    asked = []

    def body() -> str:
        asked.append(f"rec time {len(asked)}")
        return asked[-1]

    heard = await run_task(host_of(server), "cut", body, lock="saving")
    assert [record.words for record in heard] == [("time", "1"), ("end", "ok")], "asked anew"
    # An apply finds the same.
    on(server, "mkdir -p /var/lib/converge/runs/cut2; : >/var/lib/converge/runs/cut2/journal.1")
    report = await apply(host_of(server), [File("/srv/after", content="x")], run_id="cut2")
    assert report.ok and report.passes == 2


async def test_gently_also_where_there_is_no_systemd(scratch: Scratch) -> None:
    there = scratch.path / "there"
    body = f'perl -e \'$SIG{{INT}} = sub {{ exit 4 }}; open(F, ">", "{there}"); sleep 1 while 1\''
    heard = []
    running = asyncio.create_task(
        run_task(
            *(scratch.host, "here", f"{body}\nrec status $?"),
            gently=("perl",),
            on_record=heard.append,
        )
    )
    await Scratch.until(there.exists, "the program runs")
    assert await converge.abort(scratch.host, "here")
    with pytest.raises(Aborted):
        await running
    assert [record.words for record in heard] == [("status", "4"), ("end", "aborted")]
