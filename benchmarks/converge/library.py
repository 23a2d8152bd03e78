"""converge as a library, as a program of a few lines: `python -m benchmarks.converge.library HOSTS
RESOURCES`, two JSON files. Prints the summary of each host."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import converge
from benchmarks.converge.wire import hosts
from converge import Host
from converge.resources import BY_KEY


async def main(there: list[Host], items: list[dict[str, Any]]) -> int:
    """Brings all hosts to what is wanted at once."""
    wanted = [
        next(kind for key, kind in BY_KEY.items() if key in item).model_validate(item)
        for item in items
    ]
    reports = await asyncio.gather(*(converge.apply(h, wanted) for h in there))
    await converge.close()
    for report in reports:
        print(report.host, report.summary)
    return 0 if all(report.ok for report in reports) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(hosts(Path(sys.argv[1])), json.loads(Path(sys.argv[2]).read_text()))))
