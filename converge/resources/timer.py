"""Timers of systemd, with what they start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import field_validator, model_validator

from converge.changes import FieldChange
from converge.names import UNIT_SUFFIXES, Path, Text, UnitName, UserName
from converge.resource import Around, Context, Resource
from converge.resources.owned import Owned, OwnedState, Wanted, differs
from converge.resources.owned_sh import EMIT
from converge.resources.unit_files import FOLDER, LOOK, SHELL, render
from converge.shell import quote

_SPAN = re.compile(r"([0-9]+(\.[0-9]+)? ?[a-zA-Zµ]*)( [0-9]+(\.[0-9]+)? ?[a-zA-Zµ]*)*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Timer(Owned):
    """A command or unit that systemd starts at times.

        Timer("backup", command="/usr/local/bin/backup --all", on_calendar=["*-*-* 02:30"],
              user="backup", randomized_delay="15min")
        Timer("cleanup", unit="cleanup.service", on_boot="5min", on_unit_active="1h")
        Timer("backup", absent=True)

    In YAML: `- timer: backup` with `command`, `on_calendar: ["*-*-* 02:30"]`. The timer is enabled
    and started. With `command` its service is made as well: the command as systemd takes it
    (`%` and `$` have a meaning there, a shell is not in between). Calendar times are checked on the
    host by systemd itself before they go live.
    """

    key: ClassVar[str] = "timer"
    library: ClassVar[str | tuple[str, ...]] = (
        EMIT,
        SHELL,
        r"""
