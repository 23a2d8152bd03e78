"""converge as a library, as a program of a few lines: `python -m benchmarks.converge.library HOSTS
RESOURCES`, two JSON files. Prints the summary of each host."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import converge
from benchmarks.converge.wire import hosts, wanted
from converge import Host


async def main(there: list[Host], items: list[dict[str, Any]]) -> int:
    """Brings all hosts to what is wanted at once."""
    resources = wanted(items)
    reports = await asyncio.gather(*(converge.apply(host, resources) for host in there))
    await converge.close()
    for report in reports:
        print(report.host, report.summary)
    return 0 if all(report.ok for report in reports) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(hosts(Path(sys.argv[1])), json.loads(Path(sys.argv[2]).read_text()))))
