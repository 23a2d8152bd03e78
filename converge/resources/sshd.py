"""What the ssh daemon allows, in a drop-in of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, field_validator, model_validator

from converge.changes import FieldChange
from converge.resource import Around, Context, Resource
from converge.resources.owned import Owned, OwnedState, Wanted
from converge.resources.owned_sh import EMIT
from converge.shell import encode

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,100}")
_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")
# Older words for the same; `sshd -T` answers with the newer one only.
_OTHER = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
    "hostbasedacceptedkeytypes": "hostbasedacceptedalgorithms",
    "dsaauthentication": "pubkeyauthentication",
}

# The drop-in alone, then all of it: what it would mean if nothing overrode it, and what holds.
_LOOK = r"""
sshd_now=$(sshd -T 2>&1) || { sshd_why=$sshd_now; sshd_now=; }
sshd_see() { # number, keywords...; the drop-in in base64 on stdin
  n=$1; shift
  [ -z "${sshd_why-}" ] || { echo "live $n broken $(printf '%s' "$sshd_why" | head -n 1)"; }
  want=$(base64 -d | sshd -T -f /dev/stdin 2>/dev/null) || want=
  for word; do
    printf 'live %s now.%s ' "$n" "$word"
    printf '%s\n' "$sshd_now" | sed -n "s/^$word //p" | sort | tr '\n' ';'; echo
    printf 'live %s want.%s ' "$n" "$word"
    printf '%s\n' "$want" | sed -n "s/^$word //p" | sort | tr '\n' ';'; echo
  done
}
"""


def _values(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else (value,)
    return tuple(
        ("yes" if item else "no")
        if isinstance(item, bool)
        else str(item)
        if isinstance(item, int)
        else item
        for item in items
    )


Setting = Annotated[tuple[str, ...], BeforeValidator(_values)]


class Sshd(Owned):
    """Settings of sshd that hold: written, checked, reloaded, and asked of sshd afterwards.

        Sshd("10-hardening", settings={
            "PermitRootLogin": "prohibit-password", "PasswordAuthentication": False,
            "AllowUsers": "deploy admin", "AcceptEnv": ["LANG", "LC_*"]})
        Sshd("20-sftp", match="Group sftp", settings={"ForceCommand": "internal-sftp"})
        Sshd("10-hardening", absent=True)

    In YAML: `- sshd: 10-hardening` with `settings:`. The file is /etc/ssh/sshd_config.d/NAME.conf; of
    several that say the same thing sshd takes the first, so a setting that another file overrides
    is told as one that cannot be done. Checked by sshd in a copy of its files before it goes live.
    A change is taken back by the host unless a fresh connection confirms it.
    """

    key: ClassVar[str] = "sshd"
    cuts_off: ClassVar[bool] = True
    tool: ClassVar[str] = "sshd"
    package: ClassVar[str] = "openssh-server"
    look_library: ClassVar[str] = _LOOK
    library: ClassVar[str | tuple[str, ...]] = (
        EMIT,
        r"""
