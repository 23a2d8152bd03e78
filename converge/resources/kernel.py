"""The kernel: its parameters and its modules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import field_validator, model_validator

from converge.changes import FieldChange
from converge.resource import Around, Context, Resource
from converge.resources.owned import Owned, OwnedState, Wanted, differs
from converge.resources.owned_sh import EMIT
from converge.shell import quote

_SYSCTL = re.compile(r"[a-z0-9_-]+([./][A-Za-z0-9_.:@-]+)+")
_LOADED = r"""
module_loaded() { # built-in ones show below /sys/module only if they have parameters
  [ -d "/sys/module/$1" ] || grep -qE "/$(echo "$1" | sed 's/_/[-_]/g')[.]ko" \
    "/lib/modules/$(uname -r)/modules.builtin" 2>/dev/null
}
"""
_MODULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Sysctl(Owned):
    """A kernel parameter, now and after a reboot.

        Sysctl("net.ipv4.ip_forward", value=1)
        Sysctl("net/ipv4/conf/eth0.100/forwarding", value=1)    # with / where a name has dots
        Sysctl("vm.swappiness", value=10, runtime=False)        # from the next boot on

    In YAML: `- sysctl: vm.swappiness` with `value: 10`. Kept in a file of its own in
    /etc/sysctl.d, the last to be read. `absent` removes that file; the running value stays.
    """

    key: ClassVar[str] = "sysctl"
    library: ClassVar[str | tuple[str, ...]] = (
        EMIT,
        r"""
sysctl_set() { # path below /proc/sys, value
  [ -e "/proc/sys/$1" ] || die "the kernel has no parameter $1 (is its module loaded?)"
  now=$(cat "/proc/sys/$1" | tr -s '\t ' ' ')
  [ "$now" != "$2" ] || return 0
  changed "$own_index"
  printf '%s\n' "$2" 2>/dev/null >"/proc/sys/$1" || die "the kernel refuses '$2' for $1"
  now=$(cat "/proc/sys/$1" | tr -s '\t ' ' ')
  [ "$now" = "$2" ] || die "the kernel made '$now' of '$2' for $1"
}
""",
    )

    sysctl: str
    value: str | None = None
    runtime: bool = True
    """Set it now as well, not only at boot."""
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            sysctl: str,
            /,
            *,
            value: str | int | None = None,
            runtime: bool = True,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("sysctl")
    @classmethod
    def _valid(cls, value: str) -> str:
        if not _SYSCTL.fullmatch(value) or ".." in value or "/." in value:
            raise ValueError(f"{value!r} is no kernel parameter: write it as net.ipv4.ip_forward")
        return value

    @field_validator("value", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("write 1 or 0, not true or false")
        if isinstance(value, int):
            return str(value)
        if isinstance(value, str):
            if "\n" in value or "\0" in value or not value.strip():
                raise ValueError("a value is one line that is not empty")
            return " ".join(value.split())
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.absent == (self.value is not None):
            raise ValueError("say the value, or that it is absent, not both")
        return self

    @property
    def below(self) -> str:
        """The path below /proc/sys. The first separator says which of the two it is (sysctl(8))."""
        first = next(c for c in self.sysctl if c in "./")
        return self.sysctl if first == "/" else self.sysctl.replace(".", "/")

    def provides(self) -> frozenset[str]:
        return super().provides() | {f"sysctl-path:{self.below}"}

    def follows(self) -> frozenset[str]:
        # Some parameters come with a module; which ones, no name tells.
        return frozenset({"the:modules"})

    def forbids(self) -> Mapping[str, str]:
        return {**super().forbids(), f"sysctl-path:{self.below}": "they are the same parameter"}

    def files(self) -> tuple[Wanted, ...]:
        name = self.below.replace("/", "-")
        body = None if self.absent else f"{self.below} = {self.value}\n"
        return (Wanted(f"/etc/sysctl.d/zz-{name}.conf", body),)

    def look(self, number: int, context: Context) -> str:
        if self.absent or not self.runtime:
            return ""
        path = f"/proc/sys/{self.below}"
        return (
            f'if [ -r {path} ]; then echo "live {number} now $(cat {path} | tr -s "\\t\\n " " ")"\n'
            f"[ -w {path} ] || echo 'live {number} fixed yes'\n"
            f"contained && echo 'live {number} contained yes'\n"
            f"elif [ -e {path} ]; then echo 'why {number} {path} may not be read'\n"
            f"else echo 'live {number} lacks yes'; fi"
        )

    def awaits(self, state: OwnedState, around: Around) -> str:
        modules = any(token.startswith("kernel_module:") for token in around.provided)
        if state.get("lacks") and (around.packages or modules):
            return "the kernel does not have it yet; a module or package may bring it"
        return ""

    def trouble(self, state: OwnedState, around: Around) -> str:
        if state.get("lacks"):
            return "the kernel has no such parameter (misspelt, or its module is not loaded)"
        if state.get("fixed") and state.get("now") != self.value:
            where = "in this container" if state.get("contained") else "here"
            return (
                f"{self.sysctl} is {state.get('now')} and read-only {where}: set it on the machine"
                " below, or with runtime: false for the next boot only"
            )
        return ""

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        if self.absent or not self.runtime:
            return []
        return differs("value", state.get("now"), self.value or "")

    def before(self, context: Context) -> str:
        # What the kernel refuses now is not written down for the next boot either.
        if self.absent or not self.runtime:
            return ""
        return f"sysctl_set {self.below} {quote(self.value or '')}"


class KernelModule(Owned):
    """A kernel module is loaded, now and at boot, or kept out.

        KernelModule("br_netfilter")
        KernelModule("bonding", options="mode=1 miimon=100")
        KernelModule("usb_storage", blacklisted=True)
        KernelModule("br_netfilter", absent=True)     # unloaded, and not loaded at boot

    In YAML: `- kernel_module: br_netfilter`. Containers share the kernel of the machine below and
    can load nothing: there it must be loaded already, else the plan says that it cannot be done.
    """

    key: ClassVar[str] = "kernel_module"
    look_library: ClassVar[str] = _LOADED
    library: ClassVar[str | tuple[str, ...]] = (
        EMIT,
        _LOADED,
        r"""
