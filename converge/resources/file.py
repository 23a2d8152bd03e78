"""Regular files: content, mode, owner, group; or that there is none."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, JsonValue, model_validator

from converge.changes import KNOWN_AFTER_APPLY, SENSITIVE, Change, FieldChange
from converge.names import Mode, Path, Text, UserName
from converge.resource import Around, Context, Item, Material, Resource, State
from converge.resources.file_sh import EMIT, PROBE
from converge.resources.seen import looked, unified
from converge.resources.templates import render
from converge.resources.values import Artifact, Command, above, place, tag
from converge.shell import chunks, quote, supply, words

LIMIT = 1024 * 1024
"""Bytes of what a spec itself holds."""
MOST = 64 * 1024 * 1024
"""Bytes of a file or rendered template: what does not belong in a script goes by SFTP."""


@dataclass(frozen=True)
class FileState(State):
    kind: str = "file"
    mode: str = ""
    owner: str = ""
    group: str = ""
    same: bool | None = None
    """Is the content as wanted? None: not compared."""
    digest: str = ""
    """SHA-256 of the content found; never of a sensitive file."""
    content: bytes | None = None
    wanted: bytes | None = None
    """What was composed on the controller, unless it is hidden."""
    missing: frozenset[str] = frozenset()
    """"user:x" and "group:x" tokens of the owner and group that the host does not know."""


class File(Resource):
    """A regular file is there with this content, mode and owner, or is not there.

        File("/etc/motd", content="hi\\n", mode="0644")
        File("/etc/app/key", secret="env://APP_KEY", owner="app", mode="0400")
        File("/etc/logo.png", source="files/logo.png")       # beside the spec
        File("/etc/app.conf", template="app.conf.j2", variables={"port": 8080})
        File("/etc/sudoers.d/ops", content="%ops ALL=(ALL) ALL\n", check="visudo -cf %s")
        File("/etc/shadow", mode="0640", group="shadow")     # attributes only
        File("/etc/nginx/sites-enabled/default", absent=True)

    A new file gets mode 0644, a secret one 0600, unless given. Missing parent directories are
    made (0755), each belonging to whoever owns the directory it is made in. A symbolic link or a
    directory at the path is never written through or replaced. At most 1 MiB, and 64 MiB from `source`.

    A template is Jinja2, rendered on the controller; a variable that is not given is an error.
    `check` is a command for /bin/sh that is given the new file (in place of %s, which needs no
    quotes, else at its end) before it goes live: if it fails, the old file stays. `backup` keeps
    the old file below /var/lib/converge/backup, or beside the new one; its time is in its name.
    """

    key: ClassVar[str] = "file"
    library: ClassVar[str | tuple[str, ...]] = EMIT

    file: Path
    content: Text | None = Field(default=None, repr=False)
    secret: str | None = None
    """A reference such as env://NAME to what the file shall hold. Never shown."""
    source: Artifact | None = None
    """A file of the controller, relative to the spec's folder."""
    template: Artifact | None = None
    """The same, a Jinja2 template."""
    variables: dict[str, JsonValue] | None = None
    """For the template; they come before those of the caller."""
    secret_variables: dict[str, str] | None = None
    """The same, as references such as env://NAME. The file is then never shown."""
    mode: Mode | None = None
    owner: UserName | None = None
    group: UserName | None = None
    absent: bool = False
    sensitive: bool = False
    """Show no content of this file, neither old nor new."""
    check: Command | None = None
    backup: bool | Literal["beside"] = False

    if TYPE_CHECKING:

        def __init__(
            self,
            file: str,
            /,
            *,
            content: str | None = None,
            secret: str | None = None,
            source: str | None = None,
            template: str | None = None,
            variables: Mapping[str, Any] | None = None,
            secret_variables: Mapping[str, str] | None = None,
            mode: str | None = None,
            owner: str | None = None,
            group: str | None = None,
            absent: bool = False,
            sensitive: bool = False,
            check: str | None = None,
            backup: bool | Literal["beside"] = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        bodies = [n for n in _BODIES if getattr(self, n) is not None]
        given = [*bodies, *(n for n in ("mode", "owner", "group", "check") if getattr(self, n))]
        if self.absent and given:
            raise ValueError(f"a file that is to be absent has no {given[0]}")
        if not self.absent and not given:
            raise ValueError(
                "say what the file shall be: content, secret, source, template, mode, owner or"
                " absent"
            )
        if len(bodies) > 1:
            raise ValueError(f"{bodies[0]} and {bodies[1]} exclude each other")
        if self.check is not None and not bodies:
            raise ValueError("check goes with what the file shall hold")
        for name in ("variables", "secret_variables"):
            if getattr(self, name) is not None and self.template is None:
                raise ValueError(f"{name} goes with template")
        if self.content is not None and len(self.content.encode()) > LIMIT:
            raise ValueError(f"content is larger than the limit of {LIMIT} bytes")
        return self

    @property
    def hidden(self) -> bool:
        return self.sensitive or bool(self.secrets())

    @property
    def wanted_mode(self) -> str | None:
        return self.mode or ("0600" if self.secrets() else None)

    def body(self, context: Context) -> bytes | None:
        """What the file shall hold; None if its content is left alone."""
        if self.secret is not None:
            return context.secrets[self.secret]
        if self.content is not None:
            return self.content.encode()
        return context.bodies[self.id] if self.composed else None

    @property
    def composed(self) -> bool:
        return self.source is not None or self.template is not None

    @property
    def filled(self) -> bool:
        """Is its content managed, and not only its mode and owner?"""
        return any(getattr(self, name) is not None for name in _BODIES)

    def compose(self, material: Material) -> bytes | None:
        if self.template is not None:
            hidden = {
                name: material.secrets[ref].decode().removesuffix("\n")
                for name, ref in (self.secret_variables or {}).items()
            }
            given = {**material.variables, **(self.variables or {}), **hidden}
            body = render(self.template, material.load, given)
        elif self.source is not None:
            body = material.load(self.source)
        else:
            return None
        if len(body) > MOST:
            raise ValueError(f"its content is larger than the limit of {MOST} bytes")
        return body

    def provides(self) -> frozenset[str]:
        if self.absent:
            return frozenset({self.id, f"no-path:{self.file}"})
        whole = {f"file-whole:{self.file}"} if self.filled else set()
        return frozenset({self.id, *place(self.file), *whole})

    def requires(self) -> frozenset[str]:
        tokens = {f"path:{parent}" for parent in above(self.file)}
        if self.owner:
            tokens.add(f"user:{self.owner}")
        if self.group:
            tokens.add(f"group:{self.group}")
        return frozenset(tokens)

    def forbids(self) -> Mapping[str, str]:
        if self.absent:
            return {}
        refused = {f"file-below:{self.file}": "it lies below this file"}
        if self.owner:
            refused[f"no-user:{self.owner}"] = f"it removes {self.owner}, the owner"
        if self.group:
            refused[f"no-group:{self.group}"] = f"it removes the group {self.group}"
        return refused

    def secrets(self) -> tuple[str, ...]:
        own = () if self.secret is None else (self.secret,)
        return (*own, *(self.secret_variables or {}).values())

    @classmethod
    def probe(cls, resources: Sequence[File], context: Context) -> str:
        lines = [PROBE]
        owners = sorted({r.owner for r in resources if r.owner and r.owner != "root"})
        groups = sorted({r.group for r in resources if r.group and r.group != "root"})
        if owners:
            lines.append(f"file_accounts user passwd {words(owners)}")
        if groups:
            lines.append(f"file_accounts group group {words(groups)}")
        numbered = list(enumerate(resources))
        for chunk in chunks(numbered, [len(r.file.encode()) + 8 for r in resources]):
            lines.append("file_begin")
            for number, resource in chunk:
                compared = resource.filled
                # Hashes of many files come from one process, told apart by their lines.
                kind = "odd" if _odd(resource.file) else "sum" if compared else "none"
                lines.append(f"file_see {number} {kind} {quote(resource.file)}")
                lines.append(f'[ -z "$p" ] || set -- "$@" {quote(resource.file)}')
            lines.append('file_stat "$@"; set --')
            for number, resource in chunk:
                body = resource.body(context)
                if body is None:
                    continue
                if not _odd(resource.file):
                    lines.append(
                        f'case $sums in *" {number} "*) set -- "$@" {quote(resource.file)} ;; esac'
                    )
            lines.append('file_sums "$@"; set --')
            for number, resource in chunk:
                body = resource.body(context)
                if body is None:
                    continue
                show = "hidden" if resource.hidden else "show" if context.want_content else "hash"
                lines.append(
                    f"file_compare {number} {hashlib.sha256(body).hexdigest()} {show}"
                    f" {quote(resource.file)}"
                )
        return "\n".join(lines)

    @classmethod
    def parse(cls, output: bytes, resources: Sequence[File], context: Context) -> list[FileState]:
        found: dict[int, _Seen] = {}
        accounts: set[str] = set()
        for raw in output.split(b"\n"):
            words_ = raw.decode(errors="replace").split(" ")
            if words_[0] == "account" and len(words_) == 2:
                accounts.add(words_[1])
            elif len(words_) >= 2 and words_[1].isdecimal() and int(words_[1]) < len(resources):
                found.setdefault(int(words_[1]), _Seen()).take(words_)
        states: list[FileState] = []
        for number, resource in enumerate(resources):
            asked = {f"user:{resource.owner}"} if resource.owner else set()
            asked |= {f"group:{resource.group}"} if resource.group else set()
            missing = frozenset(asked - accounts - {"user:root", "group:root"})
            wanted = None if resource.hidden or not resource.composed else resource.body(context)
            states.append(found.get(number, _Seen()).state(missing, wanted))
        return states

    def diff(self, state: FileState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="unknown", why=state.why)
        if self.absent:
            if state.status == "absent" and around.packages:
                why = f"not there now, {around.bringers} may bring it"
                return Change(resource=self.id, action="unknown", why=why)
            if state.status == "absent":
                return None
            if state.kind == "directory":
                return self._blocked("a directory is there, and only files are removed")
            gone = FieldChange(field=state.kind, before="present", after=None)
            return Change(resource=self.id, action="remove", fields=(gone,))
        if state.status == "present" and state.kind != "file":
            return self._blocked(f"a {state.kind} is there; remove it, or name its target")
        lost = sorted(token for token in state.missing if token not in around.provided)
        if lost and not around.packages:
            kind, _, name = lost[0].partition(":")
            return self._blocked(f"the {kind} {name} is neither on the host nor declared")
        if state.status == "absent":
            if self.filled:
                return self._create(state, around)
            if around.packages:
                why = f"the file is not there yet, {around.bringers} may bring it"
                return Change(resource=self.id, action="unknown", why=why)
            return self._blocked("the file is not there, and no content is given to make it")
        return self._update(state)

    def _blocked(self, why: str) -> Change:
        return Change(resource=self.id, action="blocked", why=why)

    def _create(self, state: FileState, around: Around) -> Change:
        wanted = {"mode": self.wanted_mode or "0644", "owner": self.owner, "group": self.group}
        fields = [FieldChange(field=k, before=None, after=v) for k, v in wanted.items() if v]
        diff = None
        if self.hidden:
            fields.append(FieldChange(field="content", before=None, after=SENSITIVE))
        else:
            body = self._shown(state)
            diff = unified(self.file, b"", body)
            if diff is None:
                fields.append(FieldChange(field="content", before=None, after=_digest(body)))
        why = f"unless {around.bringers} brings it" if around.packages else ""
        return Change(resource=self.id, action="create", fields=tuple(fields), diff=diff, why=why)

    def _shown(self, state: FileState) -> bytes:
        return (self.content or "").encode() if state.wanted is None else state.wanted

    def _update(self, state: FileState) -> Change | None:
        fields = [
            FieldChange(field=name, before=found, after=wanted)
            for name, found, wanted in (
                ("mode", state.mode, self.wanted_mode),
                ("owner", state.owner, self.owner),
                ("group", state.group, self.group),
            )
            if wanted is not None and wanted != found
        ]
        diff = None
        if state.same is False:
            if self.hidden:
                fields.append(FieldChange(field="content", before=SENSITIVE, after=SENSITIVE))
            else:
                body = self._shown(state)
                after = _digest(body)
                before = f"sha256:{state.digest[:12]}" if state.digest else KNOWN_AFTER_APPLY
                fields.append(FieldChange(field="content", before=before, after=after))
                diff = None if state.content is None else unified(self.file, state.content, body)
        if not fields:
            return None
        return Change(resource=self.id, action="update", fields=tuple(fields), diff=diff)

    @classmethod
    def emit(cls, items: Sequence[Item[File]], context: Context) -> str:
        lines: list[str] = []
        for item in items:
            file = item.resource
            path = quote(file.file)
            if file.absent:
                lines.append(f"file_remove {item.index} {path} {file.keeping}".rstrip())
                continue
            # stat(1) prints modes without leading zeros; so must what is compared with them.
            mode = (file.wanted_mode or "").lstrip("0") or ("0" if file.wanted_mode else "")
            rest = f"'{mode}' {quote(file.owner or '')} {quote(file.group or '')}"
            body = file.body(context)
            if body is None:
                lines.append(f"file_attributes {item.index} {path} {rest}")
            else:
                lines.append(
                    f"{supply(body, context.spooled)} | file_write {item.index} {path} {rest}"
                    f" {hashlib.sha256(body).hexdigest()} .converge-{tag(file.file)}"
                    f" '{file.keeping}' {quote(checking(file.check))}"
                )
        return "\n".join(lines)

    @property
    def keeping(self) -> str:
        return keeping(self.backup)


_BODIES = ("content", "secret", "source", "template")


def checking(command: str | None) -> str:
    """The check as file_check of the shell side takes it: with "$1" for the new file."""
    if command is None:
        return ""
    return command.replace("%s", '"$1"') if "%s" in command else f'{command} "$1"'


def keeping(backup: bool | str) -> str:
    return backup if isinstance(backup, str) else "state" if backup else ""


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()[:12]}"


