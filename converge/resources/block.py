"""Some lines of a file that belongs to somebody else, between two marker lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from converge.names import Text
from converge.resource import Resource
from converge.resources.edit import Edit
from converge.resources.values import OneLine


class Block(Edit):
    """A file holds this text between two marker lines, or no such block.

        Block("cluster", file="/etc/hosts", content="10.0.0.5 db\\n10.0.0.6 web\\n")
        Block("cache", file="/etc/my.cnf", content="...", marker="; {mark} {name}")
        Block("cluster", file="/etc/hosts", absent=True)

    The markers are `# BEGIN cluster (converge)` and `# END cluster (converge)`, or what `marker`
    makes of {mark} and {name}. What stands between them is replaced, they stay where they are.
    """

    key: ClassVar[str] = "block"

    block: OneLine
    content: Text | None = Field(default=None, repr=False)
    marker: OneLine = "# {mark} {name} (converge)"

    if TYPE_CHECKING:

        def __init__(
            self,
            block: str,
            /,
            *,
            file: str,
            content: str | None = None,
            marker: str = "# {mark} {name} (converge)",
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
    def _consistent(self) -> Self:
        if not self.block.strip():
            raise ValueError("a block needs a name")
        if self.absent != (self.content is None):
            raise ValueError("say what the block holds: content, or absent")
        if "{mark}" not in self.marker or "{name}" not in self.marker:
            raise ValueError("marker needs {mark} and {name}, as in '# {mark} {name}'")
        if {self.begin, self.end} & set((self.content or "").split("\n")):
            raise ValueError("content holds a marker line of the block")
        return self

    @property
    def name(self) -> str:
        return f"{self.file}: {self.block.strip()}"

    @property
    def begin(self) -> str:
        return self._mark("BEGIN")

    @property
    def end(self) -> str:
        return self._mark("END")

    def _mark(self, word: str) -> str:
        return self.marker.replace("{mark}", word).replace("{name}", self.block.strip())

    def call(self) -> Sequence[str]:
        text = self.content or ""
        if text and not text.endswith("\n"):
            text += "\n"
        absent = "absent" if self.absent else ""
        return (
            "block_edit",
            self.begin,
            self.end,
            text,
            absent,
            self.after or "",
            self.before or "",
        )
