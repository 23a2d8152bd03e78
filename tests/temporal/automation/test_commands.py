"""RunCommand on real servers: what comes back, what stays out of the history, and never twice."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio.client import WorkflowFailureError

from lab import Machine
from lab.testing import Servers
from temporal.cli.common import DONE, ENDED, FAILED, WRONG
from temporal.runs.outputs import outputs
from temporal.shared.specs.automation.command import CommandResult, CommandSpec
from temporal.shared.specs.automation.outcome import FleetReport
from temporal.testing import Environment, environment
from tests.temporal.automation.conftest import Gated
from tests.temporal.automation.test_endurance import forms, raw_history, shown, until_slowly
from tests.temporal.cli.support import Shell, until

pytestmark = [pytest.mark.lab]
aio = pytest.mark.asyncio(loop_scope="session")
GONE = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}


def place(server: Machine) -> dict[str, str]:
    return {"lab": server.name, "lab_name": server.lab}


def spec(hosts: list[Any], command: str, **more: Any) -> CommandSpec:
    value = CommandSpec.of({"command": command, **more}, [{"host": each} for each in hosts])
    return CommandSpec.model_validate(value)


async def said(env: Environment, run: str) -> dict[str, CommandResult]:
    return {each.host: each async for each in outputs(env.ops, run)}


@aio
async def test_it_runs_on_all_whatever_fails_and_outputs_stay_out_of_the_history(
    lab_machines: Servers, tmp_path: Path
) -> None:
    hosts = [place(server) for server in lab_machines(3)]
    bad = hosts[0]["lab"]
    command = f"seq 20000; hostname >&2; [ $(hostname) != {bad} ] || exit 3"
    async with environment({"TEMPORAL_STORE": str(tmp_path / "store")}) as env:
        run = await env.start("RunCommand", spec([GONE, *hosts], command))
        report: FleetReport = await run.result()
        found = await said(env, run.id)
        history = (await run.fetch_history()).to_json()
    assert report.state.counts == {"done": 2, "failed": 1, "unreachable": 1}
    assert report.summary == "2 done, 1 failed, 1 unreachable"
    why = {each.host: each.because for each in report.state.failures}
    assert why[bad] == f"exit status 3: {bad}" and "gone" in why
    assert set(found) == {each["lab"] for each in hosts}
    for name, result in found.items():
        assert result.status == (3 if name == bad else 0) and result.stderr.text == f"{name}\n"
        text, cut = result.stdout.text, result.stdout.cut
        assert text.startswith("1\n2\n") and text.endswith("\n20000\n")
        assert cut and f"[... {cut} bytes not kept ...]" in text
    assert len(history) < 60_000 and len(report.model_dump_json()) < 4000


@aio
async def test_a_spec_may_say_to_stop_at_the_first_failure(
    env: Environment, lab_machines: Servers
) -> None:
    hosts = [place(server) for server in lab_machines(3)]
    rollout = {"canary": 1, "max_failures": 0}
    with pytest.raises(WorkflowFailureError) as caught:
        await env.run("RunCommand", spec(hosts, "exit 4", rollout=rollout))
    assert "1 failed, 2 not begun" in str(caught.value.cause)


@aio
async def test_what_cannot_be_begun_is_a_result_that_says_why(
    env: Environment, lab_machines: Servers
) -> None:
    host = place(lab_machines(1)[0])
    secret = {"TOKEN": "env://NOBODY_SET_THIS"}
    run = await env.start("RunCommand", spec([host], "true", secrets_environment=secret))
    await run.result()
    [result] = (await said(env, run.id)).values()
    assert result.ending == "not run" and "NOBODY_SET_THIS" in result.because


def host_file(shell: Shell, server: Machine, command: str, **more: Any) -> str:
    path = shell.folder / "spec.yml"
    path.write_text(yaml.safe_dump({"hosts": [place(server)], "command": command, **more}))
    return str(path)


WAITS = "echo once >>/root/log; until [ -e /root/go ]; do sleep 0.1; done; cat /root/log"


def test_a_killed_worker_is_followed_by_another_and_the_command_ran_once(
    shell: Shell, gated: Gated
) -> None:
    first = shell.start("worker")
    first.says("serves")
    file = host_file(shell, gated.machine, WAITS)
    running = shell.start("run", "RunCommand", "-f", file, "--id", "once")
    until(lambda: gated.says("cat /root/log 2>/dev/null || :") == "once", lambda: running.err)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    shell.start("worker").says("serves")
    until_slowly(lambda: shown(shell, "once")["run"]["activities"][0]["attempt"] == 2)
    gated.says("touch /root/go")
    assert running.ends() == DONE, running.err
    assert shell("runs", "output", "once").out == "once\n"
    assert gated.says("cat /root/log") == "once"
    started = gated.says("journalctl -q --no-pager | grep -c 'Started converge-.*converge run'")
    assert started == "1", "one unit"


def test_a_cancelled_run_ends_the_command_on_the_host(shell: Shell, gated: Gated) -> None:
    shell.start("worker").says("serves")
    file = host_file(shell, gated.machine, WAITS)
    running = shell.start("run", "RunCommand", "-f", file, "--id", "cancelled")
    until(lambda: gated.says("cat /root/log 2>/dev/null || :") == "once", lambda: running.err)
    assert shell("runs", "cancel", "cancelled").status == DONE
    assert running.ends() == ENDED
    assert gated.says("systemctl list-units --no-legend 'converge-*' | wc -l") == "0"
    assert gated.says("pgrep -fc '[u]ntil .*root/go' || true") == "0"


def test_a_secret_goes_to_the_command_and_nowhere_else(shell: Shell, gated: Gated) -> None:
    secret = "correct horse/battery+staple"
    worker = shell.start("worker", DEMO_SECRET=secret)
    worker.says("serves")
    command = 'echo "it is $TOKEN"; printf %s "$TOKEN" >/root/app.key; echo "$TOKEN" | base64 >&2'
    file = host_file(
        shell, gated.machine, command, secrets_environment={"TOKEN": "env://DEMO_SECRET"}
    )
    run = shell("run", "RunCommand", "-f", file, "--id", "secret")
    output = shell("runs", "output", "secret")
    assert gated.says("cat /root/app.key") == secret
    assert output.out == "it is (secret)\n", output
    told = [run.out, run.err, output.out, output.err, worker.out, worker.err]
    told.append(
        gated.says("journalctl -q --no-pager; grep -rs . /run/converge /proc/[0-9]*/cmdline || :")
    )
    told.append(raw_history(shell, "secret"))
    for text in told:
        for form in forms(secret):
            assert form not in text


def test_exec_shows_the_same_answer_once_and_failed_ones_last(
    shell: Shell, lab_machines: Servers
) -> None:
    one, two, three = lab_machines(3)
    shell.start("worker").says("serves")
    shell.env["TEMPORAL_STARTED_BY"] = "ann"
    path = shell.folder / "hosts.yml"
    hosts: dict[str, Any] = {
        f"web{n}": place_of(each) for n, each in enumerate((one, two, three), 1)
    }
    path.write_text(yaml.safe_dump({"groups": {"web": {"tags": ["here"], "hosts": hosts}}}))
    found = shell(
        *("exec", "-i", str(path), "-l", "tag:here", "--id", "all", "--"),
        f"echo same; [ $(hostname) != {two.name} ] || {{ echo not here >&2; exit 3; }}",
    )
    assert found.status == FAILED, found
    rule = "---------------\n"
    assert found.out == (
        f"{rule}web[1,3] (2)\n{rule}same\n{rule}web2: exit status 3\n{rule}same\nnot here\n"
    )
    assert "3 hosts: 2 done, 1 failed" in found.err
    again = shell("runs", "output", "all")
    assert again.out == found.out and again.status == DONE
    asked = shell("runs", "output", "all", "--json").json
    assert {each["host"]: each["status"] for each in asked["hosts"]} == {
        "web1": 0,
        "web2": 3,
        "web3": 0,
    }
    alone = shell(
        "exec", "-i", str(path), "-l", "web,!web2,!web3", "--", "printf", "%s|", "a b", "$x"
    )
    assert (alone.status, alone.out) == (DONE, "a b|$x|")
    refused = shell("exec", "-i", str(path), "-l", "web,&wbe", "true")
    assert refused.status == WRONG and "did you mean web" in refused.err
    assert shell("exec", "true").status == WRONG
    assert shell("runs", "list", "--json").json[0]["workflow"] == "RunCommand"


def place_of(server: Machine) -> dict[str, Any]:
    return {
        "address": server.address,
        "user": server.user,
        "key": str(server.key),
        "known_hosts": str(server.known_hosts),
    }
