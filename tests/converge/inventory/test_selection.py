"""Words that choose hosts: the algebra on values, tags, and what wrong words say."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converge.inventory import Inventory, InventoryError, read_inventory
from converge.inventory.selection import Choice

NAMES = [f"h{number}" for number in range(6)]


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    members = st.lists(st.sampled_from(NAMES), unique=True)
    groups = {name: draw(members) for name in ("ga", "gb", "gc")}
    tags = {name: draw(members) for name in ("ta", "tb")}
    return Choice("inventory.yml", NAMES, groups, tags)


WORDS = st.sampled_from(
    [*NAMES, "ga", "gb", "gc", "tag:ta", "tag:tb", "all", "h[0-2]", "g[ab]", "tag:t*", "~h[135]"]
)


def naive(choice: Choice, word: str) -> set[str]:
    """The hosts of one word, each asked by itself."""
    import fnmatch
    import re

    def called(host: str) -> list[str]:
        return [host, *(group for group, hosts in choice.groups.items() if host in hosts)]

    def fits(host: str) -> bool:
        if word.startswith("tag:"):
            borne = [tag for tag, hosts in choice.tags.items() if host in hosts]
            return any(fnmatch.fnmatchcase(tag, word[4:]) for tag in borne)
        if word.startswith("~"):
            return any(re.match(word[1:], name) for name in called(host))
        return word == "all" or any(fnmatch.fnmatchcase(name, word) for name in called(host))

    return {host for host in choice.hosts if fits(host)}


@given(
    choices(),
    st.lists(WORDS, max_size=3),
    st.lists(WORDS, max_size=2),
    st.lists(WORDS, max_size=2),
    st.randoms(),
)
def test_selection_is_or_and_not_whatever_the_order(
    choice: Choice, added: list[str], kept: list[str], taken: list[str], shuffle: Random
) -> None:
    wanted = set().union(*(naive(choice, word) for word in added)) if added else set(NAMES)
    for word in kept:
        wanted &= naive(choice, word)
    for word in taken:
        wanted -= naive(choice, word)
    words = [*added, *(f"&{word}" for word in kept), *(f"!{word}" for word in taken)]
    shuffle.shuffle(words)
    pattern = ",".join(words) if words else "all"
    if wanted:
        assert choice.of(pattern) == [host for host in NAMES if host in wanted]
    else:
        with pytest.raises(InventoryError, match="no host fits"):
            choice.of(pattern)


OURS = """\
hosts: {lone: {tags: [spare]}}
groups:
  servers: {groups: [web, db], tags: [prod]}
  web:
    tags: [tls]
    hosts:
      web[1:2]: {tags: [old]}
      web3:
  db: {hosts: [db1]}
"""


def written(folder: Path, text: str = OURS) -> Inventory:
    (folder / "inventory.yml").write_text(text)
    return read_inventory(folder / "inventory.yml")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("tag:prod", "web1 web2 web3 db1"),
        ("tag:prod,&tag:tls,!tag:old", "web3"),
        ("tag:spare,db", "lone db1"),
        ("!tag:*", ""),
        ("all,!tag:prod", "lone"),
        ("tag:t*", "web1 web2 web3"),
        ("servers, &web, !web2", "web1 web3"),
    ],
)
def test_tags_are_words_like_others(tmp_path: Path, pattern: str, names: str) -> None:
    found = written(tmp_path)
    if names:
        assert [entry.name for entry in found.select(pattern)] == names.split()
        return
    with pytest.raises(InventoryError, match="no host fits"):
        found.select(pattern)


def test_a_host_bears_its_own_tags_and_those_of_its_groups(tmp_path: Path) -> None:
    entries = written(tmp_path).entries
    assert set(entries["web1"].tags) == {"old", "tls", "prod"} and entries["lone"].tags == (
        "spare",
    )
    assert "tags" not in entries["web1"].variables


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("wev", "no host or group is called wev; did you mean web"),
        ("web,!dc1", "no host or group is called dc1; did you mean db1"),
        ("tls", "no host or group is called tls; there is a tag of that name: tag:tls"),
        ("tag:tsl", "no host bears the tag tsl; did you mean tls?"),
        ("tag:q", "no host bears the tag q; it has old, prod, spare, tls"),
        ("web,&db", r"no host fits 'web,&db': &db leaves none of the 3 .*\(web1, web2, web3\)"),
        ("web,!tag:prod", "no host fits .*: !tag:prod leaves none of the 3"),
        ("", "the selection '' is empty; all is written all"),
        (" , ", "is empty"),
        ("web,&", "a word is missing after &"),
        ("~web[", "is no regular expression"),
    ],
)
def test_wrong_words_are_named_with_what_is_near(tmp_path: Path, pattern: str, said: str) -> None:
    with pytest.raises(InventoryError, match=said):
        written(tmp_path).select(pattern)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts:\n  a: {tags: web}\n", r":2: tags: must be a list of names, and is 'web'"),
        ("hosts:\n  a: {tags: ['a b']}\n", r":2: tags: 'a b' is no name of a tag"),
        ("groups:\n  g:\n    tags: [3]\n", r":3: tags: 3 is no name of a tag"),
        ("hosts:\n  'tag:x':\n", r":2: tag:x: no host and no group can be called so"),
        ("groups:\n  'tag:x': {hosts: [a]}\n", r":2: tag:x: no host and no group"),
    ],
)
def test_tags_that_are_none(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InventoryError, match=said):
        written(tmp_path, text)
