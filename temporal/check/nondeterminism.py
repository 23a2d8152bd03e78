"""What workflow code must not call or read, by full name. The list follows the SDK's sandbox
(`temporalio.worker.workflow_sandbox`, invalid module members) and adds the libraries that people use
for I/O, which the sandbox does not know."""

from __future__ import annotations

import ast
from dataclasses import dataclass


@dataclass(frozen=True)
class Banned:
    """The rule that a name breaks, and what to use instead where the rule's own advice is vague."""

    rule: str
    instead: str | None = None


_NOW = Banned("workflow-clock", "`workflow.now()`: the time at which this step first ran.")
_SECONDS = Banned("workflow-clock", "`workflow.time()`, or the difference of two `workflow.now()`.")
_DATE = Banned("workflow-clock", "`workflow.now().date()`.")
_RANDOM = Banned("workflow-random", "`workflow.random()`: seeded by the run, the same on replay.")
_UUID = Banned("workflow-random", "`workflow.uuid4()`: the same on replay.")
_SECRET = Banned(
    "workflow-random", "An activity that makes the secret and keeps it out of the history."
)
_FILES = Banned("workflow-files")
_NETWORK = Banned("workflow-network")
_PROCESS = Banned("workflow-process")
_ENVIRONMENT = Banned("workflow-environment")
_THREADS = Banned("workflow-threads")
_LOGGING = Banned("workflow-logging")
_LOOP = Banned("workflow-asyncio", "`await` in the workflow's own loop, or an activity.")

_EXACT: dict[str, Banned] = {
    **{f"datetime.datetime.{name}": _NOW for name in ("now", "utcnow", "today")},
    "datetime.date.today": _DATE,
    **{
        f"time.{name}{ns}": _SECONDS
        for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")
        for ns in ("", "_ns")
    },
    **{name: _NOW for name in ("pendulum.now", "arrow.now", "arrow.utcnow")},
    "django.utils.timezone.now": _NOW,
    "time.sleep": Banned("workflow-sleep"),
    **{f"uuid.{name}": _UUID for name in ("uuid1", "uuid4", "uuid6", "uuid7", "getnode")},
    **{f"os.{name}": _RANDOM for name in ("urandom", "getrandom")},
    **{name: _FILES for name in ("builtins.open", "io.open", "gzip.open", "bz2.open", "lzma.open")},
    **{name: _FILES for name in ("tarfile.open", "sqlite3.connect", "zipfile.ZipFile")},
    **{
        f"os.{name}": _PROCESS
        for name in ("system", "popen", "fork", "kill", "killpg", "posix_spawn", "_exit", "abort")
    },
    **{
        f"os.{name}": _ENVIRONMENT
        for name in ("getenv", "getenvb", "putenv", "unsetenv", "getpid", "getppid", "getcwd")
    },
    **{
        f"os.{name}": _ENVIRONMENT
        for name in ("uname", "cpu_count", "getlogin", "getuid", "geteuid", "getgid", "getloadavg")
    },
    "builtins.input": Banned("workflow-environment", "A signal or update that carries the answer."),
    "builtins.print": _LOGGING,
    "sys.stdout.write": _LOGGING,
    "sys.stderr.write": _LOGGING,
    "asyncio.wait": Banned(
        "workflow-asyncio", "`workflow.wait(...)`: the same, in a fixed order; or `asyncio.gather`."
    ),
    "asyncio.as_completed": Banned(
        "workflow-asyncio", "`workflow.as_completed(...)`: the same, in a fixed order."
    ),
    "asyncio.to_thread": _THREADS,
    **{f"asyncio.{name}": _LOOP for name in ("run", "new_event_loop", "Runner")},
    "asyncio.run_coroutine_threadsafe": _LOOP,
    "asyncio.AbstractEventLoop.run_until_complete": _LOOP,
    "asyncio.AbstractEventLoop.run_in_executor": _THREADS,
    **{
        f"asyncio.{name}": _NETWORK
        for name in ("open_connection", "start_server", "open_unix_connection", "start_unix_server")
    },
    **{f"asyncio.create_subprocess_{name}": _PROCESS for name in ("exec", "shell")},
    **{
        f"{owner}.{level}": _LOGGING
        for owner in ("logging", "logging.Logger", "loguru.logger")
        for level in (
            "debug", "info", "warning", "warn", "error", "exception", "critical", "log",
        )
    },
    **{
        f"pathlib.Path.{name}": _FILES
        for name in (
            "chmod", "exists", "expanduser", "glob", "group", "hardlink_to", "is_block_device",
            "is_char_device", "is_dir", "is_fifo", "is_file", "is_mount", "is_socket", "is_symlink",
            "iterdir", "lchmod", "lstat", "mkdir", "open", "owner", "read_bytes", "read_text",
            "readlink", "rename", "replace", "resolve", "rglob", "rmdir", "samefile", "stat",
            "symlink_to", "touch", "unlink", "walk", "write_bytes", "write_text", "absolute",
        )
    },
    "pathlib.Path.cwd": _ENVIRONMENT,
    "pathlib.Path.home": _ENVIRONMENT,
}  # fmt: skip

