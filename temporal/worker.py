"""The one place that runs workers: one process, any set of queues.

ops = await connect(settings)
async with Crew(ops) as crew:      # polls from here on
    await crew.until_stopped()     # SIGTERM or SIGINT: drains; a second one: stops at once
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ctypes
import hashlib
import importlib.util
import logging
import os
import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker, WorkerDeploymentConfig

from temporal.client import Ops
from temporal.config import QUEUE_PREFIX, Settings
from temporal.health import Health, pollers
from temporal.registry import Registry
from temporal.shared.errors import ConfigError
from temporal.shared.options import effective_options

log = logging.getLogger("temporal.worker")

_CORE_LEVELS = {"DEBUG": "DEBUG", "INFO": "WARN", "WARNING": "WARN", "ERROR": "ERROR"}
EXIT_STOPPED_AT_ONCE = 130
# A poll that finds nothing lasts a minute.
_LOOK_EVERY_S, _LOOKS = 2.0, 35


def make_runtime(settings: Settings) -> tuple[Runtime, str]:
    """The SDK's runtime of a worker process, and host:port of the core's metrics."""
    _keep_memory_flat()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    level = _CORE_LEVELS[settings.log_level]
    telemetry = TelemetryConfig(
        metrics=PrometheusConfig(bind_address=address, durations_as_seconds=True),
        logging=LoggingConfig(
            filter=TelemetryFilter(core_level=level, other_level="ERROR"),
            forwarding=LogForwardingConfig(logger=logging.getLogger("temporal.core")),
        ),
    )
    return Runtime(telemetry=telemetry), address


def _keep_memory_flat() -> None:
    """Has glibc hand back what big values took. By default it stops doing so once it has seen a few
    (mallopt(3), "dynamic mmap threshold") and keeps a heap for each thread: the input of a fleet of
    10,000 is 3 MB, copied a dozen times a run, and the worker never shrank again."""
    mmap_threshold, arena_max = -3, -8
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 256 * 1024)
        libc.mallopt(arena_max, 2)


def build_id(settings: Settings, catalogue: Registry) -> str:
    """The version of the code: the setting, else 12 hex digits over every file that workflows are
    made of (`workflows` and `shared` of each package, and converge's types). Two workers with the
    same one can replay each other's runs."""
    if settings.build_id:
        return settings.build_id
    digest = hashlib.sha256()
    for name in sorted({*catalogue.packages, "converge"}):
        for file in _sources(name):
            digest.update(f"{name}:{file.name}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _sources(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    if spec is None:
        return []
    if not spec.submodule_search_locations:
        return [Path(spec.origin)] if spec.origin else []
    roots = [Path(root) for root in spec.submodule_search_locations]
    rooms = [root / room for root in roots for room in ("workflows", "shared")]
    kept = [room for room in rooms if room.is_dir()] or roots
    return sorted(file for folder in kept for file in folder.rglob("*.py"))


def identity(build: str) -> str:
    """How a worker signs: pid@host, and the version of its code."""
    return f"{os.getpid()}@{socket.gethostname()}/{build}"


def grace(settings: Settings, catalogue: Registry) -> timedelta:
    """How long a stopping worker waits: as its longest activity may take, at most the setting."""
    longest = timedelta(0)
    for entry in catalogue.activities.values():
        options = effective_options(entry.target)
        longest = max(longest, options.start_to_close or options.schedule_to_close or timedelta(0))
    return min(longest, timedelta(seconds=settings.drain_timeout))


class Crew:
    """The workers of one process: one for each queue, on one connection and one thread pool.

    Args:
        ops: the connection; its identity is the worker's.
        queues: task queues to serve; default: all that the registry names.
        core_metrics: host:port of the metrics of the runtime that `ops` was made with; without it
            there is no health end point.

    Raises:
        ConfigError: a queue on which nothing is registered.
    """

    def __init__(
        self, ops: Ops, queues: list[str] | None = None, core_metrics: str | None = None
    ) -> None:
        self.ops = ops
        self.queues = queues or ops.registry.queues()
        self.build = build_id(ops.settings, ops.registry)
        self._identity = identity(self.build)
        self.health: Health | None = None
        self.stopping = asyncio.Event()
        self._core_metrics = core_metrics
        self._on_drain: Callable[[], None] = lambda: None
        slots = ops.settings.activity_slots
        self._pool = concurrent.futures.ThreadPoolExecutor(slots, thread_name_prefix="activity")
        self._workers = [self._worker(queue, slots) for queue in self.queues]
        self._runs: list[asyncio.Task[None]] = []
        self._look: asyncio.Task[None] | None = None

    def _worker(self, queue: str, slots: int) -> Worker:
        settings, catalogue = self.ops.settings, self.ops.registry
        workflows, activities = catalogue.on_queue(queue)
        if not workflows and not activities:
            raise ConfigError(
                f"nothing is registered on queue {queue!r}. "
                f"Queues with work: {', '.join(catalogue.queues())}"
            )
        deployment = None
        if settings.deployment:
            deployment = WorkerDeploymentConfig(
                version=WorkerDeploymentVersion(settings.deployment, self.build),
                use_worker_versioning=True,
                default_versioning_behavior=VersioningBehavior.PINNED,
            )
        return Worker(
            self.ops.client,
            task_queue=queue,
            workflows=workflows,
            activities=activities,
            activity_executor=self._pool,
            max_concurrent_activities=slots,
            graceful_shutdown_timeout=grace(settings, catalogue),
            deployment_config=deployment,
            identity=self._identity,
            # Progress should be seen within seconds, not after the SDK's 30.
            default_heartbeat_throttle_interval=timedelta(seconds=settings.heartbeat_every),
            max_heartbeat_throttle_interval=timedelta(seconds=settings.heartbeat_every),
        )

    async def __aenter__(self) -> Crew:
        if self._core_metrics:
            self.health = Health(
                self.ops.settings.health_address, self._core_metrics, self.queues, self.build
            )
        self._runs = [asyncio.create_task(worker.run()) for worker in self._workers]
        self._look = asyncio.create_task(self._warn_of_other_code())
        for domain in self.ops.registry.unknown_domains(self.ops.settings):
            known = ", ".join(self.ops.registry.domains()) or "none"
            variable = QUEUE_PREFIX + domain.upper()
            log.warning(f"{variable} is for no domain there is, and changes nothing: {known}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.drain()

    async def until_stopped(self) -> None:
        """Wait for a signal or :attr:`stopping`, or for a worker to end with an error, then drain.

        A second signal ends the process at once, with status 130: what runs on hosts goes on there,
        and another worker attaches to it.
        """
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._on_signal)
        waiting = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait([waiting, *self._runs], return_when=asyncio.FIRST_COMPLETED)
            self.stopping.set()
            await self.drain()
        finally:
            waiting.cancel()
            for number in signals:
                loop.remove_signal_handler(number)

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Call `callback` when draining begins."""
        self._on_drain = callback

    async def drain(self) -> None:
        """Stop polling, let what runs finish within the grace, and stop. Raises a worker's error."""
        if not self._runs:
            return
        if self.health:
            self.health.draining = True
        if self._look:
            self._look.cancel()
        await asyncio.gather(*(w.shutdown() for w in self._workers if w.is_running))
        runs, self._runs = self._runs, []
        try:
            await asyncio.gather(*runs)
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
            if self.health:
                self.health.close()

    def _on_signal(self) -> None:
        if self.stopping.is_set():
            log.warning("second signal: stopping at once; another worker takes over what ran here")
            logging.shutdown()
            os._exit(EXIT_STOPPED_AT_ONCE)
        self.stopping.set()
        self._on_drain()

    async def until_polling(self) -> None:
        """Wait until the core polls every queue."""
        if not self._core_metrics:
            return
        assert self.health is not None
        while not self.stopping.is_set() and all(not run.done() for run in self._runs):
            with contextlib.suppress(OSError):
                counts = pollers(await asyncio.to_thread(self.health._core_text))
                if all(counts.get(queue) for queue in self.queues):
                    return
            await asyncio.sleep(0.02)

    async def _warn_of_other_code(self) -> None:
        """Two versions of the code on one queue hand each other runs that neither may replay.

        The server lists a poller for minutes after it is gone, as at each restart with new code. So
        only who polls again after our own first poll is there; by the server's clock, and for a
        little longer than one poll lasts.
        """
        if self.ops.settings.deployment:
            return
        since: dict[str, int] = {}
        unsure = set(self.queues)
        for _ in range(_LOOKS):
            for queue in sorted(unsure):
                polled = await self._last_polls(queue)
                if queue not in since:
                    if self._identity in polled:
                        since[queue] = polled[self._identity]
                    continue
                later = [name for name, when in polled.items() if when > since[queue]]
                others = other_builds(later, self.build)
                if others:
                    unsure.discard(queue)
                    log.warning(
                        "queue %s is also polled by workers with other code (%s; this is %s): a run "
                        "may be handed to code that cannot replay it, and then waits. Stop the old "
                        "workers, or set TEMPORAL_DEPLOYMENT on all so that each run stays with the "
                        "code that began it",
                        queue,
                        ", ".join(others),
                        self.build,
                    )
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _last_polls(self, queue: str) -> dict[str, int]:
        """Who polls `queue` for workflows, and when last, in the server's nanoseconds."""
        try:
            found = await self.ops.client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=self.ops.client.namespace,
                    task_queue=TaskQueue(name=queue),
                    task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                )
            )
        except RPCError:
            return {}
        return {each.identity: each.last_access_time.ToNanoseconds() for each in found.pollers}


async def promote_version(ops: Ops, build: str) -> None:
    """Send new runs to the workers of this deployment that have the code `build`.

    Raises:
        ConfigError: no deployment is configured, or the server refuses.
    """
    name = ops.settings.deployment
    if not name:
        raise ConfigError("--promote needs TEMPORAL_DEPLOYMENT: without it there are no versions")
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=ops.client.namespace,
        deployment_name=name,
        build_id=build,
        identity=identity(build),
        ignore_missing_task_queues=True,
    )
    for attempt in range(50):  # the server learns of a version from its first poll, shortly after
        try:
            await ops.client.workflow_service.set_worker_deployment_current_version(request)
            return
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND or attempt == 49:
                raise ConfigError(
                    f"version {build} of deployment {name} cannot be made current: {error.message}"
                ) from None
            await asyncio.sleep(0.1)


def other_builds(identities: list[str], mine: str) -> list[str]:
    """Of the workers that signed so, those whose code is not `mine`.

    >>> other_builds(["1@a/111", "2@a/222", "someone"], "111")
    ['2@a/222']
    """
    return sorted(name for name in identities if "/" in name and name.rpartition("/")[2] != mine)
