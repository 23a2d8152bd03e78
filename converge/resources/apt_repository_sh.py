"""The shell side of apt repositories."""

PROBE = r"""
apt_key_fits() { # file, sha256 of it or of the binary key inside
  h=$(sha256sum <"$1"); [ "${h%% *}" != "$2" ] || return 0
  h=$(sed -e '1,/^$/d' -e '/^[-=]/,$d' -- "$1" | base64 -d 2>/dev/null | sha256sum)
  [ "${h%% *}" = "$2" ]
}
apt_see() { # number, name, sha256 of the key or none, stamp
  command -v apt-get >/dev/null || { echo "why $1 the host has no apt"; return 0; }
  file=/etc/apt/sources.list.d/$2.sources key=/etc/apt/keyrings/$2.asc
  if [ -e "$file" ]; then
    [ -r "$file" ] || { echo "why $1 $file may not be read"; return 0; }
    printf 'content %s ' "$1"; base64 <"$file" | tr -d '\n'; echo
  fi
  if [ -e "$key" ]; then
    echo "oldkey $1"
    if [ "$3" != none ] && apt_key_fits "$key" "$3"; then echo "key $1"; fi
  fi
  [ ! -r "$S/apt/$2" ] || [ "$(cat "$S/apt/$2")" != "$4" ] || echo "listed $1"
  echo "end $1"
}
"""

EMIT = r"""
apt_put_back() { # name
  for thing in "sources:/etc/apt/sources.list.d/$1.sources" "key:/etc/apt/keyrings/$1.asc"; do
    if [ -e "$T/old.${thing%%:*}" ]; then cp -p -- "$T/old.${thing%%:*}" "${thing#*:}"
    else rm -f -- "${thing#*:}"; fi
  done
}
apt_place() { # new file, place: whole or not at all
  mkdir -p -- "${2%/*}"
  rm -f -- "$2.converge"
  cp -- "$1" "$2.converge"; chmod 0644 "$2.converge"
  sync -- "$2.converge" 2>/dev/null || sync
  mv -f -- "$2.converge" "$2"
}
apt_read_lists() { # name: of this repository only, and the others' lists stay
  export DEBIAN_FRONTEND=noninteractive
  tries=0
  # The lock on the lists knows no timeout: another apt-get update may be at work.
  while ! apt-get -q update -o Dir::Etc::sourcelist="/etc/apt/sources.list.d/$1.sources" \
    -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 -o APT::Update::Error-Mode=any \
    >"$T/update" 2>&1; do
    case $(cat "$T/update") in *"Could not get lock"*|*"Unable to lock"*) ;;
      *) cat "$T/update"; return 1 ;; esac
    tries=$((tries + 1)); [ "$tries" -lt 60 ] || { cat "$T/update"; return 1; }; sleep 2
  done
}
apt_settle() { # index, name, stamp; the new files are in $T
  command -v apt-get >/dev/null || die "the host has no apt"
  file=/etc/apt/sources.list.d/$2.sources key=/etc/apt/keyrings/$2.asc
  file_plain "$file"; file_plain "$key"
  rm -f -- "$T/old.sources" "$T/old.key"
  [ ! -e "$file" ] || cp -p -- "$file" "$T/old.sources"
  [ ! -e "$key" ] || cp -p -- "$key" "$T/old.key"
  if [ -e "$T/apt.key" ]; then
    case $(head -c 64 "$T/apt.key" | tr -d '\000') in
      *"BEGIN PGP PUBLIC KEY"*) ;;
      *BEGIN*|*"<"[hH!]*) die "what came as the key of $2 is no public key" ;;
      *)
        # apt takes a file for armored by its name: this one always is.
        { echo '-----BEGIN PGP PUBLIC KEY BLOCK-----'; echo; base64 <"$T/apt.key"
          echo '-----END PGP PUBLIC KEY BLOCK-----'; } >"$T/apt.armor"
        mv -f -- "$T/apt.armor" "$T/apt.key" ;;
    esac
  fi
  # Not known to be read until it was: a run that dies here leaves that to the next one.
  rm -f -- "$S/apt/$2"
  if [ -e "$T/apt.key" ]; then apt_place "$T/apt.key" "$key"; else rm -f -- "$key"; fi
  apt_place "$T/apt.sources" "$file"
  apt_read_lists "$2" || { apt_put_back "$2"
    die "apt cannot read the repository $2: the host is as it was before"; }
  mkdir -p -- "$S/apt"
  printf '%s\n' "$3" >"$S/apt/$2"
  changed "$1"
}
apt_forget() { # index, name
  for thing in "/etc/apt/sources.list.d/$2.sources" "/etc/apt/keyrings/$2.asc"; do
    [ -e "$thing" ] || [ -L "$thing" ] || continue
    rm -f -- "$thing"; changed "$1"
  done
  rm -f -- "$S/apt/$2"
}
"""
