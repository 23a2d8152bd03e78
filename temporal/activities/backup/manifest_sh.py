"""The manifest of a files source, as sh: what restic is about to take, entry by entry, with a hash of
the content of each file; and the same of a restored copy, compared. Pure.

$W/proof/manifest holds records that end with NUL, sorted by path: seven words and a path.

    HASH TYPE MODE UID GID SIZE MTIME PATH

HASH is the sha256 of a regular file's content, 64 dashes if it could not be read, and - for all else.
TYPE is find's letter, MTIME seconds with a fraction. PATH is any bytes; for a symlink PATH//TARGET, as
a path holds no empty part. Sockets are not there, as restic takes none; nor is our own state folder.

A file is not read again while its inode, size, mtime and ctime are as they were when it was hashed, as
restic does not. What was changed within two seconds before we looked may be changed again without a
trace where time stamps are coarse: such a hash is not kept.

No list is held in memory: sort and join go through files in $W/work (or below $X).
"""

from __future__ import annotations

from converge.shell import words
from temporal.activities.backup.exclusion import expression
from temporal.shared.specs.backup.sources import FilesSource

SHOWN = 200
"""Differences of one kind that are handed out; their number is told always."""
SHOWN_BYTES = 60_000


def restic_arguments(source: FilesSource) -> list[str]:
    """The part of restic's command line that says what is left out.

    `keep_proof` has to follow, or a pattern may leave out the proof as well.
    """
    arguments = ["--one-file-system"] if source.one_file_system else []
    return arguments + [f"--exclude={pattern}" for pattern in source.exclude]


def make_call(source: FilesSource) -> str:
    """sh that writes $W/proof/manifest. Needs $W and LIBRARY; if it fails, it says why.

    It fails as well where restic would say nothing: a root that is not there, and roots that their own
    patterns leave out.
    """
    return "\n".join(
        [
            f"xdev={'-xdev' if source.one_file_system else ''}",
            _finder([*source.files], expression(source.exclude)),
            f"manifest_make {words(source.files)}",
        ]
    )


def compare_call(source: FilesSource, owners: bool = True) -> str:
    """sh that compares what was restored below $X with the manifest in it, and says so in records.

    Needs LIBRARY, COMPARING, `rec`, $X, $W as it was where the manifest was made, $began and $ended:
    seconds since 1970 when the backup began and when its snapshot was complete. Records: see
    comparing.py.

    Args:
        owners: whether owners, devices and special bits of modes are compared: root only restores them.
    """
    roots = ["." if root == "/" else f".{root}" for root in source.files]
    return "\n".join(
        [
            f"xdev= owners={'yes' if owners else ''} most={SHOWN} most_bytes={SHOWN_BYTES}",
            _finder(roots, None),
            "manifest_compare",
        ]
    )


def lost_call() -> str:
    """sh that says which of the missing are in the snapshot; it reads what `restic ls` prints of that.

    After `compare_call`, with the same $X. They have been lost on the way; what else is missing had gone
    before restic came to it.
    """
    return f"most={SHOWN} most_bytes={SHOWN_BYTES}\nmanifest_lost"


def _finder(roots: list[str], excluded: str | None) -> str:
    depth = "-mindepth 1 " if roots in (["/"], ["."]) else ""  # restic keeps nothing of / itself
    more = f" -o {excluded}" if excluded else ""
    return (
        f"find_them() {{\n  find {words(roots)} {depth}-regextype posix-extended $xdev "
        rf'\( -samefile "$ours" -o -samefile "$work"{more} \) -prune -o "$@"'
        f"\n}}\ndevices() {{ stat -c %d -- {words(roots)}; }}"
    )


