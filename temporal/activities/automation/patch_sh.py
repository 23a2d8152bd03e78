"""What patching runs on a host, as sh, and what it says there, as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from converge.framing import Record
from converge.resources.package_sh import EMIT
from converge.shell import quote
from temporal.shared.specs.automation.patching import Health, Patch

COMMAND_S = 900
"""Seconds that `before` and `after` may take."""
LAST_WORDS = 4000


def patch_script(patch: Patch) -> str:
    """Upgrades, says whether a reboot is needed, and sees that all is well if there is none."""
    return "\n".join(
        [
            EMIT,
            _BOOT,
            _HEALTH,
            _NEEDS,
            _STALE,
            _UPGRADE,
            _settings(patch),
            _exclusion(patch.exclude),
            _PATCH,
        ]
    )


def settle_script(patch: Patch, before: Health) -> str:
    """Sees that all is well after a reboot."""
    return "\n".join(
        [
            _BOOT,
            _HEALTH,
            _settings(patch),
            f"was_active={quote(' '.join(before.active))} was_failed={quote(' '.join(before.failed))}",
            "rec working services\nsettle && rec well",
        ]
    )


def reboot_script(boot: str, lock_wait: float) -> str:
    """Says which boot this is and how it is; orders a reboot if it is still `boot`.

    That makes it safe to be run any number of times: the order dies with the boot that it is for.
    """
    return (
        f"{_BOOT}\nordered_for={quote(boot)} patience={int(lock_wait)}\n"
        + r"""
state=$(systemctl is-system-running 2>/dev/null); state=${state:-unknown}
if [ "$boot" = "$ordered_for" ] && [ "$state" != stopping ]; then
  mkdir -p "$S"; exec 9<>"$S/lock"
  if flock -w "$patience" 9; then
    if why=$(systemctl reboot 2>&1); then state=stopping
    else rec refused; printf '%s\n' "$why"; fi
  else rec holder; cat "$S/lock"; fi
fi
rec seen "$boot" "$state"
[ "$state" != stopping ] || systemctl list-jobs --no-legend --no-pager 2>/dev/null |
  grep running | head -n 5
