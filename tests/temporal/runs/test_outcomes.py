"""What a run's activities gave, over all runs that went on from one another."""

from __future__ import annotations

from typing import Any

import pytest
from trial.models import Item

from temporal.runs import NoSuchRun, outcomes
from temporal.testing import Environment

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def gathered(env: Environment, run: str, activity: str) -> list[Any]:
    return [each async for each in outcomes.results(env.ops, run, activity)]


async def test_results_of_all_runs_in_order_and_of_their_type(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "PAGE", 3)
    handle = await env.start("Relays", 3)
    assert await handle.result() == 0
    assert await gathered(env, handle.id, "count_all") == [3, 2, 1, 0]
    items = await gathered(env, handle.id, "make_item")
    assert items == [Item(name="spade", size=3)] * 4 and type(items[0]) is Item
    assert await gathered(env, handle.id, "test_activity") == []


async def test_one_is_read_without_the_rest(env: Environment) -> None:
    handle = await env.start("Relays", 2)
    await handle.result()
    reading = outcomes.results(env.ops, handle.id, "count_all")
    assert await anext(reading) == 2
    await reading.aclose()


async def test_a_run_that_fails_or_is_not_there(env: Environment) -> None:
    with pytest.raises(NoSuchRun):
        await gathered(env, "nobody-knows-it", "count_all")
