"""``airflow-platform run``, as a pipeline of CI calls it."""

import json
from collections import Counter

import pytest
from local.cluster import command
from local.cluster.console import wait_for


@pytest.fixture
def run(airflow, found, push, capfd):
    """Runs the command for a DAG of this suite: exit code, stdout, stderr."""
    push("places.py")

    def run(dag_id, *words):
        wait_for(f"DAG {dag_id}", lambda: airflow.dag(dag_id), seconds=60)
        return command.run(found, "run", dag_id, "--unpause", *words), *capfd.readouterr()

    return run


def test_what_all_tasks_print_is_told_each_line_once(run):
    code, out, err = run("e2e_places", "--logs", "--outputs")
    assert code == 0
    assert json.loads(out)["state"] == "success"
    lines = Counter(err.splitlines())
    for task in ("on_light", "on_gpu"):
        assert [lines[f"{task} | [base] line {number}"] for number in range(1, 41)] == [1] * 40
    assert err.splitlines()[-1].partition("of DAG ")[2].startswith("e2e_places: success after ")


def test_of_a_run_that_fails_the_code_and_why(run):
    code, out, err = run("e2e_failed", "--logs", "--timeout", "120")
    assert code == 1
    assert out.startswith("cli-")
    assert err.count("report | [base] the last words") == 1
    (why,) = [line for line in err.splitlines() if line.startswith("report: Task report failed. ")]
    assert "exit code 3" in why


def test_a_run_that_was_left_is_followed_on(run):
    code, _, err = run("e2e_places", "--timeout", "1")
    assert code == 2
    run_id = err.rpartition("--follow ")[2].strip()
    code, _, err = run("e2e_places", "--follow", run_id)
    assert code == 0
    assert f"run {run_id} of DAG e2e_places: success after " in err
