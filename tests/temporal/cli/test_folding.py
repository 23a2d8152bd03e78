"""Names of many hosts in few words, and answers that stand once."""

from __future__ import annotations

import pytest

from temporal.cli.folding import folded
from temporal.cli.outputs import grouped
from temporal.shared.specs.automation.command import CommandResult, Output


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("web1 web2 web3 web7 lone", "web[1-3,7],lone"),
        ("web3.example.org web1.example.org", "web[1,3].example.org"),
        ("db08 db09 db10 db11 db1", "db[08-11],db1"),
        ("10.0.0.9 10.0.0.10 10.0.1.1", "10.0.0.[9-10],10.0.1.1"),
        ("a1b2 a1b3", "a1b[2-3]"),
        ("r1-db r2-db r1-web", "r[1-2]-db,r1-web"),
        ("one two", "one,two"),
        ("fe80::1 fe80::2", "fe80::[1-2]"),
        ("", ""),
        ("7 8", "[7-8]"),
    ],
)
def test_names_that_differ_in_a_number_are_one_word(names: str, words: str) -> None:
    assert folded(names.split()) == words


def test_ten_thousand_names() -> None:
    assert folded(f"n{number}" for number in range(10_000)) == "n[0-9999]"


def test_the_same_answers_together_and_failed_ones_last() -> None:
    def result(host: str, text: str, status: int = 0) -> CommandResult:
        return CommandResult(host=host, ending="exited", status=status, stdout=Output(text=text))

    results = [result("a", "x", 1), result("b", "y"), result("c", "x"), result("d", "x")]
    results.append(CommandResult(host="e", ending="unknown"))
    heads = [group.head for group in grouped(results)]
    assert heads[:3] == ["c,d (2)", "b", "a: exit status 1"]
    assert heads[3].startswith("e: the host stopped it half way")