def _odd(path: str) -> bool:
    """Would sha256sum write this name differently, and busybox perhaps not?"""
    return any(c in path for c in "\n\r\\")


@dataclass
class _Seen:
    """What the lines of a probe said of one file, piece by piece."""

    words: dict[str, list[str]] = field(default_factory=dict)

    def take(self, line: list[str]) -> None:
        self.words[line[0]] = line[2:]

    def state(self, missing: frozenset[str], wanted: bytes | None) -> FileState:
        if "hidden" in self.words:
            return FileState("unknown", "its directory may not be read", missing=missing)
        if "absent" in self.words:
            return FileState("absent", wanted=wanted, missing=missing)
        there = looked(self.words.get("stat", []))
        if there is None:
            return FileState("unknown", "the probe gave no answer", missing=missing)
        content = None
        if "content" in self.words:
            try:
                content = base64.b64decode("".join(self.words["content"]), validate=True)
            except (binascii.Error, ValueError):
                content = None
        same = True if "same" in self.words else False if "differs" in self.words else None
        if "unreadable" in self.words:
            return FileState("unknown", "its content may not be read", missing=missing)
        return FileState(
            "present",
            kind=there[0],
            mode=there[1],
            owner=there[2],
            group=there[3],
            same=same,
            digest="".join(self.words.get("differs", [])),
            content=content,
            wanted=wanted,
            missing=missing,
        )
