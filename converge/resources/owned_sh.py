"""The shell side of small files that a resource keeps whole."""

LOOK = r"""
owned_see() { # number, place in the resource's list, path
  if [ -L "$3" ]; then echo "file $1 $2 link"
  elif [ -f "$3" ]; then
    if [ -r "$3" ]; then
      printf 'file %s %s file %s ' "$1" "$2" "$(stat -c '%a %u:%g' -- "$3")"
      if [ "$(stat -c %s -- "$3")" -le 1048576 ]; then base64 <"$3" | tr -d '\n'; fi
      echo
    else echo "file $1 $2 hidden"; fi
  elif [ -e "$3" ]; then echo "file $1 $2 other"
  elif [ -d "${3%/*}" ] && [ ! -x "${3%/*}" ]; then echo "file $1 $2 hidden"
  else echo "file $1 $2 absent"; fi
}
owned_due() { # number, marker
  [ ! -f "$S/pending/$2" ] || { printf 'due %s ' "$1"; head -n 1 <"$S/pending/$2"; }
}
contained() {
  [ -e /run/systemd/container ] || [ -e /.dockerenv ] || [ -e /run/.containerenv ]
}
"""

EMIT = r"""
owned_begin() { # index, marker
  own_index=$1 own_due=$S/pending/$2
}
# On record before the change is made: what was not put into effect is done by the next run.
owned_arm() { [ -e "$own_due" ] || printf '%s\n' "$ID" >"$own_due"; changed "$own_index"; }
owned_late() { [ -f "$own_due" ]; }
owned_end() { rm -f -- "$own_due"; }
owned_pass() { return 0; }
owned_put() { # path, mode, sha256, check (called with the new file and the path); base64 on stdin
  [ ! -L "$1" ] || die "$1 is a symbolic link"
  [ ! -e "$1" ] || [ -f "$1" ] || die "$1 is not a regular file"
  own_dir=${1%/*}; own_dir=${own_dir:-/}
  [ -d "$own_dir" ] || mkdir -p -- "$own_dir"
  if [ -f "$1" ] && own_sum=$(sha256sum <"$1") && [ "${own_sum%% *}" = "$3" ]; then
    if [ "$(stat -c '%a %u:%g' -- "$1")" != "${2#0} 0:0" ]; then
      owned_arm; chown 0:0 "$1"; chmod "$2" "$1"
    fi
    return 0
  fi
  # A dot first and no suffix: no daemon takes it for one of its files.
  own_new=$own_dir/.converge-$3
  rm -f -- "$own_new"
  ( umask 077; set -C; base64 -d >"$own_new" ) ||
    { rm -f -- "$own_new"; die "cannot write in $own_dir"; }
  own_sum=$(sha256sum <"$own_new")
  [ "${own_sum%% *}" = "$3" ] || { rm -f -- "$own_new"; die "what arrived for $1 is damaged"; }
  "$4" "$own_new" "$1" || { rm -f -- "$own_new"; die "$1 is left as it was"; }
  { chown 0:0 "$own_new" && chmod "$2" "$own_new"; } ||
    { rm -f -- "$own_new"; die "cannot set owner or mode of $1"; }
  sync -- "$own_new" 2>/dev/null || sync
  owned_arm
  mv -f -- "$own_new" "$1"
}
owned_drop() { # path
  [ -e "$1" ] || [ -L "$1" ] || return 0
  [ -L "$1" ] || [ ! -d "$1" ] || die "$1 is a directory, and only files are removed"
  owned_arm
  rm -f -- "$1"
}
# Changes lines of a table that others write to as well: `owned_table PATH awk-program`, which
# reads the file and prints the new one; WANTED and KEY are in its environment.
owned_table() {
  own_path=$1
  [ ! -L "$1" ] || own_path=$(readlink -f -- "$1")
  own_new=$own_path.converge
  rm -f -- "$own_new"
  if [ -e "$own_path" ]; then set -- "$own_path" "$2"; else set -- /dev/null "$2"; fi
  ( umask 077; set -C; awk "$2" "$1" >"$own_new" ) ||
    { rm -f -- "$own_new"; die "cannot write beside $own_path"; }
  if cmp -s "$1" "$own_new"; then rm -f -- "$own_new"; return 0; fi
  chmod "$(stat -c %a -- "$own_path" 2>/dev/null || echo 644)" "$own_new"
  sync -- "$own_new" 2>/dev/null || sync
  owned_arm
  # A file that is mounted by itself (as containers do with /etc/hosts) cannot be replaced.
  mv -f -- "$own_new" "$own_path" 2>/dev/null || {
    cat "$own_new" >"$own_path" && rm -f -- "$own_new" || die "cannot write $own_path"; }
}
contained() {
  [ -e /run/systemd/container ] || [ -e /.dockerenv ] || [ -e /run/.containerenv ]
}
"""
