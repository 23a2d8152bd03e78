"""User accounts, their groups and their authorized keys."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from converge.changes import KNOWN_AFTER_APPLY, Change, FieldChange
from converge.names import AccountPath, Comment, UserName
from converge.resource import Around, Context, Item, Resource, State
from converge.resources.keys import AuthorizedKey, identity, merge
from converge.resources.user_sh import EMIT, PROBE
from converge.shell import chunks, encode, quote, words


@dataclass(frozen=True)
class UserState(State):
    uid: int = -1
    comment: str = ""
    home: str = ""
    shell: str = ""
    group: str = ""
    groups: frozenset[str] = frozenset()
    """Supplementary ones."""
    known_groups: frozenset[str] = frozenset()
    """Every group of the host."""
    home_there: bool = True
    keys: bytes | None = None
    """The authorized_keys file; None if it is not there or was not asked for."""
    keys_why: str = ""
    """Why the keys could not be looked at."""
    keys_rights: bool = True
    """Are ~/.ssh and the file the user's own, and nobody else's to write? sshd insists."""


class User(Resource):
    """An account is there, with these properties, or is not. What is not given is left alone.

        User("deploy", groups=["sudo"], shell="/bin/bash", authorized_keys=["ssh-ed25519 AAAA.."])
        User("app", system=True, home="/srv/app")
        User("old", absent=True, purge_home=True)

    `groups` are supplementary and added to those it has; with `groups_exclusive` it has no others.
    Groups that the host does not know are made. `authorized_keys` are added to those that are
    there, or are the only ones with `authorized_keys_exclusive`. The password stays locked.
    """

    key: ClassVar[str] = "user"
    library: ClassVar[str] = EMIT

    user: UserName
    uid: int | None = Field(default=None, ge=0, le=4294967293)
    group: UserName | None = None
    """Primary group; one named like the user if not given."""
    groups: tuple[UserName, ...] = ()
    groups_exclusive: bool = False
    shell: AccountPath | None = None
    home: AccountPath | None = None
    create_home: bool | None = None
    """Default: yes, unless it is a system account."""
    comment: Comment | None = None
    system: bool = False
    authorized_keys: tuple[AuthorizedKey, ...] | None = None
    authorized_keys_exclusive: bool = False
    absent: bool = False
    purge_home: bool = False
    """With `absent`: remove the home directory and mail spool too."""

    if TYPE_CHECKING:

        def __init__(
            self,
            user: str,
            /,
            *,
            uid: int | None = None,
            group: str | None = None,
            groups: Sequence[str] = (),
            groups_exclusive: bool = False,
            shell: str | None = None,
            home: str | None = None,
            create_home: bool | None = None,
            comment: str | None = None,
            system: bool = False,
            authorized_keys: Sequence[str] | None = None,
            authorized_keys_exclusive: bool = False,
            absent: bool = False,
            purge_home: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent:
            allowed = {"user", "absent", "purge_home", "needs"}
            for name in sorted(self.model_fields_set - allowed):
                raise ValueError(f"a user that is to be absent has no {name}")
        if self.purge_home and not self.absent:
            raise ValueError("purge_home goes with absent")
        if self.user == "root" and self.absent:
            raise ValueError("root is not removed")
        if self.authorized_keys_exclusive and self.authorized_keys is None:
            raise ValueError("authorized_keys_exclusive goes with authorized_keys, perhaps empty")
        return self

    @property
    def makes_home(self) -> bool:
        return not self.system if self.create_home is None else self.create_home

    @property
    def likely_home(self) -> str:
        return self.home or ("/root" if self.user == "root" else f"/home/{self.user}")

    def provides(self) -> frozenset[str]:
        if self.absent:
            return frozenset({self.id, f"no-user:{self.user}"})
        tokens = {self.id, f"path:{self.likely_home}", f"group:{self.group or self.user}"}
        if self.uid is not None:
            tokens.add(f"uid:{self.uid}")
        if self.authorized_keys is not None:
            tokens.add(f"user-keys:{self.user}")
        named = {*self.groups, *([self.group] if self.group else [])}
        tokens |= {f"group-used:{name}" for name in named}
        return frozenset(tokens | {f"group:{name}" for name in self.groups})

    def requires(self) -> frozenset[str]:
        # Groups that are declared on their own have a gid perhaps: theirs it is to make them.
        tokens = {f"group-made:{name}" for name in (*self.groups, self.group or self.user)}
        parent = self.likely_home.rpartition("/")[0]
        while parent:
            tokens.add(f"path:{parent}")
            parent = parent.rpartition("/")[0]
        return frozenset(tokens)

    def forbids(self) -> Mapping[str, str]:
        refused: dict[str, str] = {}
        if self.uid is not None:
            refused[f"uid:{self.uid}"] = f"both have the uid {self.uid}"
        if self.authorized_keys is not None:
            path = f"{self.likely_home}/.ssh/authorized_keys"
            refused[f"file:{path}"] = f"both manage {path}"
        return refused

    @classmethod
    def probe(cls, resources: Sequence[User], context: Context) -> str:
        names = [resource.user for resource in resources]
        lines = [PROBE]
        for chunk in chunks(names, [len(name) + 3 for name in names]):
            lines.append(f"user_look {words(chunk)}")
            lines.append('users="$users$found\n"')
        lines.append("user_groups")
        for number, resource in enumerate(resources):
            if resource.authorized_keys is not None:
                lines.append(f"user_keys {number} {quote(resource.user)}")
        return "\n".join(lines)

    @classmethod
    def parse(cls, output: bytes, resources: Sequence[User], context: Context) -> list[UserState]:
        accounts: dict[str, list[str]] = {}
        gone_homes: set[str] = set()
        names: dict[str, str] = {}
        members: dict[str, set[str]] = {}
        keys: dict[int, dict[str, list[str]]] = {}
        done = False
        for line in output.decode(errors="replace").splitlines():
            word, _, rest = line.partition(" ")
            parts = rest.split(":")
            if word == "passwd" and len(parts) == 7 and parts[2].isdecimal():
                accounts.setdefault(parts[0], parts)
            elif word == "nohome":
                gone_homes.add(rest)
            elif word == "group" and len(parts) == 4:
                names.setdefault(parts[2], parts[0])
                for member in filter(None, parts[3].split(",")):
                    members.setdefault(member, set()).add(parts[0])
            elif word == "done":
                done = True
            elif word.startswith("keys-"):
                which, *more = rest.split(" ")
                if which.isdecimal():
                    keys.setdefault(int(which), {})[word] = more
        if not done:
            return [UserState("unknown", "the probe gave no answer") for _ in resources]
        states: list[UserState] = []
        known = frozenset(names.values())
        for number, resource in enumerate(resources):
            account = accounts.get(resource.user)
            if account is None:
                states.append(UserState("absent", known_groups=known))
                continue
            content, why, rights = _keys(keys.get(number, {}), account[2])
            states.append(
                UserState(
                    "present",
                    uid=int(account[2]),
                    comment=account[4],
                    home=account[5],
                    shell=account[6],
                    group=names.get(account[3], account[3]),
                    groups=frozenset(members.get(resource.user, set())),
                    known_groups=known,
                    home_there=resource.user not in gone_homes,
                    keys=content,
                    keys_why=why,
                    keys_rights=rights,
                )
            )
        return states

    def diff(self, state: UserState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="unknown", why=state.why)
        if self.absent:
            if state.status == "absent" and around.packages:
                why = f"not there now, {around.bringers} may bring it"
                return Change(resource=self.id, action="unknown", why=why)
            if state.status == "absent":
                return None
            gone = FieldChange(field="uid", before=str(state.uid), after=None)
            fields = [gone]
            if self.purge_home:
                fields.append(FieldChange(field="home", before=state.home, after=None))
            return Change(resource=self.id, action="remove", fields=tuple(fields))
        if state.status == "absent":
            return self._create(state, around)
        return self._update(state)

    def _create(self, state: UserState, around: Around) -> Change:
        wanted = {
            "uid": KNOWN_AFTER_APPLY if self.uid is None else str(self.uid),
            "group": self.group or self.user,
            "groups": ",".join(sorted(self.groups)),
            "home": self.home,
            "shell": self.shell,
            "comment": self.comment,
        }
        fields = [FieldChange(field=k, before=None, after=v) for k, v in wanted.items() if v]
        fields += self._new_groups(state)
        if self.authorized_keys:
            fields.append(keys_field(b"", self._merged(state)))
        why = f"unless {around.bringers} brings it" if around.packages else ""
        return Change(resource=self.id, action="create", fields=tuple(fields), why=why)

    def _update(self, state: UserState) -> Change | None:
        fields = [
            FieldChange(field=name, before=found, after=wanted)
            for name, found, wanted in (
                ("uid", str(state.uid), None if self.uid is None else str(self.uid)),
                ("group", state.group, self.group),
                ("home", state.home, self.home),
                ("shell", state.shell, self.shell),
                ("comment", state.comment, self.comment),
            )
            if wanted is not None and wanted != found
        ]
        have, want = state.groups, frozenset(self.groups)
        if self.groups_exclusive:
            if have != want:
                fields.append(_groups_field(have, want))
        elif not want <= have | {state.group}:
            fields.append(_groups_field(have, have | want))
        fields += self._new_groups(state)
        if self.authorized_keys is not None:
            if state.keys_why and not fields:
                return Change(resource=self.id, action="blocked", why=state.keys_why)
            merged = self._merged(state)
            if merged != (state.keys or b""):
                fields.append(keys_field(state.keys or b"", merged))
            elif not state.keys_rights and merged:
                fields.append(
                    FieldChange(field="authorized_keys", before="not the user's own", after="0600")
                )
        if self.makes_home and not state.home_there and self.authorized_keys:
            fields.append(FieldChange(field="home", before=None, after=self.home or state.home))
        if not fields:
            return None
        return Change(resource=self.id, action="update", fields=tuple(fields))

    def _new_groups(self, state: UserState) -> list[FieldChange]:
        asked = [*self.groups, *([self.group] if self.group else [])]
        new = [name for name in asked if name not in state.known_groups]
        new = [name for name in new if name != self.user or state.status == "present"]
        if not new:
            return []
        return [FieldChange(field="new groups", before=None, after=",".join(sorted(new)))]

    def _merged(self, state: UserState) -> bytes:
        return merge(
            state.keys or b"", self.authorized_keys or (), exclusive=self.authorized_keys_exclusive
        )

    @classmethod
    def emit(cls, items: Sequence[Item[User]], context: Context) -> str:
        return "\n".join(_emit(item) for item in items)


def _emit(item: Item[User]) -> str:
    user = item.resource
    state = item.state
    assert isinstance(state, UserState)
    if user.absent:
        purge = "-r" if user.purge_home else ""
        return f"user_remove {item.index} {quote(user.user)} {purge}".rstrip()
    flags = ["-m" if user.makes_home else "-M"]
    if user.system:
        flags.append("-r")
    lines = [
        f"user_index={item.index} user_name={quote(user.user)}",
        f"user_uid='{'' if user.uid is None else user.uid}' user_group={quote(user.group or '')}",
        f"user_shell={quote(user.shell or '')} user_home={quote(user.home or '')}",
        f"user_comment={quote(user.comment or '')}",
        f"user_comment_set={'yes' if user.comment is not None else ''}",
        f"user_groups={quote(' '.join(user.groups))}",
        f"user_exclusive={'yes' if user.groups_exclusive else ''}",
        f"user_flags={quote(' '.join(flags))}",
        "user_settle",
    ]
    # Unknown keys are looked at again in the next pass: what is not seen cannot be merged.
    if user.authorized_keys is not None and not state.keys_why:
        before = state.keys or b""
        after = user._merged(state)
        if after != before or not state.keys_rights:
            lines.append(
                write_keys(item.index, state.keys, after, exclusive=user.authorized_keys_exclusive)
            )
    return "\n".join(lines)


def write_keys(index: int, before: bytes | None, after: bytes, *, exclusive: bool) -> str:
    """Shell that writes the keys of $user_name, if they still are `before` (None: no file)."""
    known = "none" if before is None else hashlib.sha256(before).hexdigest()
    return (
        f"printf '%s' '{encode(after)}' | user_write_keys {index} {known}"
        f" {'yes' if exclusive else 'no'}"
    )


def _keys(lines: dict[str, list[str]], uid: str) -> tuple[bytes | None, str, bool]:
    """(content, why it is not known, are owner and mode right)"""
    if "keys-why" in lines:
        return None, " ".join(lines["keys-why"]), True
    rights = True
    for word in ("keys-dir", "keys-stat"):
        if word in lines and len(lines[word]) == 2:
            mode, owner = lines[word]
            rights = rights and owner == uid and not int(mode, 8) & 0o022
    if "keys-content" not in lines:
        return None, "", rights
    try:
        return base64.b64decode("".join(lines["keys-content"]), validate=True), "", rights
    except (binascii.Error, ValueError):
        return None, "the probe gave no answer for its keys", rights


def _groups_field(before: frozenset[str], after: frozenset[str]) -> FieldChange:
    return FieldChange(
        field="groups", before=",".join(sorted(before)), after=",".join(sorted(after))
    )


def keys_field(before: bytes, after: bytes) -> FieldChange:
    return FieldChange(field="authorized_keys", before=_names(before), after=_names(after))


def _names(content: bytes) -> str:
    """Keys as people know them: their comments, and a few letters that tell them apart."""
    names: list[str] = []
    for line in content.decode(errors="replace").splitlines():
        key = identity(line)
        if key is not None:
            comment = line.partition(key[2])[2].strip()
            names.append(f"{comment or key[1]} (..{key[2].rstrip('=')[-8:]})")
    return ", ".join(names) or "none"
