"""The shell side of armed changes: saving, guarding, confirming, reverting."""

# Part of every unit: what an earlier one left armed must not be built upon.
LEFT = r"""
arm_moved=
for arm_old in "$S"/armed/*/; do
  arm_old=${arm_old%/}
  [ -d "$arm_old" ] || continue
  # `revert` is written last: without it nothing was changed yet.
  if [ -e "$arm_old/revert" ] && [ "$(cat "$arm_old/verdict" 2>/dev/null)" != confirmed ]; then
    sh "$arm_old/revert" live "$arm_old" "its run ended before it was confirmed" 8>&- 9>&-
    arm_moved=1
  fi
  rm -rf -- "$arm_old"
done
if [ -n "$arm_moved" ]; then rm -rf -- "$T"; rec end stale; exit 0; fi
"""

# In the unit.
UNIT = r"""
arm_keep() { # number, path
  if [ -e "$2" ] || [ -L "$2" ]; then cp -a -- "$2" "$A/saved.$1"; else : >"$A/absent.$1"; fi
}
arm_unit() { # number, unit
  [ -d /run/systemd/system ] || return 0
  systemctl show --no-pager -p LoadState -p ActiveState -p UnitFileState -- "$2" >"$A/unit.$1"
}
arm_boot() { # at boot what was armed is put back before anything reads it
  [ "$U" = 0 ] && [ -d /run/systemd/system ] || return 0
  [ "${1:-}" != off ] || { rm -f -- /etc/systemd/system/sysinit.target.wants/converge-revert.service \
    /etc/systemd/system/converge-revert.service; return 0; }
  mkdir -p /etc/systemd/system/sysinit.target.wants
  cat >/etc/systemd/system/converge-revert.service <<END
[Unit]
Description=Takes back changes that nobody confirmed
DefaultDependencies=no
RequiresMountsFor=$S
After=local-fs.target
Before=sysinit.target network-pre.target nftables.service
ConditionPathExistsGlob=$S/armed/*/revert

[Service]
Type=oneshot
ExecStart=/bin/sh $S/armed/boot $S
END
  cat >"$S/armed/boot" <<'END'
for r in "$1"/armed/*/revert; do
  sh "$r" boot "${r%/revert}" "the machine was restarted before it was confirmed"
done
END
  ln -sf ../converge-revert.service /etc/systemd/system/sysinit.target.wants/converge-revert.service
}
arm_start() {
  if [ "$U" = 0 ] && [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
    systemd-run --quiet --collect --unit="converge-guard-$ID-$N-$1" --service-type=exec \
      --description="takes back what run $ID changes, unless it is confirmed" \
      -p Restart=on-failure -p SendSIGHUP=no -- /bin/sh "$A/guard" "$A" "$D" "$2" "$3"
  else
    setsid sh "$A/guard" "$A" "$D" "$2" "$3" </dev/null >/dev/null 2>&1 8>&- 9>&- &
  fi
}
arm_open() { # number, seconds to confirm, seconds in all, members...
  A=$S/armed/$ID.$N.$1 arm_seconds=$2 arm_longest=$3 arm_number=$1
  shift 3
  arm_members=" $* " arm_touched= arm_barred=
  arm_why=$({ set -e
    umask 077
    rm -rf -- "$A"; mkdir -p -- "$A"; cd "$A"
    arm_save; arm_guard >guard; arm_boot; arm_revert >revert.new
    sync -f . 2>/dev/null || sync
    mv revert.new revert
    arm_start "$arm_number" "$arm_seconds" "$arm_longest"; } 2>&1) && {
    rec armed "$arm_number" "$arm_seconds"; rec working; return 0; }
  # Without a way back there is no way forward.
  rm -rf -- "$A"; A=
  arm_barred=$arm_members
}
arm_close() { # number
  [ -n "$A" ] || { arm_barred=; return 0; }
  if [ -n "$arm_touched" ]; then
    # A daemon that was told to reload does so in its own time; before that it would let us in.
    sleep 2
    rec confirm "$1" "$arm_seconds"; rec waiting
    : >"$A/waiting"
  else
    arm_decide confirmed
  fi
  arm_count=0
  while [ ! -e "$A/verdict" ]; do
    sleep 0.2 2>/dev/null || { sleep 1; arm_count=$((arm_count + 4)); }
    arm_count=$((arm_count + 1))
    # Five a second; it should never come to this: the guard is gone as well.
    [ "$arm_count" -lt $((arm_seconds * 5 + 25)) ] ||
      sh "$A/revert" live "$A" "no fresh connection within $arm_seconds s" 8>&- 9>&-
  done
  if [ "$(cat "$A/verdict")" = confirmed ]; then
    [ -z "$arm_touched" ] || rec confirmed "$1"
  else
    # Waits for its end, or does it if whoever began it was killed.
    sh "$A/revert" live "$A" "no fresh connection within $arm_seconds s" 8>&- 9>&-
    rec reverted "$1" $arm_members
    cat "$A/reverted"
    bad="$bad${arm_members# }"
  fi
  rm -rf -- "$A"
  A=
  arm_boot off
}
"""

