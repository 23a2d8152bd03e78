"""Commands of your own, with what says that they are done."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from converge.changes import Change, FieldChange
from converge.names import Path, Text, UserName
from converge.resource import Around, Context, Ref, Resource
from converge.resources.owned import Owned, OwnedState
from converge.resources.owned_sh import EMIT
from converge.shell import quote, words

LONGEST = 100_000
"""Bytes of a command: it is one argument of a shell, and those end at 131,072 (execve(2))."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

RUN_AS = r"""
command_as() { # user, directory, seconds, text: runs the text in a shell, what it says is ours;
  # with as_is=exec in place of this shell
  if [ -n "$2" ]; then cd -- "$2" || return 126; fi
  if [ -z "$1" ] || [ "$1" = "$(id -un)" ]; then set -- "$3" sh -c "$4"
  else
    home=$( { getent passwd "$1" 2>/dev/null || grep "^$1:" /etc/passwd; } | cut -d: -f6)
    [ -n "$home" ] || { echo "there is no user $1"; return 126; }
    export HOME="$home" USER="$1" LOGNAME="$1"
    if command -v runuser >/dev/null; then set -- "$3" runuser -u "$1" -- sh -c "$4"
    else set -- "$3" su -s /bin/sh "$1" -c "$4"; fi
  fi
  ${as_is-} timeout -k 10 "$@" </dev/null
}
"""


