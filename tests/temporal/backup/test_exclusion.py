"""restic's patterns: what is left out of a manifest is what restic leaves out, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lab import Lab
from temporal.activities.backup.exclusion import expression, regex
from temporal.shared.specs.backup.patterns import parse
from tests.temporal.backup.conftest import BackupServer
from tests.temporal.backup.filing import Filing, octal

FITS = [
    ("*.tmp", "/srv/a.tmp", "/srv/x.tmp/below"),
    ("cache", "/cache", "/srv/cache", "/srv/cache/a"),
    ("/srv/cache", "/srv/cache", "/srv/cache/a"),
    ("cache/", "/srv/cache"),
    ("a/*/c", "/srv/a/b/c", "/a/b/c/d"),
    ("a/**/c", "/a/c", "/srv/a/b/b/c"),
    ("/a/**", "/a", "/a/b/c"),
    ("/a/**/c/**", "/a/c/d", "/a/b/c/d"),
    ("//a/./b/../c", "/a/c"),
    ("/", "/a", "/a/b"),
    ("**", "/a", "/a/b"),
    ("a?c", "/abc", "/a\u20acc", "/a\nc"),
    (r"\*", "/*"),
    ("a.b+(c)|{d}^$", "/a.b+(c)|{d}^$"),
    ("**a**", "/bab"),
]
FITS_NOT = [
    ("*.tmp", "/srv/a.tmpx", "/srv/tmp"),
    ("cache", "/srv/cached", "/srv/acache/b"),
    ("/srv/cache", "/a/srv/cache", "/srv/cached"),
    ("a/*/c", "/a/c", "/a/b/b/c"),
    ("/a/**/c", "/b/a/c"),
    # restic does not try so many parts for the first ** that none is left for the second.
    ("/a/**/c/**", "/a/c", "/a/b/c"),
    ("a?c", "/ac", "/a/c", "/abbc"),
    (r"\*", "/a"),
    ("a.b", "/aXb"),
]


@pytest.mark.parametrize("pattern", FITS, ids=lambda row: row[0])
def test_fits(pattern: tuple[str, ...]) -> None:
    for path in pattern[1:]:
        assert re.fullmatch(regex(parse(pattern[0])), path.encode(), re.DOTALL), path


@pytest.mark.parametrize("pattern", FITS_NOT, ids=lambda row: row[0])
def test_fits_not(pattern: tuple[str, ...]) -> None:
    for path in pattern[1:]:
        assert not re.fullmatch(regex(parse(pattern[0])), path.encode(), re.DOTALL), path


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        # A byte that begins a character and is followed by none that goes on with it is one by itself.
        ("?*", b"\xe9!", True),
        ("?b", b"\xe9b", True),
        ("??", b"\xe9\xe9", True),
        ("??", b"\xc3\xa9", False),
        ("[^a]", b"\xe9", True),
        ("[a-z]", b"\xe9", False),
        ("[é-ö]", b"\xc3\xb0", True),
        ("[é-ö]", b"\xc3\xb7", False),
    ],
)
def test_bytes_that_are_no_text_are_characters(pattern: str, name: bytes, fits: bool) -> None:
    assert bool(re.fullmatch(regex(parse(pattern)), b"/" + name, re.DOTALL)) is fits


def test_what_is_taken_back_is_not_left_out() -> None:
    assert expression([]) is None
    assert expression(["!a"]) is None, "nothing was left out before"
    found = expression(["/a", "!/b", "/c"]) or ""
    assert found == r"\( \( -regex '/a(/.*)?' \) ! \( -regex '/b(/.*)?' \) \) -o -regex '/c(/.*)?'"


def test_many_patterns_are_several_words_none_of_them_too_long() -> None:
    found = expression([f"/srv/{number}" for number in range(20_000)]) or ""
    words = found.split("-regex ")[1:]
    assert len(words) > 3 and max(map(len, words)) < 100_000


INVALID = [
    "[a",
    "a[",
    "[]",
    "[]a]",
    "[^]",
    "[-a]",
    "[a-",
    "[a-]",
    "a\\",
    "x/[b",
    "a[/]b",
    "!c[",
    "[\\",
]


@pytest.mark.parametrize("text", [*INVALID, ".", "../x", "!", "a/**/b/**/c/**"])
def test_refuses_what_restic_refuses_and_what_never_fits(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse(text)


@pytest.fixture
def filing(backup_lab: Lab, backup_server: BackupServer, release: str) -> Iterator[Filing]:
    place = Filing(backup_lab, backup_server(release))
    yield place
    place.clean()


@pytest.mark.lab
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_restic_refuses_the_same(filing: Filing) -> None:
    words = " ".join(f"--exclude={octal(text.encode())}" for text in [*INVALID, "fine"])
    said = filing.says(f"restic init -q; restic backup {words} {filing.root} 2>&1 | cat")
    assert said.splitlines()[1:] == INVALID


# Bytes of names: one that is a character of two bytes, one that is none, and all that has a meaning.
LETTERS = st.sampled_from([b"a", b"b", b"c", b".", b"-", b"]", b"[", b"*", b"\\", b" ", b"\n",
                           b"\xc3\xa9", b"\xe9", b"!", b"^", b"$", b"{"])  # fmt: skip
NAMES = st.lists(LETTERS, min_size=1, max_size=3).map(b"".join).filter(lambda name: name != b".")
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)
PIECES = st.sampled_from(["a", "b", "c", ".", "-", "é", "*", "*", "?", "[a-b]", "[^a]", "[é^]",
                          "[]", "[^é-ö-]", r"\*", r"\[", "[*]", r"[\]\\]", " ", "!", "$", "^", "{"])  # fmt: skip  # noqa: E501
PARTS = st.lists(PIECES, min_size=1, max_size=3).map("".join)


def _valid(pattern: str) -> bool:
    try:
        parse(pattern)
    except ValueError:
        return False
    return True


RELATIVE = st.lists(st.one_of(PARTS, PARTS, st.just("**")), min_size=1, max_size=3).map("/".join)
PATTERNS = RELATIVE.filter(lambda text: _valid(text) and not text.startswith("!"))
SIGNED = st.tuples(st.sampled_from(["", "", "!"]), PATTERNS)
CASES = 40


@st.composite
def trials(draw: st.DrawFn) -> tuple[list[bytes], list[str]]:
    """Paths below each of the folders 0, 1, ...; and patterns, most of them for one of the folders."""
    paths = draw(st.lists(PATHS, min_size=15, max_size=25))
    patterns = []
    for number in range(CASES):
        for sign, pattern in draw(st.lists(SIGNED, min_size=1, max_size=3)):
            within = draw(st.sampled_from([f"ROOT/{number}/", f"root/{number}/", f"{number}/**/"]))
            patterns.append(f"{sign}{within}{pattern}")
    return paths, [text for text in patterns if _valid(text)]


def compare_with_restic(filing: Filing, paths: list[bytes], patterns: list[str]) -> None:
    folders = " ".join(octal(path) for path in paths)
    files = " ".join(octal(path + b"/f") for path in paths)
    # A name of which another one takes the place is none.
    made = f"mkdir -p -- {folders} 2>/dev/null; touch -- {files} 2>/dev/null"
    source = filing.source(exclude=[text.replace("ROOT", filing.root) for text in patterns])
    filing.run(
        f"rm -rf {filing.root} $W; mkdir -p {filing.root}/0 $W/proof; cd {filing.root}/0\n"
        + made
        + f"\ncd ..; for n in $(seq {CASES - 1}); do cp -a 0 $n; done; touch end\n"
        + filing.make(source)
        + filing.back_up(source)
    )
    assert filing.listed() == filing.taken(source.files)


@pytest.mark.lab
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_the_manifest_has_what_restic_has(filing: Filing) -> None:
    @settings(max_examples=2, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(trials())
    def trial(value: tuple[list[bytes], list[str]]) -> None:
        compare_with_restic(filing, *value)

    trial()


@pytest.mark.lab
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_patterns_that_fit_anywhere_fit_what_restic_finds(filing: Filing) -> None:
    paths = [b"a/b/c", b"a/c", b"b/a/x/c", b"\xc3\xa9/b", b"c.tmp/keep", b"x[1]/a b", b"n\nl/a"]
    for patterns in (
        [
            "*.tmp",
            "a/**/c",
            "[é]",
            "x\\[1]/*",
            f"{filing.folder}/**/b/**",
            "0/**/a/**",
            "$a",
            "n?l",
        ],
        ["?", "**/c/**", "!b", "!keep", "!1?"],
    ):
        compare_with_restic(filing, paths, patterns)
