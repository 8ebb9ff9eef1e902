"""docs/tutorial.md, word by word, as far as it needs no cluster."""

import pytest
import yaml
from tests.tutorial.steps import clone, commands, type_in

# An image and its base may have to be built.
SECONDS = 600


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The reader's clone, and what each command has printed."""
    folder = clone(tmp_path_factory.mktemp("clone"))
    return folder, {one.line: type_in(one.line, folder, SECONDS) for one in commands() if not one.on_cluster}


def printed(followed, word):
    return next(text for line, text in followed[1].items() if word in line)


def test_the_image_s_tests_have_passed(followed):
    assert "5 passed" in printed(followed, "image-test")


def test_the_dag_keeps_to_the_rules_and_its_tests_have_passed(followed):
    assert " passed" in printed(followed, "test-dags") or "[100%]" in printed(followed, "test-dags")


def test_what_the_page_says_is_there(followed):
    folder, _ = followed
    for name in ("images/word-count/src/word_count/__main__.py", "images/word-count/VERSION", "images/word-count/tests",
                 "dags/support/word_count/dag.yaml", "dags/support/word_count/acceptance/acceptance.yaml",
                 "tests/dags/test_word_count.py"):  # fmt: skip
        assert (folder / name).exists(), name
    assert yaml.safe_load((folder / "dags/images.yaml").read_text())["word-count"] == "1.0.0"


def test_nothing_is_done_twice(followed):
    folder, _ = followed
    made = next(one.line for one in commands() if "new task" in one.line)
    with pytest.raises(AssertionError, match="ended with 1"):
        type_in(made, folder, SECONDS)
