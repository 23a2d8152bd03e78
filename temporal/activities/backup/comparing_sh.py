"""Compares what was restored of a files source with its manifest, as sh. Pure."""

from __future__ import annotations

from temporal.activities.backup.entries_sh import finder
from temporal.shared.specs.backup.sources import FilesSource

SHOWN = 200
"""Differences of one kind that are handed out; their number is told always."""
SHOWN_BYTES = 60_000


def compare_call(source: FilesSource, owners: bool = True) -> str:
    """sh that compares what was restored below $X with the manifest in it, and says so in records.

    Needs LIBRARY, COMPARING, `rec`, $T, $X, $W as it was where the manifest was made, $began and $ended:
    seconds since 1970 when the backup began and when its snapshot was complete.

    Records: `compared TOTAL SAME`, entries of the manifest and how many of them are as they were; then
    `differ KIND COUNT` of each kind that there is, with the first of them, a line each: what was, a tab,
    what is. Either is nothing, or words: < or >, those of the manifest, and the target of a symlink; in
    paths % is %25, a blank %20, a tab %09, a line end %0A.

    Kinds: `changed`, `created`: while it was backed up, so it cannot be judged. `unread`: it could not
    be read then. `missing`: see `lost_call`. `corrupt`: other content, size, type or target.
    `metadata`: other mode, owner or mtime. `extra`: it was there, and is not in the manifest.

    Args:
        owners: whether owners, devices and special bits of modes are compared: root only restores them.
    """
    roots = ["." if root == "/" else f".{root}" for root in source.files]
    return "\n".join(
        [
            f"xdev= owners={'yes' if owners else ''} most={SHOWN} most_bytes={SHOWN_BYTES}",
            finder(roots, None),
            "manifest_compare",
        ]
    )


def touched_call() -> str:
    """sh that reads what `restic ls --json` prints of the snapshot. Before `compare_call`, as that.

    Without it `changed` and `created` are told by their mtime alone, and what was moved there, or copied
    with its mtime, while the backup ran, seems to be wrong. restic keeps the ctime, which nobody sets.
    """
    return "manifest_touched"


