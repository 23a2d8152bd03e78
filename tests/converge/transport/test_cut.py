"""A connection cut at every step of an apply: the run goes on or says so, and nothing is done twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from converge import Command, File, Host, apply, close, plan
from converge.errors import ConnectionLost
from tests.converge.transport.sshd import ON_SSHD, Site

pytestmark = ON_SSHD
# ruff: noqa: ASYNC240 -- nothing else runs in the loop meanwhile

CUTS = 24


@dataclass
class Cutter:
    """Forwards connections to `to`; once `after` bytes have passed, both ways together, it drops
    the connection that they passed on. Later ones it leaves alone."""

    to: int
    after: int | None = None
    passed: int = 0

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.to)
        ends = (writer, there_writer)
        pumps = [
            asyncio.create_task(self._pump(reader, there_writer)),
            asyncio.create_task(self._pump(there_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in pumps:
                each.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            left = None if self.after is None else self.after - self.passed
            self.passed += len(data)
            writer.write(data if left is None else data[:left])
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            if left is not None and left <= len(data):
                self.after = None
                return


@pytest.fixture
async def cutter(site: Site) -> AsyncIterator[tuple[Cutter, Host]]:
    """A cutter in front of an sshd, and the host as seen through it."""
    found = Cutter(site.server())
    server = await asyncio.start_server(found.connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    site.known(port)
    yield found, site.host(port, state_dir=str(site.path / "state"))
    server.close()


def wanted(folder: Path) -> list[File | Command]:
    """Two files, and a command that leaves a line whenever it is run, which is due once."""
    first = File(str(folder / "first"), content="1" * 3000)
    log = Command(f"echo done >>{folder}/log", on_change=[first])
    return [first, log, File(str(folder / "last"), content="x", needs=[log])]


async def traffic(cutter: Cutter, host: Host, folder: Path) -> int:
    """Bytes that pass in an apply of all of it."""
    folder.mkdir()
    before = cutter.passed
    assert (await apply(host, wanted(folder))).ok
    await close()
    return cutter.passed - before


async def cuts(cutter: Cutter, host: Host, path: Path) -> AsyncIterator[Path]:
    """A fresh folder for each place where the connection will be cut."""
    total = await traffic(cutter, host, path / "whole")
    for number in range(CUTS):
        folder = path / str(number)
        folder.mkdir()
        # Not at the very end: how many bytes pass is not the same each time.
        cutter.passed, cutter.after = 0, 1 + number * int(total * 0.9) // (CUTS - 1)
        yield folder
        await close()
        assert cutter.after is None, "it was not cut"
        assert (folder / "log").read_text() == "done\n", f"cut {number} of {CUTS}"
        assert (folder / "last").read_text() == "x"
        assert (await plan(host, wanted(folder))).empty
        await close()


async def test_cut_anywhere_the_apply_goes_on_by_itself(
    cutter: tuple[Cutter, Host], tmp_path: Path
) -> None:
    async for folder in cuts(*cutter, tmp_path):
        report = await apply(cutter[1], wanted(folder))
        assert report.ok, report.render()


async def test_cut_anywhere_the_next_one_goes_on(
    cutter: tuple[Cutter, Host], tmp_path: Path
) -> None:
    lost = 0
    async for folder in cuts(*cutter, tmp_path):
        try:
            await apply(cutter[1], wanted(folder), run_id=folder.name, reconnects=0)
        except ConnectionLost as error:
            lost += 1
            assert cutter[1].name in str(error), error
            report = await apply(cutter[1], wanted(folder), run_id=folder.name)
            assert report.ok, report.render()
    assert lost > CUTS / 2, "it was not where it hurts"
