"""Archives, unpacked into a directory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from converge.changes import Change, FieldChange
from converge.names import Path, UserName
from converge.resource import Around, Context, Item, Material, Resource, State
from converge.resources import owners
from converge.resources.directory import VITAL
from converge.resources.directory_sh import EMIT as DIRECTORIES
from converge.resources.fetch_sh import FETCH
from converge.resources.file_sh import EMIT as FILES
from converge.resources.seen import looked
from converge.resources.values import Artifact, Sha256, Url, answers, below, place, rivals, tag
from converge.shell import quote, supply

LIMIT = 16 * 1024 * 1024
"""Bytes of an archive that comes from the controller: it travels inside of the script."""


@dataclass(frozen=True)
class ArchiveState(State):
    kind: str = "directory"
    stamp: str = ""
    """What was unpacked there last, as the host remembers."""
    version: str = ""
    """What is to be unpacked."""
    accounts: frozenset[str] = frozenset()


class Archive(Resource):
    """An archive is unpacked into a directory.

        Archive("/opt/node", url="https://example.org/node-20.tar.gz", sha256="2ad9..", strip=1)
        Archive("/srv/site", source="site.zip", owner="www-data", exclusive=True)
        Archive("/opt/node", absent=True)

    tar, plain or compressed by what the host can undo (gzip everywhere, xz, bzip2, zstd), and zip
    where it has unzip. Unpacked when the archive is another one than last time, which the host
    keeps on record, or when the directory is gone; what was changed in it meanwhile is not seen.
    By default over what is there; with `exclusive` a fresh tree takes its place. `strip` takes
    leading directories off the names. All belongs to `owner` and `group`, else to root.
    """

    key: ClassVar[str] = "archive"

    archive: Path
    """The directory."""
    url: Url | None = None
    """Fetched by the host. Needs sha256."""
    source: Artifact | None = None
    """A file of the controller, relative to the spec's folder; at most 16 MiB."""
    sha256: Sha256 | None = None
    strip: int = Field(default=0, ge=0, le=20)
    owner: UserName | None = None
    group: UserName | None = None
    exclusive: bool = False
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            archive: str,
            /,
            *,
            url: str | None = None,
            source: str | None = None,
            sha256: str | None = None,
            strip: int = 0,
            owner: str | None = None,
            group: str | None = None,
            exclusive: bool = False,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent:
            allowed = {"archive", "absent", "needs"}
            for name in sorted(self.model_fields_set - allowed):
                raise ValueError(f"an archive that is to be absent has no {name}")
        elif (self.url is None) == (self.source is None):
            raise ValueError("say where it comes from: url or source")
        if self.url is not None and self.sha256 is None:
            raise ValueError("url needs sha256: what is fetched is checked")
        if (self.absent or self.exclusive) and self.archive in VITAL:
            raise ValueError(f"{self.archive} is never removed or replaced as a whole")
        return self

    def compose(self, material: Material) -> bytes | None:
        if self.source is None:
            return None
        body = material.load(self.source)
        if len(body) > LIMIT:
            raise ValueError(
                f"{self.source} is larger than the limit of {LIMIT} bytes: put it"
                " where the host can fetch it, and give its url"
            )
        found = hashlib.sha256(body).hexdigest()
        if self.sha256 is not None and found != self.sha256:
            raise ValueError(f"{self.source} has the SHA-256 {found}, not {self.sha256}")
        return body

    def version(self, context: Context) -> str:
        """All that decides what the tree looks like: one word, kept on the host."""
        digest = self.sha256
        if digest is None and (body := context.bodies.get(self.id)) is not None:
            digest = hashlib.sha256(body).hexdigest()
        return f"{digest or '-'}:{self.strip}:{self.owner or ''}:{self.group or ''}"

    def provides(self) -> frozenset[str]:
        if self.absent:
            return frozenset({self.id, f"no-path:{self.archive}"})
        return frozenset({self.id, *place(self.archive)})

    def requires(self) -> frozenset[str]:
        directory = {f"directory:{self.archive}"} if not self.absent else set()
        return frozenset({*below(self.archive), *owners.tokens(self), *directory})

    def forbids(self) -> Mapping[str, str]:
        refused = {**rivals(self.key, self.archive), **owners.refused(self)}
        if not self.absent:
            del refused[f"directory:{self.archive}"]
        else:
            refused[f"file-below:{self.archive}"] = f"it lies below {self.archive}"
        return refused

    @classmethod
    def probe(cls, resources: Sequence[Archive], context: Context) -> str:
        lines = [_PROBE, *owners.ask(resources)]
        lines += [
            f"archive_see {number} {quote(r.archive)} {tag(r.archive)}"
            for number, r in enumerate(resources)
        ]
        return "\n".join(lines)

    @classmethod
    def parse(
        cls, output: bytes, resources: Sequence[Archive], context: Context
    ) -> list[ArchiveState]:
        accounts = owners.known(output)
        found = answers(output, len(resources))
        return [
            _state(words, r.version(context), accounts)
            for r, words in zip(resources, found, strict=True)
        ]

    def diff(self, state: ArchiveState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="unknown", why=state.why)
        if state.status == "present" and state.kind != "directory":
            return Change(resource=self.id, action="blocked", why=f"a {state.kind} is there")
        if self.absent:
            if state.status == "absent":
                return None
            if not state.stamp:
                why = "no archive was unpacked there: remove it as a directory"
                return Change(resource=self.id, action="blocked", why=why)
            gone = FieldChange(field="archive", before=_short(state.stamp), after=None)
            return Change(resource=self.id, action="remove", fields=(gone,))
        if why := owners.lost(self, state.accounts, around):
            return Change(resource=self.id, action="blocked", why=why)
        if state.status == "present" and state.stamp == state.version:
            return None
        known = state.stamp if state.status == "present" else ""
        field = FieldChange(
            field="archive", before=_short(known) if known else None, after=_short(state.version)
        )
        action = "update" if known else "create"
        return Change(resource=self.id, action=action, fields=(field,))

    @classmethod
    def emit(cls, items: Sequence[Item[Archive]], context: Context) -> str:
        lines: list[str] = []
        for item in items:
            one = item.resource
            path, mark = quote(one.archive), tag(one.archive)
            if one.absent:
                lines.append(f"archive_remove {item.index} {path} {mark}")
                continue
            if one.url is not None:
                get = f'fetch {quote(one.url)} "$T/archive" {one.sha256}'
            else:
                body = context.bodies[one.id]
                get = f'{supply(body, context.spooled)} | base64 -d >"$T/archive"'
            lines.append(
                f"archive_get() {{\n{get}\n}}\n"
                f"archive_settle {item.index} {path} {mark} {quote(one.version(context))}"
                f" {one.strip} {quote(one.owner or '')} {quote(one.group or '')}"
                f" '{'exclusive' if one.exclusive else ''}'"
            )
        return "\n".join(lines)

    library: ClassVar[str | tuple[str, ...]] = (
        FILES,
        FETCH,
        DIRECTORIES,
        r"""
archive_strip() { [ "$1" = 0 ] || echo "--strip-components=$1"; }
archive_tar() { # archive, directory, how many leading directories go, option of what undoes it
  # -o: what was whose on the machine that packed it means nothing here.
  tar -o ${4:+"$4"} $(archive_strip "$3") -xf "$1" -C "$2"
}
archive_unpack() { # archive, directory, how many leading directories go
  # Not every tar finds out by itself.
  case $(head -c 4 "$1" | od -An -tx1 | tr -d ' \n') in
    504b*) archive_zip "$@" ;;
    1f8b*) archive_tar "$@" -z ;;
    fd377a58) archive_tar "$@" -J ;;
    425a68*) archive_tar "$@" -j ;;
    28b52ffd) archive_tar "$@" --zstd ;;
    *) archive_tar "$@" ;;
  esac || die "the archive cannot be unpacked"
}
archive_zip() {
  command -v unzip >/dev/null || die "the host has no unzip"
  unzip -q -o "$1" -d "$2" || return 1
  n=$3
  while [ "$n" -gt 0 ]; do
    mkdir -- "$2.strip"
    for top in "$2"/* "$2"/.[!.]* "$2"/..?*; do
      [ -d "$top" ] && [ ! -L "$top" ] || continue
      for inner in "$top"/* "$top"/.[!.]* "$top"/..?*; do
        if [ ! -e "$inner" ] && [ ! -L "$inner" ]; then continue; fi
        mv -f -- "$inner" "$2.strip/" || return 1
      done
    done
    rm -rf -- "$2"; mv -- "$2.strip" "$2"
    n=$((n - 1))
  done
}
archive_settle() { # index, path, tag, version, strip, owner, group, exclusive
  [ ! -L "$2" ] || die "$2 is a symbolic link"
  [ -d "$2" ] || [ ! -e "$2" ] || die "$2 is not a directory"
  stamp=$S/archives/$3
  [ ! -d "$2" ] || [ ! -r "$stamp" ] || [ "$(cat "$stamp")" != "$4" ] || return 0
  up=${2%/*}; file_parents "${up:-/}"
  archive_get
  new=$up/.converge-$3 old=$up/.converge-$3.old
  rm -rf -- "$new" "$new.strip"
  # Nobody else looks into it before it belongs to whom it shall.
  mkdir -m 0700 -- "$new"
  ( archive_unpack "$T/archive" "$new" "$5" ) || { rm -rf -- "$new" "$new.strip"; exit 1; }
  rm -f -- "$T/archive"
  [ -z "$6" ] || chown -hR -- "$6" "$new"
  [ -z "$7" ] || chgrp -hR -- "$7" "$new"
  mode=755 who=
  if [ -d "$2" ]; then mode=$(stat -c %a -- "$2") who=$(stat -c '%u:%g' -- "$2"); fi
  chmod -- "$mode" "$new"
  [ -z "$who$6$7" ] || [ -n "$6$7" ] || chown -- "$who" "$new"
  mkdir -p -- "$S/archives"
  # From here until all is there nobody may think that it is.
  rm -f -- "$stamp"
  if [ -d "$2" ] && [ -z "$8" ]; then
    cp -af -- "$new/." "$2/" || die "cannot copy into $2"
    rm -rf -- "$new"
  else
    rm -rf -- "$old"
    [ ! -d "$2" ] || mv -T -- "$2" "$old"
    mv -T -- "$new" "$2"
    [ ! -d "$old" ] || directory_rm "$old" -prune
  fi
  sync
  printf '%s\n' "$4" >"$stamp"
  changed "$1"
}
archive_remove() { # index, path, tag
  [ -d "$2" ] && [ ! -L "$2" ] || { rm -f -- "$S/archives/$3"; return 0; }
  [ -r "$S/archives/$3" ] || die "no archive was unpacked in $2: remove it as a directory"
  directory_rm "$2" -prune
  rm -f -- "$S/archives/$3"
  changed "$1"
}
""",
    )


