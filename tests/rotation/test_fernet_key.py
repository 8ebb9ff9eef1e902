"""The Fernet key is rotated in the three steps of docs/rotation.md, while tasks run: none of them notices."""

import base64
import hashlib
import hmac
import json
import os
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
SECRET = "airflow-generated"
TASKS = 24


@pytest.fixture
def run(airflow):
    """A run whose first tasks are under way."""
    revision = hashlib.sha256((SUITE / "dag.py").read_bytes()).hexdigest()[:12]
    suites.push(SUITE, {"revision": revision})
    wait_for("DAG rotation", lambda: suites.is_parsed(airflow, SUITE, "rotation", revision), seconds=180)
    airflow.call("PATCH", "dags/rotation", is_paused=False)
    run_id = time.strftime("%H%M%S")
    client = config.new_client_from_config(str(settings.kubeconfig()))
    with PodRecord(client, settings.TASK_NAMESPACE) as record:
        airflow.call("POST", "dags/rotation/dagRuns", dag_run_id=run_id, logical_date=None)
        found = Run(airflow, record, "rotation", run_id)
        found.running_pod("task_0_0")
        yield found
    suites.push(SUITE, None)


@pytest.fixture
def connection(airflow):
    """A connection with a password, made by a person."""
    body = {"connection_id": "rotation", "conn_type": "http", "host": "example.com", "password": "hunter2"}
    airflow.call("POST", "connections", **body)
    yield "rotation"
    airflow.call("DELETE", "connections/rotation")


@pytest.fixture
def upgrade(kubectl, tmp_path):
    """Put these keys into the Secret, and upgrade with these values; afterwards all but the key is as it was."""

    def upgrade(keys, **values):
        encoded = base64.b64encode(",".join(keys).encode()).decode()
        patch = tmp_path / "patch.json"
        patch.write_text(json.dumps({"data": {"fernet-key": encoded}}))
        kubectl("patch", "secret", SECRET, "-n", settings.NAMESPACE, "--type=merge", f"--patch-file={patch}")
        path = tmp_path / "values.yaml"
        path.write_text(yaml.safe_dump({"fernetKey": values}))
        releases.install_platform(path)

    yield upgrade
    releases.install_platform()


def stored(kubectl, query):
    words = ["exec", "-n", settings.STAND_INS, "postgres-0", "--", "psql", "--host=/tmp", "--no-psqlrc", "-At"]
    return kubectl(*words, "--username=postgres", "--dbname=airflow", "--command", query).split()


def encrypted_by(key, token):
    """Whether a Fernet token is this key's: the first half of the key signs it (github.com/fernet/spec)."""
    content = base64.urlsafe_b64decode(token)
    signature = hmac.new(base64.urlsafe_b64decode(key)[:16], content[:-32], hashlib.sha256).digest()
    return hmac.compare_digest(signature, content[-32:])


def test_no_task_notices_and_the_old_key_reads_nothing_afterwards(run, connection, upgrade, kubectl):
    old = releases.secret(settings.NAMESPACE, SECRET, "fernet-key")
    new = base64.urlsafe_b64encode(os.urandom(32)).decode()
    upgrade([old, new], revision=1)
    upgrade([new, old], revision=2, rotate=True)
    # A pod of before may have written by the old key after the Job had passed.
    upgrade([new, old], revision="2b", rotate=True)
    upgrade([new], revision=3)
    assert run.ended() == "success"
    instances = run.instances()
    assert len(instances) == TASKS
    assert {(one["state"], one["try_number"]) for one in instances} == {("success", 1)}
    assert len(run.pods()) == TASKS
    (password,) = stored(kubectl, f"SELECT password FROM connection WHERE conn_id = '{connection}'")
    assert encrypted_by(new, password)
    assert not encrypted_by(old, password)
    assert all(encrypted_by(new, kwargs) for kwargs in stored(kubectl, "SELECT kwargs FROM trigger"))