module_settle() { # name, yes or no
  loaded=no; ! module_loaded "$1" || loaded=yes
  [ "$loaded" != "$2" ] || return 0
  ! contained || die "a container can neither load nor unload modules: do it on the machine below"
  command -v modprobe >/dev/null || die "the host has no modprobe: declare package kmod before this"
  owned_arm
  if [ "$2" = yes ]; then modprobe -- "$1" || die "the kernel does not take module $1"
  else modprobe -r -- "$1" || die "module $1 is in use or built in"; fi
}
""",
    )

    kernel_module: str
    options: str | None = None
    blacklisted: bool = False
    """Not loaded, and never loaded by itself."""
    absent: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            kernel_module: str,
            /,
            *,
            options: str | None = None,
            blacklisted: bool = False,
            absent: bool = False,
            needs: Sequence[str | Resource] = (),
        ) -> None: ...

    @field_validator("kernel_module")
    @classmethod
    def _valid(cls, value: str) -> str:
        if not _MODULE.fullmatch(value):
            raise ValueError(f"{value!r} is no kernel module: letters, digits, _ and -")
        return value.replace("-", "_")

    @field_validator("options")
    @classmethod
    def _line(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[!-~]+( [!-~]+)*", value):
            raise ValueError("options are one line such as mode=1 miimon=100")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.options and (self.absent or self.blacklisted):
            raise ValueError("a module that is not to be loaded has no options")
        if self.absent and self.blacklisted:
            raise ValueError("absent and blacklisted exclude each other: the second keeps a file")
        return self

    @property
    def wanted(self) -> str:
        return "no" if self.absent or self.blacklisted else "yes"

    def provides(self) -> frozenset[str]:
        return super().provides() | {"the:modules"}

    def requires(self) -> frozenset[str]:
        return frozenset({"package:kmod"})

    def files(self) -> tuple[Wanted, ...]:
        name = self.kernel_module
        probe = f"options {name} {self.options}\n" if self.options else None
        if self.blacklisted:
            # A blacklist line alone does not stop what asks for the module by its name.
            probe = f"blacklist {name}\ninstall {name} /bin/false\n"
        return (
            Wanted(
                f"/etc/modules-load.d/{name}.conf", f"{name}\n" if self.wanted == "yes" else None
            ),
            Wanted(f"/etc/modprobe.d/{name}.conf", probe),
        )

    def look(self, number: int, context: Context) -> str:
        name = self.kernel_module
        return (
            f"if module_loaded {name}; then echo 'live {number} loaded yes'"
            f"; else echo 'live {number} loaded no'; fi\n"
            f"! contained || echo 'live {number} contained yes'"
        )

    def trouble(self, state: OwnedState, around: Around) -> str:
        if state.get("contained") and state.get("loaded") != self.wanted:
            verb = "load" if self.wanted == "yes" else "unload"
            return f"a container cannot {verb} {self.kernel_module}: do it on the machine below"
        return ""

    def drift(self, state: OwnedState, around: Around) -> list[FieldChange]:
        return differs("loaded", state.get("loaded"), self.wanted)

    def settle(self, context: Context) -> str:
        return f"module_settle {self.kernel_module} {self.wanted}"
