"""Vault and the External Secrets operator on the cluster, the platform with both; afterwards all is as before."""

from pathlib import Path

import pytest
from local.cluster import external_secrets
from tests import suites

pytest_plugins = ["tests.cluster"]

SOURCE = Path(__file__).parent / "dags" / "secret_stores"


@pytest.fixture(scope="session")
def installed(airflow):
    with external_secrets.installed():
        yield


@pytest.fixture(scope="session")
def run(airflow, installed):
    """Start a run of this suite's DAG."""
    with suites.runs_of_one(airflow, SOURCE) as start:
        yield start
