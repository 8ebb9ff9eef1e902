"""The DAGs of this repository, imported once, with nothing to reach beyond their own files.

Runs where `airflow` and the providers can be imported: in the Airflow image, with the repository mounted.
"""

import os
import socket
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DAGS = REPOSITORY / "dags"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the repository."""
    return REPOSITORY


def load_dags():
    """Import every DAG file, and note each try to reach the network, the database, a Variable or a Connection.

    Returns:
        The DagBag, the id of each DAG that was found (a second one of an id is not in the bag), what was tried.
    """
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import BaseHook, Connection, Variable
    from sqlalchemy import Engine

    found, tries = [], []
    bag_dag = DagBag.bag_dag

    def note(self, dag, *arguments, **options):
        found.append(dag.dag_id)
        return bag_dag(self, dag, *arguments, **options)

    def refuse(what):
        def call(*_args, **_kwargs):
            tries.append(what)
            raise RuntimeError(f"a DAG file must not reach {what} while it is imported")

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DagBag, "bag_dag", note)
        for call in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, call, refuse("the network"))
        patch.setattr(socket, "getaddrinfo", refuse("the network"))
        patch.setattr(Engine, "connect", refuse("the database"))
        patch.setattr(Variable, "get", refuse("a Variable"))
        patch.setattr(Connection, "get", refuse("a Connection"))
        patch.setattr(BaseHook, "get_connection", refuse("a Connection"))
        return DagBag(DAGS), found, tries


def pools() -> set[str]:
    """Return the pools that tasks may name: those of the platform's configuration.

    That is the file of ``AIRFLOW_PLATFORM_CONFIG``, as in a container of the platform; elsewhere the values of
    the environments.
    """
    if path := os.environ.get("AIRFLOW_PLATFORM_CONFIG"):
        files = [Path(path)]
    else:
        files = sorted((REPOSITORY / "values").glob("*.yaml"))
    named = {pool["name"] for file in files for pool in (yaml.safe_load(file.read_text()) or {}).get("nodePools") or ()}
    if not named:
        raise pytest.UsageError(f"no nodePools in {', '.join(map(str, files))}: which pools may a task name?")
    return named


def pytest_configure(config):
    """Import the DAGs before collection: the rules are parametrised by their tasks."""
    config.dagbag, config.found_dags, config.import_tries = load_dags()


def pytest_generate_tests(metafunc):
    """Run a test that takes ``task`` once a task, one that takes ``dag`` once a DAG."""
    dags = metafunc.config.dagbag.dags
    if "task" in metafunc.fixturenames:
        tasks = [task for dag in dags.values() for task in dag.tasks]
        metafunc.parametrize("task", tasks, ids=[f"{task.dag.dag_id}.{task.task_id}" for task in tasks])
    elif "dag" in metafunc.fixturenames:
        metafunc.parametrize("dag", dags.values(), ids=list(dags))


@pytest.fixture(scope="session")
def dagbag(pytestconfig):
    """Return the DagBag of the folder dags/."""
    return pytestconfig.dagbag


@pytest.fixture(scope="session")
def known_pools() -> set[str]:
    """Return the pools that tasks may name."""
    return pools()


@pytest.fixture(scope="session")
def platform_values() -> dict:
    """Return what DAGs notice of the local environment: its node pools."""
    return {"nodePools": yaml.safe_load((REPOSITORY / "values" / "kind.yaml").read_text())["nodePools"]}


@pytest.fixture(scope="session")
def catalogue() -> dict[str, str]:
    """Return the version of each task image."""
    return yaml.safe_load((DAGS / "images.yaml").read_text())
