"""Async activities that block the event loop which they share with everything else."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from temporal.check.calls import Call, CallGraph, Reached, called_functions
from temporal.check.context import Context, finding
from temporal.check.findings import Finding
from temporal.check.live import Live
from temporal.check.source import Function
from temporal.check.symbols import External

_THREAD = "`await asyncio.to_thread(...)`, or a plain `def` activity, which runs in a thread."
_HTTP = "An async client, `await asyncio.to_thread(...)`, or a plain `def` activity."
_SUBPROCESS = "`await asyncio.create_subprocess_exec(...)`, or a plain `def` activity."
_FUTURE = "`await asyncio.wrap_future(future)`."

_EXACT: dict[str, str] = {
    "time.sleep": "`await asyncio.sleep(...)`.",
    **{
        f"subprocess.{name}": _SUBPROCESS
        for name in (
            "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput",
            "Popen.wait", "Popen.communicate",
        )
    },
    **{f"os.{name}": _SUBPROCESS for name in ("system", "popen", "wait", "waitpid")},
    **{
        f"{library}.{verb}": _HTTP
        for library in ("requests", "requests.Session", "httpx", "httpx.Client")
        for verb in ("get", "post", "put", "patch", "delete", "head", "options", "request", "send")
    },
    "httpx.stream": _HTTP,
    "httpx.Client.stream": _HTTP,
    **{f"urllib.request.{name}": _HTTP for name in ("urlopen", "urlretrieve")},
    **{
        f"urllib3.{name}": _HTTP
        for name in ("request", "PoolManager.request", "PoolManager.urlopen")
    },
    **{
        f"http.client.{kind}.{name}": _HTTP
        for kind in ("HTTPConnection", "HTTPSConnection")
        for name in ("request", "connect", "getresponse")
    },
    **{
        f"socket.{name}": "`await asyncio.open_connection(...)`, or the loop's own look-ups."
        for name in (
            "create_connection", "getaddrinfo", "gethostbyname", "gethostbyaddr", "getfqdn",
            "socket.connect", "socket.accept", "socket.recv", "socket.recvfrom", "socket.sendall",
        )
    },
    **{
        f"shutil.{name}": _THREAD
        for name in ("copytree", "rmtree", "move", "make_archive", "unpack_archive")
    },
    **{
        f"concurrent.futures.{name}": _FUTURE
        for name in ("Future.result", "Future.exception", "wait", "as_completed")
    },
    "threading.Thread.join": _THREAD,
    "threading.Event.wait": "`asyncio.Event`.",
    "threading.Condition.wait": "`asyncio.Condition`.",
    "multiprocessing.Process.join": _THREAD,
    **{f"queue.{kind}.{name}": "`asyncio.Queue`." for kind in ("Queue", "SimpleQueue")
       for name in ("get", "join")},
    "asyncio.run": "`await` it.",
    "asyncio.AbstractEventLoop.run_until_complete": "`await` it.",
    "builtins.input": "A signal or update that carries the answer.",
    **{
        f"smtplib.{kind}{name}": _THREAD
        for kind in ("SMTP", "SMTP_SSL")
        for name in ("", ".connect", ".sendmail", ".send_message")
    },
    "ftplib.FTP": _THREAD,
    "paramiko.SSHClient.connect": _THREAD,
    "paramiko.SSHClient.exec_command": _THREAD,
    "temporal.shared.secrets.resolve": "`await asyncio.to_thread(resolve, reference)`.",
}  # fmt: skip


def find(context: Context) -> Iterator[Finding]:
    """Findings of blocking-in-async.

    Reported where async code makes the call, which is where it has to be mended: a helper that blocks
    is right for others, who call it from a thread.
    """
    # What a nested function or lambda does matters only where it is called by name: as often it is
    # made to be handed to a thread.
    graph = CallGraph(context.names, Live(context.names, workflow=False, nested=False))
    seen: set[ast.Call] = set()
    for activity in context.definitions.activities.values():
        function = activity.function
        if function is None or not function.is_async:
            continue
        reached = graph.reach(
            [function],
            lambda _f, facts: [f for f in called_functions(context.names, facts) if f.is_async],
        )
        for one in reached:
            for call in graph.facts(one.function).calls:
                found = _blocks(context, graph, call)
                if found and call.node not in seen:
                    seen.add(call.node)
                    yield _report(one, activity.name, call, *found)


def _report(one: Reached, activity: str, call: Call, what: str, instead: str) -> Finding:
    via = one.via()
    by = f"async activity {activity!r}" + (f" reaches it by {via}" if via else "")
    return finding("blocking-in-async", f"{what}; {by}", one.function.module, call.node, instead)


def _blocks(context: Context, graph: CallGraph, call: Call) -> tuple[str, str] | None:
    """How `call` blocks, and what to use instead; None if it does not, as far as can be told."""
    known = _EXACT.get(call.name)
    if known and isinstance(call.target, External | Function):
        return f"{call.name.removeprefix('builtins.')} blocks the event loop", known
    if not isinstance(call.target, Function) or call.target.is_async:
        return None
    helpers = graph.reach(
        [call.target],
        lambda _f, facts: [f for f in called_functions(context.names, facts) if not f.is_async],
    )
    for helper in helpers:
        if _generates(helper.function) and not helper.path:
            return None  # a generator: who goes through it, and where, cannot be told
        for inner in graph.facts(helper.function).calls:
            if inner.name in _EXACT and isinstance(inner.target, External | Function):
                name = inner.name.removeprefix("builtins.")
                where = f"{helper.function.module.file.name}:{inner.node.lineno}"
                chain = [one.qualname for one in (*helper.path, helper.function)]
                return (
                    f"{' -> '.join(chain)} calls {name} ({where}), which blocks the event loop",
                    f"`await asyncio.to_thread({ast.unparse(call.node.func)}, ...)`.",
                )
    return None


def _generates(function: Function) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(function.node))
