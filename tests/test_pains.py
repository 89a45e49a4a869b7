"""docs/pains.md: twenty pains, each with a test that exists or a named non-goal."""

import re

from harness.data import CHECKOUT

TABLE = (CHECKOUT / "docs" / "pains.md").read_text(encoding="utf-8")


def test_there_are_twenty_and_each_names_where_it_is_shown() -> None:
    rows = re.findall(r"^\| (\d+) \|.*\|$", TABLE, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 21)]


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[^`]+)`", TABLE)
    assert len(named) > 20
    for each in named:
        path, _, function = each.partition("::")
        assert (CHECKOUT / path).exists(), each
        assert not function or f"def {function}(" in (CHECKOUT / path).read_text(encoding="utf-8"), each
