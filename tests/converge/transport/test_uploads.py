"""Files that go by SFTP: whole, checked, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from converge import ConvergeError, File, Host, apply, plan
from converge.errors import (
    HostFailed,
)
from converge.material import folder
from converge.transport import transport_for
from converge.transport.uploads import SPOOL, Upload
from tests.converge.transport.sshd import ON_SSHD, Site

# ruff: noqa: ASYNC240 -- nothing else runs in the loop meanwhile

pytestmark = ON_SSHD


async def test_uploads(site: Site) -> None:
    port = site.server()
    site.known(port)
    large = site.path / "large"
    with large.open("wb") as file:
        for number in range(24):
            file.write(os.urandom(1 << 20) if number % 2 else bytes(1 << 20))
    state = site.path / "state of the host"
    host = site.host(port, state_dir=str(state))
    wanted = [Upload.of(large), Upload.of(b"small"), Upload.of(b"")]
    placed = await transport_for(host).upload(wanted)
    for upload in wanted:
        data = Path(placed[upload.sha256]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == upload.sha256
        assert Path(placed[upload.sha256]).stat().st_mode & 0o777 == 0o600
    assert state.joinpath("spool").stat().st_mode & 0o777 == 0o700
    # Sent once: what is there whole is not touched, what was damaged is replaced.
    whole, broken = (Path(placed[upload.sha256]) for upload in wanted[:2])
    inode = whole.stat().st_ino
    broken.write_bytes(b"smell")
    old = state / "spool" / "old.part"
    old.touch()
    os.utime(old, (0, 0))
    assert await transport_for(host).upload(wanted) == placed
    assert whole.stat().st_ino == inode and broken.read_bytes() == b"small"
    assert not old.exists()
    assert await transport_for(site.host(port, state_dir=str(state))).upload([]) == {}


async def test_an_upload_that_is_not_what_it_says(site: Site) -> None:
    port = site.server()
    site.known(port)
    wrong = Upload(b"this", hashlib.sha256(b"that").hexdigest())
    for host in (
        site.host(port, state_dir=str(site.path / "s")),
        Host.local(state_dir=str(site.path / "l")),
    ):
        with pytest.raises(HostFailed, match="SHA-256"):
            await transport_for(host).upload([wrong])
        spool = Path(str(host.state_dir)) / "spool"
        assert list(spool.iterdir()) == []


async def test_a_cancelled_upload_leaves_nothing(site: Site) -> None:
    port = site.server()
    site.known(port)
    host = site.host(port, state_dir=str(site.path / "s"))
    spool = site.path / "s" / "spool"
    upload = Upload.of(b"x" * 200_000_000)
    task = asyncio.create_task(transport_for(host).upload([upload]))
    while not (spool.exists() and any(path.stat().st_size for path in spool.iterdir())):
        assert not task.done(), task.result()
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(spool.iterdir()) == []


async def test_a_large_file_of_a_resource_goes_beside_the_script(site: Site) -> None:
    port = site.server()
    site.known(port)
    (site.path / "large").write_bytes(os.urandom(5_000_000))
    state, target = site.path / "state", site.path / "target" / "large"
    for host in (site.host(port, state_dir=str(state)), Host.local(state_dir=str(state))):
        target.unlink(missing_ok=True)
        wanted = [File(str(target), source="large", mode="0640")]
        report = await apply(host, wanted, load=folder(site.path))
        assert report.ok and report.changed, report.render()
        assert target.read_bytes() == (site.path / "large").read_bytes()
        assert list((state / "spool").iterdir()) == [], "the run has taken it"
        assert (await plan(host, wanted, load=folder(site.path))).empty
    # Without SFTP it travels in the script.
    bare = site.server(Subsystem="none /bin/false")
    site.known(bare)
    target.unlink()
    report = await apply(
        site.host(bare, state_dir=str(site.path / "s")), wanted, load=folder(site.path)
    )
    assert report.ok and target.read_bytes() == (site.path / "large").read_bytes()


async def test_uploads_on_this_machine(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    host = Host.local(state_dir=str(tmp_path / "state"))
    upload = Upload.of(source)
    placed = await transport_for(host).upload([upload])
    assert Path(placed[upload.sha256]).read_bytes() == source.read_bytes()
    with pytest.raises(ConvergeError, match="cannot be read"):
        Upload.of(tmp_path / "none-such")
    assert not Path(SPOOL).is_absolute()
