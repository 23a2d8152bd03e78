"""A secret that an activity gives away does not reach the server: neither history nor heartbeats."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from trial.models import Call

from temporal.testing import Environment
from tests.temporal.support import failure, touch, until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    value = f'pa"ss\\word-{uuid.uuid4().hex}'
    monkeypatch.setenv("TRIAL_SECRET", value)
    return value


async def raw_history(handle: WorkflowHandle[Any, Any]) -> bytes:
    """Everything that the server keeps of the run, as it keeps it."""
    events = [event.SerializeToString() async for event in handle.fetch_history_events()]
    return b"".join(events)


def leaks(raw: bytes, secret: str) -> bool:
    # The end of it has nothing that any encoding would escape.
    return secret[-32:].encode() in raw


@pytest.mark.parametrize("form", ["text", "bytes", "model", "nested"])
async def test_in_a_result(env: Environment, secret: str, form: str) -> None:
    call = Call(activity="return_secret", args=["env://TRIAL_SECRET", form])
    handle = await env.start("CallActivity", call)
    result = await handle.result()
    assert "[secret env://TRIAL_SECRET]" in str(result)
    assert not leaks(await raw_history(handle), secret)


async def test_in_an_error_its_cause_and_its_details(env: Environment, secret: str) -> None:
    call = Call(activity="raise_secret", args=["env://TRIAL_SECRET"])
    handle = await env.start("CallActivity", call)
    error = await failure(handle)
    assert "[secret env://TRIAL_SECRET]" in str(error)
    raw = await raw_history(handle)
    assert b"raise_secret" in raw and b"Traceback" not in raw  # the stack is there, in its own form
    assert raw.count(b"[secret env://TRIAL_SECRET]") >= 3
    assert not leaks(raw, secret)


async def test_in_a_heartbeat(env: Environment, secret: str, tmp_path: Path) -> None:
    until = str(tmp_path / "enough")
    call = Call(activity="heartbeat_secret", args=["env://TRIAL_SECRET", until])
    handle = await env.start("CallActivity", call)

    async def beaten() -> bytes:
        pending = (await handle.describe()).raw_description.pending_activities
        return b"".join(p.heartbeat_details.SerializeToString() for p in pending)

    seen = bytes(await until_async(beaten))
    touch(tmp_path / "enough")
    await handle.result()
    assert b"[secret env://TRIAL_SECRET]" in seen
    assert not leaks(seen, secret)
