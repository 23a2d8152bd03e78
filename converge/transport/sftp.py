"""Uploads by SFTP: to a temporary name, synced, renamed, and checked by hash on the host."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence
from io import BytesIO
from typing import BinaryIO

import asyncssh

from converge.errors import ConnectionLost, HostFailed, HostUnsupported
from converge.host import Host
from converge.shell import words
from converge.transport.uploads import CHUNK, KEPT, SPOOL, Upload


async def put(
    connection: asyncssh.SSHClientConnection, host: Host, uploads: Sequence[Upload]
) -> dict[str, str]:
    """SHA-256 of each -> its path on the host. What is there already is not sent again.

    Raises HostUnsupported without SFTP; HostFailed for a full or read-only disk and for what does
    not arrive as it was sent.
    """
    try:
        client = await connection.start_sftp_client()
    except (asyncssh.ChannelOpenError, asyncssh.SFTPError) as error:
        raise HostUnsupported(
            f"the host takes no files by SFTP ({error}): its sshd needs a Subsystem sftp",
            host=host.name,
        ) from None
    try:
        folder = await _spool(client, host)
        wanted = {upload.sha256: upload for upload in uploads}
        paths = {digest: f"{folder}/{digest}" for digest in wanted}
        there = await _sums(connection, list(paths.values()))
        for digest, upload in wanted.items():
            if there.get(paths[digest]) != digest:
                await _send(connection, client, host, upload, paths[digest])
        return paths
    except (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost) as error:
        raise ConnectionLost(
            f"the connection broke while uploading ({error})", host=host.name
        ) from None
    except asyncssh.SFTPError as error:
        raise HostFailed(f"an upload failed: {error.reason or error}", host=host.name) from None
    finally:
        client.exit()


async def _spool(client: asyncssh.SFTPClient, host: Host) -> str:
    home = str(await client.realpath("."))
    base = f"{host.state_dir}/spool" if host.state_dir else f"{home.rstrip('/')}/{SPOOL}"
    if not await client.isdir(base):
        await client.makedirs(base, asyncssh.SFTPAttrs(permissions=0o700), exist_ok=True)
    await client.chmod(base, 0o700)
    old = time.time() - KEPT
    for entry in await client.readdir(base):
        name = str(entry.filename)
        if name in (".", "..") or (entry.attrs.mtime or 0) > old:
            continue
        with contextlib.suppress(asyncssh.SFTPError):
            await client.remove(f"{base}/{name}")
    return base


async def _send(
    connection: asyncssh.SSHClientConnection,
    client: asyncssh.SFTPClient,
    host: Host,
    upload: Upload,
    path: str,
) -> None:
    # A name of its own: two workers may bring the same file at the same time.
    part = f"{path}.{secrets.token_hex(4)}.part"
    try:
        await _write(client, upload, part)
        arrived = (await _sums(connection, [part])).get(part)
        if arrived != upload.sha256:
            raise HostFailed(
                f"what arrived of an upload has the SHA-256 {arrived}, not {upload.sha256}: was it"
                " changed while it was read, or is the disk full?",
                host=host.name,
            )
        await client.posix_rename(part, path)
    except BaseException:
        # Also when cancelled; if the connection is gone, the spool is swept another day.
        with contextlib.suppress(Exception):
            await client.remove(part)
        raise


async def _write(client: asyncssh.SFTPClient, upload: Upload, path: str) -> None:
    attrs = asyncssh.SFTPAttrs(permissions=0o600)
    with _reader(upload) as local:
        async with client.open(path, "xb", attrs) as remote:
            # Large reads: the write splits them into requests that are under way together.
            while data := await asyncio.to_thread(local.read, CHUNK * 16):
                await remote.write(data)
            with contextlib.suppress(asyncssh.SFTPOpUnsupported):
                await remote.fsync()


def _reader(upload: Upload) -> BinaryIO:
    return BytesIO(upload.source) if isinstance(upload.source, bytes) else upload.source.open("rb")


async def _sums(connection: asyncssh.SSHClientConnection, paths: Sequence[str]) -> dict[str, str]:
    """Path -> SHA-256 as the host computes it; what is not there is left out."""
    script = f"exec sh -c 'for p; do sha256sum <\"$p\" 2>/dev/null || echo; done' sh {words(paths)}"
    done = await connection.run(script, check=False, request_pty=False, encoding="utf-8")
    lines = str(done.stdout or "").splitlines()
    sums = [line.split(" ", 1)[0] for line in lines]
    if len(sums) != len(paths):
        return {}
    return {path: found for path, found in zip(paths, sums, strict=True) if len(found) == 64}
