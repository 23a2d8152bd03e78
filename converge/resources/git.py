"""Checkouts of git repositories."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from converge.changes import KNOWN_AFTER_APPLY, Change, FieldChange
from converge.names import Path, UserName
from converge.resource import Around, Context, Item, Resource, State
from converge.resources import owners
from converge.resources.directory import VITAL
from converge.resources.directory_sh import EMIT as DIRECTORIES
from converge.resources.file_sh import EMIT as FILES
from converge.resources.git_sh import AS, EMIT, PROBE
from converge.resources.seen import looked
from converge.resources.values import answers, below, one_line, place, rivals
from converge.shell import quote

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]*")
_SCHEMES = ("https://", "http://", "ssh://", "git://", "file://", "/")
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^\s]+")


def _repo(value: str) -> str:
    one_line(value)
    if not value.startswith(_SCHEMES) and not _SCP.fullmatch(value):
        raise ValueError(
            f"{value!r} is no repository: https://, ssh://, file://, git://, a path,"
            " or user@host:path"
        )
    if any(not c.isprintable() or c.isspace() for c in value):
        raise ValueError(f"{value!r} holds blanks or control characters")
    if re.match(r"https?://[^/]*:[^/]*@", value):
        raise ValueError("the URL holds a password, which everybody on the host could read")
    return value


def _ref(value: str) -> str:
    odd = ".." in value or "@{" in value or value.endswith((".lock", "/", "."))
    if odd or not _REF.fullmatch(value):
        raise ValueError(f"{value!r} is no branch, tag or commit")
    return value


@dataclass(frozen=True)
class GitState(State):
    kind: str = "directory"
    checkout: bool = False
    empty: bool = False
    commit: str = ""
    wanted: str = ""
    """The commit that the repository has for the ref; empty if it could not be asked."""
    why: str = ""
    repo: str = ""
    dirty: bool = False
    strange: str = ""
    """Some name below that belongs to somebody else than the owner."""
    tool: bool = True
    accounts: frozenset[str] = frozenset()


class Git(Resource):
    """A checkout of a git repository is at this branch, tag or commit.

        Git("/srv/app", repo="https://github.com/example/app.git", ref="v1.2.0", owner="app")
        Git("/srv/app", repo="git@example.org:app.git", ref="main", owner="app", depth=1)
        Git("/srv/app", absent=True)

    git runs as the owner, with the owner's ssh keys, and asks nothing. The host asks the repository
    where a branch or tag is, when it is probed as well; a full commit needs no asking. The commit
    is checked out by itself (detached). Tracked files that were changed on the host stop an update
    unless `force` is given, which discards the changes; untracked files stay.
    """

    key: ClassVar[str] = "git"
    library: ClassVar[str | tuple[str, ...]] = (FILES, DIRECTORIES, AS, EMIT)

    git: Path
    """The directory."""
    repo: Annotated[str, AfterValidator(_repo)] | None = None
    ref: Annotated[str, AfterValidator(_ref)] = "HEAD"
    owner: UserName | None = None
    depth: int | None = Field(default=None, ge=1)
    """Fetch no more than so many commits."""
    force: bool = False
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            git: str,
            /,
            *,
            repo: str | None = None,
            ref: str = "HEAD",
            owner: str | None = None,
            depth: int | None = None,
            force: bool = False,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent:
            for name in sorted(self.model_fields_set - {"git", "absent", "needs", "force"}):
                raise ValueError(f"a checkout that is to be absent has no {name}")
        elif self.repo is None:
            raise ValueError("say where it comes from: repo")
        if self.git in VITAL:
            raise ValueError(f"{self.git} is no place for a checkout")
        return self

    @property
    def group(self) -> None:
        """Files get the owner's own."""
        return None

    @property
    def pinned(self) -> bool:
        return bool(_COMMIT.fullmatch(self.ref))

    def provides(self) -> frozenset[str]:
        if self.absent:
            return frozenset({self.id, f"no-path:{self.git}"})
        return frozenset({self.id, *place(self.git)})

    def requires(self) -> frozenset[str]:
        if self.absent:
            return frozenset()
        local = (self.repo or "").removeprefix("file://")
        source = {f"path:{local}"} if local.startswith("/") else set()
        return frozenset(
            {
                *below(self.git),
                *owners.tokens(self),
                *source,
                "package:git",
                f"directory:{self.git}",
            }
        )

    def forbids(self) -> Mapping[str, str]:
        refused = {**rivals(self.key, self.git), **owners.refused(self)}
        if self.absent:
            refused[f"file-below:{self.git}"] = f"it lies below {self.git}"
        else:
            del refused[f"directory:{self.git}"]
        return refused

    @classmethod
    def probe(cls, resources: Sequence[Git], context: Context) -> str:
        lines = [AS, PROBE, *owners.ask(resources)]
        for number, one in enumerate(resources):
            ask = "absent" if one.absent else "pinned" if one.pinned else "ask"
            lines.append(
                f"git_see {number} {ask} {quote(one.git)} {quote(one.owner or '')}"
                f" {quote(one.repo or '')} {quote(one.ref)}"
            )
        return "\n".join(lines)

    @classmethod
    def parse(cls, output: bytes, resources: Sequence[Git], context: Context) -> list[GitState]:
        accounts = owners.known(output)
        found = answers(output, len(resources))
        return [_state(r, w, accounts) for r, w in zip(resources, found, strict=True)]

    def diff(self, state: GitState, around: Around) -> Change | None:
        if self.absent:
            return self._remove(state)
        if state.status == "present" and state.kind != "directory":
            return self._blocked(f"a {state.kind} is there")
        if state.status == "present" and not state.checkout and not state.empty:
            return self._blocked("what is there is no checkout of git, and not empty")
        if why := owners.lost(self, state.accounts, around):
            return self._blocked(why)
        if not state.tool:
            if not around.packages:
                return self._blocked("the host has no git: add the package git")
            why = f"there is no git yet, {around.bringers} may bring it"
            return Change(resource=self.id, action="unknown", why=why)
        if state.status == "unknown":
            return Change(resource=self.id, action="unknown", why=state.why)
        return self._differs(state, around)

    def _differs(self, state: GitState, around: Around) -> Change | None:
        if not state.checkout:
            ref = FieldChange(
                field="commit", before=None, after=state.wanted[:12] or KNOWN_AFTER_APPLY
            )
            repo = FieldChange(field="repo", before=None, after=self.repo)
            return Change(resource=self.id, action="create", fields=(repo, ref))
        fields: list[FieldChange] = []
        if state.repo != self.repo:
            fields.append(FieldChange(field="repo", before=_safe(state.repo), after=self.repo))
        if state.strange:
            fields.append(
                FieldChange(field="owner", before=f"other, of {state.strange}", after=self.owner)
            )
        if state.dirty and self.force:
            fields.append(FieldChange(field="local changes", before="some", after=None))
        if state.wanted and state.commit != state.wanted:
            fields.append(
                FieldChange(
                    field="commit", before=state.commit[:12] or None, after=state.wanted[:12]
                )
            )
        if not state.wanted and not fields:
            return Change(resource=self.id, action="unknown", why=state.why)
        if fields and state.dirty and not self.force:
            return self._blocked(
                "tracked files were changed on the host; add force to discard that"
            )
        return Change(resource=self.id, action="update", fields=tuple(fields)) if fields else None

    def _remove(self, state: GitState) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="unknown", why=state.why)
        if state.status == "absent":
            return None
        if not state.checkout:
            return self._blocked("what is there is no checkout of git: remove it as what it is")
        gone = FieldChange(field="commit", before=state.commit[:12], after=None)
        return Change(resource=self.id, action="remove", fields=(gone,))

    def _blocked(self, why: str) -> Change:
        return Change(resource=self.id, action="blocked", why=why)

    @classmethod
    def emit(cls, items: Sequence[Item[Git]], context: Context) -> str:
        lines: list[str] = []
        for item in items:
            one = item.resource
            if one.absent:
                lines.append(f"git_remove {item.index} {quote(one.git)}")
                continue
            lines.append(
                f"git_settle {item.index} {quote(one.git)} {quote(one.owner or '')}"
                f" {quote(one.repo or '')} {quote(one.ref)}"
                f" '{'pinned' if one.pinned else 'ask'}' '{one.depth or ''}'"
                f" '{'force' if one.force else ''}'"
            )
        return "\n".join(lines)


def _state(resource: Git, words: dict[str, list[str]], accounts: frozenset[str]) -> GitState:
    tool = "notool" not in words
    why = " ".join(words.get("why", [])) or "the probe gave no answer"
    if "hidden" in words:
        return GitState("unknown", why="its directory may not be read", accounts=accounts)
    wanted = resource.ref if resource.pinned else "".join(words.get("wanted", []))
    wanted = wanted if _COMMIT.fullmatch(wanted) else ""
    if "absent" in words:
        return GitState("absent", wanted=wanted, tool=tool, accounts=accounts)
    there = looked(words.get("stat", []))
    if there is None:
        return GitState("unknown", why=why, tool=tool, accounts=accounts)
    return GitState(
        "present",
        kind=there[0],
        checkout="checkout" in words,
        empty="empty" in words,
        commit="".join(words.get("commit", [])),
        wanted=wanted,
        why=why,
        repo=" ".join(words.get("repo", [])),
        dirty="dirty" in words,
        strange=" ".join(words.get("strange", [])),
        tool=tool,
        accounts=accounts,
    )


def _safe(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//(sensitive)@", url)
