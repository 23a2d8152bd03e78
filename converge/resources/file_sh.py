"""The shell side of files: how they are looked at and how they are written."""

PROBE = r"""
file_accounts() { # user or group, database, names...
  kind=$1 base=$2; shift 2
  { if command -v getent >/dev/null; then getent "$base" "$@"; else cat "/etc/$base"; fi; } |
    while IFS=: read -r name rest; do echo "account $kind:$name"; done
}
file_begin() { seen=' ' sums=' ' odds=' '; }
file_see() { # number, how to compare, path; leaves p empty when nothing is there
  p=$3
  if [ ! -e "$p" ] && [ ! -L "$p" ]; then
    # Without the right to pass a directory everything below it seems to be absent.
    d=${p%/*}
    while [ -n "$d" ] && [ ! -d "$d" ]; do d=${d%/*}; done
    p=
    if [ -x "${d:-/}" ]; then echo "absent $1"; else echo "hidden $1"; fi
    return 0
  fi
  seen="$seen$1 "
  [ "$2" != none ] && [ -f "$p" ] && [ ! -L "$p" ] || return 0
  [ -r "$p" ] || { echo "unreadable $1"; return 0; }
  case $2 in odd) odds="$odds$1 " ;; *) sums="$sums$1 " ;; esac
}
file_stat() {
  [ $# -gt 0 ] || return 0
  all=$(stat -c '%f %U %G' -- "$@" 2>/dev/null)
  # Count first: a file that went away in between must not lend its line to its neighbour.
  n=0 want=$#
  while read -r line; do n=$((n + 1)); done <<END
$all
END
  [ "$n" = "$want" ] || return 0
  set -- $seen
  while read -r line; do echo "stat $1 $line"; shift; done <<END
$all
END
}
file_sums() {
  hashes=
  [ $# -eq 0 ] || hashes=$(sha256sum -- "$@" 2>/dev/null)
}
file_compare() { # number, hash wanted, show or hash or hidden, path
  case $sums$odds in *" $1 "*) ;; *) return 0 ;; esac
  case $odds in
    *" $1 "*) h=$(sha256sum <"$4") ;;
    *) h=${hashes%%
*}; hashes=${hashes#*
} ;;
  esac
  h=${h#\\}; h=${h%% *}
  if [ "$h" = "$2" ]; then echo "same $1"; return 0; fi
  case $3 in hidden) echo "differs $1"; return 0 ;; esac
  echo "differs $1 $h"
  [ "$3" = show ] && [ "$(stat -c %s -- "$4")" -le 65536 ] || return 0
  printf 'content %s ' "$1"; base64 <"$4" | tr -d '\n'; echo
}
"""

EMIT = r"""
file_plain() {
  [ ! -L "$1" ] || die "$1 is a symbolic link"
  [ ! -d "$1" ] || die "$1 is a directory"
  [ ! -e "$1" ] || [ -f "$1" ] || die "$1 is not a regular file"
}
file_parents() { # whoever owns the directory owns what is made in it
  [ ! -d "$1" ] || return 0
  [ ! -e "$1" ] && [ ! -L "$1" ] || die "$1 is not a directory"
  ( up=${1%/*}; file_parents "${up:-/}" )
  up=${1%/*}
  mkdir -m 0755 -- "$1"
  who=$(stat -c '%u:%g' -- "${up:-/}")
  [ "$(stat -c '%u:%g' -- "$1")" = "$who" ] || chown -- "$who" "$1"
}
file_owned() { # path, owner, group
  [ -z "$2" ] || [ "$(stat -c %U -- "$1")" = "$2" ] || chown -h -- "$2" "$1" || return 1
  [ -z "$3" ] || [ "$(stat -c %G -- "$1")" = "$3" ] || chgrp -h -- "$3" "$1"
}
file_attributes() { # index, path, mode, owner, group
  file_plain "$2"
  [ -e "$2" ] || die "$2 is not there, and no content is given to make it"
  was=$(stat -c '%a %U %G' -- "$2")
  file_owned "$2" "$4" "$5"
  # After chown, which takes the setuid bit away.
  [ -z "$3" ] || [ "$(stat -c %a -- "$2")" = "$3" ] || chmod -- "$3" "$2"
  [ "$was" = "$(stat -c '%a %U %G' -- "$2")" ] || changed "$1"
}
file_backup() { # path, "beside" or "state" or nothing
  case $2 in
    beside) kept=$1 ;;
    state) kept=$S/backup$1; ( umask 077; mkdir -p -- "${kept%/*}" ) ;;
    *) return 0 ;;
  esac
  [ -f "$1" ] && [ ! -L "$1" ] || return 0
  kept=$kept.$(date -u +%Y%m%dT%H%M%SZ) more=
  while [ -e "$kept$more" ]; do more=.$((${more#.} + 1)); done
  cp -p -- "$1" "$kept$more" || die "cannot keep $1 as $kept$more"
}
file_live() { # index, path, new file in the same directory, mode, owner, group, backup, check
  keep_mode=644 keep_owner= keep_group=
  if [ -f "$2" ]; then
    keep_mode=$(stat -c %a -- "$2") keep_owner=$(stat -c %U -- "$2") keep_group=$(stat -c %G -- "$2")
  fi
  ( file_owned "$3" "${5:-$keep_owner}" "${6:-$keep_group}" && chmod -- "${4:-$keep_mode}" "$3" ) ||
    { rm -f -- "$3"; die "cannot set owner or mode of $2"; }
  [ -z "$8" ] || sh -c "$8" sh "$3" </dev/null || {
    rm -f -- "$3"; die "the check of the new $2 failed: what was there stays"; }
  ( file_backup "$2" "$7" ) || { rm -f -- "$3"; exit 1; }
  sync -- "$3" 2>/dev/null || sync
  mv -f -- "$3" "$2"
  live_dir=${2%/*}
  sync -- "${live_dir:-/}" 2>/dev/null || :
  changed "$1"
}
# index, path, mode, owner, group, sha256, temporary name, backup, check; base64 on stdin
file_write() {
  file_plain "$2"
  dir=${2%/*}
  file_parents "${dir:-/}"
  if [ -f "$2" ]; then
    now=$(sha256sum <"$2"); now=${now%% *}
    if [ "$now" = "$6" ]; then file_attributes "$1" "$2" "$3" "$4" "$5"; return 0; fi
  fi
  new=$dir/$7
  rm -f -- "$new"
  # noclobber opens with O_EXCL: nobody can have put a link there.
  ( umask 077; set -C; base64 -d >"$new" ) || { rm -f -- "$new"; die "cannot write beside $2"; }
  got=$(sha256sum <"$new")
  [ "${got%% *}" = "$6" ] || { rm -f -- "$new"; die "what arrived for $2 is damaged"; }
  file_live "$1" "$2" "$new" "$3" "$4" "$5" "${8-}" "${9-}"
}
file_remove() { # index, path, backup
  [ -e "$2" ] || [ -L "$2" ] || return 0
  [ -L "$2" ] || [ ! -d "$2" ] || die "$2 is a directory, and only files are removed"
  file_backup "$2" "${3-}"
  rm -f -- "$2"
  changed "$1"
}
"""
