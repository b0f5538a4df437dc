"""docs/reliability.md names tests; each of them must exist."""

import re

from conftest import REPOSITORY


def test_every_promise_has_its_test():
    text = (REPOSITORY / "docs" / "reliability.md").read_text()
    rows = [line for line in text.split("## Promises")[1].splitlines() if line.startswith("| ")]
    named = 0
    for row in rows[1:]:
        tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert tests, row
        for file, name in tests:
            assert f"def {name}(" in (REPOSITORY / file).read_text(), f"{file}::{name}"
            named += 1
    assert named >= 30
