"""What the kinds of databases share on a host: another user, a place for a scratch server. Pure.

`LIBRARY` needs $T (a folder in memory of this run) and defines

    db_oops TEXT...           says it and ends with 1
    db_can USER [PACKAGE]     ends with 1 unless the host has that user, and we can be it
    db_begin FOLDER           sets $D, a folder in memory that is gone at the end, whatever that is;
                              FOLDER: where the dump is
    db_exec USER PROGRAM...   becomes the program, as that user, in a clean environment
    db_as USER PROGRAM...     runs it
    db_room FOLDER...         says what is free there

`scratch` runs a server beside the one of the host so that neither can notice the other: in namespaces of
its own, where it has no network, its processes are gone with the first of them, and its folder is
reached however private the folders above it are. Where a host does not allow that (not root, or a
container), it is a process like any other, with a folder that its user must be able to reach.
"""

from __future__ import annotations

from converge.shell import quote

LIBRARY = r"""
umask 077
db_oops() { printf '%s\n' "$*"; exit 1; }
db_swap() { # to the end, once begun: nobody ends it in the middle
  : >"$T/hook"; swap_it; rm -f -- "$T/hook"
}
db_begin() { # folder
  db_data=$1
  D=$(mktemp -d "$T/db.XXXXXX") || db_oops "cannot write below $T"
  trap db_end EXIT
  trap 'exit 143' HUP INT TERM
}
db_end() { rm -rf -- "$D"; }
db_can() { # user: whether we can be that one
  id -- "$1" >/dev/null 2>&1 || db_oops "the host has no user $1${2:+: install $2}"
  [ "$(id -u)" = 0 ] || [ "$(id -un)" = "$1" ] ||
    db_oops "to work as $1 it must be root: give the host sudo: true"
}
db_exec() { # user, program
  db_who=$1; shift
  [ "$(id -un)" = "$db_who" ] ||
    set -- setpriv --reuid="$db_who" --regid="$(id -g -- "$db_who")" --init-groups -- "$@"
  cd / && exec env -i PATH="$PATH" LC_ALL=C HOME=/nonexistent "$@"
}
db_as() { ( db_exec "$@" ); }
db_room() { # folders
  df -Ph -- "$@" 2>/dev/null | awk 'NR > 1 && !seen[$6]++ { print $6 " has " $4 " free" }' |
    paste -s -d , - | sed 's/,/, /g'
}
db_first() { # the line of a file that says most
  { grep -v '^ *$' "$1" | grep -iE -m 1 'error|fatal|panic|denied' ||
    grep -v '^ *$' "$1" | tail -n 1; } | cut -c 1-500
}
db_differs() { # a fingerprint and another, the first lines in which they differ
  diff "$1" "$2" 2>/dev/null | grep '^[<>]' | head -n 5 | cut -c 1-300
}
"""

_ENTER = r"""
db_begin "$X"
db_end() {
  rm -rf -- "$D"
  # What a server still writes while it dies comes after what was removed.
  rm -rf -- "$X/server" || { sleep 1; rm -rf -- "$X/server"; }
}
rm -rf -- "$X/server" && mkdir -- "$X/server" || db_oops "cannot write below $X ($(db_room "$X"))"
set --
if [ "$(id -u)" != 0 ]; then P=$X/server db_user=$(id -un)
else
  db_can "$db_user" "$db_package"
  chown -- "$db_user:" "$X/server"
  set -- unshare --mount --pid --fork --kill-child --mount-proc --net --ipc --propagation private
  if [ -d /mnt ] && "$@" mount --bind -- "$X/server" /mnt 2>/dev/null; then P=/mnt
  else
    set --
    P=$X/server
    chmod 711 -- "$X"
    db_as "$db_user" test -w "$P" ||
      db_oops "the user $db_user cannot reach $X: take a folder below ones that all may pass (chmod a+x)"
  fi
fi
[ "${#P}" -lt 80 ] || db_oops "$X is too long a path for a server's socket: take a shorter one"
export P X T D db_user
"""

_INSIDE = r"""
cd -- "$X"
trap 'db_stop >/dev/null 2>&1 || :' EXIT
[ "$P" != /mnt ] || mount --bind -- "$X/server" /mnt
"""


def scratch(user: str, package: str, library: str, work: str) -> str:
    """sh that runs `work` in a shell of its own, with $X, $T, $D, and $P, the folder of its server.

    It begins in $X, which may be hidden by $P: what is in it is named from there. `library` defines
    db_stop, which ends the server; `package` is the one that brings `user`.
    """
    inside = f"{LIBRARY}\n{library}\n{_INSIDE}\n{work}"
    return (
        f"db_user={quote(user)} db_package={quote(package)}{_ENTER}"
        f'"$@" sh -eu -c {quote(inside)} || exit "$?"'
    )
