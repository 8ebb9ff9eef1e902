"""Kueue on the cluster, the platform with it, and two teams; afterwards all is as before."""

import json
from pathlib import Path

import pytest
from kubernetes import config
from local.cluster import kueue, settings
from tests import suites
from tests.observe.pods import PodRecord

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
    with suites.runs(airflow, SOURCE) as start:
        yield lambda name, seconds: start(
            f"kueue_{name}", records[name if name in TEAMS else TEAMS[0]], {"seconds": seconds}
        )
