"""apt's sources of this machine, read in both formats and turned to another release."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base import os_release, recipe_for
from lab.errors import LabError
from lab.recipe import Recipe
from lab.sources import (
    Source,
    for_release,
    from_mirror,
    local_files,
    parse_deb822,
    parse_one_line,
    render,
    settings_files,
    settings_to_keep,
)

ONE_LINE = """\
# deb http://old.example/debian bookworm main
deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/d.gpg] http://m.example/debian bookworm main contrib
deb-src http://m.example/debian bookworm main
deb http://m.example/debian bookworm-updates main  # daily
deb http://m.example/security bookworm-security main
deb http://m.example/debian bookworm-backports main
deb https://third.example/apt nodistro main
deb cdrom:[Debian]/ bookworm main
nonsense
"""

DEB822 = """\
Types: deb deb-src
URIs: http://m.example/debian
# a comment in the middle
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.example/
Suites: bookworm
Components: main

types: deb
uris: mirror+file:///etc/apt/mirrors/debian.list
suites: stable-security
components: main
signed-by: /usr/share/keyrings/d.gpg
"""


def test_one_line_style() -> None:
    first, *_ = found = parse_one_line(ONE_LINE)
    assert first == Source(
        ("http://m.example/debian",),
        ("bookworm",),
        ("main", "contrib"),
        {"Architectures": "amd64 arm64", "Signed-By": "/usr/share/keyrings/d.gpg"},
    )
    assert [source.suites[0] for source in found[1:4]] == [
        "bookworm-updates",
        "bookworm-security",
        "bookworm-backports",
    ]


def test_deb822_style_keeps_embedded_keys_and_leaves_out_what_is_off() -> None:
    found = parse_deb822(DEB822)
    assert [source.uris[0] for source in found] == [
        "http://m.example/debian",
        "mirror+file:///etc/apt/mirrors/debian.list",
    ]
    assert "abc" in found[0].fields["Signed-By"]
    assert local_files(found) == ["/usr/share/keyrings/d.gpg", "/etc/apt/mirrors/debian.list"]


def test_turned_to_another_release() -> None:
    turned = for_release(parse_one_line(ONE_LINE), "bookworm", "trixie")
    assert [source.suites for source in turned] == [
        ("trixie",),
        ("trixie-updates",),
        ("trixie-security",),
    ], "no backports, no third parties, no cdrom"
    assert turned[0].components == ("main", "contrib")
    rolling = for_release(parse_deb822(DEB822), "bookworm", "trixie")
    assert [source.suites for source in rolling] == [
        ("trixie", "trixie-updates"),
        ("trixie-security",),
    ]


def test_other_distributions_and_names_find_nothing() -> None:
    ubuntu = parse_one_line("deb http://u.example/ubuntu noble main universe\n")
    assert for_release(ubuntu, "bookworm", "bookworm") == []
    assert from_mirror("http://m.example/debian", "trixie")[0].suites == (
        "trixie",
        "trixie-updates",
    )


def test_os_release(tmp_path: Path) -> None:
    path = tmp_path / "os-release"
    path.write_text("NAME=\"Ubuntu\"\nID=ubuntu\nVERSION_CODENAME='noble'\n# x\n")
    assert os_release(path) == {"NAME": "Ubuntu", "ID": "ubuntu", "VERSION_CODENAME": "noble"}
    assert os_release(tmp_path / "none") == {}


word = st.text("abcdefghijklmnopqrstuvwxyz0123456789./:+-", min_size=1, max_size=12)
words = st.lists(word, min_size=1, max_size=3).map(tuple)
sources = st.builds(
    Source,
    words,
    words,
    words,
    st.dictionaries(st.sampled_from(["Signed-By", "Architectures", "Trusted"]), word),
)


@given(st.lists(sources, max_size=4))
def test_rendered_and_read_again_is_the_same(given_sources: list[Source]) -> None:
    assert parse_deb822(render(given_sources)) == given_sources


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    parse_one_line(text)
    parse_deb822(text)
    settings_to_keep(text)


def test_settings_that_a_server_needs() -> None:
    dump = "\n".join(
        [
            'APT::Architecture "amd64";',
            'Acquire "";',
            'Acquire::cdrom::mount "/media/cdrom/";',
            'Acquire::http::Proxy "http://proxy.example:3128";',
            'Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";',
            'Acquire::https::CaInfo "/etc/ssl/own.pem";',
            'Acquire::Languages:: "none";',
            'Acquire::IndexTargets::deb::Packages::Optional "0";',
            'DPkg::Pre-Install-Pkgs:: "/usr/sbin/dpkg-preconfigure --apt || true";',
        ]
    )
    kept = settings_to_keep(dump)
    assert kept.splitlines() == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::https::CaInfo "/etc/ssl/own.pem";',
        'Acquire::Languages:: "none";',
    ]
    assert settings_files(kept) == ["/etc/ssl/own.pem"]


def test_whatever_changes_in_a_recipe_makes_another_image() -> None:
    plain = Recipe("bookworm", tuple(from_mirror("http://m.example/", "bookworm")))
    changed = [
        Recipe("trixie", plain.sources),
        Recipe("bookworm", ()),
        Recipe("bookworm", plain.sources, settings="x"),
        Recipe("bookworm", plain.sources, host_files={"/key": "abc"}),
        Recipe("bookworm", plain.sources, packages=(*plain.packages, "curl")),
        Recipe("bookworm", plain.sources, files={}),
        Recipe("bookworm", plain.sources, layout=plain.layout + 1),
    ]
    assert len({recipe.digest() for recipe in [plain, *changed]}) == len(changed) + 1
    assert plain.digest() == Recipe("bookworm", plain.sources).digest()


def test_packages_beyond_the_usual_make_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_LAB_MIRROR", "http://m.example/")
    plain, more = recipe_for("bookworm"), recipe_for("bookworm", ["zsh", "curl", "sudo", "zsh"])
    assert more.packages == (*plain.packages, "curl", "zsh")
    assert plain.digest() != more.digest()
    for bad in ("../etc", "-o", "a,b", ""):
        with pytest.raises(LabError, match="is not a package name"):
            recipe_for("bookworm", [bad])
