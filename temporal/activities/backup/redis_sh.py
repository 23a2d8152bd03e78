"""Dump, prove and load all data of a Redis server, as sh. Pure.

The dump is the RDB file that the server gives a replica: one moment of all its databases, taken by a
fork of it, and nothing of its own is written. A second server in memory beside the live one, only to
look at the dump, could be what fills the host; so the fingerprint is of the file, whose checksum and
structure are read through, and of what redis-check-rdb counts in it. The proof loads it into a scratch
server, as a replica, which drops no key whose time has come, and counts what is there then.

Redis has no databases to rename: what is loaded becomes a file beside its own, and takes effect when the
server starts with it. So it is stopped for that, by its unit, while no write is accepted, and started
again; if it does not come up with all keys, it is started with what it had.
"""

from __future__ import annotations

from converge.shell import quote
from temporal.activities.backup import databases_sh
from temporal.shared.specs.backup.sources import RedisSource

DUMP = "dump/dump.rdb"


def dump_script(source: RedisSource, password: str | None = None) -> str:
    """sh that defines dump_it: the live data to $W/dump and $W/proof/fingerprint.

    Args:
        password: the shell variable that holds it.
    """
    return "\n".join([databases_sh.LIBRARY, _LIBRARY, _live(source, password), _DUMP])


def prove_script(source: RedisSource) -> str:
    """sh that defines prove_it: $X/dump in a scratch server, and what it holds then to $X/found."""
    work = databases_sh.scratch("redis", "redis-server", _LIBRARY, _SCRATCH)
    return f"{databases_sh.LIBRARY}\nprove_it() {{\n{work}\n}}"


def load_script(source: RedisSource, into: str, swap: bool, password: str | None = None) -> str:
    """sh that defines load_it: $X/dump to the new file `into`.

    With `swap` the server is started anew with it, and what it held before is kept beside.
    """
    settings = f"into={quote(into)} swap={'yes' if swap else ''}"
    return "\n".join([databases_sh.LIBRARY, _LIBRARY, _live(source, password), settings, _LOAD])


def _live(source: RedisSource, password: str | None) -> str:
    if isinstance(source.redis, int):
        way, where = f"-h 127.0.0.1 -p {source.redis}", f"port {source.redis}"
    else:
        way, where = f"-s {quote(source.redis)}", source.redis
    secret = f"REDISCLI_AUTH=${password}; export REDISCLI_AUTH; " if password else ""
    return (
        f"where={quote(where)}\n"
        # In a variable of its own process, not among its arguments.
        f'redis() {{ ( unset REDISCLI_AUTH; {secret}exec redis-cli {way} --no-auth-warning "$@" ); }}\n'
        f"{_LIVE}"
    )


_LIBRARY = r"""
redis_need() { # program, package
  command -v "$1" >/dev/null || db_oops "the host has no $1: install $2"
}
redis_check() { # an RDB file, a file for what is in it
  redis-check-rdb "$1" >"$D/check" 2>&1 && grep -q 'RDB looks OK' "$D/check" || {
    tail -n 5 "$D/check"
    db_oops "the RDB file is damaged: $(sed -n '/^\[offset [0-9]*\] [^C]/p' "$D/check" | tail -n 1)"
  }
  redis_says keys "$(sed -n 's/^\[info\] \([0-9]*\) keys read$/\1/p' "$D/check")" >"$2"
  redis_says expiring "$(sed -n 's/^\[info\] \([0-9]*\) expires$/\1/p' "$D/check")" >>"$2"
  redis_file "$1" >>"$2"
}
redis_says() { printf '%s\t%s\n' "$1" "${2:-0}"; }
redis_file() {
  printf 'file\tbytes\t%s\tsha256\t%s\n' "$(wc -c <"$1")" "$(sha256sum <"$1" | cut -d ' ' -f 1)"
}
redis_sum() { # keys or expires, of INFO keyspace
  tr -d '\r' | sed -n "s/^db[0-9]*:.*\b$1=\([0-9]*\).*/\1/p" | awk '{ n += $1 } END { print n + 0 }'
}
"""

_LIVE = r"""
redis_why() { # what was done, what was said
  case $(cat "$2") in
    *"Could not connect"*|*"onnection refused"*|*"No such file"*|*"onnection reset"*|*"closed the conn"*)
      db_oops "$1: Redis does not answer on $where: start it" \
        "(systemctl status redis-server says more)" ;;
    *WRONGPASS*|*"invalid password"*|*"AUTH failed"*)
      db_oops "$1: Redis on $where does not take the password" ;;
    *NOAUTH*) db_oops "$1: Redis on $where asks for a password: give the source one" ;;
    *NOPERM*) db_oops "$1: the user of Redis may not: $(db_first "$2")" ;;
    *LOADING*) db_oops "$1: Redis on $where is still loading its data" ;;
    *"No space left"*|*"rror writing data to"*) db_oops "$1: the disk is full ($(db_room "$db_data"))" ;;
    *) db_oops "$1 failed: $(db_first "$2")" ;;
  esac
}
redis_open() { # folder of the dump
  redis_need redis-cli redis-tools
  redis_need redis-check-rdb redis-tools
  db_begin "$1"
  redis PING >"$D/out" 2>&1 && [ "$(cat "$D/out")" = PONG ] || redis_why "Redis" "$D/out"
}
redis_rdb() { # a file for all data as they are
  redis --rdb "$1" >"$D/out" 2>&1 && [ -s "$1" ] || redis_why "saving the data" "$D/out"
}
"""

