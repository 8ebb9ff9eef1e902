"""docs/semantics.md names every test of tests/semantics, and none that is not there."""

import ast
import re

from local.cluster import settings

PAGE = settings.REPO / "docs" / "semantics.md"
TESTS = settings.REPO / "tests" / "semantics"


def test_each_test_is_named_and_each_name_is_a_test():
    there = {
        node.name
        for path in TESTS.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert set(re.findall(r"`(test_\w+)`", PAGE.read_text())) == there
