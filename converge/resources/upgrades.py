"""Security updates that install themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from converge.changes import FieldChange
from converge.resource import Around, Context, Item, Resource
from converge.resources.owned import Owned, OwnedState, Wanted, differs
from converge.resources.owned_sh import EMIT
from converge.resources.package import Package, PackageState

_ORIGINS = {
    "security": (
        "origin=Debian,codename=${distro_codename},label=Debian-Security",
        "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
    ),
    "all": (
        "origin=Debian,codename=${distro_codename},label=Debian",
        "origin=Debian,codename=${distro_codename}-updates",
    ),
}
_TIMERS = "enabled enabled static static active active"
_PATTERN = re.compile(r"[!-~]+")


class UnattendedUpgrades(Owned):
    """Which updates install themselves, and whether the machine may reboot for them.

        UnattendedUpgrades("security", reboot="04:30", blacklist=["postgresql-.*"], mail="ops@x.org")
        UnattendedUpgrades("all")
        UnattendedUpgrades("off")

    In YAML: `- unattended_upgrades: security` with `reboot: "04:30"`. Installs the package if it is
    not there, writes its settings, and keeps apt's timers enabled and waiting. What counts is what
    `apt-config` answers: a later file that says otherwise is told. "off" keeps the package.
    """

    key: ClassVar[str] = "unattended_upgrades"
    library: ClassVar[str | tuple[str, ...]] = (
        EMIT,
        *Package.libraries(),
        r"""
