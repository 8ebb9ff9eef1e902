"""A folder of DAGs that a test pushes together with what they are to hold, ``suite.yaml``, which each of them reads.

The folder has the same name in the DAGs' repository. Its DAGs have the suite's ``revision`` as a tag.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml
from kubernetes import config
from local.cluster import dags, settings
from local.cluster.airflow import ENDED, Airflow
from local.cluster.console import Problem, wait_for
from tests.observe.pods import PodRecord
from tests.semantics.run import Run


def push(source: Path, suite: dict | None) -> None:
    """Push the folder with this suite; None: take it away."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, source.name)
        folder.mkdir()
        if suite is not None:
            for path in source.glob("*.py"):
                shutil.copy2(path, folder)
            (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
        dags.push(Path(temporary), f"DAGs of the {source.name}")


def is_parsed(airflow: Airflow, source: Path, dag_id: str, revision: str) -> bool:
    """Whether this revision of a DAG of the folder is there. :raises Problem: the folder was not imported."""
    found = airflow.dag(dag_id)
    if found is not None:
        return revision in {tag["name"] for tag in found["tags"]}
    errors = airflow.call("GET", "importErrors?limit=100")["import_errors"]
    if mine := [one["stack_trace"] for one in errors if f"{source.name}/" in one["filename"]]:
        raise Problem(f"the DAGs were not imported:\n{mine[0]}", f"Mend {source}/dag.py.")
    return False


@contextlib.contextmanager
def runs(airflow: Airflow, source: Path) -> Iterator[Callable[[str, PodRecord, dict], Run]]:
    """Starts runs of the folder's DAGs, by DAG, record of the pods' namespace, and conf.

    At the end those that have not ended are marked failed, and the folder is taken away.
    """
    revision = hashlib.sha256((source / "dag.py").read_bytes()).hexdigest()[:12]
    push(source, {"revision": revision})
    started = []

    def start(dag_id: str, record: PodRecord, conf: dict) -> Run:
        wait_for(f"DAG {dag_id}", lambda: is_parsed(airflow, source, dag_id, revision), seconds=180)
        airflow.call("PATCH", f"dags/{dag_id}", is_paused=False)
        # Short, so that the pods' label is the run's id.
        run_id = f"{time.strftime('%H%M%S')}-{uuid.uuid4().hex[:6]}"
        airflow.call("POST", f"dags/{dag_id}/dagRuns", dag_run_id=run_id, logical_date=None, conf=conf)
        started.append(Run(airflow, record, dag_id, run_id))
        return started[-1]

    try:
        yield start
    finally:
        for run in started:
            if airflow.run(run.dag_id, run.run_id)["state"] not in ENDED:
                airflow.call("PATCH", run.path, state="failed")
            airflow.call("PATCH", f"dags/{run.dag_id}", is_paused=True)
        push(source, None)


@contextlib.contextmanager
def runs_of_one(airflow: Airflow, source: Path) -> Iterator[Callable[[], Run]]:
    """As `runs`, of a folder with one DAG, named as it is, whose pods are in the first namespace of tasks."""
    client = config.new_client_from_config(str(settings.kubeconfig()))
    with PodRecord(client, settings.TASK_NAMESPACE) as record, runs(airflow, source) as start:
        yield lambda: start(source.name, record, {})