def lost_call() -> str:
    """sh that says which of the missing are in the snapshot; it reads what `restic ls` prints of that.

    After `compare_call`, with the same $X. They have been lost on the way; what else is missing had gone
    before restic came to it.
    """
    return f"most={SHOWN} most_bytes={SHOWN_BYTES}\nmanifest_lost"


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
  : >"$work/broken"; : >"$work/gone"
  try comparable "$proof" | in_order -o "$work/was" && whole || return 1
  # What cannot be read is not the same as what could not be read before.
  try comparable "$work/found" | try sed -z 's/^-\{64\} /? /; s, \./, /,' | in_order -o "$work/is" &&
    whole && comm -z -23 "$work/was" "$work/is" >"$work/left" &&
    comm -z -13 "$work/was" "$work/is" >"$work/right" || return 1
  # The folders above the proof come with it, also where the source's own patterns leave them out.
  above=$(printf '%s\0' "- - - - - - - $W" | one_line '<' | cut -d ' ' -f 9)
  { try one_line '<' <"$work/left"; try one_line '>' <"$work/right"; } |
    try sort -S 16M -T "$work" -t ' ' -k 9,9 |
    awk -v began="$began" -v ended="$ended" -v most="$most" -v most_bytes="$most_bytes" \
      -v work="$work" -v touched="$T/touched" -v odd_ones="$T/odd" -v above="$above" \
      "$MANIFEST_KINDS" >"$work/kinds" && whole || return 1
  rm -f -- "$T/touched" "$T/odd"
  total=$(count "$work/was")
  rec compared "$total" $((total - $(count "$work/left")))
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
# Words of a line: 1 side, 2 hash, 3 type, 4 mode, 5 uid, 6 gid, 7 size, 8 mtime, 9 path, 10 target.
MANIFEST_KINDS='
function say(kind, line) {
  number[kind]++
  if (number[kind] <= most && bytes[kind] + length(line) < most_bytes) {
    bytes[kind] += length(line) + 1; print line > (work "/" kind)
  }
}
function late(time) { return time >= began - 2 && time < ended + 3 }
function is_touched(   name) { # both lists are sorted
  while (next_one != "" && (next_one "") < (path "")) step()
  if (next_one == path) return 1
  name = path
  return gsub(/[\200-\377]+/, "?", name) && name in odd
}
function is_below(   up) { # a folder that was moved there: what is in it keeps its times
  up = path
  while (sub("/[^/]*$", "", up)) if (up in came) return 1
  return 0
}
function step() { if ((getline next_one < touched) <= 0) next_one = "" }
function alone(   is) {
  if (side == "<") { say("missing", line "\t"); print path > (work "/gone") }
  if (side != ">") return
  split(line, is, " ")
  if (is[3] == "d" && index(above, path "/") == 1) return
  if (!is_touched() && !late(is[8]) && !is_below()) { say("extra", "\t" line); return }
  if (is[3] == "d") came[path]
  say("created", "\t" line)
}
function kind_of(was, is,   a, b) {
  split(was, a, " "); split(is, b, " ")
  if (is_touched() || late(a[8]) || (a[8] "" != b[8] "" && late(b[8]))) return "changed"
  if (a[3] == "f" && b[3] == "f" && a[2] ~ /^--/) return "unread"
  if (a[2] != b[2] || a[3] != b[3] || a[7] != b[7] || a[10] "" != b[10] "") return "corrupt"
  return "metadata"
}
BEGIN {
  step()
  while ((getline line < odd_ones) > 0) { gsub(/(\\ufffd|[\200-\377])+/, "?", line); odd[line] }
  line = ""
}
side != "" && $1 != side && $9 == path {
  if (side == "<") { was = line; is = $0 } else { was = $0; is = line }
  say(kind_of(was, is), was "\t" is); side = ""; next
}
{ alone(); side = $1; path = $9; line = $0 }
END { alone(); for (kind in number) print kind, number[kind] }'
manifest_touched() { # reads what `restic ls --json` prints
  LC_ALL=C; export LC_ALL
  work=$X/.temporal-ops
  rm -rf -- "$work"
  # %5C keeps a backslash apart from those that JSON has put before others. Of bytes that are no UTF-8
  # JSON keeps only that they were there: such names are looked for apart.
  mkdir -m 700 -- "$work" && sed -n "$MANIFEST_CTIME" |
    sed 's/\\\\/%5C/g; s/\\t/%09/g; s/\\n/%0A/g; s/\\r/\r/g; s/\\"/"/g; s/\\u003c/</g; s/\\u003e/>/g
      s/\\u0026/\&/g; s/%5C/\\/g' >"$work/nodes" &&
    cut -d ' ' -f 1 "$work/nodes" | date -f - +%s >"$work/times" &&
    cut -d ' ' -f 2 "$work/nodes" | paste -d ' ' "$work/times" - |
    awk -v began="$began" '$1 >= began - 2 { print $2 }' |
    sort -u -S 16M -T "$work" -o "$work/touched" &&
    { grep -F '\ufffd' "$work/touched" >"$T/odd"; grep -vF '\ufffd' "$work/touched" >"$T/touched"; :; }
}
MANIFEST_CTIME='/"struct_type":"node"/{
  s/%/%25/g; s/ /%20/g
  s/.*,"path":"\(\([^"\\]\|\\.\)*\)",.*,"ctime":"\([^"]*\)".*/\3 \1/p
}'
manifest_lost() { # reads what `restic ls` prints
  LC_ALL=C; export LC_ALL
  work=$X/.temporal-ops
  # Of a name of several lines the first one counts: rather lost than thought to be gone by itself.
  sed 's/%0A.*//' "$work/gone" | sort -u -S 16M -T "$work" >"$work/gone.lines" &&
    sed -e 's/%/%25/g; s/\t/%09/g; s/ /%20/g' | sort -u -S 16M -T "$work" >"$work/listed" &&
    comm -12 "$work/gone.lines" "$work/listed" >"$work/lost" || return 1
  rec lost "$(wc -l <"$work/lost")"
  head -n "$most" "$work/lost" | head -c "$most_bytes"
}
"""
