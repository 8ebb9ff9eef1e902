"""Fixtures of every suite that runs on the cluster that ``make up`` made, as a user of it sees it."""

import json

import pytest
from local.cluster import access, failure, kind
from local.cluster.airflow import Airflow


@pytest.fixture(scope="session")
def found():
    return access.write()


@pytest.fixture(scope="session")
def airflow(found):
    return Airflow(found)


@pytest.fixture(scope="session")
def kubectl():
    return kind.kubectl


@pytest.fixture(scope="session")
def get(kubectl):
    """Kubernetes objects as JSON, in the words of ``kubectl get``."""

    def get(*words):
        return json.loads(kubectl("get", *words, "-o", "json"))

    return get


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == 1:
        failure.collect()
