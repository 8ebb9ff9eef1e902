"""KEDA on the cluster, and Celery launchers that it scales; afterwards all is as before."""

from pathlib import Path

import pytest
from local.cluster import keda
from tests import suites

pytest_plugins = ["tests.cluster"]

SOURCE = Path(__file__).parent / "dags" / "keda"


@pytest.fixture(scope="session")
def installed(airflow):
    with keda.installed():
        yield


@pytest.fixture(scope="session")
def run(airflow, installed):
    """Start a run of this suite's DAG."""
    with suites.runs_of_one(airflow, SOURCE) as start:
        yield start
