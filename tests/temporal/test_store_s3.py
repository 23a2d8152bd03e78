"""Big values in a bucket: moto's S3 server, spoken to as any other."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from temporalio.api.common.v1 import Payload
from temporalio.converter import StorageDriverRetrieveContext, StorageDriverStoreContext

from temporal import config
from temporal.payloads import data_converter
from temporal.runs.asking import look
from temporal.shared.errors import ConfigError
from temporal.store import THRESHOLD, StoreFailed, StoreRefused, open_store
from temporal.store.s3 import S3Store
from temporal.testing import environment
from tests.temporal.cli.support import Shell
from tests.temporal.support import until_async

BIG = 3 * 1024 * 1024
"""Over what Temporal takes."""
BUCKET = "big-values"
PLACE = f"s3://{BUCKET}/ops/eu"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def s3_server(port: int, log: Path) -> Iterator[str]:
    """moto on `port`, with nothing in it; its address."""
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(free_port(), tmp_path_factory.mktemp("s3") / "log") as address:
        yield address


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """What every AWS tool reads, and nothing of this machine's."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    values = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
async def bucket(
    aws: dict[str, str], server: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, bytes]:
    """An empty bucket is there, and AWS_ENDPOINT_URL leads to it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    aws["AWS_ENDPOINT_URL"] = server
    await emptied()
    return {}


async def emptied() -> None:
    async with get_session().create_client("s3", region_name="eu-central-1") as client:
        where: Any = {"LocationConstraint": "eu-central-1"}
        names = [each["Name"] for each in (await client.list_buckets())["Buckets"]]
        if BUCKET not in names:
            await client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
        for key in await keys():
            await client.delete_object(Bucket=BUCKET, Key=key)


async def keys() -> list[str]:
    async with get_session().create_client("s3", region_name="eu-central-1") as client:
        found = await client.list_objects_v2(Bucket=BUCKET)
        return [each["Key"] for each in found.get("Contents", [])]


async def overwritten(key: str, body: bytes) -> None:
    async with get_session().create_client("s3", region_name="eu-central-1") as client:
        await client.put_object(Bucket=BUCKET, Key=key, Body=body)


def payload(text: bytes) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=text)


@pytest.mark.usefixtures("bucket")
async def test_a_big_value_travels_through_the_bucket() -> None:
    async with environment({"TEMPORAL_STORE": PLACE}) as env:
        handle = await env.start("TestWorkflow", "W" * BIG)
        assert await handle.result() == f"Hello, {'W' * BIG}!"
        history = await handle.fetch_history()
        assert sum(event.ByteSize() for event in history.events) < 20_000
        kept = await keys()
        assert kept and all(key.startswith("ops/eu/v0/") for key in kept)
        assert any(handle.id in key for key in kept), "what belongs to a run is found by its id"
        await env.run("TestWorkflow", "W")
        assert await keys() == kept, "what is small stays in the history"


@pytest.mark.usefixtures("bucket")
async def test_worker_and_command_are_programs_of_their_own(
    tmp_path: Path, aws: dict[str, str]
) -> None:
    async with environment({"TEMPORAL_STORE": PLACE, "TEMPORAL_TASK_QUEUE": "nobody's"}) as env:
        address = env.ops.settings.address
        shell = Shell(tmp_path, {**aws, "TEMPORAL_ADDRESS": address, "TEMPORAL_STORE": PLACE})
        try:
            await asyncio.to_thread(shell.start("worker").says, "serves")
            file = tmp_path / "input.json"
            file.write_text(f'"{"W" * BIG}"')
            done = await asyncio.to_thread(shell, "run", "TestWorkflow", "-f", str(file), "--json")
            assert done.json["result"] == f"Hello, {'W' * BIG}!", done.err
            # And one that is set up wrong says so in a line.
            wrong = {"TEMPORAL_STORE": "s3://not-there"}
            said = await asyncio.to_thread(
                lambda: shell("run", "TestWorkflow", "-f", str(file), **wrong)
            )
            assert said.status == 2 and "Traceback" not in said.err
            assert said.err.splitlines()[-1].startswith("error: ")
            assert "s3://not-there: there is no such bucket" in said.err
            none = {"TEMPORAL_STORE": ""}
            big = await asyncio.to_thread(
                lambda: shell("run", "TestWorkflow", "-f", str(file), **none)
            )
            assert big.status == 2 and "Traceback" not in big.err
            assert "the limit is 2.00 MiB" in big.err and "TEMPORAL_STORE" in big.err
        finally:
            shell.end()


async def test_a_run_waits_for_a_bucket_that_is_away(
    aws: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    # One byte short of what is kept apart; what the activity makes of it is over.
    around = data_converter().payload_converter.to_payloads(["W" * 8000])[0].ByteSize() - 8000
    name = "W" * (THRESHOLD - around - 1)
    async with environment({"TEMPORAL_STORE": PLACE}) as env:
        handle = await env.start("TestWorkflow", name)

        async def why() -> str:
            run = await look(handle, env.ops)
            return next((each.last_failure or "" for each in run.activities), "")

        await until_async(why)
        assert f"s3://{BUCKET}: it does not answer" in await why()
        with s3_server(port, tmp_path / "log"):
            await emptied()
            assert await asyncio.wait_for(handle.result(), 60) == f"Hello, {name}!"
            assert await keys()


@pytest.mark.usefixtures("bucket")
async def test_what_comes_back_is_what_was_kept() -> None:
    store = S3Store.at(PLACE, most=1024)
    values = [payload(b"one"), payload(b"two"), payload(b"one")]
    claims = await store.store(StorageDriverStoreContext(), values)
    assert len(await keys()) == 2 and claims[0].claim_data == claims[2].claim_data
    assert await store.retrieve(StorageDriverRetrieveContext(), claims) == values
    # A reference stays good when the prefix changes, or goes.
    other = S3Store.at(f"s3://{BUCKET}", most=1024)
    assert await other.retrieve(StorageDriverRetrieveContext(), claims) == values
    key = claims[0].claim_data["key"]
    await overwritten(key, b"something else")
    with pytest.raises(StoreRefused, match="integrity"):
        await store.retrieve(StorageDriverRetrieveContext(), claims[:1])
    await emptied()
    with pytest.raises(StoreRefused, match=rf"{key}: it is not there any more"):
        await store.retrieve(StorageDriverRetrieveContext(), claims[:1])


async def kept_at(place: str) -> None:
    """Keeps a value there, as a program of its own would: with what the variables say now."""

    async def keep() -> None:
        await S3Store.at(place, most=1024).store(StorageDriverStoreContext(), [payload(b"x")])

    await asyncio.to_thread(lambda: asyncio.run(keep()))


@pytest.mark.usefixtures("bucket")
async def test_what_is_wrong_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreRefused, match="s3://not-there: there is no such bucket"):
        await kept_at("s3://not-there/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StoreFailed, match=rf"s3://{BUCKET}: it does not answer"):
        await kept_at(PLACE)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(StoreRefused, match="AWS_ENDPOINT_URL is wrong"):
        await kept_at(PLACE)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with pytest.raises(StoreRefused, match=r"no credentials .*AWS_ACCESS_KEY_ID"):
        await kept_at(PLACE)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiobotocore", None)
    with pytest.raises(ConfigError, match=r"pip install 'temporal-ops\[s3\]'"):
        open_store(config.load({"TEMPORAL_ADDRESS": "t:1", "TEMPORAL_STORE": PLACE}))


@pytest.mark.parametrize("place", ["s3://", "s3://UPPER/x", "gs://bucket", "s3://a", "https://x/y"])
def test_a_place_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(ConfigError, match=r"TEMPORAL_STORE = .*s3://bucket/prefix"):
        config.load({"TEMPORAL_STORE": place})