upgrades_timers() {
  [ -d /run/systemd/system ] || return 0
  for unit in apt-daily.service apt-daily-upgrade.service; do
    [ "$(systemctl is-enabled "$unit" 2>/dev/null || :)" != masked ] || {
      owned_arm; systemctl unmask "$unit" || die "cannot unmask $unit"; }
  done
  for unit in apt-daily.timer apt-daily-upgrade.timer; do
    now=$(systemctl is-enabled "$unit" 2>/dev/null || :)
    [ "$now$(systemctl is-active "$unit" || :)" != enabledactive ] || continue
    owned_arm
    [ "$now" != masked ] || systemctl unmask "$unit" || die "cannot unmask $unit"
    systemctl enable --now "$unit" || die "cannot enable $unit"
  done
}
""",
    )

    unattended_upgrades: Literal["security", "all", "off"] = "security"
    reboot: str | None = None
    """When to reboot if an update needs it ("04:30", "now"); not at all if not given."""
    reboot_with_users: bool = False
    """Even while somebody is logged in."""
    blacklist: tuple[str, ...] = ()
    """Patterns of packages that stay as they are."""
    origins: tuple[str, ...] = ()
    """More places to take updates from, as unattended-upgrades writes them: origin=Example."""
    mail: str | None = None
    remove_unused: bool = True
    every: int = Field(default=1, ge=1, le=30)
    """Days."""
    timers: bool = True
    """Keep apt's own timers going; false for those who start apt by other means."""

    if TYPE_CHECKING:

        def __init__(
            self,
            unattended_upgrades: str = "security",
            /,
            *,
            reboot: str | None = None,
            reboot_with_users: bool = False,
            blacklist: Sequence[str] = (),
            origins: Sequence[str] = (),
            mail: str | None = None,
            remove_unused: bool = True,
            every: int = 1,
            timers: bool = True,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("unattended_upgrades", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return "off" if value is False else value  # YAML reads a bare off as false

    @field_validator("reboot")
    @classmethod
    def _time(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"now|([01][0-9]|2[0-3]):[0-5][0-9]", value):
            raise ValueError(f'{value!r} is no time to reboot: write "04:30" or now')
        return value

    @field_validator("blacklist", "origins")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            if not _PATTERN.fullmatch(word) or '"' in word or ";" in word:
                raise ValueError(f"{word!r}: no blanks, quotes or semicolons")
        return value

    @field_validator("mail")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9._%+@-]+", value):
            raise ValueError(f"{value!r} is no address for mail")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.unattended_upgrades == "off" and (self.reboot or self.blacklist or self.mail):
            raise ValueError("what is off has no reboot, blacklist or mail")
        return self

    @property
    def on(self) -> bool:
        return self.unattended_upgrades != "off"

    @property
    def settings(self) -> dict[str, str]:
        days = str(self.every) if self.on else "0"
        found = {
            "APT::Periodic::Update-Package-Lists": days,
            "APT::Periodic::Unattended-Upgrade": days,
        }
        if self.on:
            found |= {
                "Unattended-Upgrade::Automatic-Reboot": _true(self.reboot is not None),
                "Unattended-Upgrade::Automatic-Reboot-Time": self.reboot or "now",
                "Unattended-Upgrade::Automatic-Reboot-WithUsers": _true(self.reboot_with_users),
                "Unattended-Upgrade::Remove-Unused-Dependencies": _true(self.remove_unused),
                "Unattended-Upgrade::Mail": self.mail or "",
            }
        return found

    @property
    def text(self) -> str:
        lines = [f'{key} "{value}";' for key, value in self.settings.items()]
        if self.on:
            names = [*_ORIGINS["security"]]
            if self.unattended_upgrades == "all":
                names = [*_ORIGINS["all"], *names]
            for key, values in (
                ("Origins-Pattern", [*names, *self.origins]),
                ("Package-Blacklist", list(self.blacklist)),
            ):
                # apt adds to lists: what earlier files put in goes first.
                lines.append(f"#clear Unattended-Upgrade::{key};")
                body = "".join(f'  "{value}";\n' for value in values)
                lines.append(f"Unattended-Upgrade::{key} {{\n{body}}};")
        return "\n".join(lines) + "\n"

    def provides(self) -> frozenset[str]:
        return super().provides() | {"the:upgrades"}

    def requires(self) -> frozenset[str]:
        return frozenset({"package:unattended-upgrades"})

    def forbids(self) -> Mapping[str, str]:
        gone = {"no-package:unattended-upgrades": "it removes the package"}
        return {**super().forbids(), **gone, "the:upgrades": "a machine has one way to upgrade"}

    def files(self) -> tuple[Wanted, ...]:
        return (Wanted("/etc/apt/apt.conf.d/90unattended-upgrades", self.text),)

    def look(self, number: int, context: Context) -> str:
        keys = " ".join(self.settings)
        return (
            f"command -v apt-config >/dev/null || {{ echo 'live {number} lacks yes'; return 0; }}\n"
            f"[ -x /usr/bin/unattended-upgrade ] && echo 'live {number} package yes'\n"
            f"apt-config dump --format '%f %v%n' {keys} 2>/dev/null |"
            f' while read -r key value; do echo "live {number} $key $value"; done\n'
            f'[ ! -d /run/systemd/system ] || echo "live {number} timers'
            " $({ systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer apt-daily.service"
            " apt-daily-upgrade.service; systemctl is-active apt-daily.timer apt-daily-upgrade.timer"
            "; } </dev/null 2>/dev/null | tr '\\n' ' ')\""
        )

    def trouble(self, state: OwnedState, around: Around) -> str:
        if state.get("lacks"):
            return "the host has no apt"
        found = state.files[0]
        if found.kind == "file" and found.content == self.text.encode():
            for key, value in self.settings.items():
                if state.get(key) != value:
                    return (
                        f"{key} is {state.get(key)!r}: a later file in /etc/apt/apt.conf.d sets it"
                    )
        return ""

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        fields: list[FieldChange] = []
        if self.on:
            fields += differs(
                "package", "" if not state.get("package") else "installed", "installed"
            )
            if self.timers and "timers" in state.live:
                fields += differs("timers", state.get("timers"), _TIMERS)
        return fields

    def settle(self, context: Context) -> str:
        return "upgrades_timers" if self.on and self.timers else ""

    @classmethod
    def emit(cls, items: Sequence[Item[Any]], context: Context) -> str:
        # In a subshell: it sets options of the shell that are not everybody's.
        package = Package("unattended-upgrades")
        install = "".join(
            "if [ ! -x /usr/bin/unattended-upgrade ]; then (\n"
            + Package.emit([Item(item.index, package, PackageState("absent"))], context)
            + "\n) fi\n"
            for item in items
            if item.resource.on
        )
        return install + super().emit(items, context)


def _true(value: bool) -> str:
    return "true" if value else "false"
