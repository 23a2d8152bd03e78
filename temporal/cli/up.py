"""`temporal-ops up`: embedded server, web UI and worker, in one."""

from __future__ import annotations

from temporal.cli.common import AsJson, emit, execute, say, settings, wrong


def up(as_json: AsJson = False) -> None:
    """Run an embedded Temporal server with its web UI and a worker; Ctrl-C drains and stops."""
    execute(_up(as_json))


async def _up(as_json: bool) -> None:
    from temporal import client, logs, registry, server
    from temporal.cli import warm
    from temporal.config import FOUND, Origin
    from temporal.worker import Crew, build_id, grace, identity, make_runtime

    chosen = settings()
    if chosen.address_configured:
        wrong(
            f"the server {chosen.address} is configured ({chosen.origin('address')}), so there is "
            "nothing to embed. Use `temporal-ops worker`, or unset it."
        )
    logs.set_up(chosen)
    other = server.running(chosen)
    if other:
        wrong(
            f"the embedded server of this project runs already (pid {other.pid}, "
            f"{other.address}, web UI {other.ui}). Another worker for it: `temporal-ops worker`."
        )
    catalogue = registry.load(chosen)
    runtime, metrics = make_runtime(chosen)
    signed = identity(build_id(chosen, catalogue))
    async with server.embedded(chosen) as record:
        here = chosen.lively().at(record.address, Origin(FOUND, str(chosen.state_dir)))
        ops = await client.connect(here, catalogue=catalogue, runtime=runtime, identity=signed)
        async with Crew(ops, core_metrics=metrics) as crew:
            await crew.until_polling()
            if chosen.warm:
                warm.start(chosen.state_dir)
            assert crew.health is not None
            ready = {
                "address": record.address,
                "ui": record.ui,
                "health": f"http://{crew.health.address}",
                "queues": crew.queues,
                "state_dir": str(chosen.state_dir),
            }
            if as_json:
                emit(ready)
            else:
                print(
                    f"Temporal server  {record.address}\n"
                    f"web UI           {record.ui}\n"
                    f"worker           {', '.join(crew.queues)}   health {ready['health']}\n"
                    f"data             {chosen.state_dir}\n"
                    "Try: temporal-ops run TestWorkflow --input '\"World\"'     Ctrl-C stops.",
                    flush=True,
                )
            wait = grace(chosen, catalogue).total_seconds()
            crew.on_drain(
                lambda: say(
                    f"draining: what runs gets up to {wait:.0f} s to finish; "
                    "Ctrl-C again stops at once (runs go on when it is started again)"
                )
            )
            await crew.until_stopped()
    say("stopped")
