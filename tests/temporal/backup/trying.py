"""What tests of restores and of drills have in common: a backup, and what came of it later."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import FailureError

from lab import Machine
from temporal.runs.outcomes import results
from temporal.shared.specs.backup.backup import BackupSpec
from temporal.shared.specs.backup.drilling import DrilledHost, DrilledSource
from temporal.shared.specs.backup.restoring import Restored, RestoreSpec
from temporal.testing import Environment
from tests.temporal.backup.plans import local, place, restic, saved, says, spec

LEFT = "find /var/tmp /tmp /srv -name 'temporal-ops-*' -o -name '.temporal-ops-*'"


@dataclass
class Trial:
    """Sources of one server, kept in a folder there."""

    env: Environment
    server: Machine
    plan: BackupSpec
    url: str

    @classmethod
    def of(
        cls, env: Environment, server: Machine, name: str, sources: dict[str, Any], **more: Any
    ) -> Trial:
        """With a repository of its own, made anew."""
        url = f"/srv/{name}.repo"
        says(server, f"rm -rf {url} /var/lib/converge/backup/{name}")
        limits = {key: more.pop(key) for key in ("download_limit",) if key in more}
        plan = spec([server], local(url, **limits), sources, name=name, **more)
        return cls(env, server, plan, url)

    async def back_up(self) -> dict[str, str]:
        """The ids of the snapshots, by source."""
        run = await self.env.start("BackUp", self.plan)
        await asyncio.wait_for(run.result(), 120)
        return {
            name: each.snapshot[:8] for (_, name), each in (await saved(self.env, run.id)).items()
        }

    def restore(self, source: str, **more: Any) -> RestoreSpec:
        """The input of RestoreBackup."""
        host = place(self.server)
        name = self.server.name
        value = {"backup": self.plan.each, "host": name, "onto": host, "source": source, **more}
        return RestoreSpec.model_validate(value)

    async def restored(self, source: str, **more: Any) -> Restored:
        """What came of a restore that goes well."""
        run = await self.env.start("RestoreBackup", self.restore(source, **more))
        found: Restored = await asyncio.wait_for(run.result(), 120)
        return found

    async def refused(self, source: str, **more: Any) -> tuple[str, Restored | None]:
        """Why a restore failed, and its result."""
        run = await self.env.start("RestoreBackup", self.restore(source, **more))
        with pytest.raises(WorkflowFailureError) as caught:
            await asyncio.wait_for(run.result(), 120)
        found = [each async for each in results(self.env.ops, run.id, "restore_on_host")]
        cause: BaseException = caught.value
        while isinstance(cause, WorkflowFailureError | FailureError) and cause.cause is not None:
            cause = cause.cause
        return str(cause), found[0] if found else None

    async def drilled(self, *, fails: bool = False) -> dict[str, DrilledSource]:
        """What came of each source of a drill."""
        run = await self.env.start("DrillRestore", self.plan)
        try:
            await asyncio.wait_for(run.result(), 120)
        except WorkflowFailureError:
            assert fails, await self._drilled(run.id)
        else:
            assert not fails, await self._drilled(run.id)
        return await self._drilled(run.id)

    async def _drilled(self, run: str) -> dict[str, DrilledSource]:
        [found] = [each async for each in results(self.env.ops, run, "drill_host")]
        assert isinstance(found, DrilledHost) and not found.because, found
        return {each.source: each for each in found.sources}

    def says(self, command: str) -> str:
        """What a shell command prints on the server."""
        return says(self.server, command)

    def restic(self, words: str) -> str:
        """What restic says of the repository."""
        return restic(self.server, self.url, words)

    def damage(self, file: str) -> None:
        """Flips a byte of the pack that holds a file of the newest snapshot."""
        pack = self.says(
            f"find {self.url}/data -type f -size +200k -printf '%s %p\\n' | sort -n | tail -n 1 |"
            " cut -d ' ' -f 2"
        )
        self.says(
            f"chmod u+w {pack}; printf X | dd of={pack} bs=1 seek=100000 conv=notrunc status=none"
        )

    def nothing_is_left(self) -> None:
        """Neither scratch nor locks, and no server that a drill started."""
        left = self.says(LEFT)
        assert left == "", left
        assert self.says(f"ls {self.url}/locks") == ""
        assert self.says("pgrep -af '[t]emporal-ops-(drill|restore)' || :") == ""
