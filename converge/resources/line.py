"""One line of a file that belongs to somebody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from converge.resource import Resource
from converge.resources.edit import Edit
from converge.resources.values import OneLine, Pattern

LIMIT = 65536
"""Bytes: grep gets the line as one argument."""


class Line(Edit):
    """A file holds this line, or no such line; the rest of it stays as it is.

        Line("vm.swappiness = 10", file="/etc/sysctl.conf", match="^#?vm[.]swappiness")
        Line("10.0.0.5 db", file="/etc/hosts", after="^127[.]0[.]0[.]1")
        Line("tmpfs /tmp tmpfs defaults 0 0", file="/etc/fstab", absent=True)

    `match` is an extended regular expression (grep -E on the host). The last line it matches is
    replaced; without one, or without `match`, the line is added if it is not there. With
    `absent`, all lines that match go, or all that are this line. A line of a file that is not
    there is an error unless `create` is given, and nothing to do with `absent`.
    """

    key: ClassVar[str] = "line"

    line: OneLine
    match: Pattern | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            line: str,
            /,
            *,
            file: str,
            match: str | None = None,
            after: str | None = None,
            before: str | None = None,
            create: bool = False,
            sensitive: bool = False,
            check: str | None = None,
            backup: bool | Literal["beside"] = False,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.line.strip():
            raise ValueError("an empty line cannot be told from others")
        if len(self.line.encode()) > LIMIT:
            raise ValueError(f"the line is longer than {LIMIT} bytes")
        return self

    @property
    def name(self) -> str:
        return f"{self.file}: {self.line.strip()}"

    def call(self) -> Sequence[str]:
        absent = "absent" if self.absent else ""
        return (
            "line_edit",
            self.line,
            self.match or "",
            absent,
            self.after or "",
            self.before or "",
        )
