"""restic on a host, as sh: the way into the repository, waiting for others there, and removing the
locks of our own dead. Pure.

`library` needs $S, $T, $ID and $N (see converge.tasks). It defines

    r ARGUMENT...                restic, with the repository and its secrets
    attempt HANDLER ARGUMENT...  the same, its output read by the function HANDLER, begun again where
                                 that may help; sets $rc, and $kind to what kind of end it was

Kinds: ok, incomplete (restic's 3: something could not be read), none (no repository there), password,
locked, full, killed, still (it did nothing any more, and was ended), cancelled, other.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from urllib.parse import quote as percent
from urllib.parse import urlsplit

from converge.shell import quote
from temporal.shared.specs.backup.repository import Repository

GENTLY = ("restic",)
"""Programs that are asked to end by SIGINT: by SIGTERM restic before 0.16 leaves its lock behind."""
PAUSE = 10
"""Seconds before restic is begun again for a reason that may pass."""
STILL_S = 300
STILL_ELSEWHERE_S = 1800
"""Seconds in which a restic that is at work does at least a little: with a repository on this host, and
with one elsewhere, for which it tries a quarter of an hour where nothing answers."""

Values = Mapping[str, bytes]
"""Secret references and what they stand for."""


def library(repository: Repository, host: str, values: Values, tries: int) -> str:
    """sh that defines `r` and `attempt` for the repository of `host`."""
    url = _url(repository, host, values)
    where = hashlib.sha256(repository.at(host).encode()).hexdigest()[:16]
    exports = {"RESTIC_REPOSITORY": url, "RESTIC_PASSWORD": _text(values[repository.password])}
    exports |= repository.environment
    exports |= {name: _text(values[ref]) for name, ref in repository.credentials.items()}
    still = STILL_S if repository.kind == "local" else STILL_ELSEWHERE_S
    lines = [f"  export {name}={quote(value)}" for name, value in exports.items()]
    files = {}
    if repository.key is not None:
        files["key"] = _text(values[repository.key]).rstrip("\n") + "\n"
    if repository.known_hosts is not None:
        files["known_hosts"] = repository.known_hosts.rstrip("\n") + "\n"
    if repository.ca is not None:
        files["ca"] = repository.ca.rstrip("\n") + "\n"
    written = [
        f'( umask 077; printf %s {quote(text)} >"$T/{name}" )' for name, text in files.items()
    ]
    create, options = "yes" if repository.create else "", _options(repository, host)
    return "\n".join(
        [
            "environment() {",
            *lines,
            "}",
            *written,
            f"where={where} patience={int(repository.wait)} tries={tries} pause={PAUSE} create={create}",
            f"place={quote(repository.at(host))} place_kind={repository.kind}",
            f"still={still} look={max(1, still // 30)}",
            _R.replace("OPTIONS", options),
            _GUARD,
            _LOCKS.replace("OPTIONS", options),
            _ATTEMPT,
        ]
    )


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")


def _url(repository: Repository, host: str, values: Values) -> str:
    """With the user and password of a REST server, which restic before 0.16 takes nowhere else."""
    url = repository.at(host)
    if repository.user is None or repository.user_password is None:
        return url
    parts = urlsplit(url.removeprefix("rest:"))
    login = (
        f"{percent(repository.user, safe='')}:{percent(values[repository.user_password], safe='')}"
    )
    return "rest:" + parts._replace(netloc=f"{login}@{parts.netloc}").geturl()


def _options(repository: Repository, host: str) -> str:
    """What every call has. Words of sh: $T is meant."""
    found = []
    if repository.upload_limit:
        found.append(f"--limit-upload {repository.upload_limit}")
    if repository.download_limit:
        found.append(f"--limit-download {repository.download_limit}")
    if repository.ca is not None:
        found.append('--cacert "$T/ca"')
    if repository.kind == "sftp":
        found.append(f'-o sftp.command="{_sftp(repository, host)}"')
    return " ".join(found)


def _sftp(repository: Repository, host: str) -> str:
    """The ssh that restic reaches the repository by: it never asks, and notices a dead connection."""
    argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"]
    argv += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
    if repository.known_hosts is not None:
        argv += ["-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=$T/known_hosts"]
    if repository.key is not None:
        argv += ["-o", "IdentitiesOnly=yes", "-i", "$T/key"]
    user, address, port = sftp_place(repository.at(host))
    argv += ["-p", str(port)] if port else []
    argv += ["-l", user] if user else []
    safe = [
        word if word.startswith(("$T", "UserKnownHostsFile=$T")) else shlex.quote(word)
        for word in argv
    ]
    return " ".join([*safe, shlex.quote(address), "-s", "sftp"])


def sftp_place(url: str) -> tuple[str, str, int | None]:
    """User, address and port of an SFTP url.

    >>> sftp_place("sftp:bob@store:/srv/repo"), sftp_place("sftp://bob@store:2222//srv/repo")
    (('bob', 'store', None), ('bob', 'store', 2222))
    """
    if url.startswith("sftp://"):
        parts = urlsplit(url)
        return parts.username or "", parts.hostname or "", parts.port
    login = url.removeprefix("sftp:").partition(":")[0]
    user, _, address = login.rpartition("@")
    return user, address, None


_R = r"""
mkdir -p -- "$S/backup/open" "$S/cache/restic" && chmod 700 "$S/backup" "$S/cache" || return 1
if command -v restic >/dev/null; then
  release=$(restic version 2>/dev/null | sed -n 's/^restic 0\.\([0-9]*\).*/\1/p'); release=${release:-99}
