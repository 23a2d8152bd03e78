"""Values too big for a history: kept beside it, once, and come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import StorageDriverRetrieveContext, StorageDriverStoreContext

from temporal import config
from temporal.shared.errors import PayloadTooLarge
from temporal.store import LIMIT, THRESHOLD, FolderStore, StoreFailed, open_store
from temporal.testing import environment

BIG = 3 * 1024 * 1024
"""Over what Temporal takes."""


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_big_value_travels_as_a_reference(tmp_path: Path) -> None:
    store = tmp_path / "store"
    async with environment({"TEMPORAL_STORE": str(store)}) as env:
        handle = await env.start("TestWorkflow", "W" * BIG)
        assert await handle.result() == f"Hello, {'W' * BIG}!"
        history = await handle.fetch_history()
        assert sum(event.ByteSize() for event in history.events) < 20_000
        kept = files(store)
        # The input of the run and of its activity, and the result of both: two values, each once.
        assert len(kept) == 2 and all(path.stat().st_mode & 0o077 == 0 for path in kept)
        await env.run("TestWorkflow", "W" * BIG)
        assert files(store) == kept
        small = await env.start("TestWorkflow", "W")
        await small.result()
        assert files(store) == kept, "what is small stays in the history"
        with pytest.raises(PayloadTooLarge, match=r"64\.00 MiB"):
            await env.start("TestWorkflow", "W" * LIMIT)


async def test_a_run_waits_for_a_store_that_is_away(tmp_path: Path) -> None:
    store, away = tmp_path / "store", tmp_path / "away"
    async with environment({"TEMPORAL_STORE": str(store)}) as env:
        await env.run("TestWorkflow", "W" * THRESHOLD)  # before, so that the folder is there
        [*before] = files(store)
        handle = await env.start("TestWorkflow", "V" * THRESHOLD)
        assert len(files(store)) > len(before)
        assert await handle.result() == f"Hello, {'V' * THRESHOLD}!"
        store.rename(away)
        with pytest.raises(StoreFailed, match=r"No such file .*TEMPORAL_STORE"):
            await env.ops.client.get_workflow_handle(handle.id).result()
        away.rename(store)
        assert await env.ops.client.get_workflow_handle(handle.id, result_type=str).result()


def payload(text: bytes) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=text)


async def test_what_comes_back_is_what_was_kept(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    values = [payload(b"one"), payload(b"two"), payload(b"one")]
    claims = await store.store(StorageDriverStoreContext(), values)
    assert claims[0] == claims[2] != claims[1] and len(files(tmp_path)) == 2
    assert await store.retrieve(StorageDriverRetrieveContext(), claims) == values
    changed = tmp_path / "store" / claims[0].claim_data["sha256"][:2]
    [path] = files(changed)
    path.write_bytes(b"something else")
    with pytest.raises(StoreFailed, match="not what was kept"):
        await store.retrieve(StorageDriverRetrieveContext(), claims[:1])


async def test_a_store_that_cannot_be_written_says_which(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreFailed, match=rf"{tmp_path}/store.*TEMPORAL_STORE"):
        await FolderStore(tmp_path / "store").store(StorageDriverStoreContext(), [payload(b"x")])


def test_whose_store_it_is(tmp_path: Path) -> None:
    state = {"TEMPORAL_STATE_DIR": str(tmp_path)}
    settings = config.load(state)
    assert open_store(settings) is None, "others listen there, who have no part in our folder"
    for kind in (config.FOUND, config.OWN):
        assert open_store(settings.at("127.0.0.1:1", config.Origin(kind))) is not None
    assert open_store(config.load({**state, "TEMPORAL_ADDRESS": "t:1"})) is None
    assert (
        open_store(config.load({"TEMPORAL_ADDRESS": "t:1", "TEMPORAL_STORE": "/srv"})) is not None
    )
