"""systemd units: running, enabled, and restarted or reloaded when what they listen to changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from converge.changes import KNOWN_AFTER_APPLY, Change, FieldChange
from converge.names import UNIT_SUFFIXES, UnitName
from converge.resource import Around, Context, Item, Ref, Resource, State
from converge.shell import chunks, quote, words

_ENABLED = {"enabled", "alias", "indirect", "generated"}
_ACTIVE = {"active", "reloading", "refreshing"}


@dataclass(frozen=True)
class ServiceState(State):
    active: str = ""
    enabled: str = ""
    load: str = ""
    pending: str | None = None
    """The run that changed what this service listens to and did not get to restart it."""

    @property
    def running(self) -> bool:
        return self.active in _ACTIVE


class Service(Resource):
    """A unit runs or not, and is enabled or not; what is not given is left alone.

        Service("nginx", running=True, enabled=True)
        Service("nginx", running=True, on_change=[site], action="reload")

        Service("app", running=True, settle=5)               # starts, and is still there 5 s later
        Service("bluetooth", masked=True)                    # stopped, and cannot be started

    After a start or restart the host watches the unit for `settle` seconds: one that dies, or is
    restarted by systemd in that time, has failed, and its last words are in the report.

    When a resource in `on_change` changes, the unit is restarted (or reloaded). The host keeps
    that on record until it was done, so a run that dies in between loses nothing.
    """

    key: ClassVar[str] = "service"

    service: UnitName
    running: bool | None = None
    enabled: bool | None = None
    masked: bool | None = None
    on_change: tuple[Ref, ...] = ()
    action: Literal["restart", "reload"] = "restart"
    settle: float = Field(default=1.0, ge=0, le=300)
    """Seconds that it must stay up after a start; 0: take systemd's word."""

    if TYPE_CHECKING:

        def __init__(
            self,
            service: str,
            /,
            *,
            running: bool | None = None,
            enabled: bool | None = None,
            masked: bool | None = None,
            on_change: Sequence[str | Resource] = (),
            action: Literal["restart", "reload"] = "restart",
            settle: float = 1.0,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("service")
    @classmethod
    def _short(cls, value: str) -> str:
        return value.removesuffix(".service")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.masked and (self.running or self.enabled):
            raise ValueError("a masked unit can neither run nor be enabled")
        return self

    @property
    def unit(self) -> str:
        if self.service.endswith(UNIT_SUFFIXES):
            return self.service
        return f"{self.service}.service"

    def provides(self) -> frozenset[str]:
        mine = {self.id}
        if self.running or self.enabled:
            mine.add(f"running:{self.service}")
        return frozenset(mine)

    def requires(self) -> frozenset[str]:
        package = self.service.partition("@")[0]
        unit = self.unit
        template = package + "@." + unit.rpartition(".")[2] if "@" in self.service else unit
        files = {
            f"path:{folder}/{name}"
            for folder in ("/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system")
            for name in (unit, template)
        }
        own = {f"unit-file:{name}" for name in (unit, template)}
        return frozenset({f"package:{package}", *files, *own, *self.on_change})

    def listens(self) -> tuple[str, ...]:
        return self.on_change

    def trigger(self) -> str | None:
        return self.unit

    @classmethod
    def probe(cls, resources: Sequence[Service], context: Context) -> str:
        units = [resource.unit for resource in resources]
        lines = ["[ -d /run/systemd/system ] || { echo none; return 0; }", "echo systemd"]
        lines += [
            "systemctl show --no-pager -p LoadState -p ActiveState -p UnitFileState"
            f" -- {words(chunk)} </dev/null; echo"
            for chunk in chunks(units, [len(unit) + 3 for unit in units])
        ]
        lines += [
            f'[ ! -f "$S"/pending/{quote(r.unit)} ] || {{ printf "Pending=%s " {number};'
            f' cat "$S"/pending/{quote(r.unit)}; }}'
            for number, r in enumerate(resources)
        ]
        return "\n".join(lines)

    @classmethod
    def parse(
        cls, output: bytes, resources: Sequence[Service], context: Context
    ) -> list[ServiceState]:
        lines = output.decode(errors="replace").splitlines()
        if not lines or lines[0] != "systemd":
            none = "systemd does not run there"
            why = none if lines[:1] == ["none"] else "the probe gave no answer"
            return [ServiceState("unknown", why) for _ in resources]
        blocks: list[dict[str, str]] = [{}]
        pending: dict[int, str] = {}
        for line in lines[1:]:
            key, equals, value = line.partition("=")
            if key == "Pending" and equals:
                number, _, run = value.partition(" ")
                if number.isdecimal():
                    pending[int(number)] = run or "an earlier run"
            elif equals:
                blocks[-1][key] = value
            elif blocks[-1]:
                blocks.append({})
        full = [block for block in blocks if "LoadState" in block]
        if len(full) != len(resources):
            return [ServiceState("unknown", "systemctl gave no answer") for _ in resources]
        return [
            ServiceState(
                "absent" if block["LoadState"] == "not-found" else "present",
                active=block.get("ActiveState", ""),
                enabled=block.get("UnitFileState", ""),
                load=block["LoadState"],
                pending=pending.get(number),
            )
            for number, block in enumerate(full)
        ]

    def diff(self, state: ServiceState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="blocked", why=state.why)
        if state.status == "absent":
            return self._diff_absent(around)
        fields: list[FieldChange] = []
        stuck = self._stuck(state)
        if stuck:
            return Change(resource=self.id, action="blocked", why=stuck)
        if self.masked is not None and self.masked != (state.load == "masked"):
            before, after = state.load, "masked" if self.masked else "not masked"
            fields.append(FieldChange(field="masked", before=before, after=after))
        if self.enabled is not None and self.enabled != (state.enabled in _ENABLED):
            word = "enabled" if self.enabled else "disabled"
            fields.append(
                FieldChange(field="enabled", before=state.enabled or "disabled", after=word)
            )
        running = False if self.masked else self.running
        if running is not None and running != state.running:
            after = "active" if running else "inactive"
            fields.append(FieldChange(field="running", before=state.active, after=after))
        elif running is not False and state.running:
            because = ", ".join(f"{ref} changes" for ref in around.triggers)
            if state.pending is not None:
                late = f"left over from run {state.pending}"
                because = f"{because}, {late}" if because else late
            if because:
                fields.append(FieldChange(field=self.action, before=None, after=because))
        if not fields:
            return None
        return Change(resource=self.id, action="update", fields=tuple(fields))

    def _diff_absent(self, around: Around) -> Change | None:
        if self.masked:
            field = FieldChange(field="masked", before=None, after="masked")
            return Change(resource=self.id, action="update", fields=(field,))
        if not self.running and not self.enabled and not around.packages:
            return None  # what is not there neither runs nor starts at boot
        if around.packages:
            wanted = {"running": self.running, "enabled": self.enabled}
            return Change(
                resource=self.id,
                action="unknown",
                why=f"the unit is not there yet, {around.bringers} may bring it",
                fields=tuple(
                    FieldChange(field=name, before=KNOWN_AFTER_APPLY, after=_yes(value))
                    for name, value in wanted.items()
                    if value is not None
                ),
            )
        if any(token.endswith("/" + self.unit) for token in around.provided):
            return Change(
                resource=self.id,
                action="unknown",
                why="its unit file is declared here and not loaded yet",
                fields=(FieldChange(field="running", before=None, after=_yes(self.running)),),
            )
        return Change(resource=self.id, action="blocked", why=f"there is no unit {self.unit}")

    def _stuck(self, state: ServiceState) -> str:
        if state.load == "masked" and (self.running or self.enabled) and self.masked is None:
            return f"{self.unit} is masked: say masked: false, if it is to be unmasked"
        if self.enabled and state.enabled == "static":
            return f"{self.unit} is static: it has no [Install] section and cannot be enabled"
        if self.enabled is False and state.enabled == "generated":
            return f"{self.unit} is generated (an init script): it cannot be disabled here"
        return ""

    @classmethod
    def emit(cls, items: Sequence[Item[Service]], context: Context) -> str:
        return "\n".join(
            f"service_settle {item.index} {quote(item.resource.unit)}"
            f" '{_yes(item.resource.enabled)}' '{_yes(item.resource.running)}'"
            f" {item.resource.action} '{_yes(item.resource.masked)}'"
            f" {round(item.resource.settle * 10)}"
            for item in items
        )

    library: ClassVar[str] = r"""
service_look() {
  load= active= file= stale= start= restarts=
  while IFS='=' read -r key value; do
    case $key in
      LoadState) load=$value ;; ActiveState) active=$value ;;
      UnitFileState) file=$value ;; NeedDaemonReload) stale=$value ;;
      InvocationID) start=$value ;; NRestarts) restarts=$value ;;
    esac
  done <<END
$(systemctl show --no-pager -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload \
  -p InvocationID -p NRestarts -- "$1")
END
}
service_do() { # unit, verb: what the unit has to say belongs to the failure
  systemctl --no-pager "$2" -- "$1" || {
    systemctl --no-pager --full --lines=20 status -- "$1" || :
    die "systemctl $2 $1 failed"; }
}
# systemd calls a program started that died a moment later: what counts is that it stays.
service_stays() { # unit, tenths of a second
  [ "$2" -gt 0 ] || return 0
  # Between two deaths it looks alive: until it stayed, it is on record as not restarted.
  [ -e "$S/pending/$1" ] || printf '%s\n' "$ID" >"$S/pending/$1"
  service_look "$1"
  tenths=0 first="$start $restarts"
  while :; do
    case $active in active|reloading|refreshing) ;; *) service_died "$1" "is $active" ;; esac
    [ "$start $restarts" = "$first" ] || service_died "$1" "was restarted by systemd"
    [ "$tenths" -lt "$2" ] || return 0
    sleep 0.2 2>/dev/null || sleep 1
    tenths=$((tenths + 2)); service_look "$1"
  done
}
service_died() {
  systemctl --no-pager --full --lines=20 status -- "$1" || :
  die "$1 did not stay up after its start: it $2"
}
service_settle() { # index, unit, enabled, running, action, masked, tenths to settle
  [ -d /run/systemd/system ] || die "systemd does not run here"
  service_look "$2"
  if [ "$load" = not-found ] || [ "$stale" = yes ]; then
    systemctl daemon-reload; service_look "$2"
  fi
  case $6:$load in
    yes:masked) ;;
    yes:*) systemctl mask --now -- "$2" || die "cannot mask $2"; changed "$1"; service_look "$2" ;;
    no:masked) service_do "$2" unmask; changed "$1"; service_look "$2" ;;
  esac
  if [ "$6" = yes ]; then
    case $active in inactive|failed) ;; *) service_do "$2" stop; changed "$1" ;; esac
    rm -f -- "$S/pending/$2"
    return 0
  fi
  if [ "$load" = not-found ]; then
    case $3$4 in *yes*) die "there is no unit $2" ;; *) return 0 ;; esac
  fi
  case $3:$file in
    yes:enabled|yes:alias|yes:indirect|yes:generated) ;;
    yes:*) service_do "$2" enable; changed "$1" ;;
    no:enabled|no:enabled-runtime|no:alias|no:indirect) service_do "$2" disable; changed "$1" ;;
  esac
  due="$S/pending/$2"
  case $4:$active in
    yes:active|yes:reloading|:active|:reloading)
      if [ -f "$due" ]; then
        case $5 in
          reload) service_do "$2" reload-or-restart ;;
          *) service_do "$2" restart; service_stays "$2" "$7" ;;
        esac
        changed "$1"
      fi ;;
    yes:*)
      case $active in failed) systemctl reset-failed -- "$2" || : ;; esac
      service_do "$2" start; changed "$1"; service_stays "$2" "$7" ;;
    no:active|no:reloading|no:activating) service_do "$2" stop; changed "$1" ;;
  esac
  rm -f -- "$due"
}
"""


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"
