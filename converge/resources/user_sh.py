"""The shell side of users: how they are looked at and how they are made."""

PROBE = r"""
users=
user_look() {
  found=
  if command -v getent >/dev/null; then found=$(getent passwd "$@")
  else
    for name; do
      while IFS= read -r line; do case $line in "$name:"*) found="$found$line
"; esac; done </etc/passwd
    done
  fi
  while IFS=: read -r name x uid gid comment home shell; do
    [ -n "$name" ] || continue
    # Not echo: some read backslashes in what they are given.
    printf 'passwd %s\n' "$name:$x:$uid:$gid:$comment:$home:$shell"
    [ -d "$home" ] || printf 'nohome %s\n' "$name"
  done <<END
$found
END
}
user_groups() {
  { if command -v getent >/dev/null; then getent group; else cat /etc/group; fi; } |
    while IFS= read -r line; do printf 'group %s\n' "$line"; done
  echo done
}
user_keys() { # number, name
  while IFS=: read -r name x uid gid comment home shell; do
    [ "$name" = "$2" ] || continue
    dir=$home/.ssh file=$home/.ssh/authorized_keys
    if [ -L "$dir" ] || [ -L "$file" ]; then
      printf 'keys-why %s\n' "$1 $file or its directory is a symbolic link"; return 0; fi
    [ -d "$dir" ] || return 0
    stat -c "keys-dir $1 %a %u" -- "$dir"
    [ -x "$dir" ] || { printf 'keys-why %s\n' "$1 $dir may not be read"; return 0; }
    [ -e "$file" ] || return 0
    [ -f "$file" ] || { printf 'keys-why %s\n' "$1 $file is not a regular file"; return 0; }
    [ -r "$file" ] || { printf 'keys-why %s\n' "$1 $file may not be read"; return 0; }
    stat -c "keys-stat $1 %a %u" -- "$file"
    printf 'keys-content %s ' "$1"; base64 <"$file" | tr -d '\n'; echo
  done <<END
$users
END
}
"""

