"""Who may do what through sudo."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import field_validator, model_validator

from converge.names import Text, UserName
from converge.resource import Resource
from converge.resources.owned import Owned, Wanted
from converge.resources.owned_sh import EMIT

# sudo skips names with a dot or a ~ at the end: such a file would be there and mean nothing.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,100}")


class Sudoers(Owned):
    """A file in /etc/sudoers.d, live only if visudo finds all of sudo's files sound with it.

        Sudoers("deploy", user="deploy", commands=["/usr/bin/systemctl restart app"], nopasswd=True)
        Sudoers("ops", group="ops")                               # everything, with a password
        Sudoers("lecture", content="Defaults lecture=never\\n")
        Sudoers("deploy", absent=True)

    In YAML: `- sudoers: deploy` with `user`, `commands: [...]`, `nopasswd: true`. Mode 0440. A change
    is taken back by the host unless a fresh connection confirms that it can still be reached.
    """

    key: ClassVar[str] = "sudoers"
    cuts_off: ClassVar[bool] = True
    tool: ClassVar[str] = "visudo"
    package: ClassVar[str] = "sudo"
    library: ClassVar[str | tuple[str, ...]] = (
        EMIT,
        r"""
sudoers_check() { # new file, path: judged with all the others, in a copy of sudo's files
  try=$T/sudoers; rm -rf -- "$try"; mkdir -p -- "$try/sudoers.d"
  cp -p /etc/sudoers.d/* "$try/sudoers.d/" 2>/dev/null || :
  cp -- "$1" "$try/sudoers.d/${2##*/}"; chmod 0440 "$try/sudoers.d/${2##*/}"
  visudo -cf "$try/sudoers.d/${2##*/}" || return 1
  sed "s|/etc/sudoers[.]d|$try/sudoers.d|" /etc/sudoers >"$try/sudoers"; chmod 0440 "$try/sudoers"
  visudo -cf "$try/sudoers" || return 1
  rm -rf -- "$try"
}
""",
    )

    sudoers: str
    content: Text | None = None
    user: UserName | None = None
    group: UserName | None = None
    commands: tuple[Text, ...] = ("ALL",)
    runas: str = "ALL:ALL"
    """As whom: a user, or USER:GROUP."""
    nopasswd: bool = False
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            sudoers: str,
            /,
            *,
            content: str | None = None,
            user: str | None = None,
            group: str | None = None,
            commands: Sequence[str] = ("ALL",),
            runas: str = "ALL:ALL",
            nopasswd: bool = False,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("sudoers")
    @classmethod
    def _file(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(f"{value!r} is no name sudo reads: letters, digits, _ and -, no dots")
        return value

    @field_validator("commands")
    @classmethod
    def _full(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for command in value:
            plain = command.lstrip("!")
            if "\n" in command or not (
                plain.startswith("/") or re.fullmatch("[A-Z][A-Z0-9_]*", plain)
            ):
                raise ValueError(f"{command!r}: sudo takes a full path with its arguments, or ALL")
        return value

    @field_validator("runas")
    @classmethod
    def _as(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_%#-]+(:[A-Za-z0-9_%#-]+)?", value):
            raise ValueError(f"{value!r} names nobody: write root, or USER:GROUP, or ALL:ALL")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [self.content is not None, self.user is not None, self.group is not None]
        if self.absent and any(given):
            raise ValueError("a file that is to be absent has nothing else")
        if not self.absent and sum(given) != 1:
            raise ValueError("say for whom: user or group, or give the whole content; one of them")
        if not self.commands:
            raise ValueError("no commands: leave them out for all, or make it absent")
        return self

    @property
    def text(self) -> str:
        if self.content is not None:
            return self.content if self.content.endswith("\n") else self.content + "\n"
        who = self.user or f"%{self.group}"
        tag = "NOPASSWD: " if self.nopasswd else ""
        commands = ", ".join(_escaped(command) for command in self.commands)
        return f"{who} ALL=({self.runas}) {tag}{commands}\n"

    def requires(self) -> frozenset[str]:
        tokens = {f"user:{self.user}"} if self.user else set()
        tokens |= {f"group:{self.group}"} if self.group else set()
        return super().requires() | tokens

    def files(self) -> tuple[Wanted, ...]:
        path = f"/etc/sudoers.d/{self.sudoers}"
        return (Wanted(path, None if self.absent else self.text, "0440", "sudoers_check"),)


def _escaped(command: str) -> str:
    """sudoers(5): , : = and \\ in arguments are escaped; what is escaped already stays."""
    path, blank, rest = command.partition(" ")
    return path + blank + re.sub(r"(?<!\\)([,:=])", r"\\\1", rest)
