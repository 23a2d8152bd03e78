"""The shell side of lines and blocks in files. The same code says what would change and does it:
a regular expression then cannot mean one thing to the plan and another to the apply."""

LOOK = r"""
edit_last() { # file, options and pattern of grep: number of the last line that matches
  edit_in=$1; shift
  edit_hits=$(grep -an "$@" -- "$edit_in"); edit_rc=$?
  [ "$edit_rc" -lt 2 ] || return 2
  edit_at=$(printf '%s\n' "$edit_hits" | tail -n 1); edit_at=${edit_at%%:*}
}
edit_first() {
  edit_in=$1; shift
  edit_hits=$(grep -an "$@" -- "$edit_in"); edit_rc=$?
  [ "$edit_rc" -lt 2 ] || return 2
  edit_at=${edit_hits%%:*}
}
edit_whole() { # a file whose last line has no end gets one before anything follows it
  cat -- "$1"
  [ ! -s "$1" ] || [ -z "$(tail -c 1 -- "$1")" ] || echo
}
edit_insert() { # file, text, pattern of the line it follows, pattern of the line it precedes
  edit_at=
  if [ -n "$3" ]; then edit_last "$1" -E -e "$3" || return 2
  elif [ -n "$4" ]; then
    edit_first "$1" -E -e "$4" || return 2
    [ -z "$edit_at" ] || edit_at=$((edit_at - 1))
  fi
  if [ -z "$edit_at" ]; then edit_whole "$1"; printf '%s' "$2"; return 0; fi
  edit_whole "$1" | head -n "$edit_at"
  printf '%s' "$2"
  tail -n "+$((edit_at + 1))" -- "$1"
}
line_edit() { # file, line, pattern, absent or nothing, after, before: the file as it shall be
  if [ -n "$4" ]; then
    if [ -n "$3" ]; then set -- "$1" -E "$3"; else set -- "$1" -xF "$2"; fi
    edit_last "$1" "$2" -e "$3" || return 2
    # grep would end a last line that has no end.
    if [ -z "$edit_at" ]; then cat -- "$1"; return 0; fi
    grep -av "$2" -e "$3" -- "$1"
    [ "$?" -lt 2 ]; return
  fi
  edit_at=
  if [ -n "$3" ]; then edit_last "$1" -E -e "$3" || return 2; fi
  if [ -z "$edit_at" ]; then
    edit_last "$1" -xF -e "$2" || return 2
    if [ -n "$edit_at" ]; then cat -- "$1"; return 0; fi
    edit_insert "$1" "$2
" "$5" "$6"
    return
  fi
  if [ "$(tail -n "+$edit_at" -- "$1" | head -n 1; echo .)" = "$2
." ]; then cat -- "$1"; return 0; fi
  head -n "$((edit_at - 1))" -- "$1"
  printf '%s\n' "$2"
  tail -n "+$((edit_at + 1))" -- "$1"
}
block_edit() { # file, first line, last line, text between, absent or nothing, after, before
  edit_first "$1" -xF -e "$2" || return 2
  edit_from=$edit_at
  edit_first "$1" -xF -e "$3" || return 2
  edit_to=$edit_at
  if [ -z "$edit_from$edit_to" ]; then
    if [ -n "$5" ]; then cat -- "$1"; return 0; fi
    edit_insert "$1" "$2
$4$3
" "$6" "$7"
    return
  fi
  if [ -z "$edit_from" ] || [ -z "$edit_to" ] || [ "$edit_to" -lt "$edit_from" ]; then return 3; fi
  head -n "$((edit_from - 1))" -- "$1"
  [ -n "$5" ] || printf '%s\n%s%s\n' "$2" "$4" "$3"
  tail -n "+$((edit_to + 1))" -- "$1"
}
edit_text() { # can lines be told apart in it?
  [ "$(tr -d '\000' <"$1" | wc -c)" -eq "$(wc -c <"$1")" ]
}
"""

PROBE = (
    LOOK
    + r"""
edit_see() { # number, show or hide, path, function, its arguments after the file
  n=$1 show=$2 p=$3 do=$4; shift 4
  if [ ! -e "$p" ] && [ ! -L "$p" ]; then
    d=${p%/*}
    while [ -n "$d" ] && [ ! -d "$d" ]; do d=${d%/*}; done
    if [ -x "${d:-/}" ]; then echo "absent $n"; else echo "hidden $n"; fi
    return 0
  fi
  stat -c "stat $n %f %U %G" -- "$p"
  [ -f "$p" ] && [ ! -L "$p" ] || return 0
  [ -r "$p" ] || { echo "hidden $n"; return 0; }
  edit_text "$p" || { echo "binary $n"; return 0; }
  was=$(base64 <"$p" | tr -d '\n')
  new=$({ "$do" "$p" "$@" 2>/dev/null; echo "$?" >&3; } 3>&1 >/dev/null)
  case $new in 0) ;; 3) echo "torn $n"; return 0 ;; *) echo "senseless $n"; return 0 ;; esac
  new=$("$do" "$p" "$@" | base64 | tr -d '\n')
  if [ "$was" = "$new" ]; then echo "same $n"; return 0; fi
  echo "differs $n"
  [ "$show" = show ] && [ "${#was}" -le 87384 ] || return 0
  echo "was $n $was"
  echo "new $n $new"
}
"""
)

EMIT = (
    LOOK
    + r"""
edit_make() { # index, path, create or nothing, temporary name, backup, check, function, arguments
  at=$1 p=$2 create=$3 name=$4 keep=$5 check=$6 do=$7; shift 7
  file_plain "$p"
  dir=${p%/*}
  if [ ! -e "$p" ]; then
    [ "$create" != gone ] || return 0
    [ -n "$create" ] || die "$p is not there; add create to make it"
    file_parents "${dir:-/}"
    : >"$T/empty"; from=$T/empty
  else from=$p; edit_text "$p" || die "$p holds NUL bytes: it is no text"; fi
  new=$dir/$name
  rm -f -- "$new"
  rc=0; ( umask 077; set +e -C; "$do" "$from" "$@" >"$new" ) || rc=$?
  case $rc in
    0) ;;
    3) rm -f -- "$new"; die "$p holds one of the block's two marker lines, or them in wrong order" ;;
    *) rm -f -- "$new"; die "cannot work out the new $p: a regular expression, or the disk" ;;
  esac
  if [ -e "$p" ] && [ "$(sha256sum <"$new")" = "$(sha256sum <"$p")" ]; then
    rm -f -- "$new"; return 0
  fi
  file_live "$at" "$p" "$new" "" "" "" "$keep" "$check"
}
"""
)
