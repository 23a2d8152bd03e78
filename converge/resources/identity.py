"""Who a machine is and how it speaks: host name, time zone, locale, and names in /etc/hosts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import field_validator, model_validator

from converge.changes import FieldChange
from converge.resource import Around, Context, Resource
from converge.resources.owned import Owned, OwnedState, Wanted, differs
from converge.resources.owned_sh import EMIT
from converge.shell import quote

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_LOCALE = re.compile(r"([a-z]{2,3}(_[A-Z]{2})?)(?:\.([A-Za-z0-9-]+))?(@[a-z]+)?")


def host_name(value: str) -> str:
    """RFC 1123 2.1, and the 64 bytes of Linux's HOST_NAME_MAX."""
    if len(value) > 64 or not all(_LABEL.fullmatch(label) for label in value.split(".")):
        raise ValueError(
            f"{value!r} is no host name: at most 64 letters, digits and -, in parts joined by"
            " dots, none beginning or ending with -"
        )
    return value


class Hostname(Owned):
    """The machine's name, now and after a reboot.

        Hostname("web1")

    In YAML: `- hostname: web1`. Does not touch /etc/hosts: see HostsEntry.
    """

    key: ClassVar[str] = "hostname"
    library: ClassVar[str | tuple[str, ...]] = (
        EMIT,
        r"""
hostname_now() {
  now=$(cat /proc/sys/kernel/hostname)
  [ "$now" != "$1" ] || return 0
  owned_arm
  if command -v hostname >/dev/null; then hostname -- "$1" 2>&1 || hostname "$1"
  else printf '%s\n' "$1" >/proc/sys/kernel/hostname; fi ||
    die "the kernel refuses the new host name: a container without that right?"
}
""",
    )

    hostname: str

    if TYPE_CHECKING:

        def __init__(self, hostname: str, /, *, needs: Sequence[str | Resource] = ()) -> None: ...

    @field_validator("hostname")
    @classmethod
    def _valid(cls, value: str) -> str:
        return host_name(value)

    def provides(self) -> frozenset[str]:
        return super().provides() | {"the:hostname"}

    def forbids(self) -> Mapping[str, str]:
        return {**super().forbids(), "the:hostname": "a machine has one host name"}

    def files(self) -> tuple[Wanted, ...]:
        return (Wanted("/etc/hostname", f"{self.hostname}\n"),)

    def look(self, number: int, context: Context) -> str:
        return f'echo "live {number} now $(cat /proc/sys/kernel/hostname)"'

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        return differs("hostname", state.get("now"), self.hostname)

    def settle(self, context: Context) -> str:
        return f"hostname_now {quote(self.hostname)}"


class Timezone(Owned):
    """The machine's time zone.

        Timezone("Europe/Berlin")

    In YAML: `- timezone: Europe/Berlin`. Programs that run already keep the zone they began with.
    """

    key: ClassVar[str] = "timezone"
    library: ClassVar[str | tuple[str, ...]] = (
        EMIT,
        r"""
timezone_set() {
  [ -f "/usr/share/zoneinfo/$1" ] || die "/usr/share/zoneinfo/$1 is not there (package tzdata)"
  if [ "$(readlink -f /etc/localtime)" != "$(readlink -f "/usr/share/zoneinfo/$1")" ] ||
     [ ! -L /etc/localtime ]; then
    owned_arm
    ln -sfn "/usr/share/zoneinfo/$1" /etc/localtime.converge
    mv -fT /etc/localtime.converge /etc/localtime 2>/dev/null ||
      mv -f /etc/localtime.converge /etc/localtime
  fi
  # Not every release has it; where it is it must not tell another story.
  [ ! -f /etc/timezone ] || [ "$(cat /etc/timezone)" = "$1" ] || {
    owned_arm; printf '%s\n' "$1" >/etc/timezone; }
}
""",
    )

    timezone: str

    if TYPE_CHECKING:

        def __init__(self, timezone: str, /, *, needs: Sequence[str | Resource] = ()) -> None: ...

    @field_validator("timezone")
    @classmethod
    def _valid(cls, value: str) -> str:
        if not _ZONE.fullmatch(value) or len(value) > 100:
            raise ValueError(f"{value!r} is no time zone: write it as Europe/Berlin or Etc/UTC")
        return value

    def provides(self) -> frozenset[str]:
        return super().provides() | {"the:timezone"}

    def requires(self) -> frozenset[str]:
        return frozenset({"package:tzdata"})

    def forbids(self) -> Mapping[str, str]:
        return {"the:timezone": "a machine has one time zone"}

    def there(self, state: OwnedState) -> bool:
        return bool(state.get("now"))

    def look(self, number: int, context: Context) -> str:
        zone = quote(f"/usr/share/zoneinfo/{self.timezone}")
        # Zones have other names too: what counts is the file that both lead to.
        return (
            f"at=$(readlink -f /etc/localtime || :); to=$(readlink -f {zone} || :)\n"
            f'if [ -n "$at" ] && [ "$at" = "$to" ]; then echo "live {number} now "'
            f'{quote(self.timezone)}; else echo "live {number} now ${{at#/usr/share/zoneinfo/}}"; fi\n'
            f'[ -f {zone} ] || echo "live {number} lacks yes"\n'
            f'[ ! -f /etc/timezone ] || echo "live {number} told $(head -n 1 /etc/timezone)"'
        )

    def trouble(self, state: OwnedState, around: Around) -> str:
        if state.get("lacks") and not around.packages:
            return (
                f"the host knows no zone {self.timezone} (misspelt, or package tzdata is missing)"
            )
        return ""

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        told = state.live.get("told", self.timezone)
        return differs("timezone", state.get("now"), self.timezone) or differs(
            "/etc/timezone", told, self.timezone
        )

    def settle(self, context: Context) -> str:
        return f"timezone_set {quote(self.timezone)}"


