"""What an author does: push DAG files, run a DAG."""

import shutil
from pathlib import Path

import pytest
from local.cluster import dags
from local.cluster.airflow import ENDED
from local.cluster.console import wait_for

pytest_plugins = ["tests.cluster"]

DAGS = Path(__file__).parent / "dags"


@pytest.fixture
def push(tmp_path):
    """Push the DAG files of this suite, changed by the test, as an author would."""

    def push(name, change=lambda text: text):
        folder = tmp_path / "dags"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(DAGS, folder)
        path = folder / "e2e" / name
        path.write_text(change(path.read_text() if path.exists() else ""))
        return dags.push(folder, f"e2e: {name}")

    return push


@pytest.fixture
def run_dag(airflow):
    """Trigger a DAG, wait for its end: the run's state and its task instances by task id."""

    def run_dag(dag_id, seconds=240):
        airflow.call("PATCH", f"dags/{dag_id}", is_paused=False)
        run_id = airflow.call("POST", f"dags/{dag_id}/dagRuns", logical_date=None)["dag_run_id"]

        def ended():
            state = airflow.run(dag_id, run_id)["state"]
            return state if state in ENDED else None

        state = wait_for(f"the end of {dag_id}", ended, seconds=seconds)
        return state, {one["task_id"]: one for one in airflow.task_instances(dag_id, run_id)}

    return run_dag
