"""What every script begins with: a known environment, and where things are on the host."""

from __future__ import annotations

from converge.host import Host
from converge.shell import quote

ENVIRONMENT = r"""
PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
unset LANGUAGE CDPATH ENV BASH_ENV
umask 022
"""


def record(nonce: str) -> str:
    """`rec word...` begins a record (see framing)."""
    return f"rec() {{ printf '\\n%s %s\\n' {nonce} \"$*\"; }}"


def places(host: Host) -> str:
    """U: our uid. S: what must outlive a reboot. R: what must not (secrets, in memory)."""
    if host.state_dir is not None:
        return f"U=$(id -u) S={quote(host.state_dir)}; R=$S/volatile; export S"
    return r"""
U=$(id -u)
if [ "$U" = 0 ]; then S=/var/lib/converge R=/run/converge
else
  # Not below XDG_RUNTIME_DIR: that goes when the user's last session ends, and a run does not.
  S=${XDG_STATE_HOME:-${HOME:-/nonexistent}/.local/state}/converge; R=$S/volatile
fi
export S
"""


# A pass is alive while it holds this lock or its unit is active. A lock goes with its process, so
# no process id can be mistaken for another's.
ALIVE = r"""
alive() { # pass
  if [ -e "$D/alive" ] && ! flock -n "$D/alive" true; then return 0; fi
  [ "$U" = 0 ] && [ -d /run/systemd/system ] || return 1
  case $(systemctl is-active -- "converge-$ID-$1.service" </dev/null 2>/dev/null) in
    active|activating|reloading|deactivating|refreshing) return 0 ;;
  esac
  return 1
}
newest() { # sets N to the number of the last pass
  N=0
  while [ -e "$D/journal.$((N + 1))" ]; do N=$((N + 1)); done
}
"""
