"""The page on check lists every rule, with today's words."""

from pathlib import Path

import pytest

from temporal.check import RULES
from temporal.check.rules import Rule

PAGE = Path(__file__).parents[3] / "docs" / "check.md"


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_the_page_has_the_rule_as_it_is(rule: Rule) -> None:
    row = f"| `{rule.id}` | {rule.severity} | {rule.why} | {rule.instead} |"
    assert row in PAGE.read_text()
