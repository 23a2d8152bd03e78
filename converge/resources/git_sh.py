"""The shell side of git checkouts."""

AS = r"""
git_who() { # owner or nothing, for whom git_as runs
  git_uid=$(id -u) git_gid=$(id -g) git_home=${HOME:-/}
  [ -n "$1" ] || return 0
  git_line=$(getent passwd "$1" || grep "^$1:" /etc/passwd) || return 1
  IFS=: read -r x x git_uid git_gid x git_home x <<END
$git_line
END
}
git_as() { # as the owner: what a checkout's configuration runs, root does not
  set -- env "HOME=$git_home" GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=true SSH_ASKPASS=true \
    "GIT_SSH_COMMAND=ssh -o BatchMode=yes -o ConnectTimeout=15" GIT_CONFIG_NOSYSTEM=1 "$@"
  if [ "$(id -u)" = "$git_uid" ]; then "$@"
  elif command -v setpriv >/dev/null; then
    setpriv --reuid="$git_uid" --regid="$git_gid" --init-groups -- "$@"
  else chroot --userspec="$git_uid:$git_gid" / "$@"; fi
}
git_ask() { # repository, ref: the commit that it is at there; git_why says what went wrong
  git_why=
  if ! git_said=$(cd / && git_as timeout 30 git ls-remote -q -- "$1" "$2" "refs/heads/$2" \
    "refs/tags/$2" "refs/tags/$2^{}" 2>&1); then
    git_why=$(printf '%s' "$git_said" | tr '\n' ' ' | cut -c 1-300); return 1
  fi
  git_hit=
  # A tag's own object is not the commit that it names; a branch comes before a tag.
  for git_name in "$2" "refs/tags/$2" "refs/tags/$2^{}" "refs/heads/$2"; do
    while read -r git_id git_ref; do
      [ "$git_ref" != "$git_name" ] || git_hit=$git_id
    done <<END
$git_said
END
  done
  [ -n "$git_hit" ] || { git_why="the repository has no branch or tag $2"; return 1; }
}
"""

PROBE = r"""
git_see() { # number, pinned or ask or absent, path, owner, repository, ref
  n=$1 p=$3
  command -v git >/dev/null || echo "notool $n"
  known=; git_who "$4" && known=1
  if [ ! -e "$p" ] && [ ! -L "$p" ]; then
    d=${p%/*}
    while [ -n "$d" ] && [ ! -d "$d" ]; do d=${d%/*}; done
    if [ -x "${d:-/}" ]; then echo "absent $n"; else echo "hidden $n"; fi
  else
    stat -c "stat $n %f %U %G" -- "$p"
    git_look
  fi
  command -v git >/dev/null && [ -n "$known" ] && [ "$2" = ask ] || return 0
  if git_ask "$5" "$6"; then echo "wanted $n $git_hit"; else echo "why $n $git_why"; fi
}
git_look() {
  [ -d "$p" ] && [ ! -L "$p" ] || return 0
  if [ ! -d "$p/.git" ]; then
    for inner in "$p"/* "$p"/.[!.]* "$p"/..?*; do
      if [ -e "$inner" ] || [ -L "$inner" ]; then return 0; fi
    done
    echo "empty $n"; return 0
  fi
  echo "checkout $n"
  command -v git >/dev/null && [ -n "$known" ] || return 0
  strange=$(find "$p" -xdev ! -user "$git_uid" -print 2>/dev/null | head -n 1)
  [ -z "$strange" ] || printf 'strange %s %s\n' "$n" "$strange"
  echo "commit $n $(cd / && git_as git -C "$p" rev-parse -q --verify 'HEAD^{commit}' 2>/dev/null)"
  printf 'repo %s %s\n' "$n" "$(cd / && git_as git -C "$p" config --get remote.origin.url 2>/dev/null)"
  [ -z "$(cd / && git_as git -C "$p" status --porcelain --untracked-files=no 2>/dev/null |
    head -n 1)" ] || echo "dirty $n"
}
"""

EMIT = r"""
git_in() { ( cd / && git_as git -C "$git_path" "$@" ); }
git_settle() { # index, path, owner, repository, ref, pinned or ask, depth, force
  command -v git >/dev/null || die "the host has no git"
  git_who "$3" || die "there is no user $3"
  git_path=$2
  [ ! -L "$2" ] || die "$2 is a symbolic link"
  [ -d "$2" ] || [ ! -e "$2" ] || die "$2 is not a directory"
  if [ ! -d "$2" ]; then
    up=${2%/*}; file_parents "${up:-/}"
    mkdir -m 0755 -- "$2"
  fi
  if [ -n "$(find "$2" -xdev ! -user "$git_uid" -print | head -n 1)" ]; then
    find "$2" -xdev ! -user "$git_uid" -exec chown -h -- "$git_uid:$git_gid" {} +
    changed "$1"
  fi
  if [ ! -d "$2/.git" ]; then
    [ -z "$(ls -A -- "$2")" ] || die "what is in $2 is no checkout of git"
    git_in init -q
  fi
  # What a killed git leaves, its successor trips over; nobody else is at work here.
  rm -f -- "$2/.git/index.lock" "$2/.git/shallow.lock" "$2/.git/HEAD.lock" "$2/.git/config.lock"
  have=$(git_in config --get remote.origin.url || :)
  if [ -z "$have" ]; then git_in remote add origin "$4"
  elif [ "$have" != "$4" ]; then git_in remote set-url origin "$4"; changed "$1"; fi
  now=$(git_in rev-parse -q --verify 'HEAD^{commit}' || :)
  if [ "$6" = pinned ]; then want=$5
  else git_ask "$4" "$5" || die "cannot ask $4: $git_why"; want=$git_hit; fi
  dirty=
  [ -z "$now" ] || dirty=$(git_in status --porcelain --untracked-files=no | head -n 1)
  if [ -n "$dirty" ] && [ "$8" != force ] && [ "$now" != "$want" ]; then
    die "tracked files in $2 were changed on the host; add force to discard that"
  fi
  if [ "$now" = "$want" ] && { [ -z "$dirty" ] || [ "$8" != force ]; }; then return 0; fi
  if ! git_in cat-file -e "$want^{commit}" 2>/dev/null; then
    # Not every server hands out a commit by its name: then all branches and tags are fetched.
    git_in fetch -q --no-tags ${7:+--depth "$7"} -- origin "$want" 2>/dev/null ||
      git_in fetch -q --tags ${7:+--depth "$7"} -- origin '+refs/heads/*:refs/remotes/origin/*' ||
      die "cannot fetch from $4"
    git_in cat-file -e "$want^{commit}" || die "$4 has no commit $want"
  fi
  git_in checkout -q --detach ${8:+--force} "$want" || die "cannot check out $want in $2"
  changed "$1"
}
git_remove() { # index, path
  [ -e "$2" ] || [ -L "$2" ] || return 0
  [ ! -L "$2" ] && [ -d "$2/.git" ] || die "$2 is no checkout of git"
  directory_rm "$2" -prune
  changed "$1"
}
"""