_DUMP = rf"""
dump_it() {{
  redis_open "$W/dump"
  redis INFO keyspace >"$D/before" 2>&1 || redis_why "INFO" "$D/before"
  redis_rdb "$W/{DUMP}"
  redis INFO keyspace >"$D/after" 2>&1 || redis_why "INFO" "$D/after"
  redis_check "$W/{DUMP}" "$D/found"
  if grep -q '^keys[[:blank:]]0$' "$D/found"; then
    before=$(redis_sum keys <"$D/before") after=$(redis_sum keys <"$D/after")
    [ "$before" = 0 ] || [ "$after" = 0 ] ||
      db_oops "the dump holds no key, and Redis had $before before it and $after after it"
  fi
  sort <"$D/found" >"$W/proof/fingerprint" 2>"$D/err" || redis_why "writing the fingerprint" "$D/err"
}}
"""

_SCRATCH = rf"""
redis_need redis-server redis-server
redis_need redis-check-rdb redis-tools
[ -s {DUMP} ] || db_oops "the snapshot holds no dump of Redis"
redis_check {DUMP} "$D/found"
needs=$(sed -n "s/^.*AUX FIELD used-mem = '\([0-9]*\)'.*/\1/p" "$D/check")
needs=$((${{needs:-0}} / 1024))
free=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
[ "$needs" -lt $((${{free:-$needs + 1}} / 10 * 9)) ] ||
  db_oops "to prove it takes $((needs / 1024)) MiB of memory, and the host has $((free / 1024)) free"
ln {DUMP} server/dump.rdb 2>/dev/null || cp {DUMP} server/dump.rdb ||
  db_oops "cannot write below $X ($(db_room .))"
[ "$(id -u)" != 0 ] || chown -- "$db_user:" server/dump.rdb
db_exec "$db_user" redis-server --port 0 --unixsocket "$P/socket" --dir "$P" --dbfilename dump.rdb \
  --save '' --appendonly no --daemonize no --databases 1024 --maxmemory 0 --logfile "$P/log" \
  --replicaof 127.0.0.1 1 >"$D/out" 2>&1 &
server=$!
db_stop() {{ kill -KILL "$server"; wait "$server"; }}
redis() {{ redis-cli -s "$P/socket" "$@"; }}
until redis INFO persistence 2>/dev/null | tr -d '\r' | grep -qx loading:0; do
  kill -0 "$server" 2>/dev/null || {{
    tail -n 5 "$P/log" >>"$D/out" 2>/dev/null || :
    db_oops "a scratch server does not load the dump: $(db_first "$D/out")"
  }}
  sleep 0.1
done
redis INFO keyspace >"$D/keyspace"
redis_says keys "$(redis_sum keys <"$D/keyspace")" >"$D/lines"
redis_says expiring "$(redis_sum expires <"$D/keyspace")" >>"$D/lines"
redis_file {DUMP} >>"$D/lines"
sort <"$D/lines" >"$X/found"
"""

