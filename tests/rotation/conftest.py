"""A run whose tasks begin and end all the time, and what a rotation does: change Secrets, upgrade."""

import base64
import hashlib
import json
import time
from pathlib import Path

import pytest
import yaml
from kubernetes import config
from local.cluster import releases, settings
from local.cluster.console import wait_for
from tests import suites
from tests.observe.pods import PodRecord
from tests.semantics.run import Run

pytest_plugins = ["tests.cluster"]

SUITE = Path(__file__).parent / "dags" / "rotation"
#: Tasks of a run.
TASKS = 24


@pytest.fixture(scope="session")
def dag(airflow):
    """The DAG is parsed, and may run."""
    revision = hashlib.sha256((SUITE / "dag.py").read_bytes()).hexdigest()[:12]
    suites.push(SUITE, {"revision": revision})
    wait_for("DAG rotation", lambda: suites.is_parsed(airflow, SUITE, "rotation", revision), seconds=180)
    airflow.call("PATCH", "dags/rotation", is_paused=False)
    yield "rotation"
    suites.push(SUITE, None)


@pytest.fixture
def start(airflow, dag):
    """Starts a run; it is given once its first tasks are under way."""
    client = config.new_client_from_config(str(settings.kubeconfig()))
    with PodRecord(client, settings.TASK_NAMESPACE) as record:

        def start():
            run_id = time.strftime("%H%M%S")
            airflow.call("POST", f"dags/{dag}/dagRuns", dag_run_id=run_id, logical_date=None)
            found = Run(airflow, record, dag, run_id)
            found.running_pod("task_0_0")
            return found

        yield start


@pytest.fixture
def upgrade(tmp_path):
    """Upgrade with these values over those of the local cluster; afterwards it is installed without."""

    def upgrade(**values):
        path = tmp_path / "values.yaml"
        path.write_text(yaml.safe_dump(values))
        releases.install_platform(path)

    yield upgrade
    releases.install_platform()


@pytest.fixture
def put(kubectl, tmp_path):
    """Put values into a Secret of the platform, by key."""

    def put(name, **values):
        data = {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in values.items()}
        patch = tmp_path / "patch.json"
        patch.write_text(json.dumps({"data": data}))
        kubectl("patch", "secret", name, "-n", settings.NAMESPACE, "--type=merge", f"--patch-file={patch}")

    return put


def nobody_noticed(run):
    """Each task of a run was done by one pod, at the first try. :raises AssertionError: one was not."""
    assert run.ended() == "success"
    instances = run.instances()
    assert len(instances) == TASKS
    assert {(one["state"], one["try_number"]) for one in instances} == {("success", 1)}
    assert len(run.pods()) == TASKS