# In the unit and in the script that confirms: a link is made or it is not.
DECIDE = r"""
arm_decide() { # verdict; fails if there is one
  echo "$1" >"$A/$1.$$" && ln -- "$A/$1.$$" "$A/verdict" 2>/dev/null
}
"""

CONFIRM = (
    DECIDE
    + r"""
if [ -d "$A" ] && arm_decide confirmed; then rec confirmed
else rec late; cat "$A/verdict" 2>/dev/null; fi
"""
)

# Called with the folder, the run's folder, seconds to confirm, seconds in all.
GUARD = r"""
main() {
  count=0 waited=0
  while [ -d "$1" ] && [ ! -e "$1/verdict" ]; do
    sleep 1
    count=$((count + 1)) why=
    [ ! -e "$1/waiting" ] || waited=$((waited + 1))
    if [ "$waited" -ge "$3" ]; then why="no fresh connection within $3 s"
    elif [ "$count" -ge "$4" ]; then why="the change was not over within $4 s"
    elif flock -n "$2/alive" true; then why="its run ended before it was confirmed"; fi
    [ -z "$why" ] || { sh "$1/revert" live "$1" "$why"; return; }
  done
}
main "$@" </dev/null
"""

BACK = r"""
arm_back() { # number, path
  if [ -e "$A/absent.$1" ]; then rm -rf -- "$2"; return; fi
  [ -e "$A/saved.$1" ] || [ -L "$A/saved.$1" ] || return 0
  # Beside it first: what is read at this moment is whole, old or new.
  rm -rf -- "$2.converge-revert"
  mkdir -p -- "${2%/*}/"
  cp -a -- "$A/saved.$1" "$2.converge-revert"
  [ ! -d "$2" ] || [ -L "$2" ] || rm -rf -- "$2"
  mv -f -- "$2.converge-revert" "$2"
}
"""

UNITS_BACK = r"""
arm_unit_back() { # number, unit
  [ -s "$A/unit.$1" ] || return 0
  active= file=
  while IFS='=' read -r key value; do
    case $key in ActiveState) active=$value ;; UnitFileState) file=$value ;; esac
  done <"$A/unit.$1"
  case $file:$(systemctl is-enabled -- "$2" 2>/dev/null) in
    enabled:enabled|disabled:disabled) ;;
    enabled:*) systemctl enable -- "$2" ;;
    disabled:enabled) systemctl disable -- "$2" ;;
  esac
  systemctl daemon-reload
  case $active in
    active|reloading|refreshing)
      systemctl reset-failed -- "$2" || :
      systemctl reload-or-restart -- "$2" || systemctl restart -- "$2" ;;
    *) case $(systemctl is-active -- "$2") in
        active|activating|reloading|refreshing) systemctl stop -- "$2" ;; esac ;;
  esac
}
"""

# Called with live or boot, the folder, and why. May be called at any time, by anybody.
REVERT = (
    DECIDE
    + r"""
  A=$2
  exec 7>"$A/lock" || return 1
  flock 7
  [ ! -e "$A/reverted" ] || return 0
  arm_decide reverting || [ "$(cat "$A/verdict")" = reverting ] || return 0
  cd "$A" || return 1
  # Each by itself and to the end: what cannot be put back must not keep the rest from it.
  arm_paths >log 2>&1 7>&-
  sync -f /etc 2>/dev/null || sync
  [ "$1" = boot ] || arm_live >>log 2>&1 7>&-
  { printf '%s\n' "$3"; cat log; } >reverted.new
  mv reverted.new reverted
"""
)
