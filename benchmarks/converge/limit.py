"""The bare limit: one ssh connection and one command a host, with the same probe, and nothing of
ours: `python -m benchmarks.converge.limit HOSTS SCRIPT`. Prints how much came back."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import asyncssh


async def one(host: dict[str, Any], script: bytes, slots: asyncio.Semaphore) -> int:
    """How many bytes the probe said on one host."""
    async with slots:
        connection = await asyncssh.connect(
            host["address"],
            host["port"],
            username=host["user"],
            client_keys=[host["key"]],
            known_hosts=host["known_hosts"],
            agent_path=None,
            config=None,
            compression_algs=None,
        )
    async with connection:
        done = await connection.run("exec sh -s", input=script, encoding=None, check=True)
    return len(done.stdout or b"")


async def main(hosts: list[dict[str, Any]], script: bytes) -> None:
    """All hosts at once, as many connecting at a time as ours do."""
    slots = asyncio.Semaphore(24)
    said = await asyncio.gather(*(one(host, script, slots) for host in hosts))
    print(f"{len(said)} hosts, {min(said)} to {max(said)} bytes each")


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]).read_bytes()))
