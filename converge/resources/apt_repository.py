"""apt repositories with their keys."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from converge.changes import Change, FieldChange
from converge.names import Text
from converge.resource import Around, Context, Item, Material, Resource, State
from converge.resources.apt_repository_sh import EMIT, PROBE
from converge.resources.fetch_sh import FETCH
from converge.resources.file_sh import EMIT as FILES
from converge.resources.seen import unified
from converge.resources.values import Artifact, OneLine, Sha256, Url, answers, decoded, url
from converge.shell import encode, quote

ARMOR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
KEY_LIMIT = 256 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/~-]*|\./|/")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value) or len(value) > 100:
        raise ValueError(f"{value!r} cannot name a file of apt's: letters, digits, _ and - only")
    return value


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise ValueError(f"{value!r} is no suite, component or architecture")
    return value


def _armored(value: str) -> str:
    if not value.strip().startswith(ARMOR.decode()):
        raise ValueError(f"is no armored public key: it begins with {ARMOR.decode()}")
    return value.strip() + "\n"


Word = Annotated[str, AfterValidator(_word)]


def _uri(value: str) -> str:
    scheme, colon, rest = value.partition(":")
    if colon and scheme in ("mirror+http", "mirror+https"):
        url(f"{scheme.removeprefix('mirror+')}:{rest}")
        return value
    return url(value)


@dataclass(frozen=True)
class RepositoryState(State):
    content: bytes | None = None
    """Of the .sources file."""
    key: bool = False
    """Is the key there as it shall be?"""
    listed: bool = False
    """Did apt read its lists, as it is declared now?"""


class AptRepository(Resource):
    """apt knows a repository and the key that signs it, or does not.

        AptRepository("theirs", uris=["https://apt.example.org/debian"], suites=["bookworm"],
                      components=["main"], key_url="https://apt.example.org/key.asc",
                      key_sha256="9f86..")
        AptRepository("ours", uris=["https://apt.example.org"], suites=["./"], key_file="our.asc")
        AptRepository("theirs", absent=True)

    Writes /etc/apt/sources.list.d/NAME.sources and /etc/apt/keyrings/NAME.asc, and reads the lists
    of this repository alone (apt-get update), only when it changed. If that fails, all is put
    back as it was. Packages come after it. Give the key as `key_text` (armored), as `key_file`
    (beside the spec), as `key_url` with `key_sha256`, or as `signed_by`, a keyring of the host.
    """

    key: ClassVar[str] = "apt_repository"
    library: ClassVar[str | tuple[str, ...]] = (FILES, FETCH, EMIT)

    apt_repository: Annotated[str, AfterValidator(_name)]
    uris: tuple[Annotated[str, AfterValidator(_uri)], ...] = ()
    suites: tuple[Word, ...] = ()
    components: tuple[Word, ...] = ()
    types: tuple[Literal["deb", "deb-src"], ...] = ("deb",)
    architectures: tuple[Word, ...] = ()
    key_text: Annotated[Text, AfterValidator(_armored)] | None = Field(default=None, repr=False)
    """Armored."""
    key_file: Artifact | None = None
    key_url: Url | None = None
    key_sha256: Sha256 | None = None
    signed_by: OneLine | None = None
    trusted: bool = False
    """Take its packages without any signature."""
    options: dict[OneLine, OneLine] | None = None
    """Further fields of the file, such as {"Languages": "none"}."""
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            apt_repository: str,
            /,
            *,
            uris: Sequence[str] = (),
            suites: Sequence[str] = (),
            components: Sequence[str] = (),
            types: Sequence[Literal["deb", "deb-src"]] = ("deb",),
            architectures: Sequence[str] = (),
            key_text: str | None = None,
            key_file: str | None = None,
            key_url: str | None = None,
            key_sha256: str | None = None,
            signed_by: str | None = None,
            trusted: bool = False,
            options: Mapping[str, str] | None = None,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        keys = [n for n in ("key_text", "key_file", "key_url", "signed_by") if getattr(self, n)]
        if self.absent:
            allowed = {"apt_repository", "absent", "needs"}
            for name in sorted(self.model_fields_set - allowed):
                raise ValueError(f"a repository that is to be absent has no {name}")
            return self
        if not self.uris or not self.suites or not self.types:
            raise ValueError("say where it is: uris and suites")
        flat = [suite.endswith("/") for suite in self.suites]
        if all(flat) == bool(self.components) or any(flat) != all(flat):
            raise ValueError("a suite that ends with / has no components, every other has some")
        if len(keys) + self.trusted != 1:
            raise ValueError(
                "give its key one way: key_text, key_file, key_url, signed_by, or trusted"
            )
        if (self.key_url is None) != (self.key_sha256 is None):
            raise ValueError("key_url and key_sha256 go together")
        if self.signed_by is not None and not self.signed_by.startswith("/"):
            raise ValueError("signed_by is the absolute path of a keyring on the host")
        for name in self.options or {}:
            if not re.fullmatch(r"[A-Za-z][A-Za-z-]*", name) or name.lower() in _OWN:
                raise ValueError(f"{name!r} is no further field of a .sources file")
        return self

    @property
    def file(self) -> str:
        return f"/etc/apt/sources.list.d/{self.apt_repository}.sources"

    @property
    def keyring(self) -> str:
        return f"/etc/apt/keyrings/{self.apt_repository}.asc"

    @property
    def keeps_key(self) -> bool:
        return self.signed_by is None and not self.trusted and not self.absent

    def content(self) -> bytes:
        """The .sources file, in apt's deb822 style (sources.list(5))."""
        fields = {
            "Types": " ".join(self.types),
            "URIs": " ".join(self.uris),
            "Suites": " ".join(self.suites),
            "Components": " ".join(self.components),
            "Architectures": " ".join(self.architectures),
            "Signed-By": self.keyring if self.keeps_key else self.signed_by or "",
            "Trusted": "yes" if self.trusted else "",
            **(self.options or {}),
        }
        return "".join(f"{name}: {value}\n" for name, value in fields.items() if value).encode()

    def compose(self, material: Material) -> bytes | None:
        if self.key_file is None:
            return None
        raw = material.load(self.key_file)
        if len(raw) > KEY_LIMIT:
            raise ValueError(f"{self.key_file} is larger than the limit of {KEY_LIMIT} bytes")
        if b"PRIVATE KEY" in raw[:200]:
            raise ValueError(f"{self.key_file} is a private key; give the public one")
        return raw if raw.lstrip().startswith(ARMOR) else _armor(raw)

    def key_body(self, context: Context) -> bytes | None:
        """What the key file shall hold, if that is known here."""
        if self.key_text is not None:
            return self.key_text.encode()
        return context.bodies.get(self.id)

    def key_hash(self, context: Context) -> str:
        body = self.key_body(context)
        return self.key_sha256 or "" if body is None else hashlib.sha256(body).hexdigest()

    def stamp(self, context: Context) -> str:
        """What was true when apt last read the lists of it."""
        return hashlib.sha256(self.content() + self.key_hash(context).encode()).hexdigest()

    def provides(self) -> frozenset[str]:
        if self.absent:
            return frozenset({self.id, "apt-source"})
        key = {f"path:{self.keyring}"} if self.keeps_key else set()
        return frozenset({self.id, "apt-source", f"path:{self.file}", *key})

    def requires(self) -> frozenset[str]:
        own = {self.signed_by} if self.signed_by is not None else set()
        return frozenset(
            {
                "path:/etc/apt/sources.list.d",
                "path:/etc/apt/keyrings",
                *(f"path:{path}" for path in own),
            }
        )

    def forbids(self) -> Mapping[str, str]:
        return {f"file:{path}": f"both manage {path}" for path in (self.file, self.keyring)}

    @classmethod
    def probe(cls, resources: Sequence[AptRepository], context: Context) -> str:
        lines = [PROBE]
        for number, one in enumerate(resources):
            key = one.key_hash(context) if one.keeps_key else "none"
            lines.append(f"apt_see {number} {one.apt_repository} '{key}' {one.stamp(context)}")
        return "\n".join(lines)

    @classmethod
    def parse(
        cls, output: bytes, resources: Sequence[AptRepository], context: Context
    ) -> list[RepositoryState]:
        states: list[RepositoryState] = []
        for words in answers(output, len(resources)):
            if "why" in words:
                states.append(RepositoryState("unknown", " ".join(words["why"])))
            elif "end" not in words:
                states.append(RepositoryState("unknown", "the probe gave no answer"))
            else:
                content = decoded(words["content"]) if "content" in words else None
                key, listed = "key" in words, "listed" in words
                there = content is not None or "oldkey" in words
                states.append(
                    RepositoryState(
                        "present" if there else "absent", content=content, key=key, listed=listed
                    )
                )
        return states

    def diff(self, state: RepositoryState, around: Around) -> Change | None:
        if state.status == "unknown":
            return Change(resource=self.id, action="blocked", why=state.why)
        if self.absent:
            if state.status == "absent":
                return None
            gone = FieldChange(field="repository", before="known to apt", after=None)
            return Change(resource=self.id, action="remove", fields=(gone,))
        fields: list[FieldChange] = []
        content = self.content()
        diff = None
        if state.content != content:
            diff = unified(self.file, state.content or b"", content)
            before = None if state.content is None else "other"
            fields.append(FieldChange(field="sources", before=before, after=self.file))
        if self.keeps_key and not state.key:
            fields.append(FieldChange(field="key", before="missing or other", after=self.keyring))
        if not fields and not state.listed:
            fields.append(FieldChange(field="lists", before="not read", after="read"))
        if not fields:
            return None
        action = "create" if state.status == "absent" else "update"
        return Change(resource=self.id, action=action, fields=tuple(fields), diff=diff)

    @classmethod
    def emit(cls, items: Sequence[Item[AptRepository]], context: Context) -> str:
        lines: list[str] = []
        for item in items:
            one = item.resource
            if one.absent:
                lines.append(f"apt_forget {item.index} {one.apt_repository}")
                continue
            body = one.key_body(context)
            lines.append('rm -f -- "$T/apt.key"')
            if one.key_url is not None:
                lines.append(f'fetch {quote(one.key_url)} "$T/apt.key" {one.key_sha256}')
            elif body is not None:
                lines.append(f"printf '%s' '{encode(body)}' | base64 -d >\"$T/apt.key\"")
            lines.append(
                f"printf '%s' '{encode(one.content())}' | base64 -d >\"$T/apt.sources\"\n"
                f"apt_settle {item.index} {one.apt_repository} {one.stamp(context)}"
            )
        return "\n".join(lines)


_OWN = {"types", "uris", "suites", "components", "architectures", "signed-by", "trusted", "enabled"}


def _armor(raw: bytes) -> bytes:
    """RFC 9580, 6.2; its checksum is optional there, and apt reads none."""
    text = base64.b64encode(raw)
    rows = b"".join(text[at : at + 64] + b"\n" for at in range(0, len(text), 64))
    return ARMOR + b"\n\n" + rows + b"-----END PGP PUBLIC KEY BLOCK-----\n"