_FIND = r"""
keep_proof() { # restic reads what is in files after all other patterns; there $ has a meaning
  printf '!%s\n' "$W/proof" | sed 's/[][*?\\]/\\&/g; s/\$/$$/g' >"$T/keep"
}
# Whoever calls these may do so where the shell ignores set -e, as in `if`: nothing relies on it.
in_order() { sort -z -S 16M -T "$work" "$@"; }
try() { "$@" || echo "$1" >>"$work/broken"; } # a pipe tells only how its last one ended
whole() { # nothing that was tried failed
  [ ! -s "$work/broken" ] || { echo "failed: $(sort -u "$work/broken" | paste -s -d ' ')"; return 1; }
}
count() { tr -cd '\0' <"$1" | wc -c; }
without() { grep -azv "$@" || [ $? = 1 ]; } # 1: nothing is left
manifest_list() { # file: records as in the manifest, but first what a file is known by; sorted by that
  device= unread=$(printf '%064d' 0 | tr 0 -)
  [ -z "$xdev" ] || device='%D:'
  rest='%m %U %G %s %T@ %p' plain='%m %U %G 0 %T@ %p'
  set -- "$1" -type f -newerct "@$((looked - 2))" -printf "+$device%i:%s:%T@:%C@ f $rest\0" -o \
    -type f -printf "$device%i:%s:%T@:%C@ f $rest\0" -o -type d -printf "- - d $plain\0" -o \
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
"""

