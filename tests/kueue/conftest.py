"""Kueue on the cluster, the platform with it, and two teams; afterwards all is as before."""

import hashlib
import json
import time
import uuid
from pathlib import Path

import pytest
from kubernetes import config
from local.cluster import kueue, settings
from local.cluster.airflow import ENDED
from local.cluster.console import wait_for
from tests import suites
from tests.observe.pods import PodRecord
from tests.semantics.run import Run

pytest_plugins = ["tests.cluster"]

SOURCE = Path(__file__).parent / "dags" / "kueue"
TEAMS = (settings.TASK_NAMESPACE, kueue.SECOND_TEAM)
CLASSES = {"kueue-low": -20, "kueue-high": 10}


@pytest.fixture(scope="session")
def installed(airflow, kubectl):
    """Kueue, and priorities that only Kueue goes by."""
    classes = [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "preemptionPolicy": "Never",
        }
        for name, value in CLASSES.items()
    ]
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": classes})
    with kueue.installed():
        kubectl("apply", "-f", "-", stdin=everything)
        yield
        kubectl("delete", "--ignore-not-found", "-f", "-", stdin=everything)


@pytest.fixture(scope="session")
def records(installed):
    """Every state of every pod of the two teams."""
    client = config.new_client_from_config(str(settings.kubeconfig()))
    with PodRecord(client, TEAMS[0], states=True) as one, PodRecord(client, TEAMS[1], states=True) as other:
        yield dict(zip(TEAMS, (one, other), strict=True))


@pytest.fixture(scope="session")
def start(airflow, records):
    """Start a run of a DAG of this suite; what has not ended when the tests have is marked failed."""
    revision = hashlib.sha256((SOURCE / "dag.py").read_bytes()).hexdigest()[:12]
    suites.push(SOURCE, {"revision": revision})
    started = []

    def start(name, seconds):
        dag_id = f"kueue_{name}"
        wait_for(f"DAG {dag_id}", lambda: suites.is_parsed(airflow, SOURCE, dag_id, revision), seconds=180)
        airflow.call("PATCH", f"dags/{dag_id}", is_paused=False)
        # Short, so that the pods' label is the run's id.
        run_id = f"{time.strftime('%H%M%S')}-{uuid.uuid4().hex[:6]}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": {"seconds": seconds}}
        airflow.call("POST", f"dags/{dag_id}/dagRuns", **body)
        run = Run(airflow, records[name if name in TEAMS else TEAMS[0]], dag_id, run_id)
        started.append(run)
        return run

    yield start
    for run in started:
        if airflow.run(run.dag_id, run.run_id)["state"] not in ENDED:
            airflow.call("PATCH", run.path, state="failed")
        airflow.call("PATCH", f"dags/{run.dag_id}", is_paused=True)
    suites.push(SOURCE, None)
