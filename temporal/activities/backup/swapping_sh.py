"""Files in the place of what is live, as sh: restored beside it, on its file system, proved, and then
given its name, while the old ones get another. Pure; needs what `restoring_sh` defines.

A folder that is a mount point cannot be renamed: there its entries are, into and out of a folder in it.
"""

from __future__ import annotations

STAGING = ".temporal-ops-restore-"
"""Of the folders beside what is live; the id of the run follows. What dead runs left is removed."""

SWAPPING = rf"""
over_live() {{ # paths
  [ -e "$D/stamp" ] || date -u +%Y%m%dT%H%M%SZ >"$D/stamp"
  read -r stamp <"$D/stamp"
  for path; do
    rec to; printf '%s' "$path"
    can_go "$path" >"$T/out" || {{ why=place; return; }}
  done
  # What is proved already was begun by a pass that a power cut ended.
  if [ ! -e "$D/proved" ]; then
    number=0
    for path; do
      "staging_$number"
      case $verdict in restored|planned) ;; *) put_aside "$@"; return ;; esac
      number=$((number + 1))
    done
    [ -z "$dry" ] || return 0
    number=0
    for path; do staged_at "$number" "$path"; sync -f -- "$X"; number=$((number + 1)); done
    printf '%s\n' "$proved $unproven $why" >"$D/proved.now" && mv -- "$D/proved.now" "$D/proved"
    sync -f -- "$D/proved"
  fi
  read -r proved unproven why <"$D/proved"
  verdict=failed
  rec working swapping
  : >"$T/hook" # to the end, once begun: nobody is left with half of it
  number=0
  for path; do
    staged_at "$number" "$path"
    swap "$path" >"$T/out" 2>&1 || {{ why=swap; rm -f -- "$T/hook"; tell_aside; return; }}
    : >"$D/swapped.$number"; sync -f -- "$D"
    rm -rf -- "$X"; number=$((number + 1))
  done
  rm -f -- "$T/hook"
  tell_aside
  verdict=restored
}}
tell_aside() {{ [ ! -e "$D/aside" ] || {{ rec aside; cat "$D/aside"; }}; }}
can_go() {{ # path: whether it may be renamed under those who use it
  [ "$1" != / ] || {{ echo "/ cannot be taken out of use: restore it to a new place"; return 1; }}
  for each in /usr /bin /sbin /lib /proc /sys /dev /run "$S" "$D"; do
    case $each/ in "$1"/*)
      echo "$1 holds $each, without which the host does not run: restore it to a new place"; return 1 ;;
    esac
  done
  # Its entries are renamed, and what is mounted cannot be.
  mountpoint -q -- "$1" 2>/dev/null || return 0
  for each in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    ! mountpoint -q -- "$each" 2>/dev/null ||
      {{ echo "$each is mounted in $1 and cannot be put aside: restore it to a new place"; return 1; }}
  done
}}
staged_at() {{ # number, path: sets $home and $X
  if mountpoint -q -- "$2" 2>/dev/null; then home=$2; else home=${{2%/*}}; fi
  X=${{home%/}}/{STAGING}$ID.$1
}}
stage() {{ # number, path: restores it beside what is live
  staged_at "$1" "$2"
  verdict=failed
  sized "${{home:-/}}" 1 || return
  [ -z "$dry" ] || {{ verdict=planned why=ok; return; }}
  mkdir -p -- "${{home:-/}}" >"$T/out" 2>&1 || {{ why=place; return; }}
  for old in "${{home%/}}/{STAGING}"*; do
    run=${{old##*{STAGING}}} run=${{run%.*}}
    [ -d "$old" ] && [ ! -h "$old" ] && [ "$(stat -c %u -- "$old")" = "$U" ] || continue
    [ "$run" = "$ID" ] || [ ! -e "$S/runs/$run/alive" ] || flock -n "$S/runs/$run/alive" true || continue
    [ "$run" != "$ID" ] || [ "$old" = "$X" ] || continue
    rm -rf -- "$old"
  done
  mkdir -m 700 -- "$X" >"$T/out" 2>&1 || {{ why=place; return; }}
  fetched_it || return
  [ -e "$X$2" ] || [ -h "$X$2" ] || {{ refused place "the snapshot holds no $2"; return; }}
  judge
}}
put_aside() {{ # paths: what is wrong is kept for people to look at, all else goes
  number=0
  for path; do
    staged_at "$number" "$path"
    if [ "$wrong" -gt 0 ] && {{ [ -e "$X$path" ] || [ -h "$X$path" ]; }}; then
      aside_of "$path" restored
      mv -T -- "$X$path" "$aside" && {{ rec beside; printf '%s' "$aside"; }}
    fi
    rm -rf -- "$X"; number=$((number + 1))
  done
}}
aside_of() {{ # path, what it is: sets $aside to a name that is free, on the same file system
  if [ "$home" = "$1" ]; then aside=$1/.$2-$stamp; else aside=$1.$2-$stamp; fi
  while [ -e "$aside" ] || [ -h "$aside" ]; do aside=$aside~; done
}}
swap() {{ # path: what is in $X gets its name; may be called again wherever it was ended
  if [ ! -e "$X$1" ] && [ ! -h "$X$1" ]; then
    # It has its name already, if its folder is still there, or was removed by us after that.
    [ -d "$X" ] || [ -e "$D/swapped.$number" ] ||
      {{ echo "$X$1, which was restored, is no more there: is what it lies on not mounted?"; return 1; }}
    return 0
  fi
  if [ "$home" = "$1" ]; then swap_entries "$1"; return; fi
  if [ -e "$1" ] || [ -h "$1" ]; then
    aside_of "$1" before
    echo "$aside" >>"$D/aside" || return 1
    mv -T -- "$1" "$aside" || return 1
  fi
  mv -T -- "$X$1" "$1"
}}
put_by() {{ # an entry: one of its name may be there, and who came up after a power cut made it anew
  by=$(cat "$D/into.$number")/${{1##*/}}
  while [ -e "$by" ] || [ -h "$by" ]; do by=$by~; done
  mv -T -- "$1" "$by"
}}
swap_entries() {{ # mount point
  if [ ! -e "$D/emptied.$number" ]; then
    [ -e "$D/into.$number" ] || {{
      aside_of "$1" before; echo "$aside" >"$D/into.$number"; echo "$aside" >>"$D/aside"; }}
    mkdir -p -m 700 -- "$(cat "$D/into.$number")" || return 1
    for each in "$1"/* "$1"/.[!.]* "$1"/..?*; do
      case ${{each##*/}} in lost+found|{STAGING}*|.before-*|.restored-*) continue ;; esac
      [ -e "$each" ] || [ -h "$each" ] || continue
      put_by "$each" || return 1
    done
    : >"$D/emptied.$number"
  fi
  for each in "$X$1"/* "$X$1"/.[!.]* "$X$1"/..?*; do
    [ -e "$each" ] || [ -h "$each" ] || continue
    case ${{each##*/}} in lost+found|.before-*|.restored-*) continue ;; esac
    at=$1/${{each##*/}}
    {{ [ ! -e "$at" ] && [ ! -h "$at" ]; }} || put_by "$at" || return 1
    mv -T -- "$each" "$at" || return 1
  done
  chmod --reference="$X$1" -- "$1" && chown --reference="$X$1" -- "$1"
}}
"""
