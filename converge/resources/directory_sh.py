"""The shell side of directories."""

# `find` prints names ended by NUL, which only base64 can carry; 64 KiB of them are enough to show.
PROBE = r"""
directory_see() { # number, path
  p=$2
  if [ ! -e "$p" ] && [ ! -L "$p" ]; then
    d=${p%/*}
    while [ -n "$d" ] && [ ! -d "$d" ]; do d=${d%/*}; done
    if [ -x "${d:-/}" ]; then echo "absent $1"; else echo "hidden $1"; fi
    return 0
  fi
  stat -c "stat $1 %f %U %G" -- "$p"
  [ -d "$p" ] && [ ! -L "$p" ] || return 0
  [ -r "$p" ] && [ -x "$p" ] || { echo "unreadable $1"; return 0; }
  for inner in "$p"/* "$p"/.[!.]* "$p"/..?*; do
    if [ -e "$inner" ] || [ -L "$inner" ]; then echo "filled $1"; return 0; fi
  done
}
directory_names() { # word, number, path, arguments of find
  word=$1 number=$2 p=$3; shift 3
  [ -d "$p" ] && [ ! -L "$p" ] || return 0
  names=$(find "$p" -xdev -mindepth 1 "$@" -print0 2>/dev/null | head -c 65536 | base64 | tr -d '\n')
  [ -z "$names" ] || echo "$word $number $names"
}
directory_off() { # number, path, owner, group, mode of directories, mode of files
  n=$1 p=$2
  # A user whom nobody knows yet owns nothing; the directory itself shows that.
  if [ -n "$3" ] && id -u -- "$3" >/dev/null 2>&1; then
    directory_names off1 "$n" "$p" ! -user "$3"; fi
  [ -z "$4" ] || directory_names off2 "$n" "$p" ! -group "$4"
  [ -z "$5" ] || directory_names off3 "$n" "$p" -type d ! -perm "$5"
  [ -z "$6" ] || directory_names off4 "$n" "$p" -type f ! -perm "$6"
  return 0
}
"""

EMIT = r"""
directory_plain() {
  [ ! -L "$1" ] || die "$1 is a symbolic link"
  [ -d "$1" ] || [ ! -e "$1" ] || die "$1 is not a directory"
}
directory_make() { # index, path, mode, owner, group
  directory_plain "$2"
  if [ ! -d "$2" ]; then
    up=${2%/*}; file_parents "${up:-/}"
    mkdir -m "${3:-755}" -- "$2"
    if [ -z "$4" ]; then
      who=$(stat -c '%u:%g' -- "${up:-/}")
      [ "$(stat -c '%u:%g' -- "$2")" = "$who" ] || chown -- "$who" "$2"
    fi
    changed "$1"
  fi
  was=$(stat -c '%a %U %G' -- "$2")
  file_owned "$2" "$4" "$5"
  # Fewer digits would leave a directory its setgid bit.
  [ -z "$3" ] || [ "$(stat -c %a -- "$2")" = "$3" ] || chmod -- "00$3" "$2"
  [ "$was" = "$(stat -c '%a %U %G' -- "$2")" ] || changed "$1"
}
directory_each() { # index, path, command and its argument, tests of find...
  at=$1 top=$2 do=$3 with=$4; shift 4
  [ -n "$(find "$top" -xdev -mindepth 1 "$@" -print | head -n 1)" ] || return 0
  find "$top" -xdev -mindepth 1 "$@" -exec $do -- "$with" {} +
  changed "$at"
}
directory_below() { # index, path, owner, group, mode of directories, mode of files
  [ -z "$3" ] || directory_each "$1" "$2" "chown -h" "$3" ! -user "$3"
  [ -z "$4" ] || directory_each "$1" "$2" "chgrp -h" "$4" ! -group "$4"
  # Links have no mode of their own, and chmod would follow them.
  [ -z "$5" ] || directory_each "$1" "$2" chmod "0$5" -type d ! -perm "$5"
  [ -z "$6" ] || directory_each "$1" "$2" chmod "$6" -type f ! -perm "$6"
}
directory_rm() { # whatever is mounted in there stays
  if rm --one-file-system -f -- "$T/none" 2>/dev/null; then
    find "$@" -exec rm -rf --one-file-system -- {} +
  else find "$@" -exec rm -rf -- {} +; fi
}
directory_purge() { # index, path, arguments of find that choose
  at=$1 top=$2; shift 2
  [ -n "$(find "$top" -xdev -mindepth 1 "$@" -print | head -n 1)" ] || return 0
  directory_rm "$top" -xdev -mindepth 1 "$@"
  changed "$at"
}
directory_remove() { # index, path, all or empty
  [ -e "$2" ] || [ -L "$2" ] || return 0
  directory_plain "$2"
  case $3 in
    all) directory_rm "$2" -prune ;;
    *) rmdir -- "$2" || die "$2 is not empty: add recursive to remove what is in it as well" ;;
  esac
  changed "$1"
}
"""
