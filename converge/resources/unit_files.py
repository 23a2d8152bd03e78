"""systemd unit files: of your own, and drop-ins for others'."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, field_validator, model_validator

from converge.changes import FieldChange
from converge.names import UNIT_SUFFIXES, Text, UnitName
from converge.resource import Around, Context, Resource
from converge.resources.owned import Owned, OwnedState, Wanted, differs
from converge.resources.owned_sh import EMIT
from converge.shell import quote

FOLDER = "/etc/systemd/system"
_DROP_IN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")
_KEY = re.compile(r"[A-Za-z0-9-]+")

LOOK = r"""
[ -d /run/systemd/system ] || unit_none=yes
unit_see() { # number, unit
  [ -z "${unit_none-}" ] || { echo "live $1 systemd none"; return 0; }
  systemctl show --no-pager -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload -- "$2" \
    </dev/null | while IFS='=' read -r key value; do echo "live $1 $3$key $value"; done
}
"""

SHELL = r"""
unit_show() { systemctl show --no-pager -p "$2" -- "$1" | sed "s/^$2=//"; }
unit_load() { # unit: makes systemd read it; says what systemd has against it
  [ -d /run/systemd/system ] || { echo "systemd does not run here: the files are there"; return 0; }
  if owned_late || [ "$(unit_show "$1" NeedDaemonReload)" = yes ]; then
    owned_arm; systemctl daemon-reload
  fi
  case $(unit_show "$1" LoadState) in bad-setting|error)
    systemctl --no-pager --full --lines=0 status -- "$1" || :
    unit_show "$1" LoadError
    die "systemd refuses $1: $(unit_show "$1" LoadState)" ;;
  esac
}
unit_stop() { # unit: before its file goes
  [ -d /run/systemd/system ] || return 0
  case $(unit_show "$1" LoadState) in not-found|masked) return 0 ;; esac
  case $(unit_show "$1" ActiveState) in
    active|activating|reloading) owned_arm; systemctl stop -- "$1" || die "cannot stop $1" ;; esac
  case $(unit_show "$1" UnitFileState) in
    enabled*) owned_arm; systemctl disable -- "$1" || die "cannot disable $1" ;; esac
}
unit_restart() { # unit
  if owned_late && [ -d /run/systemd/system ]; then
    systemctl try-restart -- "$1" || {
      systemctl --no-pager --full --lines=20 status -- "$1" || :; die "cannot restart $1"; }
  fi
}
unit_gone() {
  owned_late && [ -d /run/systemd/system ] || return 0
  systemctl daemon-reload
  systemctl reset-failed -- "$1" 2>/dev/null || :
}
"""


def _values(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int | float) else value


def _lines(value: tuple[str, ...]) -> tuple[str, ...]:
    for line in value:
        if "\n" in line or "\0" in line:
            raise ValueError(f"{line!r} is more than one line")
    return value


Setting = Annotated[
    tuple[Annotated[str, BeforeValidator(_value)], ...],
    BeforeValidator(_values),
    AfterValidator(_lines),
]
Sections = dict[str, dict[str, Setting]]


def render(sections: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """As systemd.syntax(7) has it; a setting with several values is one line for each."""
    parts: list[str] = []
    for section, settings in sections.items():
        lines = [f"{key}={value}" for key, values in settings.items() for value in values]
        parts.append("\n".join([f"[{section}]", *lines, ""]))
    return "\n".join(parts)


def read(content: str) -> list[str]:
    """Sections of a unit file. Raises ValueError naming the line that is none of the syntax."""
    sections: list[str] = []
    carried = False
    for number, line in enumerate(content.splitlines(), 1):
        text = line.strip()
        if carried:
            carried = text.endswith("\\") or text.startswith(("#", ";"))
            continue
        if not text or text[0] in "#;":
            continue
        if text[0] == "[":
            if not re.fullmatch(r"\[[A-Za-z0-9 -]+\]", text):
                raise ValueError(f"line {number}: {text!r} is no section")
            sections.append(text[1:-1])
        elif not sections:
            raise ValueError(f"line {number}: {text!r} stands before the first [Section]")
        elif "=" not in text or not _KEY.fullmatch(text.partition("=")[0].strip()):
            raise ValueError(f"line {number}: {text!r} is no Setting=value")
        else:
            carried = text.endswith("\\")
    if not sections:
        raise ValueError("holds no [Section]")
    return sections


class Unit(Owned):
    """A systemd unit file, or a drop-in for one, as text or as sections.

        Unit("app.service", sections={
            "Unit": {"Description": "The app", "After": "network.target"},
            "Service": {"ExecStart": "/opt/app/run", "User": "app", "Restart": "always",
                        "Environment": ["A=1", "B=2"]},
            "Install": {"WantedBy": "multi-user.target"}})
        Unit("nginx.service", drop_in="limits", sections={"Service": {"LimitNOFILE": 65536}})
        Unit("old.service", absent=True)

    In YAML: `- unit: app.service` with `content: |` or `sections:`. systemd is made to read it. What
    runs already is restarted with `restart: true`, or by a Service with this in its `on_change`;
    enabling and starting are the Service's. Removing a unit stops and disables it first.
    """

    key: ClassVar[str] = "unit"
    library: ClassVar[str | tuple[str, ...]] = (EMIT, SHELL)
    look_library: ClassVar[str] = LOOK

    unit: UnitName
    content: Text | None = None
    sections: Sections | None = None
    drop_in: str | None = None
    """Name of a file in UNIT.d: adds to a unit that comes from elsewhere."""
    restart: bool = False
    """Restart it, if it runs, when its file changed."""
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            unit: str,
            /,
            *,
            content: str | None = None,
            sections: Mapping[str, Mapping[str, Any]] | None = None,
            drop_in: str | None = None,
            restart: bool = False,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("unit")
    @classmethod
    def _whole(cls, value: str) -> str:
        if not value.endswith(UNIT_SUFFIXES) or value.startswith("."):
            raise ValueError(f"{value!r} does not say what it is: write {value}.service")
        return value

    @field_validator("drop_in")
    @classmethod
    def _file(cls, value: str | None) -> str | None:
        if value is not None and not _DROP_IN.fullmatch(value):
            raise ValueError(f"{value!r} is no name for a drop-in: letters, digits and . _ -")
        return value.removesuffix(".conf") if value else value

    @field_validator("content")
    @classmethod
    def _syntax(cls, value: str | None) -> str | None:
        if value is not None:
            read(value)
        return value

    @field_validator("sections")
    @classmethod
    def _keys(cls, value: Sections | None) -> Sections | None:
        for section, settings in (value or {}).items():
            if not re.fullmatch(r"[A-Za-z0-9 -]+", section):
                raise ValueError(f"{section!r} is no section")
            for key in settings:
                if not _KEY.fullmatch(key):
                    raise ValueError(f"{key!r} is no setting of a unit")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [n for n in ("content", "sections") if getattr(self, n) is not None]
        if self.absent and (given or self.restart):
            raise ValueError("a unit that is to be absent has nothing else")
        if not self.absent and len(given) != 1:
            raise ValueError("say what the unit holds: content or sections, one of them")
        if (
            not self.absent
            and self.drop_in is None
            and self.unit.endswith(".service")
            and ("Service" not in (self.sections or read(self.content or "[Service]")))
        ):
            raise ValueError(f"{self.unit} has no [Service] section")
        return self

    @property
    def name(self) -> str:
        return self.unit if self.drop_in is None else f"{self.unit}/{self.drop_in}"

    @property
    def path(self) -> str:
        if self.drop_in is None:
            return f"{FOLDER}/{self.unit}"
        return f"{FOLDER}/{self.unit}.d/{self.drop_in}.conf"

    @property
    def instance(self) -> str:
        """What systemd can be asked about: a template alone is nothing that is loaded."""
        return self.unit.replace("@.", "@converge.")

    def provides(self) -> frozenset[str]:
        return super().provides() | {f"unit-file:{self.unit}"}

    def requires(self) -> frozenset[str]:
        package = re.split(r"[@.]", self.unit)[0]
        return frozenset({f"package:{package}"} if self.drop_in else ())

    def files(self) -> tuple[Wanted, ...]:
        body = self.content if self.sections is None else render(self.sections)
        return (Wanted(self.path, None if self.absent else body),)

    def look(self, number: int, context: Context) -> str:
        return f"unit_see {number} {quote(self.instance)} ''"

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        load = state.get("LoadState")
        if self.absent:
            return []
        if load in ("bad-setting", "error") and self.drop_in is None:
            return [FieldChange(field="systemd takes it as", before=load, after="loaded")]
        return differs("daemon-reload", "due" if state.get("NeedDaemonReload") == "yes" else "", "")

    def trouble(self, state: OwnedState, around: Around) -> str:
        if state.get("LoadState") == "masked" and not self.absent and self.drop_in is None:
            return f"{self.unit} is masked: declare service: {self.unit} with masked: false first"
        return ""

    def before(self, context: Context) -> str:
        stops = self.absent and self.drop_in is None and "@." not in self.unit
        return f"unit_stop {quote(self.unit)}" if stops else ""

    def settle(self, context: Context) -> str:
        if self.absent:
            return f"unit_gone {quote(self.instance)}"
        restart = f"\nunit_restart {quote(self.unit)}" if self.restart else ""
        return f"unit_load {quote(self.instance)}{restart}"
