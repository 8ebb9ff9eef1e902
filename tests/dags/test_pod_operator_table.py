"""The table of docs/pod-operator.md names what the installed operator takes."""

import inspect
import re
from collections import Counter

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import BaseOperator

WORDS = {"same", "other", "worker", "no effect"}
WITHOUT = {"self", "kwargs"}


@pytest.fixture(scope="module")
def rows(repository):
    """{section of the page: [(names in the first column, word in the second), …]}."""
    page = (repository / "docs" / "pod-operator.md").read_text()
    sections = re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:]
    return {title: list(_rows(text)) for title, text in zip(sections[::2], sections[1::2], strict=True)}


def _rows(text):
    for line in text.splitlines():
        if line.startswith("| `"):
            names, word, *_ = (cell.strip() for cell in line.strip("|").split("|"))
            yield re.findall(r"`(\w+)`", names), word


def _names(rows):
    return [name for names, _ in rows for name in names]


def test_each_parameter_is_named_once(rows):
    named = _names(rows["Parameters"])
    assert [name for name, times in Counter(named).items() if times > 1] == []
    assert set(named) == set(inspect.signature(KubernetesPodOperator.__init__).parameters) - WITHOUT


def test_each_argument_of_every_operator_exists(rows):
    named = _names(rows["Arguments of every operator"])
    assert named
    known = set(inspect.signature(BaseOperator.__init__).parameters)
    # Of decorated tasks alone.
    assert set(named) - known <= {"multiple_outputs"}


def test_each_row_says_how_it_is_kept(rows):
    said = {word for title in ("Parameters", "Arguments of every operator") for _, word in rows[title]}
    assert said <= WORDS