"""
    )


def _settings(patch: Patch) -> str:
    services = "-" if patch.services is None else " ".join(patch.services)
    return "\n".join(
        [
            f"upgrade={patch.upgrade} reboot={patch.reboot} seconds={int(patch.settled_within)}",
            f"services={quote(services)} command_s={COMMAND_S}",
            f"before={quote(patch.before or '')}",
            f"after={quote(patch.after or '')}",
        ]
    )


def _exclusion(patterns: Sequence[str]) -> str:
    """A pin for this run only: nothing stays behind on the host, as a hold would after a crash."""
    if not patterns:
        return "exclusion() { :; }"
    pins = "".join(f"\nPackage: {p}\nPin: release *\nPin-Priority: -1\n" for p in patterns)
    return (
        "exclusion() {\n"
        '{ cat /etc/apt/preferences 2>/dev/null || :; } >"$T/preferences"\n'
        f"printf '%s' {quote(pins)} >>\"$T/preferences\"\n"
        'APT_PIN="-o Dir::Etc::Preferences=$T/preferences"\n}'
    )


_BOOT = "boot=$(cat /proc/sys/kernel/random/boot_id)"

_HEALTH = r"""
running_services() { # enabled ones that run: what a reboot must bring back
  units=$(systemctl list-units --type=service --state=running --plain --no-legend --no-pager |
    cut -d ' ' -f 1)
  [ -z "$units" ] || systemctl show -p Id -p UnitFileState -- $units |
    awk -F= '$1 == "Id" { id = $2 } $1 == "UnitFileState" { file = $2 }
      function flush() { if (id != "" && file ~ /^enabled/) print id; id = file = "" }
      $0 == "" { flush() } END { flush() }' | sort -u
}
failed_units() {
  systemctl list-units --state=failed --plain --no-legend --no-pager | cut -d ' ' -f 1 | sort
}
line() { tr '\n' ' '; }
command_of_ours() { # name, text
  [ -n "$2" ] || return 0
  rec working "$1"
  said=$(timeout -k 10 "$command_s" sh -c "$2" 2>&1) && return 0
  status=$?
  rec failed; printf '%s failed with status %s: %s\n' "$1" "$status" "$said" | tail -c 4000
  return 1
}
settle() { # waits until all is well; says what is not
  [ "$services" = - ] || was_active=$services
  n=0
  while :; do
    missing= hope=
    for unit in $was_active; do
      case $(systemctl is-active -- "$unit" 2>/dev/null) in
        active|reloading) ;;
        # What systemd still means to start again it does not call failed.
        failed) missing="$missing $unit" ;;
        *) missing="$missing $unit" hope=1 ;;
      esac
    done
    case $(systemctl is-system-running 2>/dev/null) in initializing|starting) hope=1 ;; esac
    [ -n "$hope" ] && [ "$n" -lt "$seconds" ] || break
    sleep 1; n=$((n + 1))
  done
  lost=
  for unit in $(failed_units); do
    case " $was_failed " in *" $unit "*) ;; *) lost="$lost $unit" ;; esac
  done
  if [ -n "$missing$lost" ]; then
    rec failed
    [ -z "$missing" ] || echo "not active:$missing"
    [ -z "$lost" ] || echo "failed, and was not before:$lost"
    for unit in $(printf '%s\n' $missing $lost | sort -u | head -n 3); do
      echo "== $unit"; journalctl -q --no-pager -b -n 5 -o cat -u "$unit" 2>&1
    done
    return 1
  fi
  command_of_ours after "$after"
}
"""

_NEEDS = r"""
needs_reboot() { # prints why, or nothing
  if [ -e /run/reboot-required ]; then
    for_whom=$(sort -u /run/reboot-required.pkgs 2>/dev/null | head -n 5 | line)
    echo "/run/reboot-required is there${for_whom:+, for ${for_whom% }}"; return
  fi
  systemd-detect-virt -q -c 2>/dev/null && return
  kernel=$(uname -r)
  newest=$(ls -1 /boot/vmlinuz-* 2>/dev/null | sed 's,.*/vmlinuz-,,' | sort -V | tail -n 1)
  # Only where the kernel that runs is one of those: others come from elsewhere.
  if [ -e "/boot/vmlinuz-$kernel" ] && [ "$newest" != "$kernel" ]; then
    echo "it runs kernel $kernel, and $newest is installed"; return
  fi
  put_in=$(dpkg-query -W -f='${Version}' -- "linux-image-$kernel" 2>/dev/null)
  case $(uname -v) in
    *"Debian $put_in "*) ;;
    *" Debian "*) [ -z "$put_in" ] ||
      echo "it runs kernel $(uname -v | sed 's/.* Debian/Debian/'), and $put_in is installed" ;;
  esac
}
"""

# As needrestart does: what is mapped by a process and was deleted is of an earlier version.
_STALE = r"""
stale_units() {
  for maps in $(grep -lE ' /(usr|lib|lib64|bin|sbin|opt)/.*\(deleted\)$' /proc/[0-9]*/maps 2>/dev/null)
  do
    sed -n 's,^\(0:\|[0-9]*:name=systemd\):\(/[^/]*\.slice\)*/\([^/]*\.\(service\|scope\)\).*,\3,p' \
      "${maps%/maps}/cgroup" 2>/dev/null | head -n 1
  done | sort -u
}
# What the rest of the system hangs on is not restarted under it.
tender() {
  case $1 in init.scope|dbus.service|dbus-broker.service|systemd-logind.service) ;; *) false ;; esac
}
tender_stale() { for unit in $(stale_units); do ! tender "$unit" || echo "$unit"; done; }
restart_stale() {
  for unit in $(stale_units); do
    case $unit in converge-*|session-*|user@*|*.scope) continue ;; esac
    ! tender "$unit" || continue
    if why=$(systemctl restart -- "$unit" 2>&1); then rec restarted "$unit"
    else rec unrestarted "$unit"; printf '%s\n' "$why"; fi
  done
}
"""

_UPGRADE = r"""
versions() { dpkg-query -W -f='${binary:Package} ${Version} ${db:Status-Abbrev}\n' | grep ' .i' |
  cut -d ' ' -f 1,2 | sort; }
room() { df -Ph /var/cache/apt /usr /var/lib/dpkg 2>/dev/null |
  awk 'NR > 1 && !seen[$6]++ { print $6 " has " $4 " free" }' | paste -s -d , - ; }
tell() { # what failed, its output
  rec failed
  case $(cat "$2") in
    *"No space left"*|*"enough free space"*) echo "$1: the disk is full ($(room))" ;;
    *"Could not get lock"*|*"Unable to acquire the dpkg frontend lock"*)
      echo "$1: another apt or dpkg kept its lock for 300 s" ;;
    *) echo "$1 failed" ;;
  esac
  tail -c 3500 "$2"
}
mend() { # what an earlier apt or dpkg left half done
  n=0
  while [ -n "$(dpkg --audit 2>/dev/null)" ] || ls /var/lib/dpkg/updates/[0-9]* >/dev/null 2>&1; do
    rec working mending
    dpkg --configure -a --force-confdef --force-confold >"$T/mend" 2>&1 && break
    case $(cat "$T/mend") in *lock*) ;; *) break ;; esac
    n=$((n + 1)); [ "$n" -lt 150 ] || { tell "dpkg --configure -a" "$T/mend"; return 1; }
    sleep 2
  done
  package_apt check >"$T/mend" 2>&1 || package_apt --no-remove -f install >"$T/mend" 2>&1 ||
    { tell "apt-get -f install" "$T/mend"; return 1; }
}
offered() { # prints package=version of each upgrade that is wanted
  package_apt $APT_PIN -s --with-new-pkgs upgrade >"$T/offer" 2>&1 || return 1
  sed -n 's/^Inst \([^ ]*\) \[[^]]*\] (\([^ ]*\) \([^[]*\).*/\1 \2 \3/p' "$T/offer" |
    while read -r name version from; do
      case $upgrade:$from in all:*|security:*[Ss]ecurity*) echo "$name=$version" ;; esac
    done
}
"""

_PATCH = r"""
[ "$U" = 0 ] || { rec failed; echo "patching needs root: give the host sudo: true"; return; }
APT_PIN=
package_ready 2>/dev/null >"$T/ready"
exclusion
rec boot "$boot"
# As it was before the first pass, should this one follow another that a power cut ended.
[ -e "$D/versions" ] || {
  running_services >"$D/active"; failed_units >"$D/failed"; versions >"$D/versions"; }
