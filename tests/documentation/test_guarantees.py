"""Each promise of docs/guarantees.md names tests, and they are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
NAMED = re.findall(r"\[(\w+)\]\(\.\./(tests/[\w/]+\.py)\)", PAGE)
# They make promises about others, or none.
WITHOUT_TESTS = {"What a crash can repeat", "Which clocks are trusted", "What is not guaranteed"}


@pytest.mark.parametrize(("name", "file"), NAMED)
def test_a_named_test_exists(name, file):
    assert re.search(rf"^\s*(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_each_promise_names_a_test():
    sections = re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert len(sections) > len(WITHOUT_TESTS)
    without = {title for title, text in sections if "](../tests/" not in text}
    assert without <= WITHOUT_TESTS


def test_every_link_to_a_test_is_read_here():
    assert PAGE.count("](../tests/") == len(NAMED)
