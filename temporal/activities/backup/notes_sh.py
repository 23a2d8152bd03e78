"""What is known of a repository is kept in it: proofs of restores and results of checks, as small
snapshots that carry what there is to know in their tags. So one look at the list of snapshots tells
all, whichever controller asks. Pure; needs `restic_sh.library`."""

from __future__ import annotations

NOTE = r"""
note() { # host, tag... : `note:proof` or `note:check`, and what belongs to it
  note_host=$1; shift
  note_tags=
  for each; do note_tags="$note_tags --tag $each"; done
  # A file and no standard input: that would be read up by the first of several tries, and restic takes
  # nothing that is empty.
  echo "$note_tags" >"$T/noted"
  # shellcheck disable=SC2086 # tags hold no blanks
  set -- backup --json --host "$note_host" --tag temporal-ops-note --tag "backup:$plan" $note_tags \
    -- "$T/noted"
  if [ -n "${skewed-}" ]; then shift; set -- backup --time "$(corrected)" "$@"; fi
  attempt noted "$@"
}
noted() { while IFS= read -r line; do :; done; }
"""
