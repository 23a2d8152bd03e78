"""The page of all resource types: what it shows is taken as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

import converge
from converge import AnyResource
from converge.resources import BY_KEY

PAGE = (Path(converge.__file__).parent.parent / "docs" / "resources.md").read_text()
ITEMS = TypeAdapter(list[AnyResource])
EXAMPLES = re.findall(r"(?m)(?:^    .*\n|^\n(?=    ))+", PAGE)
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR"


def whole_keys(text: str) -> str:
    """Keys are cut short on the page; each stands for another one."""
    pieces = text.split("AAAA...")
    return pieces[0] + "".join(f"{KEY}{n:02d}{piece}" for n, piece in enumerate(pieces[1:]))


SPECS = [whole_keys(text) for text in EXAMPLES if text.strip().startswith("- ")]


@pytest.mark.parametrize("text", SPECS, ids=[text.strip().split("\n")[0] for text in SPECS])
def test_an_example_is_a_valid_spec(text):
    assert ITEMS.validate_python(yaml.safe_load(text))


def test_every_type_is_on_the_page():
    shown = {key for text in SPECS for item in yaml.safe_load(text) for key in item}
    assert set(BY_KEY) <= shown
