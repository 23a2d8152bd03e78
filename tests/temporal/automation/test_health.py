"""Health checks on real things: a web server, commands here and on a lab server, a Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from trial.models import Call

from lab import Lab, Machine
from lab.testing import FreshServer
from temporal.shared.specs.automation.health import Health
from temporal.shared.specs.automation.provisioning import FleetSpec
from temporal.shared.specs.automation.rollout import Word
from temporal.testing import Environment
from tests.temporal.automation.conftest import says
from tests.temporal.automation.listening import Web, web
from tests.temporal.support import until

pytestmark = pytest.mark.asyncio(loop_scope="session")
SOON = {"within": 0.3}


@pytest.fixture
def shop() -> Iterator[Web]:
    with web() as listening:
        yield listening


async def checked(env: Environment, *checks: dict[str, Any]) -> list[str]:
    """What is wrong by each check."""
    call = Call(activity="check_health", args=[{"checks": list(checks)}])
    health = Health.model_validate(await env.run("CallActivity", call))
    return [each.problem for each in health.checked]


async def test_http_is_asked_until_it_is_healthy(env: Environment, shop: Web) -> None:
    shop.answers["/late"] = (503, "starting")
    asking = asyncio.create_task(
        checked(env, {"http": shop.url("/late"), "contains": "well", "within": 30})
    )
    await until(lambda: len(shop.asked) > 2)
    shop.answers["/late"] = (200, "all is well")
    assert await asking == [""]


async def test_what_is_unhealthy_says_what_was_seen_last(
    env: Environment, shop: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.answers = {"/bad": (503, "database\nis gone"), "/other": (200, "hello"), "/": (200, "")}
    silent, refused, bad, other, good = await checked(
        env,
        {"http": shop.url("/nowhere"), **SOON},
        {"http": "http://127.0.0.1:1/", **SOON},
        {"http": shop.url("/bad"), **SOON},
        {"http": shop.url("/other"), "contains": "welcome", **SOON},
        {"http": shop.url("/"), **SOON},
    )
    assert silent == "answers 404, not 200 (for 0.3 s)"
    assert refused.startswith("no answer (") and "refused" in refused
    assert bad == "answers 503, not 200; it says: database is gone (for 0.3 s)"
    assert other == "the answer does not contain 'welcome'; it says: hello (for 0.3 s)"
    assert good == ""


async def test_a_token_is_sent_and_does_not_follow_a_redirect(
    env: Environment, shop: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "s3cret-of-the-shop")
    shop.answers["/landed"] = (200, "")
    shop.redirects["/moved"] = shop.url("/landed").replace("127.0.0.1", "localhost")
    check = {"http": shop.url("/moved"), "token": "env://SHOP_TOKEN", **SOON}
    assert await checked(env, check) == [""]
    sent = {each.path: each.headers.get("Authorization") for each in shop.asked}
    assert sent == {"/moved": "Bearer s3cret-of-the-shop", "/landed": None}
    absent = {"http": shop.url("/landed"), "token": "env://SHOP_ABSENT", "within": 3600}
    assert "no variable SHOP_ABSENT" in (await checked(env, absent))[0]


async def test_it_must_stay_healthy_as_long_as_asked(env: Environment, tmp_path: Path) -> None:
    count = f"echo . >>{tmp_path}/n; test $(wc -l <{tmp_path}/n) -ne 3"
    (dips,) = await checked(env, {"command": count, "within": 0.05, "steady": 30})
    assert dips == "exit status 1 (it was healthy before)"
    assert await checked(env, {"command": "true", "within": 0.05, "steady": 0.2}) == [""]


async def test_commands_on_the_workers_machine(env: Environment, tmp_path: Path) -> None:
    shell, argv, fails, hangs, absent = await checked(
        env,
        {"command": "test -d / && exit 0", **SOON},
        {"command": ["test", "-e", "/a b;c"], **SOON},
        {"command": f"echo 'queue is\nat 9000'; touch {tmp_path}/ran; exit 3", **SOON},
        {"command": "echo begun; sleep 600", **SOON},
        {"command": ["no-such-program"], **SOON},
    )
    assert shell == "" and argv == "exit status 1 (for 0.3 s)"
    assert fails == "exit status 3; it says: queue is at 9000 (for 0.3 s)"
    assert hangs == "no end within 3 s; it says: begun (for 0.3 s)"
    assert "exit status 127" in absent and "no-such-program" in absent


@pytest.mark.lab
async def test_commands_on_a_server(env: Environment, shared: Machine) -> None:
    place = {"lab": shared.name, "lab_name": shared.lab}
    ours, theirs, gone, unknown, refused = await checked(
        env,
        {"command": "test $(hostname) = " + says(shared, "hostname"), "on": place, "within": 20},
        {"command": "hostname; exit 1", "on": place, **SOON},
        {"command": "true", "on": "root@127.0.0.1:1", **SOON},
        {"command": "true", "on": {**place, "lab": "nobody"}, "within": 3600},
        {"command": "true", "on": f"root@{shared.address}", "within": 3600},
    )
    assert ours == ""
    assert theirs == f"exit status 1; it says: {says(shared, 'hostname')} (for 0.3 s)"
    assert gone.endswith("(for 0.3 s)")
    assert "has no running server 'nobody'" in unknown
    assert shared.address in refused and "host key" in refused


@pytest.mark.lab
async def test_a_real_prometheus(env: Environment, machine: FreshServer) -> None:
    server = machine()
    done = Lab(server.lab).exec(
        server,
        [
            "sh",
            "-c",
            "export DEBIAN_FRONTEND=noninteractive; apt-get update -q && "
            "apt-get install -y -q --no-install-recommends prometheus prometheus-node-exporter",
        ],
    )
    assert done.returncode == 0, done.stderr
    there = {"prometheus": f"http://{server.address}:9090"}
    up, scalar, low, empty, meant, wrong, matrix, nowhere = await checked(
        env,
        {**there, "query": 'up{job="node"}', "equals": 1, "within": 120},
        {**there, "query": "scalar(vector(2))", "min": 1, "max": 2, "within": 60},
        {**there, "query": "vector(0.2)", "min": 0.5, **SOON},
        {**there, "query": "no_such_metric", "min": 0, "within": 2},
        {**there, "query": "no_such_metric", "max": 0, "empty": "healthy", "within": 60},
        {**there, "query": "sum(", "min": 0, "within": 3600},
        {**there, "query": "up[5m]", "min": 0, "within": 3600},
        {"prometheus": f"http://{server.address}:9100", "query": "up", "min": 0, **SOON},
    )
    assert (up, scalar, meant) == ("", "", "")
    assert low.startswith("is 0.2, under 0.5 (") or low.startswith("no answer (")
    assert empty.startswith("the result is empty (") or empty.startswith("no answer (")
    assert wrong.startswith("bad_data: ") and "parse error" in wrong
    assert matrix.startswith("the query gives a matrix")
    assert "not as Prometheus does" in nowhere or "no answer" in nowhere


def fleet(file: Path, *checks: dict[str, Any], **rollout: Any) -> FleetSpec:
    gone = {"address": "127.0.0.1", "port": 1, "user": "root", "alias": "gone"}
    shape = {
        "resources": [{"file": str(file), "content": "x"}],
        "rollout": {"checks": list(checks), **rollout},
    }
    return FleetSpec.model_validate(FleetSpec.of(shape, [{"host": "local"}, {"host": gone}]))


def nobody_asks() -> bool:
    """The worker of these tests lives in this very loop."""
    return not any("check_health" in repr(task) for task in asyncio.all_tasks())


async def failed(run: WorkflowHandle[Any, Any]) -> str:
    with pytest.raises(WorkflowFailureError) as caught:
        await run.result()
    return str(caught.value.cause)


async def test_an_unhealthy_canary_stops_the_rest(
    env: Environment, shop: Web, tmp_path: Path
) -> None:
    shop.answers["/"] = (500, "out of stock")
    check = {"http": shop.url("/"), **SOON}
    run = await env.start("ProvisionFleet", fleet(tmp_path / "x", check, max_failures=2))
    why = await failed(run)
    assert why.startswith(
        f"FleetFailed: stopped: unhealthy after wave 1 of 2: {shop.url('/')}: "
        "answers 500, not 200; it says: out of stock"
    )
    assert "2 hosts: 1 changed, 1 not begun" in why
    assert (tmp_path / "x").exists()


async def test_it_is_asked_after_each_wave_the_last_one_too(
    env: Environment, tmp_path: Path
) -> None:
    count = f"echo . >>{tmp_path}/n; test $(wc -l <{tmp_path}/n) -ne 2"
    run = await env.start(
        "ProvisionFleet",
        fleet(tmp_path / "x", {"command": count, "within": 0.05}, max_failures=2),
    )
    assert "unhealthy after wave 2 of 2" in await failed(run)
    good = fleet(tmp_path / "y", {"command": count, "within": 0.05}, max_failures=2)
    report = await env.run("ProvisionFleet", good)
    assert report.state.counts == {"changed": 1, "unreachable": 1}
    assert (tmp_path / "n").read_text().count(".") == 4


async def test_an_abort_does_not_wait_for_a_check(
    env: Environment, shop: Web, tmp_path: Path
) -> None:
    check = {"http": shop.url("/"), "within": 3600}
    run = await env.start("ProvisionFleet", fleet(tmp_path / "x", check))
    await until(lambda: shop.asked)
    await run.execute_update("abort", Word(by="ann"))
    assert "aborted by ann" in await failed(run)
    await until(nobody_asks)


async def test_a_cancelled_run_asks_no_more(env: Environment, shop: Web, tmp_path: Path) -> None:
    check = {"http": shop.url("/"), "within": 3600}
    run = await env.start("ProvisionFleet", fleet(tmp_path / "x", check))
    await until(lambda: shop.asked)
    await run.cancel()
    assert "ancelled" in await failed(run)
    await until(nobody_asks)
