"""One ProvisionServer run a host, started by one client process against the worker that runs:
`python -m benchmarks.converge.many HOSTS RESOURCES`, two JSON files. Prints the summary of each."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from temporal import client, config, server
from temporal.shared.specs.automation import ServerSpec


async def main(hosts: list[Any], resources: list[Any]) -> int:
    """Starts all, then waits for all."""
    located = server.locate(config.load())
    if located is None:
        raise SystemExit("no Temporal server runs")
    ops = await client.connect(located)
    specs = [ServerSpec.model_validate({"host": h, "resources": resources}) for h in hosts]
    handles = await asyncio.gather(*(ops.start("ProvisionServer", spec) for spec in specs))
    for provisioned in await asyncio.gather(*(handle.result() for handle in handles)):
        print(provisioned.report.host, provisioned.summary)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*(json.loads(Path(name).read_text()) for name in sys.argv[1:]))))
