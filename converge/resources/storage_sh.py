"""The shell side of mounts and swap."""

# As the kernel writes them in /proc/self/mountinfo: field 5 is where, the last mount there counts.
SEE = r"""
fstab_see() { # number, key, field
  KEY=$2 awk -v n="$1" -v f="$3" '$1 !~ /^#/ && $f == ENVIRON["KEY"] { line = $0 }
    END { print "live " n " line " line }' /etc/fstab 2>/dev/null || echo "live $1 line "
}
mount_see() { # number, key
  fstab_see "$1" "$2" 2
  KEY=$2 awk -v n="$1" '$5 == ENVIRON["KEY"] {
      for (i = 7; i <= NF && $i != "-"; i++);
      at = $4 " " $6 " " $(i + 1) " " $(i + 2) " " $(i + 3) }
    END { print "live " n " at " at }' /proc/self/mountinfo
}
mount_same() { # number, source, path: is it the same directory?
  if [ "$(stat -c %d:%i -- "$2" 2>/dev/null)" = "$(stat -c %d:%i -- "$3" 2>/dev/null)" ]; then
    echo "live $1 same yes"
  else echo "live $1 same no"; fi
}
swap_see() { # number, path, key
  fstab_see "$1" "$3" 1
  if [ -f "$2" ]; then
    set -- "$1" "$2" "$3" "$(stat -c '%s %a' -- "$2")"
    echo "live $1 size ${4% *}"; echo "live $1 mode ${4#* }"
  elif [ -e "$2" ] || [ -L "$2" ]; then echo "why $1 $2 is no file"
  else echo "live $1 size absent"; fi
  KEY=$3 awk -v n="$1" '$1 == ENVIRON["KEY"] { on = 1 }
    END { print "live " n " on " (on ? "yes" : "no") }' /proc/swaps
}
"""

MOUNT = r"""
fstab_settle() { # key, its field, line; an empty line removes
  [ -e /etc/fstab ] || : >/etc/fstab
  export KEY="$1" WANTED="$3"
  owned_table /etc/fstab 'BEGIN { f = '"$2"' }
    $1 !~ /^#/ && $f == ENVIRON["KEY"] {
      if (!seen++ && ENVIRON["WANTED"] != "") print ENVIRON["WANTED"]; next }
    { print }
    END { if (!seen && ENVIRON["WANTED"] != "") print ENVIRON["WANTED"] }'
  if owned_late && [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
}
mount_at() { # key: type and source of what is mounted there
  KEY=$1 awk '$5 == ENVIRON["KEY"] { for (i = 7; i <= NF && $i != "-"; i++); at = $(i + 1) " " $(i + 2) }
    END { print at }' /proc/self/mountinfo
}
mount_off() { # path, key
  owned_arm
  umount -- "$1" || die "cannot unmount $1: in use?"
}
mount_settle() { # path, key, yes or no, type, source, options
  at=$(mount_at "$2")
  if [ "$3" = no ]; then
    [ -z "$at" ] || mount_off "$1" "$2"
    return 0
  fi
  bind=no; case ,$6, in *,bind,*|*,rbind,*) bind=yes ;; esac
  if [ -n "$at" ]; then
    owned_arm
    same=no
    if [ "$bind" = yes ]; then
      [ "$(stat -c %d:%i -- "$5")" != "$(stat -c %d:%i -- "$1")" ] || same=yes
    else
      case $4:$5 in "${at% *}:${at#* }"|"${at% *}":*=*|"${at% *}":/dev/*/*|auto:*) same=yes ;; esac
    fi
    if [ "$same" = yes ]; then
      mount -o "remount,$6" -- "$1" && return 0
      echo "remounting failed: unmounting instead"
    fi
    mount_off "$1" "$2"
  fi
  [ ! -e "$1" ] || [ -d "$1" ] || [ "$bind" = yes ] || die "$1 is not a directory"
  if [ "$bind" = yes ]; then
    [ -e "$5" ] || die "$5 is not there"
    if [ ! -d "$5" ]; then
      [ -e "$1" ] || { mkdir -p -- "${1%/*}"; : >"$1"; }
    fi
  fi
  [ -e "$1" ] || mkdir -p -- "$1"
  owned_arm
  mount -t "$4" -o "$6" -- "$5" "$1" || die "cannot mount $5 on $1"
  # A bind takes what else is asked for only by a second call.
  case ,$6, in *,bind,*,*|*,rbind,*,*)
    [ "$6" = bind ] || [ "$6" = rbind ] || mount -o "remount,$6" -- "$1" || die "cannot set $6 on $1" ;;
  esac
}
"""

SWAP = r"""
swap_on() { KEY=$1 awk '$1 == ENVIRON["KEY"] { on = 1 } END { exit !on }' /proc/swaps; }
swap_make() { # path, key, bytes, active, priority
  [ ! -L "$1" ] || die "$1 is a symbolic link"
  [ ! -e "$1" ] || [ -f "$1" ] || die "$1 is no file"
  if [ "$4" = yes ] && ! swap_on "$2" && contained; then
    die "a container cannot turn swap on: do it on the machine below"
  fi
  if [ ! -f "$1" ] || [ "$(stat -c %s -- "$1")" != "$3" ]; then
    owned_arm
    ! swap_on "$2" || swapoff -- "$1" || die "cannot turn off swap on $1"
    rm -f -- "$1" "$1.converge"
    [ -d "${1%/*}/" ] || mkdir -p -- "${1%/*}"
    # Written out: swap on a file with holes is refused by the kernel.
    ( umask 077; dd if=/dev/zero of="$1.converge" bs=1048576 count=$(($3 / 1048576)) 2>/dev/null &&
      dd if=/dev/zero bs=4096 count=$(($3 % 1048576 / 4096)) 2>/dev/null >>"$1.converge" ) ||
      { rm -f -- "$1.converge"; die "no room for $3 bytes of swap at $1"; }
    mkswap "$1.converge" >/dev/null || { rm -f -- "$1.converge"; die "mkswap failed"; }
    mv -f -- "$1.converge" "$1"
  fi
  [ "$(stat -c '%a %u' -- "$1")" = '600 0' ] || { owned_arm; chmod 600 "$1"; chown 0:0 "$1"; }
  if [ "$4" = yes ] && ! swap_on "$2"; then
    owned_arm
    if [ -n "$5" ]; then swapon -p "$5" -- "$1"; else swapon -- "$1"; fi ||
      die "the kernel does not take $1 as swap"
  fi
}
swap_drop() { # path, key
  if swap_on "$2"; then
    ! contained || die "a container cannot turn swap off: do it on the machine below"
    owned_arm; swapoff -- "$1" || die "cannot turn off swap on $1"
  fi
  owned_drop "$1"
}
"""
