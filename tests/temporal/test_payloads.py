"""What cannot travel is refused at once, with its size and the limit; what does not fit, as well."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio.client import WorkflowExecutionStatus
from trial.models import Call

from temporal.payloads import PAYLOAD_LIMIT, OpsPayloadConverter
from temporal.shared.errors import NotSerialisable, PayloadTooLarge
from temporal.testing import Environment
from tests.temporal.support import failure, foreign

pytestmark = pytest.mark.asyncio(loop_scope="session")
OVER = PAYLOAD_LIMIT + 1000
converter = OpsPayloadConverter()


async def test_a_result_of_an_activity(env: Environment) -> None:
    handle = await env.start("CallActivity", Call(activity="big", args=[3 * 1024 * 1024]))
    error = await failure(handle)
    assert getattr(error, "type", "") == "PayloadTooLarge"
    assert "3.00 MiB" in str(error) and "2.00 MiB" in str(error)


@pytest.mark.parametrize("near", [-60, -10, -2, 0])
async def test_just_at_the_limit_it_is_said_by_us(env: Environment, near: int) -> None:
    """What passes our gate passes the server's: around the limit there is no third case."""
    handle = await env.start("CallActivity", Call(activity="big", args=[PAYLOAD_LIMIT + near]))
    try:
        assert len(await handle.result()) == PAYLOAD_LIMIT + near
    except Exception:
        assert getattr(await failure(handle), "type", "") == "PayloadTooLarge"


async def test_an_argument_of_an_activity(env: Environment) -> None:
    error = await failure(await env.start("ManyArguments", 1, OVER))
    assert getattr(error, "type", "") == "PayloadTooLarge"


@pytest.mark.parametrize("count", [2, 4])
async def test_many_arguments_that_are_too_much_together(env: Environment, count: int) -> None:
    """Each alone is below the limit; with four the message would even be over gRPC's 4 MiB."""
    error = await failure(await env.start("ManyArguments", count, 1_500_000))
    assert getattr(error, "type", "") == "PayloadTooLarge"


async def test_the_result_of_a_workflow(env: Environment) -> None:
    error = await failure(await env.start("Says", OVER))
    assert getattr(error, "type", "") == "PayloadTooLarge"


async def test_the_input_of_a_workflow(env: Environment) -> None:
    with pytest.raises(PayloadTooLarge, match=r"2\.\d\d MiB; the limit"):
        await env.start("TestWorkflow", "x" * OVER)


async def test_a_result_that_is_no_json(env: Environment) -> None:
    error = await failure(await env.start("CallActivity", Call(activity="undecodable")))
    assert getattr(error, "type", "") == "NotSerialisable"
    assert "lock" in str(error)


async def test_an_error_with_a_message_of_megabytes(env: Environment) -> None:
    call = Call(activity="raise_long", args=[5_000_000], attempts=1)
    error = await failure(await env.start("CallActivity", call))
    assert "yyyy" in str(error)
    assert len(str(error)) < 100_000


@pytest.mark.parametrize("kind", ["big", "lock"])
async def test_an_error_whose_details_cannot_travel(env: Environment, kind: str) -> None:
    call = Call(activity="raise_details", args=[kind], attempts=1)
    error = await failure(await env.start("CallActivity", call))
    assert getattr(error, "type", "") == {"big": "PayloadTooLarge", "lock": "NotSerialisable"}[kind]
    assert "why (the details of this error cannot travel" in str(error)


async def test_an_input_that_does_not_fit_from_another_program(env: Environment) -> None:
    client = await foreign(env.ops.settings.address)
    for given in ({"name": "spade"}, {"name": "spade", "size": "big"}, 7):
        handle = await client.start_workflow(
            "Remembers", given, id=f"foreign-{given}", task_queue=env.ops.settings.task_queue
        )
        error = await failure(handle)
        assert getattr(error, "type", "") == "BadPayload"
        assert "does not fit" in str(error)


@pytest.mark.parametrize("args", [[], ["a", "b"]])
async def test_too_few_or_too_many_values_from_another_program(
    env: Environment, args: list[str]
) -> None:
    client = await foreign(env.ops.settings.address)
    handle = await client.start_workflow(
        "TestWorkflow", args=args, id=f"count-{args}", task_queue=env.ops.settings.task_queue
    )
    error = await failure(handle)
    assert getattr(error, "type", "") == "BadPayload"
    assert f"{len(args)} value(s) were given" in str(error)
    assert (await handle.describe()).status == WorkflowExecutionStatus.FAILED


class Holder(BaseModel):
    text: str


@pytest.mark.parametrize("value", [threading.Lock(), object(), lambda: 1, b"\xff".decode])
async def test_what_cannot_be_json_names_its_type(value: Any) -> None:
    with pytest.raises(NotSerialisable, match=type(value).__name__):
        converter.to_payloads([value])


@pytest.mark.parametrize(
    "value", [Holder(text="a\nß"), {"k": [1, 2.5, None]}, "", b"\x00\xff", None]
)
async def test_what_can_travel_arrives(value: Any) -> None:
    (payload,) = converter.to_payloads([value])
    hint = [type(value)] if isinstance(value, Holder) else None
    assert converter.from_payloads([payload], hint) == [value]
