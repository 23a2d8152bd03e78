"""The authorized keys of an account that is declared elsewhere, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from converge.changes import Change, FieldChange
from converge.names import UserName
from converge.resource import Around, Context, Item, Resource, State
from converge.resources.keys import AuthorizedKey, merge, without
from converge.resources.user import User, UserState, keys_field, write_keys
from converge.resources.user_sh import EMIT
from converge.shell import quote


@dataclass(frozen=True)
class KeysState(State):
    found: bytes = b""
    there: bool = False
    """Is there a file of keys?"""
    rights: bool = True


class AuthorizedKeys(Resource):
    """These keys may log in as this user, and with `exclusive` no others.

        AuthorizedKeys("root", keys=["ssh-ed25519 AAAA.. me@desk"])
        AuthorizedKeys("deploy", keys=[], exclusive=True)          # nobody
        AuthorizedKeys("deploy", removed=["ssh-ed25519 AAAA.. left@company"])

    Keys are the same if their type and base64 are; what else stands in the file is kept unless
    `exclusive`. The file is written as the user, so a link in the home leads root nowhere.
    """

    key: ClassVar[str] = "authorized_keys"
    library: ClassVar[str | tuple[str, ...]] = EMIT

    authorized_keys: UserName
    keys: tuple[AuthorizedKey, ...] | None = None
    removed: tuple[AuthorizedKey, ...] = ()
    exclusive: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            authorized_keys: str,
            /,
            *,
            keys: Sequence[str] | None = None,
            removed: Sequence[str] = (),
            exclusive: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.keys is None and not self.removed:
            raise ValueError("say which keys: keys, removed")
        if self.exclusive and self.keys is None:
            raise ValueError("exclusive goes with keys, perhaps an empty list of them")
        if self.exclusive and self.removed:
            raise ValueError("removed has no meaning with exclusive: all others go")
        if merge(b"", self.keys or (), exclusive=False) != self._without_removed(
            merge(b"", self.keys or (), exclusive=False)
        ):
            raise ValueError("the same key is in keys and in removed")
        return self

    def _without_removed(self, current: bytes) -> bytes:
        return without(current, self.removed)

    def after(self, found: bytes) -> bytes:
        """The file as it shall be."""
        return self._without_removed(merge(found, self.keys or (), exclusive=self.exclusive))

    def requires(self) -> frozenset[str]:
        return frozenset({f"user:{self.authorized_keys}"})

    def forbids(self) -> Mapping[str, str]:
        name = self.authorized_keys
        home = "/root" if name == "root" else f"/home/{name}"
        return {
            f"user-keys:{name}": f"both manage the keys of {name}",
            f"no-user:{name}": f"it removes {name}",
            f"file:{home}/.ssh/authorized_keys": f"both manage the keys of {name}",
        }

    @classmethod
    def probe(cls, resources: Sequence[AuthorizedKeys], context: Context) -> str:
        return User.probe(_users(resources), context)

    @classmethod
    def parse(
        cls, output: bytes, resources: Sequence[AuthorizedKeys], context: Context
    ) -> list[KeysState]:
        return [_state(user) for user in User.parse(output, _users(resources), context)]

    def diff(self, state: KeysState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="blocked", why=state.why)
        before = state.found
        after = self.after(before)
        if state.status == "absent":
            if not self.keys:
                return None
            field = keys_field(b"", after)
            if f"user:{self.authorized_keys}" in around.provided or around.packages:
                return Change(resource=self.id, action="create", fields=(field,))
            why = f"the user {self.authorized_keys} is neither on the host nor declared"
            return Change(resource=self.id, action="blocked", why=why)
        if after != before:
            action = keys_field(before, after)
            kind = "update" if state.there else "create"
            return Change(resource=self.id, action=kind, fields=(action,))
        if not state.rights and after:
            mine = FieldChange(field="file", before="not the user's own", after="0600")
            return Change(resource=self.id, action="update", fields=(mine,))
        return None

    @classmethod
    def emit(cls, items: Sequence[Item[AuthorizedKeys]], context: Context) -> str:
        lines: list[str] = []
        for item in items:
            state = item.state
            assert isinstance(state, KeysState)
            keys = item.resource
            lines.append(f"user_name={quote(keys.authorized_keys)}")
            lines.append(
                write_keys(
                    item.index,
                    state.found if state.there else None,
                    keys.after(state.found),
                    exclusive=keys.exclusive,
                )
            )
        return "\n".join(lines)


def _users(resources: Sequence[AuthorizedKeys]) -> list[User]:
    return [User(r.authorized_keys, authorized_keys=()) for r in resources]


def _state(user: UserState) -> KeysState:
    if user.status != "present":
        return KeysState(user.status, user.why)
    if user.keys_why:
        return KeysState("unknown", user.keys_why)
    return KeysState(
        "present", found=user.keys or b"", there=user.keys is not None, rights=user.keys_rights
    )