class Command(Owned):
    """A command that runs until something says that it is done.

        Command("make install", cwd="/opt/app/src", creates="/usr/local/bin/app", timeout=600)
        Command("load schema", run="psql app <schema.sql", user="postgres",
                unless="psql app -c 'TABLE users'")
        Command("update-ca-certificates", on_change=[ca])         # only when that changed

    In YAML: `- command: make install` with `creates: /usr/local/bin/app`. The name is the command,
    unless `run` gives it. At least one of these says when it is to run, and all given must agree:
    `creates` while that path is not there; `unless` while this command fails; `onlyif` while it
    succeeds; `on_change` when one of those changed, also if an earlier run died in between. The
    guards must be quick and change nothing: they also run for a plan. After the command the guards
    are asked again: one that still wants it to run is a failure. What it prints is in the report.
    """

    key: ClassVar[str] = "command"
    library: ClassVar[str | tuple[str, ...]] = (EMIT, RUN_AS)
    look_library: ClassVar[str] = RUN_AS

    command: Text
    run: Text | None = None
    creates: Path | None = None
    unless: Text | None = None
    onlyif: Text | None = None
    on_change: tuple[Ref, ...] = ()
    user: UserName | None = None
    cwd: Path | None = None
    environment: dict[str, str] | None = None
    secrets_environment: dict[str, str] | None = None
    """Variables with references such as env://TOKEN. Neither in argv nor in the report."""
    timeout: float = Field(default=3600, gt=0)
    """Seconds; then it is ended, and has failed."""

    if TYPE_CHECKING:

        def __init__(
            self,
            command: str,
            /,
            *,
            run: str | None = None,
            creates: str | None = None,
            unless: str | None = None,
            onlyif: str | None = None,
            on_change: Sequence[str | Resource] = (),
            user: str | None = None,
            cwd: str | None = None,
            environment: Mapping[str, str] | None = None,
            secrets_environment: Mapping[str, str] | None = None,
            timeout: float = 3600,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("command", "run", "unless", "onlyif")
    @classmethod
    def _said(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("an empty command does nothing: leave it out")
        if value is not None and len(value.encode()) > LONGEST:
            raise ValueError(f"a command has at most {LONGEST} bytes: make it a file")
        return value

    @field_validator("environment", "secrets_environment")
    @classmethod
    def _variables(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name, text in (value or {}).items():
            if not _VARIABLE.fullmatch(name) or "\0" in text:
                raise ValueError(f"{name!r} is no name of a variable")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not (self.creates or self.unless or self.onlyif or self.on_change):
            raise ValueError(
                "say when it has been done (creates, unless), when it is to be done (onlyif), or what it"
                " follows (on_change): else it would run each time"
            )
        both = set(self.environment or {}) & set(self.secrets_environment or {})
        if both:
            raise ValueError(f"{min(both)} is in environment and in secrets_environment")
        return self

    @property
    def text(self) -> str:
        return self.run or self.command

    @property
    def name(self) -> str:
        line = " ".join(self.command.split())
        if len(line) <= 80:
            return line
        return f"{line[:60]}... {hashlib.sha256(self.command.encode()).hexdigest()[:8]}"

    def requires(self) -> frozenset[str]:
        tokens = {*self.on_change}
        if self.user:
            tokens.add(f"user:{self.user}")
        for path in (self.cwd, self.text.split()[0] if self.text.startswith("/") else None):
            if path:
                tokens.add(f"path:{path}")
        return frozenset(tokens)

    def provides(self) -> frozenset[str]:
        return frozenset({self.id, f"path:{self.creates}"} if self.creates else {self.id})

    def secrets(self) -> tuple[str, ...]:
        return tuple((self.secrets_environment or {}).values())

    def listens(self) -> tuple[str, ...]:
        return self.on_change

    def trigger(self) -> str | None:
        return self.marker

    @property
    def marker(self) -> str:
        return f"command.{hashlib.sha256(self.command.encode()).hexdigest()[:20]}"

    def _exports(self, context: Context) -> str:
        given = dict(self.environment or {})
        for name, ref in (self.secrets_environment or {}).items():
            given[name] = context.secrets[ref].decode(errors="surrogateescape")
        return "".join(f"export {name}={quote(value)}\n" for name, value in given.items())

    def _call(self, text: str, seconds: float) -> str:
        limit = str(math.ceil(seconds))  # busybox's timeout knows no fractions
        return f"command_as {words([self.user or '', self.cwd or '', limit, text])}"

    def _guards(self, context: Context) -> str:
        """Shell that sets `held` to what holds it back, or leaves it empty."""
        lines = ["held="]
        if self.creates:
            path = quote(self.creates)
            lines.append(f"if [ -e {path} ] || [ -L {path} ]; then held=creates; fi")
        for name, text, done in (("unless", self.unless, "then"), ("onlyif", self.onlyif, "else")):
            if text is None:
                continue
            call = self._call(text, min(self.timeout, 60))
            lines.append(
                f'if [ -z "$held" ]; then\nif ( {self._exports(context)}{call} ) >/dev/null 2>&1'
                + (
                    f"; then held={name}; fi"
                    if done == "then"
                    else f"; then :; else held={name}; fi"
                )
                + "\nfi"
            )
        return "\n".join(lines)

    def look(self, number: int, context: Context) -> str:
        return f'{self._guards(context)}\necho "live {number} held ${{held:-no}}"'

    def there(self, state: OwnedState) -> bool:
        return state.get("held") != "no"

    def diff(self, state: OwnedState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="unknown", why=state.why)
        due = bool(around.triggers) or bool(state.due)
        if self.on_change and not due:
            return None
        held = state.get("held")
        if held != "no":
            # A trigger that a guard holds back is settled: the host takes it off its list.
            if state.due:
                return self._change("update", f"held back by {held}", "due since " + state.due)
            return None
        because = [f"{ref} changes" for ref in around.triggers]
        if state.due:
            because.append(f"left over from run {state.due}")
        if self.creates:
            because.append(f"{self.creates} is not there")
        if self.unless:
            because.append("unless does not hold")
        if self.onlyif:
            because.append("onlyif holds")
        return self._change("create", "; ".join(because), None)

    def _change(self, action: str, after: str, before: str | None) -> Change:
        field = FieldChange(field="run", before=before, after=after)
        return Change(
            resource=self.id, action="create" if action == "create" else "update", fields=(field,)
        )

    def settle(self, context: Context) -> str:
        due = "if owned_late; then :; else held=on_change; fi\n" if self.on_change else ""
        return (
            f"{self._guards(context)}\n{due}"
            'if [ -z "$held" ]; then\n'
            'changed "$own_index"\n'
            'printf 1 >"$T/tell"\n'
            "rc=0\n"
            f"( {self._exports(context)}{self._call(self.text, self.timeout)} ) 2>&1 || rc=$?\n"
            "case $rc in\n0) ;;\n"
            f'124|137|143) die "ended after {math.ceil(self.timeout)} s, or killed (status $rc)" ;;\n'
            '*) die "the command failed with status $rc" ;;\nesac\n'
            'else echo "not run: held back by $held"; fi'
        )
