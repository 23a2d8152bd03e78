"""How a host fetches a URL. apt's own helper is on every Debian, also where curl and wget are not."""

FETCH = r"""
fetch_one() { # URL, file
  case $1 in
    file://*) cp -- "/${1#file://*/}" "$2"; return ;;
  esac
  if command -v curl >/dev/null; then
    curl -fsSL --retry 3 --connect-timeout 20 -o "$2" -- "$1"
  elif [ -x /usr/lib/apt/apt-helper ]; then
    /usr/lib/apt/apt-helper -o Acquire::Retries=3 -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 \
      -q download-file "$1" "$2"
  elif command -v wget >/dev/null; then
    wget -q -T 60 -O "$2" -- "$1"
  else die "the host has no curl, wget or apt to fetch $1 with"; fi
}
fetch() { # URL, file, sha256
  rm -f -- "$2"
  fetch_one "$1" "$2" || die "cannot fetch $1"
  fetched=$(sha256sum <"$2") || die "cannot read what came from $1"
  [ "${fetched%% *}" = "$3" ] || {
    rm -f -- "$2"; die "what came from $1 has the SHA-256 ${fetched%% *}, not $3"; }
}
"""
