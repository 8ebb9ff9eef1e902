"""The work of each task, as a DAG and as bare pods: one container that says hello, on a node of the light pool."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from local.cluster import dags, settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, step, wait_for

SOURCES = Path(__file__).parent / "dags"
#: The folder of the DAGs' repository that belongs to the benchmark.
FOLDER = "bench"
IMAGE = "ticket-extract"
#: More slots than the largest case has tasks.
SLOTS = 2000


def dag_id(way: str, n: int) -> str:
    """The DAG with ``n`` tasks: ``way`` is stock, stock-deferrable, platform, waiting or staged."""
    return f"bench_{way}_{n}"


def _source(way: str) -> Path:
    own = SOURCES / f"{way}.py"
    return own if own.exists() else SOURCES / "tasks.py"


def pod(name: str, labels: dict[str, str]) -> dict:
    """The pod of a task, as the platform makes it, for a client that needs no platform."""
    versions = yaml.safe_load((settings.REPO / "dags" / "images.yaml").read_text())
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "airflow-task",
            "automountServiceAccountToken": False,
            "nodeSelector": {"node-pool": "light"},
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "base",
                    "image": f"{settings.registry()}/{IMAGE}:{versions[IMAGE]}",
                    "command": ["echo", "hello"],
                    "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                    "volumeMounts": [{"name": "task-tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": [{"name": "task-tmp", "emptyDir": {}}],
        },
    }


@contextmanager
def dags_pushed(airflow: Airflow, wanted: Iterable[tuple[str, int]]) -> Iterator[None]:
    """A DAG for each way and number, parsed and not paused; they are taken away at the end.

    :raises Problem: one was not parsed.
    """
    wanted = list(wanted)
    with step("DAGs of the benchmark: pushed and parsed") as current:
        _push(wanted)
        for way, n in wanted:
            wait_for(f"DAG {dag_id(way, n)}", lambda one=(way, n): _is_there(airflow, *one), seconds=180)
            airflow.call("PATCH", f"dags/{dag_id(way, n)}", is_paused=False)
        current.note(f"{len(wanted)} files")
    try:
        yield
    finally:
        _push([])


def _push(wanted: Iterable[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, FOLDER)
        folder.mkdir()
        for way, n in wanted:
            shutil.copy2(_source(way), folder / f"{way}_{n}.py")
        dags.push(Path(temporary), "DAGs of the benchmark")


def _is_there(airflow: Airflow, way: str, n: int) -> bool:
    found = airflow.dag(dag_id(way, n))
    if found is None:
        errors = airflow.call("GET", "importErrors?limit=100")["import_errors"]
        mine = [one["stack_trace"] for one in errors if one["filename"].endswith(f"{FOLDER}/{way}_{n}.py")]
        if mine:
            raise Problem(f"{way}_{n}.py was not imported:\n{mine[0]}", f"Mend {_source(way)}.")
        return False
    return airflow.call("GET", f"dagSources/{dag_id(way, n)}")["content"] == _source(way).read_text()


@contextmanager
def default_pool_enlarged(airflow: Airflow) -> Iterator[None]:
    """The default pool does not limit the benchmark; it is as before at the end."""
    before = airflow.call("GET", "pools/default_pool")["slots"]
    airflow.call("PATCH", "pools/default_pool?update_mask=slots", slots=SLOTS)
    try:
        yield
    finally:
        airflow.call("PATCH", "pools/default_pool?update_mask=slots", slots=before)
