"""The entries of a files source and their hashes, as sh: what making a manifest needs, and comparing
one. Pure.

Needs $work, a folder of its own on disk; $ours, the state folder, which is left out; $looked, the time;
$xdev; and what `finder` defines. No list is held in memory: sort and join go through files in $work.
"""

from __future__ import annotations

from collections.abc import Sequence

from converge.shell import words


def finder(roots: Sequence[str], excluded: str | None) -> str:
    """sh that defines find_them, which takes what find is to print, and devices, those of the roots.

    Args:
        excluded: see `exclusion.expression`.
    """
    depth = ""
    if list(roots) in (["/"], ["."]):
        depth = "-mindepth 1 "  # restic keeps nothing of / itself
    more = f" -o {excluded}" if excluded else ""
    return (
        f"find_them() {{\n  find {words(roots)} {depth}-regextype posix-extended $xdev "
        rf'\( -samefile "$ours" -o -samefile "$work"{more} \) -prune -o "$@"'
        f"\n}}\ndevices() {{ stat -c %d -- {words(roots)}; }}"
    )


ENTRIES = r"""
# These may be called where the shell ignores set -e, as in `if`: nothing relies on it.
in_order() { sort -z -S 16M -T "$work" "$@"; }
try() { "$@" || echo "$1" >>"$work/broken"; } # a pipe tells only how its last one ended
whole() { # nothing that was tried failed
  [ ! -s "$work/broken" ] || { echo "failed: $(sort -u "$work/broken" | paste -s -d ' ')"; return 1; }
}
count() { tr -cd '\0' <"$1" | wc -c; }
without() { grep -azv "$@" || [ $? = 1 ]; } # 1: nothing is left
manifest_list() { # file: records as in the manifest, but first what a file is known by; sorted by that
  key='%i:%s:%T@:%C@' unread=$(printf '%064d' 0 | tr 0 -)
  [ -z "$xdev" ] || key=%D:$key
  rest='%m %U %G %s %T@ %p' plain='%m %U %G 0 %T@ %p'
  set -- "$1" -type f -newerct "@$((looked - 2))" -printf "+$key f $rest\0" -o \
    -type f -printf "$key f $rest\0" -o -type d -printf "- - d $plain\0" -o \
    -type l -printf "- - l $plain//%l\0" -o -type s -o -printf "- - %y $plain\0"
  if [ "$(id -u)" != 0 ]; then # root may read all: it need not be asked for each file
    file=$1; shift
    set -- "$file" -type f ! -readable -printf "- $unread f $rest\0" -o "$@"
  fi
  listed=$1; shift
  echo 2 >"$work/status"
  { find_them "$@" 2>"$work/errors" && echo 0 >"$work/status" || echo $? >"$work/status"; } |
    in_order -o "$listed" || return 1
  # 1: a folder could not be read, or has just gone. restic says so, too.
  read -r status <"$work/status"
  [ "$status" -le 1 ] || { tail -n 3 "$work/errors"; return 1; }
  [ -z "$xdev" ] || this_device "$listed"
}
this_device() { # file: without files that are mounted from elsewhere
  these=$(devices | sort -u | paste -s -d '|')
  grep -azE "^(-|[+]?($these):)" "$1" >"$work/here" || [ $? = 1 ] || return 1
  mv -f -- "$work/here" "$1"
}
manifest_hash() { # records, file: what each is known by and its hash, sorted
  : >"$work/broken"
  [ -s "$1" ] || { : >"$2"; return 0; }
  # openssl uses what the processor has for it; the sha256sum of Debian 12 takes five times as long.
  by=sha256sum at_once=$(nproc) pids= empty=$(sha256sum </dev/null | cut -c -64)
  ! openssl dgst -sha256 -r /dev/null 2>/dev/null | grep -q "^$empty " || by=openssl
  [ "$at_once" -le 4 ] || at_once=4
  # Hard links share what they are known by.
  in_order -m -u -t ' ' -k 1,1 "$1" -o "$work/once" &&
    split -t '\0' -n "r/$at_once" -a 1 -- "$work/once" "$work/part." || return 1
  for part in "$work"/part.?; do try hash_part "$part" & pids="$pids $!"; done
  wait $pids
  cat -- "$work"/part.?.hashes | in_order -o "$2" && whole || return 1
  [ "$(count "$work/once")" -eq "$(grep -azcE '^[^ ]+ ([0-9a-f]{64}|-{64})$' "$2")" ] ||
    { echo "hashes are missing"; return 1; }
  rm -f -- "$work"/part.* "$work/once"
}
hash_part() { # records; writes $1.hashes
  try cut -z -d ' ' -f 8- "$1" | digest >"$1.said"
  cut -z -d ' ' -f 1 "$1" | tr '\0' '\n' >"$1.keys" || return 1
  if [ "$(wc -l <"$1.keys")" -eq "$(wc -l <"$1.said")" ]; then
    sed 's/^\\//' "$1.said" | cut -c -64 >"$1.lines"
  else # some could not be read, or have just gone: so names are compared
    cut -z -d ' ' -f 8- "$1" | on_lines |
      awk -v said="$1.said" -v unread="$unread" "$MANIFEST_PAIR" >"$1.lines"
  fi && paste -d ' ' "$1.keys" "$1.lines" | tr '\n' '\0' >"$1.hashes"
}
digest() { # names; prints a hash and a name a line
  if [ "$by" = openssl ]; then each_of openssl dgst -sha256 -r
  else each_of sha256sum -z -- | on_lines; fi
}
each_of() { # 123: some of them could not be read. restic, which is at work meanwhile, goes first.
  xargs -0 -r -s 500000 nice -n 10 "$@" 2>/dev/null || [ $? = 123 ] || echo "$1" >>"$work/broken"
}
# As openssl and sha256sum do it: one with a line end in it begins with a backslash.
on_lines() { sed -z '/\n/{s//\\n/g; s/^/\\/}' | tr '\0' '\n'; }
MANIFEST_PAIR='
function more(   line, mark) {
  name = ""
  if ((getline line < said) <= 0) return
  mark = substr(line, 1, 1) == "\\"
  hash = substr(line, 1 + mark, 64)
  name = substr(line, 1, mark) substr(line, 67 + mark)
}
BEGIN { more() }
$0 == name { print hash; more(); next }
{ print unread }
END { exit name != "" }'
manifest_join() { # hashes, list, file: the manifest
  : >"$work/broken"
  try join -z -t ' ' -a 2 "$1" "$2" | try cut -z -d ' ' -f 2- | in_order -t ' ' -k 8 -o "$3" && whole
}
"""