timer_calendar() {
  [ -d /run/systemd/system ] || die "systemd does not run here"
  command -v systemd-analyze >/dev/null || return 0
  systemd-analyze calendar -- "$1" >/dev/null || die "systemd takes '$1' for no calendar time"
}
timer_settle() { # timer, service, enabled
  unit_load "$2"
  unit_load "$1"
  [ "$(unit_show "$2" LoadState)" != not-found ] || die "$1 is to start $2, and there is no such unit"
  case $3:$(unit_show "$1" UnitFileState) in
    yes:enabled) ;; yes:*) owned_arm; systemctl enable -- "$1" || die "cannot enable $1" ;;
    no:enabled*) owned_arm; systemctl disable -- "$1" || die "cannot disable $1" ;;
  esac
  case $3:$(unit_show "$1" ActiveState) in
    # A changed time counts from the timer's next start.
    yes:active) ! owned_late || systemctl restart -- "$1" || die "cannot restart $1" ;;
    yes:*) owned_arm; systemctl start -- "$1" || die "cannot start $1" ;;
    no:active) owned_arm; systemctl stop -- "$1" || die "cannot stop $1" ;;
  esac
}
""",
    )
    look_library: ClassVar[str] = LOOK

    timer: UnitName
    command: Text | None = None
    unit: UnitName | None = None
    """What to start, if it is not the service of the same name."""
    on_calendar: tuple[str, ...] = ()
    """As systemd.time(7) has it: daily, Mon..Fri 08:00, *-*-01 04:00:00."""
    on_boot: str | None = None
    on_unit_active: str | None = None
    """Time since it was last started."""
    persistent: bool = True
    """Make up for a calendar time at which the machine was off."""
    randomized_delay: str | None = None
    accuracy: str | None = None
    user: UserName | None = None
    cwd: Path | None = None
    environment: dict[str, str] | None = None
    enabled: bool = True
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            timer: str,
            /,
            *,
            command: str | None = None,
            unit: str | None = None,
            on_calendar: Sequence[str] = (),
            on_boot: str | None = None,
            on_unit_active: str | None = None,
            persistent: bool = True,
            randomized_delay: str | None = None,
            accuracy: str | None = None,
            user: str | None = None,
            cwd: str | None = None,
            environment: Mapping[str, str] | None = None,
            enabled: bool = True,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("timer")
    @classmethod
    def _short(cls, value: str) -> str:
        value = value.removesuffix(".timer")
        if value.endswith(UNIT_SUFFIXES) or value.startswith("."):
            raise ValueError(f"{value!r} is no name for a timer: write it without a suffix")
        return value

    @field_validator("command")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        if value is not None and ("\n" in value or not re.match("[-@!+:]*/", value)):
            raise ValueError("a command is one line that begins with the full path of a program")
        return value

    @field_validator("on_calendar", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("on_calendar")
    @classmethod
    def _times(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for time in value:
            if not re.fullmatch(r"[A-Za-z0-9*:/.,~+_ -]+", time) or not time.strip("- "):
                raise ValueError(f"{time!r} is no calendar time: write daily or Mon..Fri 08:00")
        return value

    @field_validator("on_boot", "on_unit_active", "randomized_delay", "accuracy")
    @classmethod
    def _span(cls, value: str | None) -> str | None:
        if value is not None and not _SPAN.fullmatch(value):
            raise ValueError(f"{value!r} is no time span: write 15min or 1h 30min")
        return value

    @field_validator("environment")
    @classmethod
    def _variables(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name, text in (value or {}).items():
            if not _VARIABLE.fullmatch(name) or "\n" in text or "\0" in text:
                raise ValueError(f"{name!r} is no variable of one line")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        when = bool(self.on_calendar or self.on_boot or self.on_unit_active)
        if self.absent:
            if when or self.command or self.unit:
                raise ValueError("a timer that is to be absent has nothing else")
            return self
        if not when:
            raise ValueError("say when: on_calendar, on_boot or on_unit_active")
        if self.command and self.unit:
            raise ValueError("command and unit exclude each other")
        if not self.command and (self.user or self.cwd or self.environment):
            raise ValueError("user, cwd and environment belong to a command")
        return self

    @property
    def service(self) -> str:
        return self.unit or f"{self.timer}.service"

    def provides(self) -> frozenset[str]:
        return super().provides() | {f"unit-file:{self.timer}.timer"}

    def requires(self) -> frozenset[str]:
        tokens = {f"unit-file:{self.service}", f"unit:{self.service}"}
        if self.user:
            tokens.add(f"user:{self.user}")
        if self.command:
            tokens.add(f"path:{self.command.lstrip('-@!+:').split()[0]}")
        return frozenset(tokens)

    def forbids(self) -> Mapping[str, str]:
        mine = super().forbids()
        return {**mine, f"unit:{self.timer}.timer": "both write that unit"} | (
            {f"unit:{self.timer}.service": "both write that unit"} if self.command else {}
        )

    def files(self) -> tuple[Wanted, ...]:
        timer = Wanted(f"{FOLDER}/{self.timer}.timer", None if self.absent else self._timer())
        if not self.command:
            return (timer,)
        return (Wanted(f"{FOLDER}/{self.timer}.service", self._service()), timer)

    def _service(self) -> str:
        environment = tuple(
            '"' + f"{k}={v}".replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'
            for k, v in (self.environment or {}).items()
        )
        settings = {
            "Type": ("oneshot",),
            "ExecStart": (self.command or "",),
            "User": (self.user,) if self.user else (),
            "WorkingDirectory": (self.cwd.replace("%", "%%"),) if self.cwd else (),
            "Environment": environment,
        }
        return render({"Unit": {"Description": (self._sign,)}, "Service": settings})

    @property
    def _sign(self) -> str:
        """By this a service is known to have been made for the timer, and to go with it."""
        return f"Work of {self.timer}.timer"

    def _timer(self) -> str:
        given = {
            "OnCalendar": self.on_calendar,
            "OnBootSec": (self.on_boot,) if self.on_boot else (),
            "OnUnitActiveSec": (self.on_unit_active,) if self.on_unit_active else (),
            "Persistent": ("true",) if self.persistent and self.on_calendar else (),
            "RandomizedDelaySec": (self.randomized_delay,) if self.randomized_delay else (),
            "AccuracySec": (self.accuracy,) if self.accuracy else (),
            "Unit": (self.service,),
        }
        return render(
            {
                "Unit": {"Description": (f"Starts {self.service}",)},
                "Timer": given,
                "Install": {"WantedBy": ("timers.target",)},
            }
        )

    def look(self, number: int, context: Context) -> str:
        seen = f"unit_see {number} {quote(self.timer + '.timer')} ''"
        if self.absent:
            seen += (
                f"\n! grep -qxF {quote('Description=' + self._sign)}"
                f" {quote(f'{FOLDER}/{self.timer}.service')} 2>/dev/null ||"
                f" echo 'live {number} ours yes'"
            )
        return seen

    def there(self, state: OwnedState) -> bool:
        return super().there(state) or bool(state.get("ours"))

    def trouble(self, state: OwnedState, around: Around) -> str:
        return "systemd does not run there" if state.get("systemd") and not self.absent else ""

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        if self.absent:
            gone = FieldChange(field=f"{self.timer}.service", before="present", after=None)
            return [gone] if state.get("ours") else []
        now: Literal["yes", "no"] = "yes" if self.enabled else "no"
        enabled = "yes" if state.get("UnitFileState") == "enabled" else "no"
        running = "yes" if state.get("ActiveState") == "active" else "no"
        reload = "due" if state.get("NeedDaemonReload") == "yes" else ""
        return [
            *differs("enabled", enabled, now),
            *differs("waiting", running, now),
            *differs("daemon-reload", reload, ""),
        ]

    def before(self, context: Context) -> str:
        timer = quote(f"{self.timer}.timer")
        if self.absent:
            return f"unit_stop {timer}"
        return "\n".join(f"timer_calendar {quote(time)}" for time in self.on_calendar)

    def settle(self, context: Context) -> str:
        timer = quote(f"{self.timer}.timer")
        if self.absent:
            return (
                f"! grep -qxF {quote('Description=' + self._sign)}"
                f" {quote(f'{FOLDER}/{self.timer}.service')} 2>/dev/null ||"
                f" owned_drop {quote(f'{FOLDER}/{self.timer}.service')}\n"
                f"unit_gone {timer}"
            )
        return f"timer_settle {timer} {quote(self.service)} {'yes' if self.enabled else 'no'}"
