"""Runs the embedded server of TEMPORAL_STATE_DIR and tells its address, until a line is read."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict

from temporal import config, server


async def main() -> None:
    async with server.embedded(config.load(), usual_ports="--usual" in sys.argv) as record:
        print(json.dumps(asdict(record)), flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
