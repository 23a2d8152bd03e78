"""Where secrets come from, and that no failure to get one carries it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from temporal.payloads import explain_validation
from temporal.shared import secrets
from temporal.shared.errors import SecretError, SpecError
from temporal.shared.secrets import RedactingFilter, SecretRef, check_reference, redactor, resolve
from temporal.shared.specs import reading
from temporal.shared.specs.automation import ServerSpec

SECRET = "correct-horse-battery"


def test_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAL_SECRET", SECRET)
    assert resolve("env://TRIAL_SECRET") == SECRET.encode()
    assert redactor.redact(f"<{SECRET}>") == "<[secret env://TRIAL_SECRET]>"


def test_file_without_its_last_newline(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"line one\nline two\n\n")
    assert resolve(f"file://{tmp_path}/key") == b"line one\nline two\n"
    (tmp_path / "key").write_bytes(b"dos-secret\r\n")
    assert resolve(f"file://{tmp_path}/key") == b"dos-secret"


def test_exec_without_a_shell(tmp_path: Path) -> None:
    assert resolve("exec://printf '%s;%s' 'two words' '$HOME'") == b"two words;$HOME"


def test_binary(tmp_path: Path) -> None:
    raw = bytes(range(256))
    (tmp_path / "raw").write_bytes(raw)
    assert resolve(f"file://{tmp_path}/raw") == raw
    assert raw.hex() not in redactor.redact(f"got {raw.hex()}")


@pytest.mark.parametrize("value", ["", "\n"])
def test_empty_is_a_mistake(tmp_path: Path, value: str) -> None:
    (tmp_path / "empty").write_text(value)
    with pytest.raises(SecretError, match="is empty"):
        resolve(f"file://{tmp_path}/empty")


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="no variable TRIAL_ABSENT"):
        resolve("env://TRIAL_ABSENT")
    with pytest.raises(SecretError, match="No such file"):
        resolve(f"file://{tmp_path}/absent")
    with pytest.raises(SecretError, match="Is a directory"):
        resolve(f"file://{tmp_path}")
    with pytest.raises(SecretError, match="No such file"):
        resolve("exec://trial-no-such-command x")


def test_a_failing_command_tells_its_errors_not_its_output() -> None:
    script = f"import sys; print('{SECRET}-printed'); print('why', file=sys.stderr); sys.exit(3)"
    with pytest.raises(SecretError) as caught:
        resolve(f'exec://{sys.executable} -c "{script.replace(SECRET, "a" * 12)}"')
    said = str(caught.value).rpartition("exit status")[2]
    assert "3: why" in said and "-printed" not in said


def test_a_command_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "EXEC_TIMEOUT_S", 0.2)
    with pytest.raises(SecretError, match="no answer within"):
        resolve("exec://sleep 60")


def test_a_known_secret_in_the_errors_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAL_SECRET", SECRET)
    resolve("env://TRIAL_SECRET")
    long = "x" * 490
    script = f"import os,sys; sys.exit(os.environ['TRIAL_SECRET'] + '{long}')"
    with pytest.raises(SecretError) as caught:
        resolve(f'exec://{sys.executable} -c "{script}"')
    # Cut at 500 characters, in the middle of the secret: its tail must not be left.
    assert SECRET[-8:] not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        "hunter2-in-the-clear",
        "env://not a name",
        "file://relative",
        "exec://'unbalanced",
        "exec://  ",
        "exec://''",
        "file:///a\0b",
        "vault://x",
        "",
    ],
)
def test_a_secret_in_place_of_its_reference_is_not_repeated(given: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_reference(given)
    if given:
        assert given not in str(caught.value)
    with pytest.raises(SecretError) as resolved:
        resolve(given)
    if given:
        assert given not in str(resolved.value)


class Database(BaseModel):
    name: str
    password: SecretRef


def test_nor_by_the_errors_of_a_spec() -> None:
    for given in ({"name": "a", "password": SECRET}, {"password": SECRET}):
        with pytest.raises(ValidationError) as caught:
            TypeAdapter(Database).validate_python(given)
        said = explain_validation(caught.value)
        assert SECRET not in said
        assert ("secret reference" in said) or ("name: Field required" in said)


def test_logs_and_tracebacks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRIAL_SECRET", SECRET)
    resolve("env://TRIAL_SECRET")
    record = logging.LogRecord("t", logging.ERROR, __file__, 1, "with %s", (SECRET,), None)
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise RuntimeError(f"again {SECRET}") from error
    except RuntimeError:
        record.exc_info = sys.exc_info()
    RedactingFilter().filter(record)
    shown = logging.Formatter("%(message)s").format(record)
    assert "RuntimeError" in shown and "KeyError" in shown
    assert SECRET not in shown


def test_environment_is_untouched() -> None:
    before = dict(os.environ)
    with pytest.raises(SecretError):
        resolve("env://TRIAL_ABSENT")
    assert dict(os.environ) == before


def test_a_secret_in_the_place_of_its_reference_is_refused_and_not_repeated() -> None:
    for text in (
        "host: {address: web1, sudo_password: hunter22}\nresources: [{package: nginx}]",
        "host: web1\nresources:\n  - file: /etc/key\n    secret: hunter22",
    ):
        with pytest.raises(SpecError) as refused:
            reading.parse(text, ServerSpec, "web.yml")
        assert "must be a secret reference" in str(refused.value)
        assert "hunter22" not in str(refused.value)
