"""The platform with metrics, a Prometheus that scrapes it, and a run of the canary; afterwards all is as before."""

import base64
import json
import shutil
import time

import pytest
from local.cluster import dags, monitoring, settings
from local.cluster.airflow import ENDED
from local.cluster.console import wait_for

pytest_plugins = ["tests.cluster"]

CANARY = "platform_canary"
#: The Secret of the tokens.
SECRET = "monitoring-tokens"
WEEK = 7 * 86400


def token(**claims):
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), "x"])


@pytest.fixture(scope="session")
def tokens():
    """When the tokens end that the monitor is given, by what they are called there: one in a week, one has no end."""
    return {f"{SECRET}/soon": int(time.time()) + WEEK, f"{SECRET}/endless": 0}


@pytest.fixture(scope="session")
def platform(found, kubectl, tokens):
    """The platform with metrics."""
    data = {"soon": token(exp=tokens[f"{SECRET}/soon"]), "endless": token()}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": settings.NAMESPACE},
        "stringData": data,
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    secrets = [{"existingSecret": SECRET, "secretKey": key} for key in data]
    try:
        with monitoring.installed(expiring={"secrets": secrets}):
            yield
    finally:
        kubectl("delete", "secret", SECRET, "-n", settings.NAMESPACE, "--ignore-not-found")


@pytest.fixture(scope="session")
def prometheus(platform):
    """Ask a Prometheus that scrapes the platform."""
    with monitoring.scraping():
        yield monitoring.ask


@pytest.fixture(scope="session")
def canary(prometheus, airflow, tmp_path_factory):
    """A run of the canary after a new commit: its task instances by id, and the commit's hash."""
    folder = tmp_path_factory.mktemp("dags")
    # The DAG as it is, and a file that makes a commit of it.
    shutil.copytree(settings.REPO / "dags" / "platform", folder / "platform")
    (folder / "platform" / "revision.txt").write_text(f"{time.time()}\n")
    commit = dags.push(folder, "A commit for the canary")
    wait_for("the canary of the commit", lambda: _is_parsed(airflow, commit), seconds=180)
    airflow.call("PATCH", f"dags/{CANARY}", is_paused=False)
    try:
        # The run of the interval that is over; one more at a time would wait for it.
        wait_for("its scheduled run", lambda: _rests(airflow), seconds=180)
        run_id = airflow.call("POST", f"dags/{CANARY}/dagRuns", logical_date=None)["dag_run_id"]
        state = wait_for("the canary's end", lambda: _end(airflow, run_id), seconds=300)
        instances = {one["task_id"]: one for one in airflow.task_instances(CANARY, run_id)}
        assert state == "success", airflow.log(instances["measure"])
        yield instances, commit
    finally:
        airflow.call("PATCH", f"dags/{CANARY}", is_paused=True)


def _is_parsed(airflow, commit):
    dag = airflow.dag(CANARY)
    return dag is not None and commit[:12] in {tag["name"] for tag in dag["tags"]}


def _rests(airflow):
    runs = airflow.call("GET", f"dags/{CANARY}/dagRuns?order_by=-run_after&limit=5")["dag_runs"]
    return runs and all(run["state"] in ENDED for run in runs)


def _end(airflow, run_id):
    state = airflow.run(CANARY, run_id)["state"]
    return state if state in ENDED else None
