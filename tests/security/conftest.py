"""The platform with its rules of admission, and runs of the DAGs of this suite; afterwards all is as before."""

import hashlib
import time
import uuid
from pathlib import Path

import pytest
from local.cluster import releases, settings
from local.cluster.airflow import ENDED
from local.cluster.console import wait_for
from tests import suites

pytest_plugins = ["tests.cluster"]

DAGS = Path(__file__).parent / "dags"
#: DAGs by the folder that they are in.
FOLDERS = {"security": ("security_hostile", "security_probe"), "intruder": ("security_intruder",)}
#: Name to host and port of what the pod of a task tries to reach.
PLACES = {
    "s3": ("s3.local.svc", 9000),
    "database": ("postgres.local.svc", 5432),
    "broker": ("redis.local.svc", 6379),
    "git": ("git.local.svc", 8080),
    "kubernetes": ("kubernetes.default.svc", 443),
    "api-server": ("airflow-api-server.airflow.svc", 8080),
}


@pytest.fixture(scope="session")
def installed():
    """The platform with `values/kind-security.yaml`."""
    releases.install_platform(settings.REPO / "values" / "kind-security.yaml")
    yield
    releases.install_platform()


@pytest.fixture(scope="session")
def ended(airflow, installed, get):
    """Run a DAG of the suite to its end, once: its task instances by task id."""
    (node,) = (one["metadata"]["name"] for one in get("nodes", "-l", "node-pool=light")["items"])
    sources = {folder: DAGS / folder for folder in FOLDERS}
    content = b"".join(path.read_bytes() for source in sources.values() for path in sorted(source.glob("*.py")))
    suite = {"revision": hashlib.sha256(content).hexdigest()[:12], "node": node, "places": PLACES}
    for source in sources.values():
        suites.push(source, suite)
    seen = {}

    def ended(dag_id):
        if dag_id not in seen:
            (source,) = (sources[folder] for folder, names in FOLDERS.items() if dag_id in names)
            parsed = ("DAG " + dag_id, lambda: suites.is_parsed(airflow, source, dag_id, suite["revision"]))
            wait_for(*parsed, seconds=180)
            airflow.call("PATCH", f"dags/{dag_id}", is_paused=False)
            run_id = f"{time.strftime('%H%M%S')}-{uuid.uuid4().hex[:6]}"
            airflow.call("POST", f"dags/{dag_id}/dagRuns", dag_run_id=run_id, logical_date=None)
            over = (f"the end of {dag_id}", lambda: airflow.run(dag_id, run_id)["state"] in ENDED)
            wait_for(*over, seconds=300)
            seen[dag_id] = {one["task_id"]: one for one in airflow.task_instances(dag_id, run_id)}
        return seen[dag_id]

    yield ended
    for dag_id in (name for names in FOLDERS.values() for name in names):
        if airflow.dag(dag_id):
            airflow.call("PATCH", f"dags/{dag_id}", is_paused=True)
    for source in sources.values():
        suites.push(source, None)