class Locale(Owned):
    """A locale is generated (package locales), and the system's default if asked for.

        Locale("de_DE.UTF-8", default=True)

    In YAML: `- locale: de_DE.UTF-8`. C and C.UTF-8 are always there and can be the default.
    """

    key: ClassVar[str] = "locale"
    library: ClassVar[str | tuple[str, ...]] = (
        EMIT,
        r"""
locale_known() { # as `locale -a` writes it
  locale -a 2>/dev/null | tr 'A-Z' 'a-z' | tr -d '-' | grep -qxF -e "$1"
}
locale_list() { # name, charset, yes or no
  export KEY="$1 $2" WANTED="$3"
  owned_table /etc/locale.gen '
    { bare = $0; sub(/^[ \t]*#[ \t]*/, "", bare); sub(/[ \t]+$/, "", bare) }
    bare == ENVIRON["KEY"] { if (seen++) next
      if (ENVIRON["WANTED"] == "yes") print bare; else print "# " bare; next }
    { print }
    END { if (!seen && ENVIRON["WANTED"] == "yes") print ENVIRON["KEY"] }'
}
locale_settle() { # name, charset, short form, wanted yes/no, default yes/no
  if [ "$2" != none ]; then
    command -v locale-gen >/dev/null ||
      die "the host has no locale-gen: declare package locales before this"
    if [ "$4" = yes ] && [ -r /usr/share/i18n/SUPPORTED ] &&
      ! grep -qxF -e "$1 $2" /usr/share/i18n/SUPPORTED; then die "the host supports no locale $1 $2"; fi
    locale_list "$1" "$2" "$4"
    known=no; ! locale_known "$3" || known=yes
    if [ "$known" != "$4" ] || owned_late; then
      owned_arm; locale-gen || die "locale-gen failed"
    fi
  fi
  [ "$5" = yes ] || return 0
  at=/etc/default/locale; [ ! -L "$at" ] || at=$(readlink -f "$at")
  [ -e "$at" ] || : >"$at"
  export WANTED="LANG=$1"
  owned_table "$at" '/^[ \t]*LANG=/ { if (!seen++) print ENVIRON["WANTED"]; next } { print }
    END { if (!seen) print ENVIRON["WANTED"] }'
}
""",
    )
    look_library: ClassVar[str] = r"""
known=$(locale -a 2>/dev/null | tr 'A-Z' 'a-z' | tr -d '-')
lang=$(sed -n 's/^[[:space:]]*LANG=//p' /etc/default/locale 2>/dev/null | tail -n 1)
lang=${lang#\"}; lang=${lang%\"}
locale_see() { # number, name, charset, short form
  case "
$known
" in *"
$4
"*) echo "live $1 generated yes" ;; *) echo "live $1 generated no" ;; esac
  listed=no
  line="^[[:space:]]*$(printf %s "$2 $3" | sed 's/[.]/[.]/g')[[:space:]]*$"
  ! grep -qE "$line" /etc/locale.gen 2>/dev/null || listed=yes
  echo "live $1 listed $listed"
  echo "live $1 lang $lang"
  command -v locale-gen >/dev/null || echo "live $1 lacks yes"
}
"""

    locale: str
    default: bool = False
    """LANG of the system."""
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            locale: str,
            /,
            *,
            default: bool = False,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("locale")
    @classmethod
    def _valid(cls, value: str) -> str:
        if value not in ("C", "C.UTF-8") and not _LOCALE.fullmatch(value):
            raise ValueError(f"{value!r} is no locale: write it as de_DE.UTF-8")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent and (self.default or self.built_in):
            raise ValueError(
                "C and C.UTF-8 cannot be removed"
                if self.built_in
                else "a locale that is to be absent cannot be the default"
            )
        return self

    @property
    def built_in(self) -> bool:
        return self.locale in ("C", "C.UTF-8")

    @property
    def charset(self) -> str:
        match = _LOCALE.fullmatch(self.locale)
        assert match is not None
        return match[3] or ("ISO-8859-15" if match[4] == "@euro" else "ISO-8859-1")

    @property
    def short(self) -> str:
        """As `locale -a` has it, in lower case and without -."""
        return self.locale.lower().replace("-", "")

    def provides(self) -> frozenset[str]:
        return super().provides() | ({"the:locale"} if self.default else set())

    def requires(self) -> frozenset[str]:
        return frozenset({"package:locales", "package:locales-all"})

    def forbids(self) -> Mapping[str, str]:
        return {"the:locale": "a machine has one default locale"} if self.default else {}

    def there(self, state: OwnedState) -> bool:
        return self.built_in or state.get("generated") == "yes"

    def look(self, number: int, context: Context) -> str:
        charset = "none" if self.built_in else self.charset
        return f"locale_see {number} {quote(self.locale)} {charset} {quote(self.short)}"

    def awaits(self, state: OwnedState, around: Around) -> str:
        if self.built_in or self.absent or not state.get("lacks") or not around.packages:
            return ""
        return f"locale-gen is not there yet, {around.bringers} may bring it"

    def trouble(self, state: OwnedState, around: Around) -> str:
        if self.built_in or state.get("generated") == ("no" if self.absent else "yes"):
            return ""
        if state.get("lacks") and not around.packages:
            return "the host has no locale-gen: declare package locales before this"
        return ""

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        fields: list[FieldChange] = []
        if not self.built_in:
            wanted = "no" if self.absent else "yes"
            fields += differs("generated", state.get("generated"), wanted)
            # Without the line the next locale-gen would take it away again (and the other way round).
            if not state.get("lacks"):
                fields += differs("in /etc/locale.gen", state.get("listed"), wanted)
        if self.default:
            fields += differs("LANG", state.get("lang"), self.locale)
        return fields

    def settle(self, context: Context) -> str:
        charset = "none" if self.built_in else self.charset
        return (
            f"locale_settle {quote(self.locale)} {charset} {quote(self.short)}"
            f" {'no' if self.absent else 'yes'} {'yes' if self.default else 'no'}"
        )