else release=0
fi
r() { new_mark; marked "$@"; }
new_mark() {
  read -r r_token </proc/sys/kernel/random/uuid
  r_mark=$S/backup/open/$where.$r_token
}
marked() { # as r, under the mark that was made for it
  (
    environment
    export RESTIC_CACHE_DIR="$S/cache/restic" RESTIC_PROGRESS_FPS=0.5
    # Its process is written down before it can take a lock: so its lock is known as one of ours, also
    # after a power cut.
    exec sh -c 'echo "$$" >"$0"
      case " $* " in *" --no-lock "*) ;; *) sync "$0" 2>/dev/null ;; esac
      exec restic "$@"' "$r_mark" OPTIONS "$@"
  )
  r_rc=$?
  # One that ended well, or never came to a lock, leaves none. Of any other the mark stays until it is
  # known that its lock is gone: also one that ends by itself leaves it where the network is down.
  case $r_rc in 0|3|10|11|12) rm -f -- "$r_mark" ;; esac
  return "$r_rc"
}
"""

# A restic may wait for itself, and for ever: 0.14 does where there is no room for its last pack, and
# goes on saying how far it is. So what counts is what it did: the time of a processor, of which a
# hundredth of a second goes for a quarter of a KiB, and KiB: read from anywhere, and written to a disk;
# elsewhere also written to a connection, among which is what it says. Looks are counted, not seconds of
# a clock: a host that was asleep begins where it was.
_GUARD = r"""
did() { # process
  read -r did_line <"/proc/$1/stat" || return 1
  # After the name in brackets: state, and nine more; then the time in the program and in the kernel.
  set -- "$1" ${did_line##*) }
  did_here=$(((${13} + ${14}) / 4)) did_read=
  while read -r did_what did_bytes; do
    case $place_kind:$did_what in
      *:rchar:) did_read=yes did_here=$((did_here + did_bytes / 1024)) ;;
      local:write_bytes:|[!l]*:wchar:) did_here=$((did_here + did_bytes / 1024)) ;;
    esac
  done <"/proc/$1/io"
  [ -n "$did_read" ]
} 2>/dev/null
guard() { # the mark of a restic: ends it when it does nothing any more
  guard_nap=
  trap 'kill "$guard_nap" 2>/dev/null; exit 0' TERM
  guard_n=0
  until [ -s "$1" ]; do
    [ "$guard_n" -lt 100 ] || return 0
    guard_n=$((guard_n + 1)); sleep 0.1 || sleep 1
  done
  read -r guarded <"$1"
  did_here=0 guard_from=-1000000 guard_idle=0
  guard_little=64; [ "$place_kind" = local ] || guard_little=1024
  while [ "$guard_idle" -lt "$still" ]; do
    sleep "$look" & guard_nap=$!
    wait "$guard_nap"; guard_idle=$((guard_idle + look))
    did "$guarded" || return 0
    [ $((did_here - guard_from)) -lt "$guard_little" ] || guard_from=$did_here guard_idle=0
  done
  : >"$T/still"
  kill -INT "$guarded"
  guard_n=0
  while [ -e "/proc/$guarded" ] && [ "$guard_n" -lt $((still / 6)) ]; do
    sleep 1; guard_n=$((guard_n + 1))
  done
  kill -KILL "$guarded"
}
guarded_r() { # as r
  new_mark
  # What others hold open, such as the sign of who uses a folder, is not for it.
  ( exec 5>&- 6>&-; guard "$r_mark" ) >/dev/null 2>&1 </dev/null & guard=$!
  marked "$@" && r_rc=0 || r_rc=$?
  kill "$guard" 2>/dev/null || :
  return "$r_rc"
}
"""

# `restic unlock` removes every lock that is older than half an hour by this host's clock, whosever it
# is, and those of this host whose process is gone; to find out, it sends SIGHUP to whatever process has
# that number by now. So it is called only when nothing but our own dead locks would go, and where it
# finds no process of another.
_LOCKS = r"""
own_locks() { # removes what our dead left; 1: it could not, and says why in $T/locks
  : >"$T/locks"
  set -- "$S/backup/open/$where".*
  [ -e "$1" ] || return 0
  ol_pids=" $(cat "$@" 2>/dev/null | tr '\n' ' ') " ol_here=$(uname -n) ol_now=$(date +%s)
  ol_ours=' ' ol_others=
  for ol_lock in $(r list locks --no-lock -q 2>/dev/null); do
    r cat lock "$ol_lock" --no-lock -q >"$T/lock" 2>/dev/null || continue
    ol_host=$(sed -n 's/^ *"hostname": "\(.*\)",*$/\1/p' "$T/lock")
    ol_pid=$(sed -n 's/^ *"pid": \([0-9]*\),*$/\1/p' "$T/lock")
    ol_time=$(date -d "$(sed -n 's/^ *"time": "\(.*\)",*$/\1/p' "$T/lock")" +%s) || ol_time=0
    ol_name=; read -r ol_name <"/proc/$ol_pid/comm" 2>/dev/null
    if [ "$ol_host" != "$ol_here" ]; then
      [ $((ol_now - ol_time)) -lt 1500 ] ||
        ol_others="lock $ol_lock of $ol_host looks dead; only that host may remove it (restic unlock)"
    elif [ "$ol_name" = restic ]; then ol_others="process $ol_pid here is at work on the repository"
    else case $ol_pids in
      *" $ol_pid "*) ol_ours="$ol_ours$ol_pid " ;;
      *) ol_others="lock $ol_lock of process $ol_pid is none of ours (restic unlock removes it)" ;;
    esac; fi
  done
  if [ "$ol_ours" != ' ' ]; then
    [ -z "$ol_others" ] || { printf '%s\n' "$ol_others" >"$T/locks"; return 1; }
    ( environment
      export RESTIC_CACHE_DIR="$S/cache/restic"
      ol_again=
      for ol_each in $ol_ours; do [ ! -e "/proc/$ol_each" ] || ol_again=yes; done
      # Among processes of its own it finds none that has the number of one of our dead now; but nor
      # does it find a restic that has begun since we looked. So only where it has to be.
      if [ -n "$ol_again" ]; then
        [ "$(id -u)" = 0 ] && command -v unshare >/dev/null || exit 1
        exec unshare --fork --pid --mount-proc restic OPTIONS unlock -q
      fi
      exec restic OPTIONS unlock -q ) >"$T/locks" 2>&1 || return 1
    rec unlocked $ol_ours
  fi
  for ol_mark; do
    read -r ol_each <"$ol_mark" || ol_each=
    ol_name=; read -r ol_name <"/proc/${ol_each:-none}/comm" 2>/dev/null
    [ "$ol_name" = restic ] || rm -f -- "$ol_mark"
  done
}
"""

_ATTEMPT = r"""
stands_still() { # why restic did nothing any more
  echo "restic did nothing any more for $still s, and was ended" >>"$T/err"
  stands_free=
  [ "$place_kind" != local ] ||
    stands_free=$(df -Pk -- "$place" | sed -n '$s/.* \([0-9][0-9]*\)  *[0-9]*% .*/\1/p')
  # A pack has up to 16 MiB, and some are under way at a time.
  if [ "${stands_free:-99999}" -lt 65536 ]; then echo full; else echo still; fi
}
end_kind() { # of $rc and $T/err
  [ ! -e "$T/ending" ] || { echo cancelled; return; }
  [ ! -e "$T/still" ] || { stands_still; return; }
  case $rc in
    0) echo ok; return ;;
    3) echo incomplete; return ;;
    10) echo none; return ;;
    11) echo locked; return ;;
    12) echo password; return ;;
    130) echo cancelled; return ;;
  esac
  if [ "$rc" -gt 128 ]; then echo killed
  elif grep -q 'already locked' "$T/err"; then echo locked
  elif grep -q 'wrong password or no key' "$T/err"; then echo password
  # restic 0.14 asks whether there is a repository also where nobody answers.
  elif grep -q 'unable to open config file.*\(no such file\|not exist\)' "$T/err"; then echo none
  elif grep -qi 'no space left\|disk quota\|insufficient storage\|storage ?full' "$T/err"; then echo full
  else echo other
  fi
}
hold_on() { # seconds, in which it may be ended
  hold=0; while [ "$hold" -lt "$1" ] && [ ! -e "$T/ending" ]; do sleep 1; hold=$((hold + 1)); done
}
# Two that make one repository at the same time may leave one that nobody can open, and both are told
# that it went well. On this host they take turns here; hosts that share one are led by the workflow.
make_repository() {
  (
    exec 7>"$S/backup/making"; flock -w 120 7
    r cat config --no-lock -q >/dev/null 2>&1 && exit 3
    r init -q >"$T/err" 2>&1
  )
  case $? in 0) rec created ;; 3) ;; *) return "$?" ;; esac
}
attempt() {
  attempt_handler=$1; shift
  attempt_try=1 attempt_until=$(($(date +%s) + patience)) attempt_made=
  [ "$release" -ge 14 ] || { kind=unsupported rc=127; : >"$T/err"; return 1; }
  own_locks || :
  while :; do
    : >"$T/err"; echo 1 >"$T/rc"
    { guarded_r "$@" 2>"$T/err"; echo "$?" >"$T/rc"; } | "$attempt_handler"
    read -r rc <"$T/rc"
    kind=$(end_kind)
    [ ! -e "$T/still" ] || rm -f -- "$T/still"
    case $kind in
      ok|incomplete) return 0 ;;
      none)
        [ -n "$create" ] && [ -z "$attempt_made" ] || return 1
        attempt_made=1
        make_repository || {
          rc=$? kind=$(end_kind)
          [ "$kind" != none ] || kind=other
          return 1
        } ;;
      locked)
        rec working locked; tail -n 3 "$T/err"
        own_locks || cat "$T/locks" >>"$T/err"
        [ "$(date +%s)" -lt "$attempt_until" ] || return 1
        hold_on 5 ;;
      killed|still|other)
        own_locks || cat "$T/locks" >>"$T/err"
        [ "$attempt_try" -lt "$tries" ] || return 1
        attempt_try=$((attempt_try + 1))
        rec working again; tail -n 3 "$T/err"
        hold_on "$pause" ;;
      full) own_locks || :; return 1 ;;
      *) return 1 ;;
    esac
  done
}
"""
