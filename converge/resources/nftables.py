"""The firewall: a ruleset of nftables, loaded, and loaded again at boot."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import field_validator, model_validator

from converge.changes import Change, FieldChange
from converge.names import Path, Text
from converge.resource import Around, Context, Resource
from converge.resources.owned import Owned, OwnedState, Wanted, differs
from converge.resources.owned_sh import EMIT
from converge.shell import encode, quote

_TABLE = re.compile(r"^table (\S+ \S+) \{", re.MULTILINE)

# What the text would load is found out by loading it into a network of its own, with nothing
# else in it: then both sides are written by nft itself and can be compared.
_LOOK = r"""
nft_see() { # number; the wanted text in base64 on stdin
  [ -x "$(command -v nft)" ] || return 0
  now=$(nft -s list ruleset 2>&1) || { echo "why $1 nft: $now"; return 0; }
  want=$(base64 -d | unshare -n sh -c 'nft -f /dev/stdin && nft -s list ruleset' 2>&1) || {
    printf 'live %s odd ' "$1"; printf '%s' "$want" | head -n 1; echo; want=; }
  printf 'live %s now ' "$1"; printf '%s' "$now" | base64 | tr -d '\n'; echo
  printf 'live %s want ' "$1"; printf '%s' "$want" | base64 | tr -d '\n'; echo
  if [ -d /run/systemd/system ]; then
    echo "live $1 boot $(systemctl is-enabled nftables.service </dev/null 2>/dev/null)"
  fi
}
"""


class Nftables(Owned):
    """The ruleset that is loaded is this one, and it is loaded again at boot.

        Nftables("/etc/nftables.conf", content=\"\"\"
        flush ruleset
        table inet filter {
          chain input {
            type filter hook input priority 0; policy drop;
            ct state established,related accept
            iifname "lo" accept
            tcp dport { 22, 80, 443 } accept
          }
        }
        \"\"\")

    In YAML: `- nftables: /etc/nftables.conf` with `content: |`. Checked with `nft -c`, loaded, kept by
    nftables.service. What is compared is what the kernel has loaded, not the file: with
    `flush ruleset` in the text all of it, else the tables that the text declares (others', such as
    fail2ban's, are left alone). Counters, and elements that come and go by themselves, do not
    count. A change is taken back by the host unless a fresh connection confirms it. Match
    interfaces by `iifname`, not `iif`: the latter names a card that must be there when it is read.
    """

    key: ClassVar[str] = "nftables"
    cuts_off: ClassVar[bool] = True
    tool: ClassVar[str] = "nft"
    package: ClassVar[str] = "nftables"
    look_library: ClassVar[str] = _LOOK
    library: ClassVar[str | tuple[str, ...]] = (
        EMIT,
        r"""
nft_check() { nft -c -f "$1" || { echo "nft does not take the ruleset"; return 1; }; }
nft_reload() { # path
  owned_arm
  nft -f "$1" || die "nft could not load $1"
}
nft_boot() { # path
  [ -d /run/systemd/system ] || return 0
  case $(systemctl is-enabled nftables.service 2>/dev/null) in
    enabled*) ;;
    *) owned_arm; systemctl enable nftables.service || die "cannot enable nftables.service" ;;
  esac
  [ "$1" = /etc/nftables.conf ] || grep -qF -e "include \"$1\"" /etc/nftables.conf 2>/dev/null || {
    owned_arm; printf 'include "%s"\n' "$1" >>/etc/nftables.conf; }
}
""",
    )

    nftables: Path = "/etc/nftables.conf"
    content: Text | None = None
    absent: bool = False
    """No such file; what its tables hold is taken out of the kernel."""

    if TYPE_CHECKING:

        def __init__(
            self,
            nftables: str = "/etc/nftables.conf",
            /,
            *,
            content: str | None = None,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("nftables")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not re.fullmatch(r"/etc/[A-Za-z0-9._/-]+", value):
            raise ValueError(f"{value!r}: a ruleset lives in a plainly named file below /etc")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent == (self.content is not None):
            raise ValueError("give the content, or say that it is absent, not both")
        return self

    @property
    def text(self) -> str:
        """The tables are made anew in the same transaction: what is no longer said goes."""
        text = (self.content or "").strip("\n") + "\n"
        return text if text.startswith("#!") else f"#!/usr/sbin/nft -f\n{text}"

    @property
    def whole(self) -> bool:
        return bool(re.search(r"^\s*flush ruleset\s*;?\s*$", self.content or "", re.MULTILINE))

    @property
    def tables(self) -> tuple[str, ...]:
        """As "inet filter", in order."""
        found = re.findall(r"^\s*table\s+(?:(\w+)\s+)?(\w+)\s*\{", self.content or "", re.MULTILINE)
        return tuple(dict.fromkeys(f"{family or 'ip'} {name}" for family, name in found))

    def files(self) -> tuple[Wanted, ...]:
        if self.absent:
            return (Wanted(self.nftables, None),)
        text = self.text
        if not self.whole:
            # `table x` declares, so that deleting works whether it was there or not.
            fresh = "".join(f"table {name}\ndelete table {name}\n" for name in self.tables)
            first, _, rest = text.partition("\n")
            text = f"{first}\n{fresh}{rest}"
        return (Wanted(self.nftables, text, "0755", "nft_check"),)

    def look(self, number: int, context: Context) -> str:
        body = self.files()[0].body
        return "" if body is None else f"nft_see {number} <<'END'\n{encode(body.encode())}\nEND"

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        if self.absent:
            return []
        fields: list[FieldChange] = []
        now = self._relevant(_decoded(state.get("now")))
        want = self._relevant(_decoded(state.get("want")))
        if state.get("odd"):
            fields.append(
                FieldChange(
                    field="loaded",
                    before="cannot be compared",
                    after=f"as declared ({state.get('odd')})",
                )
            )
        elif now != want:
            fields.append(FieldChange(field="loaded", before=_told(now), after=_told(want)))
        if "boot" in state.live and not state.get("boot").startswith("enabled"):
            fields += differs("nftables.service", state.get("boot") or "not there", "enabled")
        return fields

    def diff(self, state: OwnedState, around: Around) -> Change | None:
        change = super().diff(state, around)
        if change is None or change.action != "update" or state.get("odd"):
            return change
        from converge.resources.owned import unified

        now = self._relevant(_decoded(state.get("now")))
        want = self._relevant(_decoded(state.get("want")))
        loaded = unified("the loaded ruleset", now.encode(), want.encode())
        return change.model_copy(update={"diff": (change.diff or "") + loaded or None})

    def _relevant(self, ruleset: str) -> str:
        """What of `nft list ruleset` this resource speaks for, without what changes by itself."""
        tables = split(ruleset)
        mine = tables if self.whole else {t: tables[t] for t in self.tables if t in tables}
        return "".join(f"{steady(mine[name])}\n" for name in sorted(mine))

    def before(self, context: Context) -> str:
        return (
            ""
            if not self.absent
            else (
                f"if [ -f {quote(self.nftables)} ]; then owned_arm\n"
                "sed -n 's/^[ \\t]*table[ \\t][ \\t]*\\([a-z]*[ \\t][ \\t]*[A-Za-z0-9_]*\\)"
                "[ \\t]*{.*/\\1/p'"
                f" {quote(self.nftables)} | while read -r family name; do"
                ' nft delete table "$family" "$name" 2>/dev/null || :; done; fi'
            )
        )

    def settle(self, context: Context) -> str:
        path = quote(self.nftables)
        if self.absent and self.nftables == "/etc/nftables.conf":
            # At boot the service would fail for want of its file.
            return (
                "case $(systemctl is-enabled nftables.service 2>/dev/null) in enabled*)"
                " owned_arm; systemctl disable nftables.service ;; esac"
            )
        if self.absent:
            return (
                f"[ ! -f /etc/nftables.conf ] || {{ export KEY='include \"{self.nftables}\"'\n"
                "owned_table /etc/nftables.conf '$0 != ENVIRON[\"KEY\"] { print }'; }"
            )
        # Loading is one transaction of the kernel: nothing is open or closed in between.
        return f"nft_reload {path}\nnft_boot {path}"


def split(ruleset: str) -> dict[str, str]:
    """The output of `nft list ruleset` by table."""
    starts = [(match.start(), match[1]) for match in _TABLE.finditer(ruleset)]
    ends = [start for start, _ in starts[1:]] + [len(ruleset)]
    # Without a table there is an end and no start.
    return {
        name: ruleset[start:end].strip() for (start, name), end in zip(starts, ends, strict=False)
    }


def steady(table: str) -> str:
    """Without the elements of sets and maps that the kernel fills or empties by itself."""
    blocks = re.split(r"(?m)^(?=\t(?:set|map|meter) )", table)
    return "".join(
        re.sub(r"\n\t\telements = \{[^}]*\}", "", block)
        if re.search(r"(?m)^\t\t(flags .*\b(dynamic|timeout)\b|timeout )", block)
        else block
        for block in blocks
    )


def _decoded(text: str) -> str:
    import base64
    import binascii

    try:
        return base64.b64decode(text, validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return ""


def _told(ruleset: str) -> str:
    if not ruleset:
        return "nothing"
    return f"{ruleset.count(chr(10))} lines, sha256:{hashlib.sha256(ruleset.encode()).hexdigest()[:12]}"