# Everything in these; a longer prefix is asked first.
_UNDER: dict[str, Banned] = {
    "os": _FILES,
    "random": _RANDOM,
    "numpy.random": _RANDOM,
    "secrets": _SECRET,
    "subprocess": _PROCESS,
    **{
        name: _FILES for name in ("shutil", "tempfile", "glob", "fileinput", "filecmp", "linecache")
    },
    **{name: _FILES for name in ("shelve", "dbm", "mmap", "aiofiles")},
    **{
        name: _THREADS for name in ("threading", "_thread", "multiprocessing", "concurrent.futures")
    },
    **{name: _ENVIRONMENT for name in ("platform", "getpass")},
    **{
        name: _NETWORK for name in ("socket", "ssl.create_connection", "http.client", "http.server")
    },
    **{name: _NETWORK for name in ("urllib.request", "ftplib", "smtplib", "poplib", "imaplib")},
    **{name: _NETWORK for name in ("xmlrpc.client", "select", "selectors", "webbrowser")},
    **{name: _NETWORK for name in ("requests", "httpx", "urllib3", "aiohttp", "asyncssh")},
    **{name: _NETWORK for name in ("paramiko", "websockets", "boto3", "botocore", "aioboto3")},
    **{
        name: _NETWORK for name in ("psycopg", "psycopg2", "asyncpg", "pymysql", "redis", "pymongo")
    },
}

# Pure functions and values in the midst of the above.
_PURE = {
    "os.fspath", "os.fsencode", "os.fsdecode", "os.strerror", "os.get_exec_path", "random.Random",
    "secrets.compare_digest", "subprocess.list2cmdline", "subprocess.CompletedProcess",
    "threading.get_ident", "glob.escape", "glob.has_magic", "glob.translate", "socket.inet_aton",
    "socket.inet_ntoa", "socket.inet_pton", "socket.inet_ntop", "socket.htons", "socket.htonl",
    "socket.ntohs", "socket.ntohl", "httpx.URL", "httpx.Timeout", "httpx.Limits", "httpx.Headers",
    "aiohttp.ClientTimeout", "urllib3.Timeout", "urllib3.Retry", "requests.structures",
    "psycopg.sql", "psycopg2.sql",
}  # fmt: skip
_PURE_PATH = {
    "basename", "commonpath", "commonprefix", "dirname", "isabs", "join", "normcase", "normpath",
    "split", "splitdrive", "splitext",
}  # fmt: skip
_READ = {"os.environ", "os.environb", "sys.argv", "sys.stdin"}
# Without its last argument each of these takes the present time.
_NOW_UNLESS = {"time.localtime": 1, "time.gmtime": 1, "time.ctime": 1, "time.asctime": 1}
_NOW_UNLESS |= {"time.strftime": 2}


def called(name: str, call: ast.Call | None) -> Banned | None:
    """Why workflow code must not call `name`; None if it may.

    `call` is None for a function that is handed on to be called with unknown arguments.
    """
    given = len(call.args) if call else 9
    if name in _NOW_UNLESS:
        return _NOW if given < _NOW_UNLESS[name] else None
    if name in ("random.Random", "numpy.random.default_rng", "numpy.random.RandomState"):
        # Seeded, it is as good as workflow.random(), if the seed is.
        return None if call is None or given or call.keywords else _RANDOM
    if name in _EXACT:
        return _EXACT[name]
    module, _, last = name.rpartition(".")
    if name in _PURE or module in _PURE or last.endswith(("Error", "Exception", "Warning")):
        return None
    if name.startswith("os.environ"):
        return None  # found as a read of os.environ
    if module == "os.path":
        return None if last in _PURE_PATH else _FILES
    if module == "random.Random":
        return None
    if module == "os" and last.startswith(("exec", "spawn", "wait")):
        return _PROCESS
    while module:
        if module in _UNDER:
            return _UNDER[module]
        module = module.rpartition(".")[0]
    return None


def read(name: str) -> Banned | None:
    """Why workflow code must not read the variable `name`; None if it may."""
    return _ENVIRONMENT if name in _READ else None
