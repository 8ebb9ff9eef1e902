"""The cluster that ``make up`` made, as a user of it sees it."""

import json
import shutil
import time
from pathlib import Path

import pytest
from local.cluster import access, dags, failure, kind
from local.cluster.airflow import ENDED, Airflow
from local.cluster.console import wait_for

DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="session")
def found():
    return access.write()


@pytest.fixture(scope="session")
def airflow(found):
    return Airflow(found)


@pytest.fixture(scope="session")
def kubectl():
    return kind.kubectl


@pytest.fixture
def get(kubectl):
    def get(*words):
        return json.loads(kubectl("get", *words, "-o", "json"))

    return get


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


def wait_for_source(airflow, dag_id, text, seconds=60):
    """Seconds until the DAG as Airflow has parsed it holds ``text``.

    Not its version number: Airflow changes a version that no run has used yet in place.
    """
    began = time.monotonic()

    def parsed():
        return airflow.dag(dag_id) and text in airflow.call("GET", f"dagSources/{dag_id}")["content"]

    wait_for(f"{text} in {dag_id}", parsed, seconds=seconds, every=0.5)
    return time.monotonic() - began


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == 1:
        failure.collect()