sshd_check() { # new file, path: all of the configuration as it would be, in a copy
  try=$T/sshd; rm -rf -- "$try"; mkdir -p -- "$try/d" /run/sshd
  for one in /etc/ssh/sshd_config.d/*.conf; do [ ! -f "$one" ] || cp -- "$one" "$try/d/"; done
  cp -- "$1" "$try/d/${2##*/}"
  sed "s|/etc/ssh/sshd_config[.]d/|$try/d/|" /etc/ssh/sshd_config >"$try/sshd_config"
  grep -qi '^[[:space:]]*include[[:space:]].*/d/' "$try/sshd_config" || {
    echo "/etc/ssh/sshd_config does not include /etc/ssh/sshd_config.d/*.conf"; return 1; }
  sshd -t -f "$try/sshd_config" || return 1
  rm -rf -- "$try"
}
sshd_reload() {
  owned_late || return 0
  mkdir -p /run/sshd
  sshd -t || die "sshd does not take its configuration any more"
  if [ -d /run/systemd/system ]; then
    for unit in ssh.service sshd.service; do
      # Where it is started by a socket, each connection reads the files anew.
      [ "$(systemctl is-active "$unit")" != active ] || {
        systemctl reload "$unit" || die "cannot reload $unit"; break; }
    done
  elif [ -r /run/sshd.pid ]; then kill -HUP "$(cat /run/sshd.pid)"
  fi
}
""",
    )

    sshd: str
    settings: dict[str, Setting] | None = None
    match: str | None = None
    """Condition of a Match block, such as "User deploy". What holds then is not compared."""
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            sshd: str,
            /,
            *,
            settings: dict[str, Any] | None = None,
            match: str | None = None,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("sshd")
    @classmethod
    def _file(cls, value: str) -> str:
        value = value.removesuffix(".conf")
        if not _NAME.fullmatch(value):
            raise ValueError(f"{value!r} is no name for a file of settings: letters, digits, . _ -")
        return value

    @field_validator("settings")
    @classmethod
    def _lines(cls, value: dict[str, tuple[str, ...]] | None) -> dict[str, tuple[str, ...]] | None:
        for keyword, values in (value or {}).items():
            if not _KEYWORD.fullmatch(keyword) or keyword.lower() in ("match", "include"):
                raise ValueError(f"{keyword!r} is no setting of sshd")
            for text in values:
                if not text.strip() or "\n" in text or "\0" in text:
                    raise ValueError(f"{keyword}: a value is one line that is not empty")
        return value

    @field_validator("match")
    @classmethod
    def _condition(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or "\n" in value or "\0" in value):
            raise ValueError("a Match condition is one line, such as User deploy")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent == bool(self.settings) or (self.absent and self.match):
            raise ValueError("give the settings, or say that it is absent, not both")
        return self

    @property
    def text(self) -> str:
        begin = "    " if self.match else ""
        lines = [f"Match {self.match}"] if self.match else []
        lines += [
            f"{begin}{keyword} {value}"
            for keyword, values in (self.settings or {}).items()
            for value in values
        ]
        return "\n".join(lines) + "\n"

    @property
    def words(self) -> tuple[str, ...]:
        """Keywords as `sshd -T` answers with them."""
        given = (keyword.lower() for keyword in self.settings or {})
        return tuple(dict.fromkeys(_OTHER.get(word, word) for word in given))

    def files(self) -> tuple[Wanted, ...]:
        path = f"/etc/ssh/sshd_config.d/{self.sshd}.conf"
        return (Wanted(path, None if self.absent else self.text, "0644", "sshd_check"),)

    def look(self, number: int, context: Context) -> str:
        if self.absent or self.match:
            return ""
        words = " ".join(self.words)
        return f"sshd_see {number} {words} <<'END'\n{encode(self.text.encode())}\nEND"

    def trouble(self, state: OwnedState, around: Around) -> str:
        """Written as declared, and something else holds: no file of ours can change that."""
        if self.absent or self.match or not state.files or state.files[0].kind != "file":
            return ""
        if state.files[0].content != self.text.encode():
            return ""
        if state.get("broken"):
            return f"sshd does not take its configuration: {state.get('broken')}"
        for word in self.words:
            wanted, found = state.get(f"want.{word}"), state.get(f"now.{word}")
            if wanted and found != wanted and word not in ("acceptenv", "subsystem", "setenv"):
                return (
                    f"{word} is {found.rstrip(';')} and not {wanted.rstrip(';')}: a file that is read"
                    " before this one sets it"
                )
        return ""

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        return [
            FieldChange(field=word, before=found.rstrip(";") or None, after=wanted.rstrip(";"))
            for word in self.words
            if not self.absent
            and not self.match
            and (wanted := state.get(f"want.{word}")) != (found := state.get(f"now.{word}"))
            and wanted
            and word not in ("acceptenv", "subsystem", "setenv")
        ]

    def settle(self, context: Context) -> str:
        return "sshd_reload"
