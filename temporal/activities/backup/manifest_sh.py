"""The manifest of a files source, as sh: what restic is about to take, entry by entry, with a hash of
the content of each file; and the same of a restored copy, compared. Pure.

$W/proof/manifest holds records that end with NUL, sorted by path: seven words and a path.

    HASH TYPE MODE UID GID SIZE MTIME PATH

HASH is the sha256 of a regular file's content, 64 dashes if it could not be read, and - for all else.
TYPE is find's letter, MTIME seconds with a fraction. PATH is any bytes; for a symlink PATH//TARGET, as
a path holds no empty part. Sockets are not there, as restic takes none; nor is our own state folder.

A file is not read again while its inode, size, mtime and ctime are as they were when it was hashed, as
restic does not. What was changed within two seconds before we looked may be changed again without a
trace where time stamps are coarse: such a hash is not kept. What was changed between that look and its
hashing has none: restic may have read it in between, as it may be at work by then. It must not begin
before $T/listed is there.
"""

from __future__ import annotations

from converge.shell import words
from temporal.activities.backup.comparing_sh import COMPARING, compare_call, lost_call, touched_call
from temporal.activities.backup.entries_sh import ENTRIES, finder
from temporal.activities.backup.exclusion import expression
from temporal.shared.specs.backup.sources import FilesSource

__all__ = [
    "COMPARING",
    "LIBRARY",
    "compare_call",
    "lost_call",
    "make_call",
    "restic_arguments",
    "touched_call",
]


def restic_arguments(source: FilesSource) -> list[str]:
    """The part of restic's command line that says what is left out.

    `keep_proof` has to follow, or a pattern may leave out the proof as well.
    """
    arguments = ["--one-file-system"] if source.one_file_system else []
    return arguments + [f"--exclude={pattern}" for pattern in source.exclude]


def make_call(source: FilesSource) -> str:
    """sh that writes $W/proof/manifest. Needs $W, $T and LIBRARY; if it fails, it says why.

    It fails as well where restic would say nothing: a root that is not there, and roots that their own
    patterns leave out.
    """
    return "\n".join(
        [
            f"xdev={'-xdev' if source.one_file_system else ''}",
            finder([*source.files], expression(source.exclude)),
            f"manifest_make {words(source.files)}",
        ]
    )


_MAKE = r"""
keep_proof() { # restic reads what is in files after all other patterns; there $ has a meaning
  printf '!%s\n' "$W/proof" | sed 's/[][*?\\]/\\&/g; s/\$/$$/g' >"$T/keep"
}
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
      echo "$root is not there, so it cannot be backed up: has it moved, or is it not mounted?"
      return 1; }
  done
  mkdir -m 700 -p -- "$work" "$W/cache" || return 1
  looked=$(date +%s) known=
  manifest_list "$work/list" || return 1
  [ -s "$work/list" ] || {
    echo "nothing would be backed up: it is all left out by its own patterns"
    tail -n 1 "$work/errors"; return 1; }
  # A power cut may leave anything in a file that has just been written: its sum is kept beside it.
  [ ! -f "$W/cache/hashes" ] || ! cksum <"$W/cache/hashes" | cmp -s - "$W/cache/sum" ||
    known=$W/cache/hashes
  [ -z "$known" ] || manifest_join "$known" "$work/list" "$work/manifest" || return 1
  # A record without a hash before it: its file is new, or was changed.
  if [ -z "$known" ] || grep -azq -m 1 '^f ' "$work/manifest"; then
    : >"$T/listed" # from here on it may take long
    known=${known:-/dev/null}
    manifest_news && manifest_join "$work/known" "$work/list" "$work/manifest" || return 1
  fi
  mv -f -- "$work/manifest" "$W/proof/manifest"
}
manifest_news() { # hashes what is not known; writes $work/known and the cache
  : >"$work/broken"
  try join -z -t ' ' -v 2 "$known" "$work/list" | without '^- ' >"$work/new" && whole &&
    manifest_hash "$work/new" "$work/hashes" && manifest_steady "$work/new" "$work/hashes" || return 1
  # Of what was known, only what is there still.
  try join -z -t ' ' -o 0,1.2 "$known" "$work/list" | uniq -z >"$work/old" && whole &&
    in_order -m "$work/old" "$work/hashes" -o "$work/known" &&
    without -e '^+' -e '-$' "$work/known" >"$work/cache" && cksum <"$work/cache" >"$work/sum" &&
    mv -f -- "$work/cache" "$W/cache/hashes" && mv -f -- "$work/sum" "$W/cache/sum"
}
manifest_steady() { # records, their hashes: takes those of files that are no more as they were listed
  : >"$work/broken"
  try cut -z -d ' ' -f 8- "$1" | each_of sh -c "$MANIFEST_KEYS" sh "@$((looked - 2))" "$key" |
    in_order -u -o "$work/still" &&
    try join -z -t ' ' -v 1 "$2" "$work/still" | cut -z -d ' ' -f 1 >"$work/other" && whole || return 1
  [ -s "$work/other" ] || return 0
  try join -z -t ' ' "$2" "$work/still" >"$work/steady" && whole &&
    sed -z "s/$/ $unread/" "$work/other" | in_order -m - "$work/steady" -o "$2"
}
MANIFEST_KEYS='
since=$1 key=$2; shift 2
find "$@" -maxdepth 0 -type f \( -newerct "$since" -printf "+$key\0" -o -printf "$key\0" \)'
"""

LIBRARY = ENTRIES + _MAKE
"""Functions that `make_call` and `compare_call` need."""