was_active=$(line <"$D/active") was_failed=$(line <"$D/failed")
rec health active $was_active
rec health failed $was_failed
wanted= again=
[ ! -e "$D/begun" ] || again=1
if [ "$upgrade" != none ]; then
  mend || return
  rec working lists
  package_updated=; package_update >"$T/lists" 2>&1
  # apt-get update ends with 0 when it fetched only some: it says so in its output.
  ! grep -qE '^(E:|W: Failed|W: Some index)' "$T/update" ||
    { tell "apt-get update" "$T/update"; return; }
  wanted=$(offered | line)
  grep -qE '^Inst|upgraded,' "$T/offer" || { tell "apt-get -s upgrade" "$T/offer"; return; }
fi
why=$(needs_reboot)
due=
case $reboot:$why in always:*) due="${why:-asked for}" ;; when-needed:?*) due=$why ;; esac
if [ -z "$wanted$due$again" ]; then
  after=
  [ -z "$why" ] || { rec needed; echo "$why"; }
  settle && rec well
  return
fi
command_of_ours before "$before" || return
echo 1 >"$D/begun"
if [ -n "$wanted" ]; then
  rec working upgrade $(printf '%s\n' $wanted | wc -l)
  if [ "$upgrade" = all ]; then package_apt $APT_PIN --with-new-pkgs upgrade >"$T/apt" 2>&1
  else package_apt $APT_PIN --no-remove --only-upgrade install -- $wanted >"$T/apt" 2>&1; fi ||
    { status=1; tell "apt-get" "$T/apt"; }
fi
versions >"$T/versions"
rec versions
join -a 1 -a 2 -e - -o 0,1.2,2.2 "$D/versions" "$T/versions" | awk '$2 != $3'
[ -z "${status-}" ] || return
why=$(needs_reboot)
left=$(tender_stale | line)
[ -n "$why" ] || [ -z "$left" ] || why="${left% } use files that were replaced"
due=
case $reboot:$why in always:*) due="${why:-asked for}" ;; when-needed:?*) due=$why ;; esac
if [ -n "$due" ]; then
  # Before it is gone from the caches: nothing of the upgrade may be lost with the reboot.
  sync
  rec due; echo "$due"
  return
fi
[ -z "$why" ] || { rec needed; echo "$why"; }
rec working services
restart_stale
settle && rec well
"""


def said(records: Iterable[Record], *kind: str) -> str | None:
    """What the last record that begins with these words says; None if there is none."""
    found = [record for record in records if record.words[: len(kind)] == kind]
    return found[-1].body.decode(errors="replace").strip() if found else None


def told(records: Iterable[Record], *kind: str) -> tuple[str, ...]:
    """The further words of the first record that begins with these."""
    for record in records:
        if record.words[: len(kind)] == kind:
            return record.words[len(kind) :]
    return ()


def changes(text: str) -> list[str]:
    """Lines `package old new`, with - for none, as people read them.

    >>> changes("libc6:amd64 2.36-9 2.36-10\\nlinux-image-6.1.0-22 - 6.1.94-1")
    ['libc6:amd64 2.36-9 -> 2.36-10', 'linux-image-6.1.0-22 new: 6.1.94-1']
    """
    found = []
    for line in text.splitlines():
        parts = line.split()
        if len(parts) != 3:
            continue
        name, old, new = parts
        if old == "-":
            found.append(f"{name} new: {new}")
        else:
            found.append(f"{name} {old} -> {'removed' if new == '-' else new}")
    return found


def failure(records: Sequence[Record]) -> str | None:
    """Why it failed, the first line first; None if all is well."""
    why = said(records, "failed")
    if why is not None:
        return why[:LAST_WORDS] or "it failed without a word"
    if said(records, "well") is None and said(records, "due") is None:
        return "the script on the host ended before its end"
    return None