class HostsEntry(Owned):
    """One line of /etc/hosts: these names for this address, and no others for it.

        HostsEntry("10.0.0.5", names=["db1", "db1.internal"])

    In YAML: `- hosts_entry: 10.0.0.5` with `names: [db1, db1.internal]`. Lines of other addresses
    stay as they are, also where they hold the same names: the first line that has a name counts.
    """

    key: ClassVar[str] = "hosts_entry"
    library: ClassVar[str | tuple[str, ...]] = (
        EMIT,
        r"""
hosts_settle() { # address, line; an empty line removes
  export KEY="$1" WANTED="$2"
  owned_table /etc/hosts '
    { bare = $0; sub(/#.*/, "", bare); split(bare, part) }
    part[1] == ENVIRON["KEY"] { if (!seen++ && ENVIRON["WANTED"] != "") print ENVIRON["WANTED"]; next }
    { print }
    END { if (!seen && ENVIRON["WANTED"] != "") print ENVIRON["WANTED"] }'
}
""",
    )

    hosts_entry: str
    names: tuple[str, ...] = ()
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            hosts_entry: str,
            /,
            *,
            names: Sequence[str] = (),
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("hosts_entry")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            raise ValueError(f"{value!r} is no address: write 10.0.0.5 or fd00::5") from None

    @field_validator("names")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(host_name(name) for name in value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent == bool(self.names):
            raise ValueError("say which names the address has, or that it is absent, not both")
        if ipaddress.ip_address(self.hosts_entry).is_loopback and (
            self.hosts_entry in ("127.0.0.1", "::1") and "localhost" not in self.names
        ):
            raise ValueError(f"{self.hosts_entry} must keep the name localhost")
        return self

    @property
    def line(self) -> str:
        return "" if self.absent else f"{self.hosts_entry}\t{' '.join(self.names)}"

    def there(self, state: OwnedState) -> bool:
        return bool(state.get("names"))

    def look(self, number: int, context: Context) -> str:
        return (
            f'KEY={quote(self.hosts_entry)} awk \'{{ sub(/#.*/, "") }}'
            f' $1 == ENVIRON["KEY"] {{ $1 = ""; out = out (n++ ? " |" : "") $0 }}'
            f' END {{ print "live {number} names" out }}\' /etc/hosts 2>/dev/null ||'
            f" echo 'live {number} names '"
        )

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        found = state.get("names")
        if self.absent:
            return [FieldChange(field="names", before=found, after=None)] if found else []
        return differs("names", found, " ".join(self.names))

    def settle(self, context: Context) -> str:
        return f"hosts_settle {quote(self.hosts_entry)} {quote(self.line)}"
