"""The script of a command that runs on a host once, by itself, and says to a journal what it did."""

from __future__ import annotations

import math
from collections.abc import Mapping

from converge import preamble
from converge.host import Host
from converge.resources.command import RUN_AS
from converge.shell import quote, words
from converge.unit import BEGIN, PRUNE

KEPT = 64 * 1024
"""Bytes that are kept of each output: all of it, or as much of its beginning as of its end."""
DRAIN = 5
"""Seconds that are waited for the outputs to be closed once the command itself has ended."""


def command_script(
    host: Host,
    text: str,
    variables: Mapping[str, str],
    *,
    run_id: str,
    nonce: str,
    digest: str,
    user: str | None,
    cwd: str | None,
    timeout: float,
) -> bytes:
    """Called as: sh script <journal>. Takes no lock: a command beside a converge is as by ssh."""
    exports = "".join(f"export {name}={quote(value)}\n" for name, value in variables.items())
    seconds = str(math.ceil(timeout))  # busybox's timeout knows no fractions
    call = [user or "", cwd or "", seconds, text]
    body = [
        'rm -f -- "$0"',  # the shell has read all of it; from here on secrets are in memory only
        preamble.ENVIRONMENT,
        preamble.record(nonce),
        preamble.places(host),
        f"ID={run_id} N=1 D=$S/runs/{run_id} T=$R/{run_id}.1",
        'exec >>"$1"',
        BEGIN,
        f"rec command {digest}",
        PRUNE,
        RUN_AS,
        _KEEP,
        f"run_it() {{\n{exports}{_APART}command_as {words(call)}\n}}",
        f"limit={seconds} who={quote(user) if user else '$(id -un)'}",
        _RUN,
    ]
    main = "\n".join(body)
    return f'main() {{\n{main}\n}}\nmain "$@" </dev/null\n'.encode()


# In a session of its own all that it starts can be ended with it: timeout alone makes a group of it
# only where it is GNU's.
_APART = "if command -v setsid >/dev/null; then as_is='exec setsid'; else as_is=exec; fi\n"

_KEEP = rf"""
# Both ends of an output stay on disk as it comes, so that a reader may be ended at any time. What
# one read gives is kept whole: head -c of some systems takes more from a pipe than it hands on.
keep() {{ # name of an output
  total=0 held=0
  while dd bs=65536 count=1 of="$T/$1.now" 2>/dev/null && [ -s "$T/$1.now" ]; do
    size=$(wc -c <"$T/$1.now"); size=$((size + 0))
    cat "$T/$1.now" >>"$T/$1.last"
    total=$((total + size)) held=$((held + size))
    if [ "$held" -gt {KEPT * 4} ]; then
      [ -e "$T/$1.first" ] || head -c {KEPT // 2} "$T/$1.last" >"$T/$1.first"
      tail -c {KEPT // 2} "$T/$1.last" >"$T/$1.now"; mv -f "$T/$1.now" "$T/$1.last"
      held={KEPT // 2}
    fi
    echo "$total" >"$T/$1.total"
  done
}}
tell() {{ # name: bytes in all, and how many of those that follow are of the beginning
  total=0; [ ! -s "$T/$1.total" ] || read -r total <"$T/$1.total"
  if [ "$total" -le {KEPT} ]; then rec "$1" "$total" "$total"; cat "$T/$1.last" 2>/dev/null
  else
    [ -e "$T/$1.first" ] || head -c {KEPT // 2} "$T/$1.last" >"$T/$1.first"
    rec "$1" "$total" {KEPT // 2}; cat "$T/$1.first"; tail -c {KEPT // 2} "$T/$1.last"
  fi
}}
"""

_RUN = rf"""
home=$( {{ getent passwd "$who" || grep "^$who:" /etc/passwd; }} 2>/dev/null | cut -d: -f6)
[ -n "${{HOME-}}" ] || {{ HOME=$home; export HOME; }}
cd -- "${{home:-/}}" 2>/dev/null || cd /
mkfifo "$T/stdout" "$T/stderr" || {{ rec end broken; return 0; }}
keep stdout <"$T/stdout" 8>&- & out=$!
keep stderr <"$T/stderr" 8>&- & err=$!
( exec 8>&-; run_it ) >"$T/stdout" 2>"$T/stderr" & pid=$!
ending() {{ # it and what it left: they are one process group
  kill -"$1" "-$pid" 2>/dev/null || kill -"$1" "$pid" 2>/dev/null
}}
aborted() {{
  trap "" TERM INT
  ending TERM; wait "$pid"; ending KILL
  rec end aborted; rm -rf -- "$T"; exit 143
}}
trap aborted TERM INT
read -r began rest </proc/uptime
wait "$pid"; rc=$?
read -r ended rest </proc/uptime
# What is left in the background ends with the command, as it would with its unit. What has left its
# group as well, and keeps an output open, is not waited for much longer.
ending TERM
( exec 8>&-; sleep {DRAIN} && kill "$out" "$err" ) >/dev/null 2>&1 & patience=$!
wait "$out" "$err"
kill "$patience" 2>/dev/null
tell stdout
tell stderr
rec exit "$rc" "$began" "$ended" "$limit"
rm -rf -- "$T"
trap - TERM INT
rec end ok
"""
