"""No secret survives, in whatever form it shows up, and JSON stays JSON."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from temporal.shared.secrets import Redactor

MARK = "[secret env://X]"
texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=4, max_size=40).filter(
    # A secret that is only blanks, or a part of our own mark, cannot be told from it.
    lambda s: len(s.strip()) >= 4 and s not in MARK and s.strip() not in MARK
)
around = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "json": lambda s: json.dumps(s)[1:-1],
    "json, not ASCII": lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    "pydantic": lambda s: to_json(s).decode()[1:-1],
    "python": lambda s: repr(s)[1:-1],
    "bytes in python": lambda s: repr(s.encode())[2:-1],
    "shell": shlex.quote,
    "url": lambda s: quote(s, safe=""),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 for urls": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "hex": lambda s: s.encode().hex(),
}


def knowing(*secrets: str) -> Redactor:
    redactor = Redactor()
    for secret in secrets:
        redactor.add("env://X", secret.encode())
    return redactor


def without_marks(text: str) -> str:
    return text.replace(MARK, "\ue000")


def strings(value: object) -> list[str]:
    """Every string in a JSON value, keys as well."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [s for pair in value.items() for part in pair for s in strings(part)]
    return [s for item in value for s in strings(item)] if isinstance(value, list) else []


@given(texts, around, around)
def test_no_form_survives_in_text(secret: str, before: str, after: str) -> None:
    redactor = knowing(secret)
    for name, form in FORMS.items():
        shown = form(secret)
        clean = redactor.redact(before + shown + after)
        assert shown not in without_marks(clean), name


@given(texts, around, around)
def test_no_form_survives_in_json(secret: str, before: str, after: str) -> None:
    """In values, in keys, in JSON inside of JSON, twice and thrice escaped."""
    redactor = knowing(secret)
    for form in FORMS.values():
        text = before + form(secret) + after
        once = json.dumps({"inner": [text], text: 1})
        value = {"value": text, text: [None, True, 1.5, {text: text}], "nested": json.dumps(once)}
        for data in (json.dumps(value).encode(), to_json(value)):
            clean = json.loads(redactor.redact_json(data))
            for string in strings(clean):
                assert form(secret) not in without_marks(string)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | around,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(around, inner, max_size=3),
    ),
    texts,
)
def test_what_holds_no_secret_is_not_touched(value: object, secret: str) -> None:
    data = to_json(value)
    redactor = knowing("\N{SNOWMAN}never-in-there" + secret)
    assert redactor.redact_json(data) is data


@given(st.binary(min_size=6, max_size=60), st.binary(max_size=20), st.binary(max_size=20))
def test_binary_secrets(secret: bytes, before: bytes, after: bytes) -> None:
    redactor = Redactor()
    redactor.add("env://X", secret)
    whole = before + secret + after
    if secret.strip() and secret not in MARK.encode():
        assert secret not in redactor.redact_bytes(whole).replace(MARK.encode(), b"<mark>")


@given(texts, st.text("abcxyz", max_size=9), st.text("abcxyz", max_size=9))
def test_inside_of_longer_base64(secret: str, user: str, more: str) -> None:
    """As in `Authorization: Basic base64(user:password)`."""
    raw = secret.encode()
    if len(raw) < 9:
        raw = (secret * 3).encode()
    redactor = Redactor()
    redactor.add("env://X", raw)
    header = base64.b64encode(user.encode() + b":" + raw + b";" + more.encode()).decode()
    clean = redactor.redact(header)
    assert MARK in clean


def test_several_lines_are_each_known() -> None:
    key = "-----BEGIN KEY-----\nAAAAbbbbCCCCdddd\nEEEEffffGGGGhhhh\n-----END KEY-----"
    redactor = knowing(key)
    assert "AAAAbbbbCCCCdddd" not in redactor.redact("line 2 was AAAAbbbbCCCCdddd, hm")
    assert redactor.redact(f"<{key}>") == f"<{MARK}>"


def test_the_longest_wins() -> None:
    redactor = Redactor()
    redactor.add("env://SHORT", b"alpha")
    redactor.add("env://LONG", b"alpha-beta")
    assert redactor.redact("alpha-beta alpha") == "[secret env://LONG] [secret env://SHORT]"


@pytest.mark.parametrize(
    ("text", "clean"),
    [("pin a7 given", f"pin {MARK} given"), ("a7", MARK), ("aa7b xa7", "aa7b xa7")],
)
def test_a_short_one_goes_where_it_stands_alone(text: str, clean: str) -> None:
    assert knowing("a7").redact(text) == clean


def test_numbers_are_no_text() -> None:
    assert json.loads(knowing("123456").redact_json(b'{"n":123456,"t":"123456"}')) == {
        "n": 123456,
        "t": MARK,
    }


def test_what_is_no_json_is_cleaned_all_the_same() -> None:
    redactor = knowing("sesame-open")
    assert redactor.redact_json(b"{broken sesame-open") == f"{{broken {MARK}".encode()
    assert redactor.redact_json(b"9" * 5000 + b" sesame-open") != b"9" * 5000 + b" sesame-open"


@settings(max_examples=30)
@given(st.lists(texts, min_size=2, max_size=6))
def test_many_at_once(secrets: list[str]) -> None:
    redactor = knowing(*secrets)
    for secret in secrets:
        assert secret not in without_marks(redactor.redact(f"a {secret} b"))
