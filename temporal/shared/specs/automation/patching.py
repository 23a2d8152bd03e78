"""Specs of rolling upgrades: which packages, when to reboot, and what must be well afterwards.

inventory: hosts.yml
limit: web
upgrade: security
reboot: when-needed
before: touch /etc/maintenance
after: rm -f /etc/maintenance
answers:
  - http: /health
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from temporal.shared.specs.automation.fleet import Fleet
from temporal.shared.specs.automation.hosts import Spec
from temporal.shared.specs.automation.outcome import HostOutcome
from temporal.shared.specs.automation.rollout import Rollout, Share
from temporal.shared.specs.automation.server import HttpAnswer

UnitName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*$")]
PackagePattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9*?][a-z0-9.+*?-]*$")]
"""A package's name; `*` and `?` stand for any letters and any one."""
Command = Annotated[str, StringConstraints(min_length=1, max_length=50_000)]


def _word(value: object) -> object:
    return "none" if value is None else value


class OneByOne(Rollout):
    """Steps of a rollout, one host at a time unless told otherwise: each is away for a while."""

    wave: Share = "1"
    parallel: int = Field(1, ge=1, le=500)

    @model_validator(mode="after")
    def _nothing_is_planned(self) -> OneByOne:
        if "plan" in self.approve:
            raise ValueError("patching shows no plans to approve: only approve: canary")
        return self


class Patch(Spec):
    """What is done to each host. The same for all, so it is kept once.

    Attributes:
        upgrade: `all` that apt offers, `security`: what comes from an archive named so, or `none`.
            Nothing is ever removed for it.
        exclude: packages that stay as they are, here and now; `libc6`, `linux-*`.
        reboot: `when-needed` (see docs), `always`, `never`.
        reboot_within: seconds from the order to the new boot's first answer over ssh.
        services: units that must be active afterwards. Default: those that are enabled and ran
            before. One that is failed and was not before is a failure either way.
        settled_within: seconds for them to be active.
        before: sh, run on the host before something is done there, such as taking it out of a
            balancer. If it fails, nothing is done. After a power cut it is run again.
        after: sh, run when the host is well again. Not run when it is not.
        answers: what it should answer over HTTP in the end, seen from the worker.
    """

    upgrade: Annotated[Literal["all", "security", "none"], BeforeValidator(_word)] = "all"
    exclude: tuple[PackagePattern, ...] = ()
    reboot: Literal["when-needed", "always", "never"] = "when-needed"
    reboot_within: float = Field(600.0, ge=1, le=7200)
    services: tuple[UnitName, ...] | None = None
    settled_within: float = Field(120.0, ge=1, le=3600)
    before: Command | None = None
    after: Command | None = None
    answers: tuple[HttpAnswer, ...] = ()

    @model_validator(mode="after")
    def _something_to_do(self) -> Patch:
        if self.upgrade == "none" and self.reboot == "never":
            raise ValueError("upgrade: none and reboot: never together leave nothing to do")
        return self


class PatchSpec(Patch, Fleet):
    """A fleet and how it is patched: the input of PatchFleet."""

    rollout: OneByOne = OneByOne()

    @property
    def patch(self) -> Patch:
        """What is done to each of them."""
        return Patch(**{name: getattr(self, name) for name in Patch.model_fields})


class Health(Spec):
    """How a host was before anything was done to it.

    Attributes:
        active: services that are enabled and ran.
        failed: units that were failed.
    """

    active: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Patched(Spec):
    """What came of the upgrade of a host.

    Attributes:
        outcome: as it stands; not the end of it if there is a reboot to come.
        boot: its boot id, as /proc/sys/kernel/random/boot_id has it: it is rebooted when that is
            another one.
        reboot: why it is to be rebooted now; nothing: it is not.
        health: how it was before.
    """

    outcome: HostOutcome
    boot: str = ""
    reboot: str = ""
    health: Health = Health()
