"""docs/tutorial.md, word by word, where it needs the cluster: the run of a new task is green."""

import time

import pytest
from local.cluster import dags, settings
from tests.tutorial.steps import clone, commands, type_in

#: The cluster is there already.
BEFORE = {"make up"}


@pytest.fixture
def reader(tmp_path, airflow):
    """A clone, whose cluster is this one; what its DAG was pushed over is pushed again."""
    folder = clone(tmp_path / "clone")
    (folder / ".local").symlink_to(settings.STATE)
    yield folder
    dags.push(settings.REPO / "dags")
    if airflow.dag("word_count"):
        airflow.call("PATCH", "dags/word_count", is_paused=True)


def test_from_nothing_to_a_green_run(reader, airflow, capsys):
    began = time.monotonic()
    printed = [type_in(one.line, reader, 600) for one in commands() if one.line not in BEFORE]
    with capsys.disabled():
        print(f"\n      the tutorial's commands, the cluster there already: {time.monotonic() - began:.0f} s")
    assert "[base] words: 9" in printed[-1]
    (last,) = airflow.call("GET", "dags/word_count/dagRuns?order_by=-run_after&limit=1")["dag_runs"]
    assert last["state"] == "success"