_LOAD = rf"""
load_it() {{
  redis_open "$X/dump"
  [ -s "$X/{DUMP}" ] || db_oops "the snapshot holds no dump of Redis"
  [ ! -e "$into" ] && [ ! -h "$into" ] || db_oops "$into is there already: choose another name"
  redis_check "$X/{DUMP}" "$D/found"
  sort -o "$D/found" "$D/found"
  cmp -s "$X/proof/fingerprint" "$D/found" || {{ db_differs "$X/proof/fingerprint" "$D/found"
    db_oops "what was restored is not what was backed up; $into was not made"; }}
  keys=$(sed -n 's/^keys\t//p' "$D/found")
  folder=$(dirname -- "$into")
  cp -- "$X/{DUMP}" "$into" 2>"$D/err" && sync -- "$into" ||
    {{ rm -f -- "$into"; redis_why "writing $into" "$D/err"; }}
  [ "$(id -u)" != 0 ] || chown --reference="$folder" -- "$into"
  [ -z "$swap" ] || db_swap
}}
setting() {{ # name, what it is where there is none of it; sets $setting
  redis CONFIG GET "$1" >"$D/out" 2>&1 && ! grep -qE '^(ERR|NOPERM)' "$D/out" ||
    redis_why "CONFIG GET" "$D/out"
  setting=$(sed -n 2p "$D/out") setting=${{setting:-$2}}
}}
swap_it() {{
  setting dir ''; home=$setting
  setting dbfilename dump.rdb; file=$setting
  setting appendonly no; aof=$setting
  setting appenddirname ''; aof_folder=$setting
  setting appendfilename appendonly.aof; aof_file=$setting
  redis INFO server >"$D/out" 2>&1 || redis_why "INFO" "$D/out"
  pid=$(tr -d '\r' <"$D/out" | sed -n 's/^process_id://p')
  # By systemd's name of it: only what it started it can stop and start.
  unit=$(sed -n 's,^.*/\([^/]*\.service\)$,\1,p' "/proc/$pid/cgroup" 2>/dev/null | head -n 1)
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = redis-server ] && [ -n "$unit" ] && [ -d "$home" ] ||
    db_oops "Redis on $where is run by no unit of systemd here: stop it, put $into in the place of" \
      "${{home:+$home/}}$file, and start it"
  [ "$aof" = no ] || [ -n "$aof_folder" ] ||
    db_oops "Redis before 7 with appendonly yes: set it to no, restart, and try again"
  aside=before_$(date -u +%Y%m%dT%H%M%SZ)
  old=$home/$file.$aside
  # From here on no write is accepted that would be lost.
  redis CLIENT PAUSE 3600000 WRITE >"$D/out" 2>&1 && [ "$(cat "$D/out")" = OK ] ||
    redis_why "CLIENT PAUSE" "$D/out"
  # It may go on, whatever ends this.
  stopped=
  db_end() {{
    {{ if [ -n "$stopped" ]; then systemctl start -- "$unit"; else redis CLIENT UNPAUSE; fi
    }} >/dev/null 2>&1 || :
    rm -rf -- "$D"
  }}
  redis_rdb "$old"
  redis_check "$old" "$D/old"
  chown --reference="$home" -- "$old"
  stopped=1
  systemctl stop -- "$unit" 2>"$D/err" || redis_why "stopping $unit" "$D/err"
  if place_file "$into" 2>"$D/err" && place_aof "$into" 2>"$D/err" &&
    start_it && [ "$(loaded)" = "$keys" ]
  then
    stopped=
    rm -f -- "$into"
    echo "Redis holds what was restored now; what it held before is kept as $old"
    return 0
  fi
  cp "$D/err" "$D/why"
  systemctl stop -- "$unit" 2>/dev/null || :
  # On a full disk there is no room for a copy.
  place_file "$old" 2>/dev/null || mv -fT -- "$old" "$home/$file" || :
  if [ "$aof" = yes ] && [ -d "$home/$aof_folder.$aside" ]; then
    rm -rf -- "${{home:?}}/${{aof_folder:?}}" && mv -T -- "$home/$aof_folder.$aside" "$home/$aof_folder"
  fi
  systemctl reset-failed -- "$unit" 2>/dev/null || :
  start_it ||
    db_oops "$unit came up neither with what was restored nor with what it had: $(db_first "$D/err")"
  stopped=
  db_oops "$unit did not come up with what was restored: it was started again with what it had;" \
    "$(db_first "$D/why"); that is kept as $into"
}}
place_file() {{ # an RDB file: what the server starts with
  cp -- "$1" "$home/.$file.$aside" && chown --reference="$home" -- "$home/.$file.$aside" &&
    sync -- "$home/.$file.$aside" && mv -fT -- "$home/.$file.$aside" "$home/$file"
}}
place_aof() {{ # with appendonly it starts with those files alone, and the first may be an RDB file
  [ "$aof" = yes ] || return 0
  [ ! -d "$home/$aof_folder" ] || mv -T -- "$home/$aof_folder" "$home/$aof_folder.$aside" || return 1
  mkdir -- "$home/$aof_folder" && cp -- "$1" "$home/$aof_folder/$aof_file.1.base.rdb" &&
    echo "file $aof_file.1.base.rdb seq 1 type b" >"$home/$aof_folder/$aof_file.manifest" &&
    chown -R --reference="$home" -- "$home/$aof_folder" && chmod 750 -- "$home/$aof_folder"
}}
start_it() {{ # and wait until all is loaded
  systemctl start -- "$unit" 2>"$D/err" || return 1
  while :; do
    redis INFO persistence >"$D/out" 2>&1 || :
    ! tr -d '\r' <"$D/out" | grep -qx loading:0 || return 0
    case $(systemctl is-active -- "$unit") in
      active|activating|reloading) ;;
      *) journalctl -q --no-pager -n 5 -o cat -u "$unit" >"$D/err" 2>&1 || :; return 1 ;;
    esac
    sleep 0.2
  done
}}
loaded() {{ # keys, with those whose time had come
  tr -d '\r' <"$D/out" |
    awk -F : '/^rdb_last_load_keys_(loaded|expired):/ {{ n += $2 }} END {{ print n + 0 }}'
}}
"""