EMIT = r"""
user_account() {
  user_line=$(getent passwd "$1") || return 1
  IFS=: read -r x x now_uid now_gid now_comment now_home now_shell <<END
$user_line
END
}
user_make_groups() {
  for g; do
    getent group "$g" >/dev/null && continue
    groupadd -- "$g"; changed "$user_index"
  done
}
user_settle() {
  command -v useradd >/dev/null && command -v getent >/dev/null || die "the host has no useradd"
  wanted=$user_groups
  if user_account "$user_name"; then
    [ -z "$user_group" ] || user_make_groups "$user_group"
    user_make_groups $wanted
    set --
    [ -z "$user_uid" ] || [ "$user_uid" = "$now_uid" ] || set -- "$@" -u "$user_uid"
    [ -z "$user_shell" ] || [ "$user_shell" = "$now_shell" ] || set -- "$@" -s "$user_shell"
    [ -z "$user_home" ] || [ "$user_home" = "$now_home" ] || set -- "$@" -d "$user_home"
    [ -z "$user_comment_set" ] || [ "$user_comment" = "$now_comment" ] ||
      set -- "$@" -c "$user_comment"
    if [ -n "$user_group" ]; then
      now_group=$(id -gn -- "$user_name")
      [ "$user_group" = "$now_group" ] || set -- "$@" -g "$user_group"
    fi
    have=" $(id -Gn -- "$user_name") "
    first=$(id -gn -- "$user_name")
    missing=
    for g in $wanted; do case $have in *" $g "*) ;; *) missing="$missing,$g" ;; esac; done
    extra=
    if [ -n "$user_exclusive" ]; then
      for g in $have; do
        [ "$g" = "$first" ] && continue
        case " $wanted " in *" $g "*) ;; *) extra=1 ;; esac
      done
    fi
    all=; for g in $wanted; do all="$all,$g"; done
    if [ -n "$extra" ]; then set -- "$@" -G "${all#,}"
    elif [ -n "$missing" ]; then set -- "$@" -a -G "${missing#,}"; fi
    [ $# -eq 0 ] || { usermod "$@" -- "$user_name"; changed "$user_index"; }
  else
    set --
    [ -z "$user_group" ] || user_make_groups "$user_group"
    for g in $wanted; do [ "$g" = "$user_name" ] || user_make_groups "$g"; done
    [ -z "$user_uid" ] || set -- "$@" -u "$user_uid"
    [ -z "$user_shell" ] || set -- "$@" -s "$user_shell"
    [ -z "$user_home" ] || set -- "$@" -d "$user_home"
    [ -z "$user_comment_set" ] || set -- "$@" -c "$user_comment"
    if [ -n "$user_group" ]; then set -- "$@" -g "$user_group"
    elif getent group "$user_name" >/dev/null; then set -- "$@" -g "$user_name"
    else set -- "$@" -U; fi
    all=; for g in $wanted; do [ "$g" = "$user_name" ] || all="$all,$g"; done
    [ -z "$all" ] || set -- "$@" -G "${all#,}"
    home=${user_home:-/home/$user_name}
    case $user_flags:$home in *-m*:/*) mkdir -p -- "${home%/*}/" ;; esac
    useradd $user_flags "$@" -- "$user_name"; changed "$user_index"
  fi
  user_account "$user_name" || die "$user_name is not there after useradd"
  case $user_flags in
    *-m*)
      [ -d "$now_home" ] || [ "$now_home" = /nonexistent ] || {
        mkdir -p -m 0755 -- "$now_home"; chown -- "$now_uid:$now_gid" "$now_home"
        changed "$user_index"; } ;;
  esac
}
user_as() { # as the user: inside a home its owner decides what a path leads to, so root keeps out
  if [ "$(id -u)" = "$now_uid" ]; then "$@"
  elif command -v setpriv >/dev/null; then
    setpriv --reuid="$now_uid" --regid="$now_gid" --clear-groups -- "$@"
  else chroot --userspec="$now_uid:$now_gid" --groups= / "$@"; fi
}
user_write_keys() { # index, sha256 of the file merged from, exclusive; base64 on stdin
  user_account "$user_name"
  [ -d "$now_home" ] || die "$user_name has no home directory $now_home for its keys"
  if [ "$(id -u)" = 0 ]; then
    # What a careless hand left to root in there would stop the user, and sshd refuses it.
    for thing in "$now_home/.ssh" "$now_home/.ssh/authorized_keys"; do
      [ ! -e "$thing" ] || [ -L "$thing" ] || [ "$(stat -c %u -- "$thing")" = "$now_uid" ] ||
        { chown -h -- "$now_uid:$now_gid" "$thing"; changed "$1"; }
    done
  fi
  said=$(cd / && user_as sh -c '
    set -eu
    umask 077; dir=$1/.ssh file=$1/.ssh/authorized_keys new=$1/.ssh/.converge-keys
    [ ! -L "$dir" ] && [ ! -L "$file" ] ||
      { echo "$file or its directory is a symbolic link" >&2; exit 1; }
    [ -d "$dir" ] || mkdir -m 0700 -- "$dir"
    chmod go-w -- "$dir"
    have=none
    if [ -e "$file" ]; then have=$(sha256sum <"$file"); have=${have%% *}; fi
    [ "$3" = yes ] || [ "$have" = "$2" ] || { echo "moved"; exit 0; }
    rm -f -- "$new"
    set -C; base64 -d >"$new"; set +C
    sync -- "$new" 2>/dev/null || sync
    mv -f -- "$new" "$file"
    echo changed' sh "$now_home" "$2" "$3")
  case $said in
    changed) changed "$1" ;;
    *) die "the keys of $user_name changed meanwhile: the next pass merges them" ;;
  esac
}
user_remove() { # index, name, -r or nothing
  getent passwd "$2" >/dev/null || return 0
  rc=0; userdel ${3:+"$3"} -- "$2" || rc=$?
  # 12: the home could not be removed, the account was; it may never have had one.
  [ "$rc" = 0 ] || [ "$rc" = 12 ] || exit "$rc"
  changed "$1"
}
"""
