"""`temporal-ops worker`: run workers against the configured server, for production."""

from __future__ import annotations

from typing import Annotated

import typer

from temporal.cli.common import UNREACHABLE, Exit, execute, say, settings


def worker(
    queue: Annotated[
        list[str] | None,
        typer.Option("--queue", "-q", help="task queue to serve; repeat it; default: all"),
    ] = None,
    promote: Annotated[
        bool,
        typer.Option(help="with TEMPORAL_DEPLOYMENT: send new runs to this version once it polls"),
    ] = False,
) -> None:
    """Serve task queues until SIGTERM or SIGINT, then drain; a second one stops at once."""
    execute(_worker(queue or None, promote))


async def _worker(queues: list[str] | None, promote: bool) -> None:
    from temporal import client, logs, registry, server
    from temporal.worker import Crew, build_id, grace, identity, make_runtime, promote_version

    chosen = settings()
    logs.set_up(chosen)
    located = server.locate(chosen)
    if located is None:
        raise Exit(
            UNREACHABLE,
            "no Temporal server is configured (TEMPORAL_ADDRESS) and none listens on "
            f"{chosen.address}. Set it, or run `temporal-ops up` for an embedded one.",
        )
    catalogue = registry.load(chosen)
    runtime, metrics = make_runtime(chosen)
    build = build_id(chosen, catalogue)
    ops = await client.connect(
        located, catalogue=catalogue, runtime=runtime, identity=identity(build)
    )
    async with Crew(ops, queues, core_metrics=metrics) as crew:
        await crew.until_polling()
        if promote:
            await promote_version(ops, build)
        assert crew.health is not None
        say(
            f"worker {identity(build)} serves {', '.join(crew.queues)} of {located.address} "
            f"(namespace {located.namespace}); health http://{crew.health.address}"
        )
        wait = grace(chosen, catalogue).total_seconds()
        crew.on_drain(
            lambda: say(
                f"draining: what runs gets up to {wait:.0f} s to finish; "
                "a second signal stops at once"
            )
        )
        await crew.until_stopped()
    say("stopped")
