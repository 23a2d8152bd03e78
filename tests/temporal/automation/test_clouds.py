"""A cloud's servers through libcloud: made once, found, destroyed; and what a cloud may answer instead.

The cloud is moto's EC2 server. Its servers have no ssh, and it does not honour client tokens: what
keeps a retry from making a second one here is that ours are looked for first.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle

from temporal.activities.automation.providers import provider
from temporal.runs import look
from temporal.testing import Environment
from tests.temporal.automation.clouds import ERROR, SECRET, Cloud, Fault, order
from tests.temporal.support import PATIENCE_S, failure, until, until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")
QUOTA = "You have requested more instances (2) than your current instance limit of 1 allows"
RESOURCES = [{"file": "/srv/x", "content": "x"}]


async def last_failure(env: Environment, handle: WorkflowHandle[Any, Any], word: str) -> str:
    """Why the running activity failed last, once that says `word`."""

    async def why() -> str | None:
        run = await look(handle, env.ops)
        said = [each.last_failure for each in run.activities if each.last_failure]
        return next((each for each in said if word in each), None)

    return str(await until_async(why))


async def begun(env: Environment, cloud: Cloud, **more: Any) -> WorkflowHandle[Any, Any]:
    return await env.start(
        "ProvisionServer", {"create": cloud.order(**more), "resources": RESOURCES}
    )


# ------------------------------------------------------------------------- in a run


async def test_an_answer_that_is_lost_leaves_one_server(env: Environment, cloud: Cloud) -> None:
    cloud.proxy.faults["RunInstances"] = Fault(drop=True)
    handle = await begun(env, cloud, wait=1)
    said = str(await failure(handle))
    assert cloud.proxy.asked["RunInstances"] == 1, "the retry found what the first had made"
    assert "did not let us in in time" in said, "moto's servers have no ssh"
    assert "was made by this run, and is destroyed" in said and not cloud.servers()


async def test_a_cloud_that_fails_is_asked_again(env: Environment, cloud: Cloud) -> None:
    error = (500, ERROR.format("InternalError", "An internal error has occurred"))
    cloud.proxy.faults["RunInstances"] = Fault(times=2, answer=error)
    handle = await begun(env, cloud, keep_on_failure=True, wait=1)
    said = str(await failure(handle))
    assert cloud.proxy.asked["RunInstances"] == 3
    (node,) = cloud.servers()
    assert "is kept, as keep_on_failure says" in said and node.id in said


async def test_a_cloud_that_goes_on_failing_is_named(env: Environment, cloud: Cloud) -> None:
    cloud.proxy.faults["RunInstances"] = Fault(times=99, answer=(502, "<html>bad gateway"))
    handle = await begun(env, cloud)
    said = await last_failure(env, handle, "ec2")
    assert "ec2 eu-central-1 fails (creating web1)" in said and "bad gateway" in said
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), PATIENCE_S)
    assert not cloud.servers()


async def test_out_of_quota_fails_at_once_in_the_clouds_words(
    env: Environment, cloud: Cloud
) -> None:
    cloud.proxy.faults["RunInstances"] = Fault(
        times=99, answer=(400, ERROR.format("InstanceLimitExceeded", QUOTA))
    )
    said = str(await failure(await begun(env, cloud)))
    assert cloud.proxy.asked["RunInstances"] == 1
    assert "a quota is reached (creating web1)" in said and QUOTA in said
    assert "nothing was made" in said


async def test_a_slow_cloud_is_not_waited_for_for_ever(env: Environment, cloud: Cloud) -> None:
    held = threading.Event()
    cloud.proxy.faults["RunInstances"] = Fault(held=held)
    try:
        handle = await begun(env, cloud, patience=1, wait=1)
        said = str(await failure(handle))
    finally:
        held.set()
    assert cloud.proxy.asked["RunInstances"] == 1, "made, though nobody heard: found again"
    assert "is destroyed" in said and not cloud.servers()


async def test_cancelled_while_the_cloud_makes_it(env: Environment, cloud: Cloud) -> None:
    """The cloud has made it, and its answer is on its way: it is destroyed all the same."""
    held = threading.Event()
    cloud.proxy.faults["RunInstances"] = Fault(held=held)
    try:
        handle = await begun(env, cloud)
        await until(lambda: cloud.proxy.asked.get("RunInstances"))
        await until_async(lambda: asyncio.to_thread(cloud.servers))
        await handle.cancel()
    finally:
        held.set()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), PATIENCE_S)
    about = await handle.describe()
    assert about.status == WorkflowExecutionStatus.CANCELED
    assert not cloud.servers()


async def test_a_name_that_is_taken(env: Environment, cloud: Cloud) -> None:
    wanted = order(cloud.order())
    there = provider(wanted).create(wanted, "ops-earlier")
    said = str(await failure(await begun(env, cloud)))
    assert f"has a server 'web1' already ({there.id})" in said and "if_there: use" in said
    said = str(await failure(await begun(env, cloud, if_there="use", wait=1)))
    assert "did not let us in" in said and "destroyed" not in said
    assert [node.id for node in cloud.servers()] == [there.id], "another run's is left alone"


async def test_credentials_are_in_no_history(env: Environment, cloud: Cloud) -> None:
    cloud.proxy.faults["DescribeInstances"] = Fault(
        times=9, answer=(401, ERROR.format("AuthFailure", f"{SECRET} is not able"))
    )
    handle = await begun(env, cloud, keep_on_failure=True)
    said = str(await failure(handle))
    assert "refuses the credentials" in said and "[secret env://CLOUD_SECRET]" in said
    history = (await handle.fetch_history()).to_json()
    assert SECRET not in history and "env://CLOUD_SECRET" in history


# ------------------------------------------------------------------- and away with it


async def test_decommissioned_once_and_again(env: Environment, cloud: Cloud) -> None:
    wanted = order(cloud.order())
    made = provider(wanted).create(wanted, "ops-1")
    first = await env.run("DecommissionServer", {"server": cloud.place(name="web1")})
    assert first.destroyed and first.id == made.id and not cloud.servers()
    again = await env.run("DecommissionServer", {"server": cloud.place(name="web1")})
    assert not again.destroyed and again.summary == "web1 is gone already"


async def test_what_is_not_ours_is_left_alone(env: Environment, cloud: Cloud) -> None:
    driver = cloud.driver()
    size = next(each for each in driver.list_sizes() if each.id == "t3.micro")
    node = driver.create_node(name="web1", size=size, image=driver.get_image(cloud.image()))
    handle = await env.start("DecommissionServer", {"server": cloud.place(name="web1")})
    said = str(await failure(handle))
    assert f"{node.id} (web1) does not bear our mark" in said and len(cloud.servers()) == 1
    server = cloud.place(name="web1", id=node.id, unmarked=True)
    done = await env.run("DecommissionServer", {"server": server})
    assert done.destroyed and not cloud.servers()


async def test_two_of_one_name_must_be_told_apart(env: Environment, cloud: Cloud) -> None:
    wanted = order(cloud.order())
    ids = {provider(wanted).create(wanted, f"ops-{number}").id for number in range(2)}
    handle = await env.start("DecommissionServer", {"server": cloud.place(name="web1")})
    said = str(await failure(handle))
    assert all(each in said for each in ids) and "Say which by `id`" in said
    assert len(cloud.servers()) == 2
    (first, other) = sorted(ids)
    await env.run("DecommissionServer", {"server": cloud.place(name="web1", id=first)})
    assert [node.id for node in cloud.servers()] == [other]