_HASH = r"""
manifest_hash() { # records, file: what each is known by and its hash, sorted
  : >"$work/broken"
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
  [ "$(count "$work/once")" -eq "$(grep -azcE ' ([0-9a-f]{64}|-{64})$' "$2")" ] ||
    { echo "hashes are missing"; return 1; }
  rm -f -- "$work"/part.* "$work/once"
}
hash_part() { # records; writes $1.hashes
  cut -z -d ' ' -f 8- "$1" | digest >"$1.said"
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
each_of() { # 123: some of them could not be read
  xargs -0 -r -s 500000 "$@" 2>/dev/null || [ $? = 123 ] || echo "$1" >>"$work/broken"
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

_MAKE = r"""
manifest_make() { # roots
  LC_ALL=C; export LC_ALL
  work=$W/work ours=${W%/*/*/*} made=0
  rm -rf -- "$work"
  manifest_write "$@" || made=1
  rm -rf -- "$work"
  return "$made"
}
manifest_write() {
  for root; do # restic would say that it is not there, and end well
    [ -e "$root" ] || [ -L "$root" ] || {
      echo "$root is not there, so there is nothing to back up: has it moved, or is it not mounted?"
      return 1; }
  done
  mkdir -m 700 -p -- "$work" "$W/cache" || return 1
  looked=$(date +%s) known=/dev/null
  manifest_list "$work/list" || return 1
  [ -s "$work/list" ] || {
    echo "nothing would be backed up: it is all left out by its own patterns"; return 1; }
  # A power cut may leave anything in a file that has just been written: its sum is kept beside it.
  [ ! -f "$W/cache/hashes" ] || ! cksum <"$W/cache/hashes" | cmp -s - "$W/cache/sum" ||
    known=$W/cache/hashes
  manifest_join "$known" "$work/list" "$work/manifest" || return 1
  # A record without a hash before it: its file is new, or was changed.
  if grep -azq -m 1 '^f ' "$work/manifest"; then
    manifest_news && manifest_join "$work/known" "$work/list" "$work/manifest" || return 1
  fi
  mv -f -- "$work/manifest" "$W/proof/manifest"
}
manifest_news() { # hashes what is not known; writes $work/known and the cache
  : >"$work/broken"
  try join -z -t ' ' -v 2 "$known" "$work/list" | without '^- ' >"$work/new" && whole &&
    manifest_hash "$work/new" "$work/hashes" || return 1
  # Of what was known, only what is there still.
  try join -z -t ' ' -o 0,1.2 "$known" "$work/list" | uniq -z >"$work/old" && whole &&
    in_order -m "$work/old" "$work/hashes" -o "$work/known" &&
    without -e '^+' -e '-$' "$work/known" >"$work/cache" && cksum <"$work/cache" >"$work/sum" &&
    mv -f -- "$work/cache" "$W/cache/hashes" && mv -f -- "$work/sum" "$W/cache/sum"
}
"""

LIBRARY = _FIND + _HASH + _MAKE
"""Functions that `make_call` needs."""

COMPARING = r"""
manifest_compare() {
  LC_ALL=C; export LC_ALL
  work=$X/.temporal-ops ours=$X${W%/*/*/*} proof=$X$W/proof/manifest
  [ -f "$proof" ] || { echo "the snapshot holds no manifest, so nothing can prove its files"; return 1; }
  rm -rf -- "$work"
  mkdir -m 700 -- "$work" && cd -- "$X" || return 1
  looked=$(date +%s)
  manifest_list "$work/list" && without '^- ' "$work/list" >"$work/new" &&
    manifest_hash "$work/new" "$work/hashes" &&
    manifest_join "$work/hashes" "$work/list" "$work/found" || return 1
  : >"$work/broken"
  try comparable "$proof" | in_order -o "$work/was" && whole || return 1
  # What cannot be read is not the same as what could not be read before.
  try comparable "$work/found" | try sed -z 's/^-\{64\} /? /; s, \./, /,' | in_order -o "$work/is" &&
    whole && comm -z -23 "$work/was" "$work/is" >"$work/left" &&
    comm -z -13 "$work/was" "$work/is" >"$work/right" || return 1
  total=$(count "$work/was") same=$(($(count "$work/was") - $(count "$work/left")))
  : >"$work/gone"
  { try one_line '<' <"$work/left"; try one_line '>' <"$work/right"; } |
    try sort -S 16M -T "$work" -t ' ' -k 9,9 |
    awk -v began="$began" -v ended="$ended" -v most="$most" -v most_bytes="$most_bytes" \
      -v work="$work" "$MANIFEST_KINDS" >"$work/kinds" && whole || return 1
  rec compared "$total" "$same"
  while read -r kind number; do rec differ "$kind" "$number"; cat "$work/$kind"; done <"$work/kinds"
}
comparable() { # records
  if [ -n "$owners" ]; then cat "$1"
  else
    sed -z -e '/^[^ ]* [bc] /d' -e 's/^\([^ ]* [^ ]* [0-7]*\) [0-9]* [0-9]* /\1 - - /' \
      -e 's/^\([^ ]* [^ ]* \)[0-7]\([0-7]\{3\} \)/\1\2/' "$1"
  fi
}
one_line() { # side: records as lines, in words
  sed -z -e "s/^/$1 /" -e 's/%/%25/g; s/\n/%0A/g; s/\t/%09/g; s/ /%20/9g; s,//, ,' | tr '\0' '\n'
}
MANIFEST_KINDS='
function say(kind, line) {
  number[kind]++
  if (number[kind] <= most && bytes[kind] + length(line) < most_bytes) {
    bytes[kind] += length(line) + 1; print line > (work "/" kind)
  }
}
function alone() {
  if (side == "<") { say("missing", line "\t"); print path > (work "/gone") }
  if (side == ">") say("extra", "\t" line)
}
function kind_of(was, now,   a, b) {
  split(was, a, " "); split(now, b, " ")
  if (a[8] "" != b[8] "" && b[8] >= began - 2 && b[8] < ended + 3) return "changed"
  if (a[3] == "f" && b[3] == "f" && a[2] ~ /^--/) return "unread"
  if (a[2] != b[2] || a[3] != b[3] || a[7] != b[7] || a[10] "" != b[10] "") return "corrupt"
  return "metadata"
}
side != "" && $1 != side && $9 == path {
  if (side == "<") { was = line; now = $0 } else { was = $0; now = line }
  say(kind_of(was, now), was "\t" now); side = ""; next
}
{ alone(); side = $1; path = $9; line = $0 }
END { alone(); for (kind in number) print kind, number[kind] }'
manifest_lost() { # reads what `restic ls` prints; says which of the missing are in the snapshot
  work=$X/.temporal-ops
  # Of a name of several lines the first one counts: rather lost than thought to be gone by itself.
  sed 's/%0A.*//' "$work/gone" | sort -u -S 16M -T "$work" >"$work/gone.lines" &&
    sed -e 's/%/%25/g; s/\t/%09/g; s/ /%20/g' | sort -u -S 16M -T "$work" >"$work/listed" &&
    comm -12 "$work/gone.lines" "$work/listed" >"$work/lost" || return 1
  rec lost "$(wc -l <"$work/lost")"
  head -n "$most" "$work/lost" | head -c "$most_bytes"
}
"""
