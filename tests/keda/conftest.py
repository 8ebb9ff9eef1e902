"""KEDA on the cluster, and Celery launchers that it scales; afterwards all is as before."""

from pathlib import Path

import pytest
from kubernetes import config
from local.cluster import keda, settings
from tests import suites
from tests.observe.pods import PodRecord

pytest_plugins = ["tests.cluster"]

SOURCE = Path(__file__).parent / "dags" / "keda"


@pytest.fixture(scope="session")
def installed(airflow):
    with keda.installed():
        yield


@pytest.fixture(scope="session")
def run(airflow, installed):
    """Start a run of this suite's DAG."""
    client = config.new_client_from_config(str(settings.kubeconfig()))
    with PodRecord(client, settings.TASK_NAMESPACE) as record, suites.runs(airflow, SOURCE) as start:
        yield lambda: start(SOURCE.name, record, {})
