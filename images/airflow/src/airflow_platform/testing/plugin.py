"""The pytest plugin: fixtures ``load_dag`` and ``cluster``; ``platform_values`` is for a conftest.py to replace.

It changes nothing until a test asks for one of them: then Airflow gets a database of its own, for the test session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_platform.testing.cluster import Cluster
    from airflow_platform.testing.dag import Dag, Simulation


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options ``airflow_dags`` and ``airflow_values``."""
    parser.addini("airflow_dags", "The folder of DAG files, from the root of the tests.", default="dags")
    parser.addini(
        "airflow_values", "Files of the chart's values whose pools the rules let tasks name.", "args", default=[]
    )


@pytest.fixture(scope="session")
def platform_values() -> dict[str, Any]:
    """What the platform's chart is installed with, as far as DAGs notice it: ``nodePools``, ``tasks``, …

    A conftest.py replaces it, most often by reading the values file of an environment. By default there are no node
    pools, and a task may name any pool.
    """
    return {}


@pytest.fixture(scope="session")
def _airflow(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, platform_values: dict[str, Any]
) -> Iterator[Any]:
    # Here, not above: nobody is to wait for these imports who does not use the fixtures.
    from airflow_platform.testing.airflow import Airflow
    from airflow_platform.testing.cluster import Cluster
    from airflow_platform.testing.kubernetes_api import KubernetesApi

    folder = tmp_path_factory.mktemp("airflow")
    dags = Path(pytestconfig.rootpath, pytestconfig.getini("airflow_dags"))
    if not dags.exists():
        raise pytest.UsageError(f"There are no DAGs at {dags}. Name their folder in the option airflow_dags.")
    labels = {f"{pool['name']}-1": pool.get("nodeSelector") or {} for pool in platform_values.get("nodePools") or ()}
    cluster = Cluster(labels or {"node-1": {}})
    api = KubernetesApi(cluster)
    yield Airflow(folder, dags, api.kubeconfig(folder / "kubeconfig"), platform_values), cluster, api
    api.close()


@pytest.fixture
def _simulation(_airflow: Any) -> Iterator[Simulation]:
    from airflow_platform.testing.airflow import EPOCH
    from airflow_platform.testing.clock import Clock
    from airflow_platform.testing.dag import Simulation

    airflow, cluster, api = _airflow
    with airflow, Clock(EPOCH) as clock:
        api.do(lambda: cluster.reset(lambda: clock.now))
        simulation = Simulation(airflow, clock, cluster, api)
        yield simulation
        simulation.close()


@pytest.fixture
def cluster(_simulation: Simulation) -> Cluster:
    """The simulated cluster: say what pods do, and read what they were."""
    return _simulation.cluster


@pytest.fixture
def load_dag(_simulation: Simulation) -> Callable[[str], Dag]:
    """``load_dag("my_dag")``: a DAG of the folder ``airflow_dags``, to be run."""
    from airflow_platform.testing.dag import Dag

    return lambda dag_id: Dag(dag_id, _simulation)
