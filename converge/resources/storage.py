"""What is mounted, and swap: in /etc/fstab and right now."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from converge.changes import FieldChange
from converge.names import Path
from converge.resource import Around, Context, Resource
from converge.resources.owned import Owned, OwnedState, differs
from converge.resources.owned_sh import EMIT
from converge.resources.storage_sh import MOUNT, SEE, SWAP
from converge.shell import quote

_WORD = re.compile(r"[!-~]+")
_SIZE = re.compile(r"([0-9]+)([KMGTkmgt]?)")
# Options that the kernel shows as they are written, with what it means not to have them.
_FLAGS = {"ro": "rw", "noexec": "exec", "nosuid": "suid", "nodev": "dev", "noatime": ""}


def size(text: str) -> int | None:
    """Bytes: 512M, 1g, 4096."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[match[2].lower()]


def fstab_word(text: str) -> str:
    """Blanks and backslashes as fstab(5) and the kernel's mount table write them."""
    return "".join(f"\\{ord(c):03o}" if c in " \t\n\\#" else c for c in text)


def fstab_text(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


class Mount(Owned):
    """A file system is in /etc/fstab and mounted, or neither.

        Mount("/srv/cache", source="tmpfs", fstype="tmpfs", options=["size=64M", "nosuid"])
        Mount("/srv/www", source="/data/www", fstype="none", options=["bind"])
        Mount("/data", source="UUID=...", fstype="ext4", mounted=False)    # fstab only
        Mount("/srv/cache", absent=True)

    In YAML: `- mount: /srv/cache` with `source`, `fstype`, `options: [...]`. The directory is made
    if it is not there, and never removed. Other options are put into effect by a remount; another
    source or type by unmounting first, which fails, and says so, while files are open there.
    """

    key: ClassVar[str] = "mount"
    library: ClassVar[str | tuple[str, ...]] = (EMIT, MOUNT)
    look_library: ClassVar[str] = SEE

    mount: Path
    source: str | None = None
    fstype: str | None = None
    options: tuple[str, ...] = ()
    dump: int = Field(default=0, ge=0, le=1)
    check: int = Field(default=0, ge=0, le=2)
    """Order in which it is checked at boot; 0: not."""
    mounted: bool = True
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            mount: str,
            /,
            *,
            source: str | None = None,
            fstype: str | None = None,
            options: Sequence[str] = (),
            dump: int = 0,
            check: int = 0,
            mounted: bool = True,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("fstype", "options", "source")
    @classmethod
    def _words(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for word in (value,) if isinstance(value, str) else value or ():
            if word.startswith("-") or "\0" in word or "\n" in word or not word:
                raise ValueError(f"{word!r} cannot stand in /etc/fstab")
        if isinstance(value, tuple) and not all(_WORD.fullmatch(w) and "," not in w for w in value):
            raise ValueError("options are words without blanks and commas, one an item")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent and (self.source or self.fstype or self.options):
            raise ValueError("a mount that is to be absent has no source, fstype or options")
        if not self.absent and not (self.source and self.fstype):
            raise ValueError("a mount has a source and an fstype (for a bind: none)")
        return self

    @property
    def bind(self) -> bool:
        return bool({"bind", "rbind"} & set(self.options))

    @property
    def line(self) -> str:
        """Of /etc/fstab; empty if there shall be none."""
        if self.absent:
            return ""
        words = [
            self.source or "",
            self.mount,
            self.fstype or "",
            ",".join(self.options) or "defaults",
        ]
        return " ".join([*map(fstab_word, words), str(self.dump), str(self.check)])

    def provides(self) -> frozenset[str]:
        return frozenset({self.id} if self.absent else {self.id, f"path:{self.mount}"})

    def requires(self) -> frozenset[str]:
        parts = self.mount.split("/")
        above = {"path:" + "/".join(parts[:n]) for n in range(2, len(parts))}
        source = {f"path:{self.source}"} if self.source and self.source[0] == "/" else set()
        return frozenset(above | source)

    def there(self, state: OwnedState) -> bool:
        return bool(state.get("line") or state.get("at"))

    def look(self, number: int, context: Context) -> str:
        seen = f"mount_see {number} {quote(fstab_word(self.mount))}"
        if self.bind and self.source:
            seen += f"\nmount_same {number} {quote(self.source)} {quote(self.mount)}"
        return seen

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        fields: list[FieldChange] = []
        line = " ".join(state.get("line").split())
        if line != self.line:
            fields.append(
                FieldChange(field="/etc/fstab", before=line or None, after=self.line or None)
            )
        at = state.get("at")
        if self.absent or not self.mounted:
            if at:
                fields.append(FieldChange(field="mounted", before="yes", after="no"))
            return fields
        if not at:
            return [*fields, FieldChange(field="mounted", before="no", after="yes")]
        if state.get("same") == "no":
            fields.append(FieldChange(field="source", before="another", after=self.source))
        elif wrong := self._wrong(at):
            fields.append(wrong)
        return fields

    def _wrong(self, at: str) -> FieldChange | None:
        """`at`: root, flags, type, source and options of the file system, as the kernel has them."""
        words = at.split(" ")
        if len(words) != 5:
            return FieldChange(field="mounted", before=at, after="as declared")
        _, flags, fstype, source, more = words
        if self.fstype not in ("none", "auto", fstype):
            return FieldChange(field="fstype", before=fstype, after=self.fstype)
        device, wanted = fstab_text(source), self.source or ""
        # Of other names (UUID=, /dev/mapper/x) only the host knows what they lead to.
        plain = wanted[:5] == "/dev/" and "/" not in wanted[5:]
        if plain and not self.bind and device != wanted:
            return FieldChange(field="source", before=device, after=wanted)
        has = {*flags.split(","), *more.split(",")}
        for option in self.options:
            key, _, value = option.partition("=")
            if (key in _FLAGS and option not in has) or (
                option in _FLAGS.values()
                and {yes for yes, no in _FLAGS.items() if no == option} & set(flags.split(","))
            ):
                return FieldChange(field="options", before=flags, after=option)
            if key == "size" and (bytes_ := size(value)) is not None:
                found = next((o[5:] for o in has if o.startswith("size=")), "")
                # The kernel rounds up to pages.
                if size(found) != -(-bytes_ // 4096) * 4096:
                    return FieldChange(field="size", before=found or None, after=value)
        return None

    def settle(self, context: Context) -> str:
        line = quote(self.line)
        key = quote(fstab_word(self.mount))
        wanted = "no" if self.absent or not self.mounted else "yes"
        how = ",".join(self.options) or "defaults"
        return (
            f"fstab_settle {key} 2 {line}\n"
            f"mount_settle {quote(self.mount)} {key} {wanted} {quote(self.fstype or '')}"
            f" {quote(self.source or '')} {quote(how)}"
        )


class Swap(Owned):
    """A swap file of this size is there, in /etc/fstab and in use; or none of that.

        Swap("/swapfile", size="2G")
        Swap("/swapfile", absent=True)

    In YAML: `- swap: /swapfile` with `size: 2G`. Containers may not turn swap on or off: there the
    plan says that it cannot be done; `active: false` makes the file and the line only.
    """

    key: ClassVar[str] = "swap"
    library: ClassVar[str | tuple[str, ...]] = (EMIT, MOUNT, SWAP)
    look_library: ClassVar[str] = SEE

    swap: Path
    size: str | None = None
    priority: int | None = Field(default=None, ge=0, le=32767)
    active: bool = True
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            swap: str,
            /,
            *,
            size: str | None = None,
            priority: int | None = None,
            active: bool = True,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("size")
    @classmethod
    def _size(cls, value: str | None) -> str | None:
        if value is not None and (
            (bytes_ := size(value)) is None or bytes_ < 1 << 20 or bytes_ % 4096
        ):
            raise ValueError(f"{value!r} is no size of swap: write 512M or 2G, 1M at least")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent == (self.size is not None):
            raise ValueError("say the size, or that it is absent, not both")
        return self

    @property
    def bytes(self) -> int:
        return size(self.size or "0") or 0

    @property
    def line(self) -> str:
        if self.absent:
            return ""
        how = "sw" if self.priority is None else f"sw,pri={self.priority}"
        return f"{fstab_word(self.swap)} none swap {how} 0 0"

    def forbids(self) -> Mapping[str, str]:
        return {f"path:{self.swap}": "the swap file is there"}

    def there(self, state: OwnedState) -> bool:
        return state.get("size") not in ("", "absent") or bool(state.get("line"))

    def look(self, number: int, context: Context) -> str:
        return (
            f"swap_see {number} {quote(self.swap)} {quote(fstab_word(self.swap))}\n"
            f"! contained || echo 'live {number} contained yes'"
        )

    def trouble(self, state: OwnedState, around: Around) -> str:
        wanted = "no" if self.absent else "yes"
        if state.get("contained") and (self.active or self.absent) and state.get("on") != wanted:
            return (
                "a container cannot turn swap on or off: do it on the machine below, or with"
                " active: false for the file and the line in /etc/fstab only"
            )
        return ""

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        fields: list[FieldChange] = []
        found = state.get("size")
        wanted = "absent" if self.absent else str(self.bytes)
        if found != wanted:
            fields.append(
                FieldChange(
                    field="bytes",
                    before=None if found == "absent" else found,
                    after=None if self.absent else wanted,
                )
            )
        if not self.absent and found != "absent" and state.get("mode") != "600":
            fields += differs("mode", state.get("mode"), "600")
        line = " ".join(state.get("line").split())
        if line != self.line:
            fields.append(
                FieldChange(field="/etc/fstab", before=line or None, after=self.line or None)
            )
        if self.active or self.absent:
            fields += differs("in use", state.get("on"), "no" if self.absent else "yes")
        return fields

    def settle(self, context: Context) -> str:
        name, key = quote(self.swap), quote(fstab_word(self.swap))
        priority = "" if self.priority is None else str(self.priority)
        if self.absent:
            return f"swap_drop {name} {key}\nfstab_settle {key} 1 ''"
        active = "yes" if self.active else "no"
        return (
            f"swap_make {name} {key} {self.bytes} {active} '{priority}'\n"
            f"fstab_settle {key} 1 {quote(self.line)}"
        )
