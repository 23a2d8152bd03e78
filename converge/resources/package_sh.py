"""The shell side of packages: one apt-get transaction for all that allow it."""

EMIT = r"""
package_state() { dpkg-query -W -f='${db:Status-Abbrev}${Version}' -- "$1" 2>/dev/null || :; }
package_fits() { # state, want, version pattern
  case $2:$1 in
    present:?i*) ;;
    absent:?[nc]*|absent:|purge:?n*|purge:) return 0 ;;
    *) return 1 ;;
  esac
  [ -n "$3" ] || return 0
  case ${1#???} in $3) return 0 ;; esac
  return 1
}
package_ready() {
  command -v apt-get >/dev/null || die "the host has no apt-get"
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a APT_LISTCHANGES_FRONTEND=none \
    UCF_FORCE_CONFFOLD=1
  package_members= package_install= package_lean= package_full= package_remove= package_purge=
  package_again= package_anew= package_pass= package_updated= package_count=0
  # An earlier dpkg that was killed leaves its journal behind; apt-get refuses until it is used up.
  for package_left in /var/lib/dpkg/updates/[0-9]*; do
    [ ! -e "$package_left" ] || { echo "mending an interrupted dpkg"
      dpkg --configure -a --force-confdef --force-confold || :; break; }
  done
}
# index, name, want, version, argument of apt-get, recommends, hold, URL of a .deb, its SHA-256
package_add() {
  package_was=$(package_state "$2")
  package_kept=$(package_held "$package_was")
  package_count=$((package_count + 1))
  # A hold that is declared is ours to pass; what somebody else holds stays held.
  [ "$7$package_kept" != yesyes ] && [ "$7$package_kept" != noyes ] ||
    package_pass=--allow-change-held-packages
  eval "package_now_$1=\$package_was package_held_$1=\$package_kept"
  package_members="$package_members$1 $2 $3 $6 $7 ${9:--} $5 $4
"
  if [ -n "${8-}" ]; then
    package_old=; [ ! -r "$S/deb/$2" ] || package_old=$(cat "$S/deb/$2")
    if package_fits "$package_was" "$3" "$4" && [ "$package_old" = "$9 ${package_was#???}" ]; then
      return 0; fi
    # One that cannot be had is its own failure, and no reason to leave the others out.
    ( fetch "$8" "$5" "$9" && package_check_deb "$5" "$2" ) || { rm -f -- "$5"; return 0; }
  else package_fits "$package_was" "$3" "$4" && return 0; fi
  case $3:$package_was in
    present:*)
      # For a name it does not know apt-get takes "." for a pattern and a last "+" for an order.
      case $5 in /*) ;; *)
        case $2 in *.*|*+) apt-cache show -- "$2" >/dev/null 2>&1 || package_update ;; esac
        case $2 in *.*|*+) apt-cache show -- "$2" >/dev/null 2>&1 || {
          echo "Unable to locate package $2"; return 0; } ;; esac ;; esac
      if [ -n "${8-}" ] && [ "$(dpkg-deb -f "$5" Version)" = "${package_was#???}" ]; then
        package_again="$package_again $5"; return 0; fi
      case $6 in
        no) package_lean="$package_lean $5" ;;
        yes) package_full="$package_full $5" ;;
        *) package_install="$package_install $5" ;;
      esac ;;
    purge:*) package_purge="$package_purge $2" ;;
    *) package_remove="$package_remove $2-" ;;
  esac
}
package_held() { case $1 in h*) echo yes ;; *) echo no ;; esac; } # of a state
package_check_deb() { # file, name
  package_said=$(dpkg-deb -f "$1" Package) || die "what was fetched for $2 is no .deb"
  [ "$package_said" = "$2" ] || die "what was fetched for $2 is the package $package_said"
}
package_recommend() { # recommends -> an option of apt-get
  case $1 in no) echo --no-install-recommends ;; yes) echo --install-recommends ;; esac
}
package_apt() {
  apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef \
    -o Dpkg::Options::=--force-confold "$@"
}
package_update() {
  [ -z "$package_updated" ] || return 0
  package_updated=1 package_tries=0
  # The lock on the lists knows no timeout: another apt-get update may be at work.
  while ! package_apt update >"$T/update" 2>&1; do
    case $(cat "$T/update") in *"Could not get lock"*|*"Unable to lock"*) ;; *) break ;; esac
    package_tries=$((package_tries + 1)); [ "$package_tries" -lt 60 ] || break; sleep 2
  done
  cat "$T/update"
}
package_try() {
  set -- "$@"
  for package_list in /var/lib/apt/lists/*_Packages*; do
    [ -e "$package_list" ] || package_update; break
  done
  package_apt "$@" >"$T/apt" 2>&1 && { cat "$T/apt"; return 0; }
  cat "$T/apt"
  [ -z "$package_updated" ] || return 1
  case $(cat "$T/apt") in
    *"Unable to locate"*|*"no installation candidate"*|*"was not found"*|*"Failed to fetch"*|\
    *"unmet dependencies"*|*"no available version"*) package_update; package_apt "$@" ;;
    *) return 1 ;;
  esac
}
package_one() { # apt-get install with what belongs to it
  package_how=$1; shift
  package_try install --allow-downgrades $package_pass $package_how -- "$@"
}
package_settle() {
  set -f; set +e
  # Word splitting is meant: names and versions hold no blanks, and globbing is off.
  [ -z "$package_install$package_remove" ] || package_one "" $package_install $package_remove
  [ -z "$package_lean" ] || package_one --no-install-recommends $package_lean
  [ -z "$package_full" ] || package_one --install-recommends $package_full
  [ -z "$package_again" ] || { package_one --reinstall $package_again && package_anew=1; }
  [ -z "$package_purge" ] || package_try purge -- $package_purge
  package_rc=0
  while read -r i name want recommends hold digest argument version; do
    [ -n "$i" ] || continue
    eval "was=\$package_now_$i held=\$package_held_$i"
    now=$(package_state "$name")
    if ! package_fits "$now" "$want" "$version" && [ "$package_count" -gt 1 ]; then
      # One bad name fails the whole transaction: the others must not pay for it.
      echo "== $name on its own"
      case $want in
        present) package_one "$(package_recommend "$recommends")" "$argument" </dev/null ;;
        absent) package_try remove -- "$name" </dev/null ;;
        purge) package_try purge -- "$name" </dev/null ;;
      esac
      now=$(package_state "$name")
    fi
    package_bad=
    if [ "$digest" != - ] && [ -e "$argument" ]; then
      # Of the same version as before, only apt can tell that it was put in.
      if [ "${now#???}" = "$(dpkg-deb -f "$argument" Version)" ] &&
        { [ "${now#???}" != "${was#???}" ] || [ -n "$package_anew" ]; }; then
        mkdir -p -- "$S/deb"; printf '%s\n' "$digest ${now#???}" >"$S/deb/$name"
        changed "$i"
      else package_bad=1; fi
    elif [ "$digest" != - ]; then
      read -r package_old <"$S/deb/$name" && [ "$package_old" = "$digest ${now#???}" ] ||
        package_bad=1
    fi 2>/dev/null
    kept=$(package_held "$now")
    if [ "$hold" != - ] && [ "$hold" != "$kept" ]; then
      case $hold in yes) apt-mark hold "$name" ;; *) apt-mark unhold "$name" ;; esac </dev/null
      kept=$(package_held "$(package_state "$name")")
    fi
    [ "$now" = "$was" ] && [ "$kept" = "$held" ] || changed "$i"
    package_fits "$now" "$want" "$version" && [ -z "$package_bad" ] ||
      { failed "$i"; package_rc=1; }
  done <<END
$package_members
END
  return $package_rc
}
"""
