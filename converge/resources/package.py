"""Debian packages, through apt: one dpkg-query to look, one apt-get transaction to act."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from converge.changes import KNOWN_AFTER_APPLY, Change, FieldChange
from converge.names import PackageName, PackageVersion
from converge.resource import Around, Context, Item, Resource, State
from converge.resources.fetch_sh import FETCH
from converge.resources.package_sh import EMIT
from converge.resources.values import Sha256, Url
from converge.shell import chunks, quote, words


@dataclass(frozen=True)
class PackageState(State):
    version: str | None = None
    leftovers: bool = False
    """Removed, its configuration files still there."""
    broken: str | None = None
    """dpkg's word for a package that is neither in nor out ("iF", "iU")."""
    held: bool = False
    deb: tuple[str, str] = ("", "")
    """(SHA-256 of the .deb that was installed by URL last, the version that it had)"""


class Package(Resource):
    """A package is installed, at a version if one is given, or is not.

        Package("nginx")
        Package("nginx", version="1.22.1-9*")      # a pattern, as apt takes it
        Package("telnet", absent=True)
        Package("exim4-base", purge=True)          # its configuration files too
        Package("postgresql-15", hold=True, recommends=False)
        Package("agent", deb="https://example.org/agent_1.2_amd64.deb", sha256="9f86d0..")

    `hold` keeps apt from upgrading or removing it, except here; False lets go. `recommends` says
    whether what it recommends is installed along; by default the host's apt decides. A `deb` is
    fetched by the host and installed with its dependencies from apt; another `sha256` is another
    version.
    """

    key: ClassVar[str] = "package"
    coalesces: ClassVar[bool] = True
    brings: ClassVar[bool] = True
    library: ClassVar[str | tuple[str, ...]] = (FETCH, EMIT)

    package: PackageName
    version: PackageVersion | None = None
    hold: bool | None = None
    recommends: bool | None = None
    deb: Url | None = None
    sha256: Sha256 | None = None
    absent: bool = False
    purge: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            package: str,
            /,
            *,
            version: str | None = None,
            hold: bool | None = None,
            recommends: bool | None = None,
            deb: str | None = None,
            sha256: str | None = None,
            absent: bool = False,
            purge: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("version", "hold", "recommends", "deb", "sha256"):
            if self.gone and getattr(self, name) is not None:
                raise ValueError(f"a package that is to be absent has no {name}")
        if (self.deb is None) != (self.sha256 is None):
            raise ValueError("deb and sha256 go together: what is fetched is checked")
        return self

    @property
    def gone(self) -> bool:
        return self.absent or self.purge

    def follows(self) -> frozenset[str]:
        return frozenset({"apt-source"})

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
        lines += [
            f'[ ! -r "$S/deb/{r.package}" ] || {{ printf "deb\\t%s\\t" {r.package};'
            f' cat "$S/deb/{r.package}"; }}'
            for r in resources
            if r.deb is not None
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
        debs: dict[str, tuple[str, str]] = {}
        for line in lines[1:]:
            parts = line.split("\t")
            if parts[0] == "deb" and len(parts) == 3:
                digest, _, version = parts[2].partition(" ")
                debs[parts[1]] = (digest, version)
            if len(parts) != 4 or len(parts[2]) < 2:
                continue
            name, full, status, version = parts
            state = _state(status, version)
            for key in {name, full}:
                # The same name for a second architecture must not hide the one that is in.
                if key not in found or found[key].status != "present":
                    found[key] = state
        return [
            replace(state, deb=debs.get(resource.package, ("", "")))
            for resource in resources
            for state in [found.get(resource.package, PackageState("absent"))]
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
        held = FieldChange(field="hold", before=_yes(state.held), after=_yes(self.hold))
        fields = [held] if self.hold is not None and self.hold != state.held else []
        if state.status == "absent":
            version = FieldChange(field="version", before=None, after=after)
            made = [field for field in fields if self.hold]
            return Change(resource=self.id, action="create", fields=(version, *made))
        if state.broken:
            fields.append(FieldChange(field="status", before=state.broken, after="ii"))
        elif self.version and not fnmatch.fnmatchcase(before or "", self.version):
            fields.append(FieldChange(field="version", before=before, after=after))
        elif self.deb is not None and state.deb != (self.sha256, before):
            source = FieldChange(field="deb", before=before, after=f"sha256:{self.sha256}"[:19])
            fields.append(source)
        return Change(resource=self.id, action="update", fields=tuple(fields)) if fields else None

    @classmethod
    def emit(cls, items: Sequence[Item[Package]], context: Context) -> str:
        lines = ["package_ready"]
        for item in items:
            package = item.resource
            want = "purge" if package.purge else "absent" if package.absent else "present"
            argument = package.package
            deb = ""
            if package.deb is not None:
                # apt takes what holds a slash for a file.
                argument = f"$T/{item.index}.deb"
                deb = f" {quote(package.deb)} {package.sha256}"
            elif package.version:
                argument += f"={package.version}"
            lines.append(
                f"package_add {item.index} {quote(package.package)} {want}"
                f" {quote(package.version or '')} {_argument(argument)}"
                f" {_word(package.recommends)} {_word(package.hold)}{deb}"
            )
        lines.append("package_settle")
        return "\n".join(lines)


def _state(status: str, version: str) -> PackageState:
    now, held = status[1], status[0] == "h"
    if now == "i":
        return PackageState("present", version=version, held=held)
    if now == "n":
        return PackageState("absent")
    if now == "c":
        return PackageState("absent", leftovers=True)
    return PackageState("present", version=version or None, broken=status.strip(), held=held)


def _yes(value: bool | None) -> str:
    return "yes" if value else "no"


def _word(value: bool | None) -> str:
    return "-" if value is None else _yes(value)


def _argument(value: str) -> str:
    return f'"{value}"' if value.startswith("$T/") else quote(value)
