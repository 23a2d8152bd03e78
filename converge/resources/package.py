"""Debian packages, through apt: one dpkg-query to look, one apt-get transaction to act."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from converge.changes import KNOWN_AFTER_APPLY, Change, FieldChange
from converge.names import PackageName, PackageVersion
from converge.resource import Around, Context, Item, Resource, State
from converge.shell import chunks, quote, words


@dataclass(frozen=True)
class PackageState(State):
    version: str | None = None
    leftovers: bool = False
    """Removed, its configuration files still there."""
    broken: str | None = None
    """dpkg's word for a package that is neither in nor out ("iF", "iU")."""


class Package(Resource):
    """A package is installed, at a version if one is given, or is not.

        Package("nginx")
        Package("nginx", version="1.22.1-9*")      # a pattern, as apt takes it
        Package("telnet", absent=True)
        Package("exim4-base", purge=True)          # its configuration files too
    """

    key: ClassVar[str] = "package"
    coalesces: ClassVar[bool] = True
    brings: ClassVar[bool] = True

    package: PackageName
    version: PackageVersion | None = None
    absent: bool = False
    purge: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            package: str,
            /,
            *,
            version: str | None = None,
            absent: bool = False,
            purge: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.version and self.gone:
            raise ValueError("a package that is to be absent has no version")
        return self

    @property
    def gone(self) -> bool:
        return self.absent or self.purge

    def forbids(self) -> Mapping[str, str]:
        return {f"running:{self.package}": "it is to run"} if self.gone else {}

    @classmethod
    def probe(cls, resources: Sequence[Package], context: Context) -> str:
        names = [resource.package for resource in resources]
        lines = ["command -v dpkg-query >/dev/null || { echo none; return 0; }", "echo dpkg"]
        lines += [
            "dpkg-query -W -f='${Package}\\t${binary:Package}\\t${db:Status-Abbrev}\\t${Version}\\n'"
            f" -- {words(chunk)} 2>/dev/null || :"
            for chunk in chunks(names, [len(name) + 3 for name in names])
        ]
        return "\n".join(lines)

    @classmethod
    def parse(
        cls, output: bytes, resources: Sequence[Package], context: Context
    ) -> list[PackageState]:
        lines = output.decode(errors="replace").splitlines()
        if not lines or lines[0] != "dpkg":
            why = "the host has no dpkg" if lines[:1] == ["none"] else "the probe gave no answer"
            return [PackageState("unknown", why) for _ in resources]
        found: dict[str, PackageState] = {}
        for line in lines[1:]:
            parts = line.split("\t")
            if len(parts) != 4 or len(parts[2]) < 2:
                continue
            name, full, status, version = parts
            state = _state(status, version)
            for key in {name, full}:
                # The same name for a second architecture must not hide the one that is in.
                if key not in found or found[key].status != "present":
                    found[key] = state
        return [
            found.get(resource.package, PackageState("absent")) for resource in resources
        ]

    def diff(self, state: PackageState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="blocked", why=state.why)
        before = state.version if state.status == "present" else None
        if self.gone:
            if state.status == "present":
                return Change(
                    resource=self.id,
                    action="remove",
                    fields=(FieldChange(field="version", before=before, after=None),),
                )
            if self.purge and state.leftovers:
                leftovers = FieldChange(field="configuration files", before="kept", after=None)
                return Change(resource=self.id, action="remove", fields=(leftovers,))
            return None
        after = self.version or (KNOWN_AFTER_APPLY if before is None else before)
        field = FieldChange(field="version", before=before, after=after)
        if state.status == "absent":
            return Change(resource=self.id, action="create", fields=(field,))
        if state.broken:
            status = FieldChange(field="status", before=state.broken, after="ii")
            return Change(resource=self.id, action="update", fields=(status,))
        if self.version and not fnmatch.fnmatchcase(before or "", self.version):
            return Change(resource=self.id, action="update", fields=(field,))
        return None

    @classmethod
    def emit(cls, items: Sequence[Item[Package]], context: Context) -> str:
        lines = ["package_ready"]
        for item in items:
            package = item.resource
            want = "purge" if package.purge else "absent" if package.absent else "present"
            argument = package.package
            if package.version:
                argument += f"={package.version}"
            lines.append(
                f"package_add {item.index} {quote(package.package)} {want}"
                f" {quote(package.version or '')} {quote(argument)}"
            )
        lines.append("package_settle")
        return "\n".join(lines)

    library: ClassVar[str] = r"""
package_state() { dpkg-query -W -f='${db:Status-Abbrev}${Version}' -- "$1" 2>/dev/null || :; }
package_fits() { # state, want, version pattern
  case $2:$1 in
    present:?i*) ;;
    absent:?[nc]*|absent:|purge:?n*|purge:) return 0 ;;
    *) return 1 ;;
  esac
  [ -n "$3" ] || return 0
  case ${1#???} in $3) return 0 ;; esac
  return 1
}
package_ready() {
  command -v apt-get >/dev/null || die "the host has no apt-get"
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a APT_LISTCHANGES_FRONTEND=none \
    UCF_FORCE_CONFFOLD=1
  package_members= package_install= package_remove= package_purge= package_updated= package_count=0
  # An earlier dpkg that was killed leaves its journal behind; apt-get refuses until it is used up.
  for package_left in /var/lib/dpkg/updates/[0-9]*; do
    [ ! -e "$package_left" ] || { echo "mending an interrupted dpkg"
      dpkg --configure -a --force-confdef --force-confold || :; break; }
  done
}
package_add() { # index, name, want, version, argument of apt-get
  package_was=$(package_state "$2")
  package_count=$((package_count + 1))
  eval "package_now_$1=\$package_was"
  package_members="$package_members$1 $2 $3 $5 $4
"
  package_fits "$package_was" "$3" "$4" && return 0
  case $3:$package_was in
    present:*) package_install="$package_install $5"
      # For a name it does not know apt-get takes "." for a pattern and a last "+" for an order.
      case $2 in *.*|*+) apt-cache show -- "$2" >/dev/null 2>&1 || package_update ;; esac
      case $2 in *.*|*+) apt-cache show -- "$2" >/dev/null 2>&1 || {
        echo "Unable to locate package $2"; package_install=${package_install% *}; } ;; esac ;;
    purge:*) package_purge="$package_purge $2" ;;
    *) package_remove="$package_remove $2-" ;;
  esac
}
package_apt() {
  apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef \
    -o Dpkg::Options::=--force-confold "$@"
}
package_update() {
  [ -z "$package_updated" ] || return 0
  package_updated=1 package_tries=0
  # The lock on the lists knows no timeout: another apt-get update may be at work.
  while ! package_apt update >"$T/update" 2>&1; do
    case $(cat "$T/update") in *"Could not get lock"*|*"Unable to lock"*) ;; *) break ;; esac
    package_tries=$((package_tries + 1)); [ "$package_tries" -lt 60 ] || break; sleep 2
  done
  cat "$T/update"
}
package_try() {
  set -- "$@"
  for package_list in /var/lib/apt/lists/*_Packages*; do
    [ -e "$package_list" ] || package_update; break
  done
  package_apt "$@" >"$T/apt" 2>&1 && { cat "$T/apt"; return 0; }
  cat "$T/apt"
  [ -z "$package_updated" ] || return 1
  case $(cat "$T/apt") in
    *"Unable to locate"*|*"no installation candidate"*|*"was not found"*|*"Failed to fetch"*|\
    *"unmet dependencies"*|*"no available version"*) package_update; package_apt "$@" ;;
    *) return 1 ;;
  esac
}
package_settle() {
  set -f; set +e
  package_all="$package_install$package_remove"
  # Word splitting is meant: names and versions hold no blanks, and globbing is off.
  [ -z "$package_all" ] || package_try install --allow-downgrades -- $package_all
  [ -z "$package_purge" ] || package_try purge -- $package_purge
  package_rc=0
  while read -r i name want argument version; do
    [ -n "$i" ] || continue
    eval "was=\$package_now_$i"
    now=$(package_state "$name")
    if ! package_fits "$now" "$want" "$version" && [ "$package_count" -gt 1 ]; then
      # One bad name fails the whole transaction: the others must not pay for it.
      echo "== $name on its own"
      case $want in
        present) package_try install --allow-downgrades -- "$argument" </dev/null ;;
        absent) package_try remove -- "$name" </dev/null ;;
        purge) package_try purge -- "$name" </dev/null ;;
      esac
      now=$(package_state "$name")
    fi
    [ "$now" = "$was" ] || changed "$i"
    package_fits "$now" "$want" "$version" || { failed "$i"; package_rc=1; }
  done <<END
$package_members
END
  return $package_rc
}
"""


def _state(status: str, version: str) -> PackageState:
    now = status[1]
    if now == "i":
        return PackageState("present", version=version)
    if now == "n":
        return PackageState("absent")
    if now == "c":
        return PackageState("absent", leftovers=True)
    return PackageState("present", version=version or None, broken=status.strip())
