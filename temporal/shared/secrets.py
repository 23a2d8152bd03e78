"""Secrets by reference, and the redactor that everything said outwards passes.

A spec holds a reference, never a secret:

    env://NAME               an environment variable of the worker
    file:///etc/app/key      a file on the worker's machine, without its last newline
    exec://pass show db/app  what a command prints, without its last newline; no shell

Only an activity resolves it, in memory. What was resolved is remembered by the process's redactor,
and the payload converter, the failure converter and the log filter replace it, should it ever be
about to leave. That is the last net: the plan is that no secret is put into text in the first place.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import shlex
import subprocess
import threading
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from temporal.shared.errors import SecretError

EXEC_TIMEOUT_S = 30.0
_FORM = re.compile(r"(env|file|exec)://(.+)", re.DOTALL)
# Fewer characters than this are replaced only where they stand alone, or every "a" would go.
_SHORT = 4
_LINE = 8

HIDDEN_INPUT = "secret_reference"
"""Type of the validation errors of which the input is never shown."""


def check_reference(value: str) -> str:
    """`value` if it is a well-formed reference.

    Raises:
        ValueError: it is not; neither the message nor what is made of it by
            `payloads.explain_validation` repeats the value, since it may be a secret that was put
            where its reference belongs.
    """
    found = _FORM.fullmatch(value)
    if not found:
        raise _refused(
            "must be a secret reference: env://NAME, file:///path or exec://command arg ..."
        )
    scheme, rest = found.groups()
    if "\0" in rest:
        raise _refused("must not contain a NUL character")
    if scheme == "file" and not rest.startswith("/"):
        raise _refused("file:// needs an absolute path, as in file:///etc/app/key")
    if scheme == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", rest):
        raise _refused("env:// needs the name of a variable, as in env://DB_PASSWORD")
    if scheme == "exec":
        try:
            argv = shlex.split(rest)
        except ValueError as error:
            raise _refused(f"exec:// cannot be split into arguments: {error}") from None
        if not argv or not argv[0]:
            raise _refused("exec:// needs a command, as in exec://pass show db/app")
    return value


def _refused(message: str) -> PydanticCustomError:
    """A ValueError whose type tells that the refused value must not be shown."""
    return PydanticCustomError(HIDDEN_INPUT, message)


SecretRef = Annotated[str, AfterValidator(check_reference)]
"""A field of a spec that holds a reference to a secret."""


class Redactor:
    """Replaces known secrets in text by the reference they came from. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def add(self, reference: str, secret: bytes) -> None:
        """Remember `secret`, in each form in which it could show: as it is, line by line, base64
        (also inside of longer base64, as in an Authorization header), hex, URL-encoded, quoted for
        a shell, escaped in JSON or by Python."""
        mark = f"[secret {reference}]"
        text = secret.decode("utf-8", "surrogateescape")
        forms = {text, text.strip()}
        for form in [form for form in forms if form]:
            forms |= _encoded(form.encode("utf-8", "surrogateescape"))
        forms |= {line.strip() for line in text.splitlines() if len(line.strip()) >= _LINE}
        for form in list(forms):
            forms |= _quoted(form)
        with self._lock:
            self._marks.update({form: mark for form in forms if form})
            longest_first = sorted(self._marks, key=len, reverse=True)
            self._pattern = re.compile("|".join(_as_pattern(form) for form in longest_first))

    def redact(self, text: str) -> str:
        """`text` with every known secret replaced."""
        pattern = self._pattern
        if pattern is None or not text:
            return text
        return pattern.sub(lambda found: self._marks.get(found.group(), "[secret]"), text)

    def redact_json(self, data: bytes) -> bytes:
        """JSON `data` with every known secret inside its strings replaced; same bytes if none is.

        Numbers stay as they are: a count that equals somebody's PIN is still a count.
        """
        pattern = self._pattern
        # Without a backslash nothing is escaped: what is not found here is not inside either.
        if pattern is None or not (b"\\" in data or pattern.search(_text(data))):
            return data
        try:
            value = json.loads(data)
        except ValueError:
            return self.redact_bytes(data)
        clean = self._walk(value)
        return data if clean == value else json.dumps(clean, separators=(",", ":")).encode()

    def redact_bytes(self, data: bytes) -> bytes:
        """`data` of any kind with every known secret replaced; same bytes if none is there."""
        # Twice: as bytes, where a binary secret may join with its neighbour to one character of
        # UTF-8, and as text, in which most forms are known.
        clean = self.redact(data.decode("latin-1")).encode("latin-1", "backslashreplace")
        clean = self.redact(_text(clean)).encode("utf-8", "surrogateescape")
        return data if clean == data else clean

    def _walk(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, list):
            return [self._walk(item) for item in value]
        if isinstance(value, dict):
            return {self.redact(key): self._walk(item) for key, item in value.items()}
        return value


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _encoded(raw: bytes) -> set[str]:
    """The encodings of `raw` that hide its characters."""
    forms = {raw.decode("utf-8", "replace"), raw.decode("latin-1"), repr(raw)[2:-1]}
    if len(raw) < _SHORT:
        return forms
    forms |= {raw.hex(), raw.hex().upper()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms.add(encode(raw).decode())
        for before in range(3):
            # The characters that `raw` alone decides, with `before` bytes (mod 3) ahead of it.
            inner = encode(bytes(before) + raw).decode()
            inner = inner[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
            if len(inner) >= _LINE:
                forms.add(inner)
    return forms


def _quoted(form: str) -> set[str]:
    """`form` as it stands inside of JSON, Python, a shell's quotes or a URL."""
    return {
        json.dumps(form)[1:-1],
        json.dumps(form, ensure_ascii=False)[1:-1],
        repr(form)[1:-1],
        shlex.quote(form),
        form.replace("'", "'\\''"),
        form.replace("'", "'\"'\"'"),
        quote(form.encode("utf-8", "surrogateescape"), safe=""),
    }


def _as_pattern(form: str) -> str:
    escaped = re.escape(form)
    return escaped if len(form) >= _SHORT else rf"(?<!\w){escaped}(?!\w)"


redactor = Redactor()
"""The redactor of this process."""


class RedactingFilter(logging.Filter):
    """Redacts every log record, its traceback included."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        clean = redactor.redact(message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redactor.redact(record.exc_text)
        return True


def resolve(reference: str) -> bytes:
    """The secret behind `reference`, which the redactor knows from now on.

    Blocks for as long as a command of `exec://` takes, at most 30 s: in an async activity call it
    through `asyncio.to_thread`.

    Raises:
        SecretError: nothing is there, the command failed, or what came is empty.
    """
    try:
        check_reference(reference)
    except ValueError as error:
        raise SecretError(str(error)) from None
    scheme, _, rest = reference.partition("://")
    secret = {"env": _from_env, "file": _from_file, "exec": _from_command}[scheme](rest)
    if not secret:
        raise SecretError(f"{reference} is empty; an empty secret is taken for a mistake")
    redactor.add(reference, secret)
    return secret


def _from_env(name: str) -> bytes:
    value = os.environ.get(name)
    if value is None:
        raise SecretError(
            f"env://{name}: the worker's environment has no variable {name}. "
            "Set it where the worker is started (for systemd: Environment= or LoadCredential=)."
        )
    return os.fsencode(value)


def _from_file(path: str) -> bytes:
    try:
        return _without_last_newline(Path(path).read_bytes())
    except OSError as error:
        raise SecretError(f"file://{path}: {error.strerror} (on the worker's machine)") from None


def _from_command(line: str) -> bytes:
    argv = shlex.split(line)
    try:
        done = subprocess.run(  # an argument list, no shell
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=EXEC_TIMEOUT_S, check=False
        )
    except OSError as error:
        raise SecretError(f"exec://{line}: {error.strerror} (on the worker's machine)") from None
    except subprocess.TimeoutExpired:
        raise SecretError(f"exec://{line}: no answer within {EXEC_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        said = redactor.redact(done.stderr.decode(errors="replace").strip())[-500:]
        raise SecretError(f"exec://{line}: exit status {done.returncode}: {said}")
    return _without_last_newline(done.stdout)


def _without_last_newline(data: bytes) -> bytes:
    return data.removesuffix(b"\n").removesuffix(b"\r")