_PROBE = r"""
archive_see() { # number, path, tag
  if [ ! -e "$2" ] && [ ! -L "$2" ]; then
    d=${2%/*}
    while [ -n "$d" ] && [ ! -d "$d" ]; do d=${d%/*}; done
    if [ -x "${d:-/}" ]; then echo "absent $1"; else echo "hidden $1"; fi
    return 0
  fi
  stat -c "stat $1 %f %U %G" -- "$2"
  [ ! -r "$S/archives/$3" ] || printf 'stamp %s %s\n' "$1" "$(cat "$S/archives/$3")"
}
"""


def _state(words: dict[str, list[str]], version: str, accounts: frozenset[str]) -> ArchiveState:
    if "hidden" in words:
        return ArchiveState("unknown", "its directory may not be read", accounts=accounts)
    if "absent" in words:
        return ArchiveState("absent", version=version, accounts=accounts)
    there = looked(words.get("stat", []))
    if there is None:
        return ArchiveState("unknown", "the probe gave no answer", accounts=accounts)
    return ArchiveState(
        "present",
        kind=there[0],
        stamp="".join(words.get("stamp", [])),
        version=version,
        accounts=accounts,
    )


def _short(version: str) -> str:
    digest, _, rest = version.partition(":")
    return f"sha256:{digest[:12]}" + ("" if rest == "0::" else f" ({rest})")
