"""docs/faults.md names tests, and they are there; and all twenty faults have one."""

import re

import pytest

from .processes import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text()
NAMED = sorted(set(re.findall(r"\[(\w+)\]\(\.\./(tests/[\w/]+\.py)\)", PAGE)))


@pytest.mark.parametrize(("name", "file"), NAMED)
def test_a_named_test_exists(name, file):
    assert re.search(rf"^\s*def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_each_of_the_twenty_faults_names_a_test():
    rows = re.findall(r"^\| (\d+) \|.*$", PAGE, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 21)]
    assert all("](../tests/" in row for row in PAGE.splitlines() if re.match(r"\| \d+ \|", row))
