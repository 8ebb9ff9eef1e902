"""The DAGs with the faults, pushed as an author would, and a run of one."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from local.cluster import dags
from local.cluster.airflow import ENDED, Airflow
from local.cluster.console import Problem, step, wait_for

SOURCE = Path(__file__).parent / "dags" / "causes"
#: The folder of the DAGs' repository that belongs to this test.
FOLDER = "causes"
#: Ways to launch a task.
PLATFORM, STOCK = LAUNCHES = ("platform", "stock")


class Run:
    """A run that was started now."""

    def __init__(self, airflow: Airflow, launch: str) -> None:
        self._airflow = airflow
        self.dag_id = f"causes_{launch}"
        # Such an id can be a label's value as it is.
        self.run_id = f"causes-{secrets.token_hex(5)}"
        airflow.call("PATCH", f"dags/{self.dag_id}", is_paused=False)
        airflow.call("POST", f"dags/{self.dag_id}/dagRuns", dag_run_id=self.run_id, logical_date=None)

    def instances(self) -> dict[str, dict]:
        """{task: its instance}."""
        return {one["task_id"]: one for one in self._airflow.task_instances(self.dag_id, self.run_id)}

    def stop(self) -> None:
        """Mark it failed, and with it what has not ended; where it has ended, nothing."""
        if self._airflow.run(self.dag_id, self.run_id)["state"] not in ENDED:
            self._airflow.call("PATCH", f"dags/{self.dag_id}/dagRuns/{self.run_id}", state="failed")


@contextlib.contextmanager
def dags_pushed(airflow: Airflow, launches: Sequence[str], cases: Sequence[str]) -> Iterator[None]:
    """The DAGs with these faults, parsed; they are taken away at the end. :raises Problem: not parsed."""
    suite = {"launches": list(launches), "cases": list(cases)}
    content = (SOURCE / "dag.py").read_bytes() + yaml.safe_dump(suite).encode()
    revision = hashlib.sha256(content).hexdigest()[:12]
    with step("DAGs: pushed and parsed"):
        _push(suite | {"revision": revision})
        for launch in launches:
            dag_id = f"causes_{launch}"
            wait_for(f"DAG {dag_id}", lambda dag_id=dag_id: _is_there(airflow, dag_id, revision), seconds=180)
    try:
        yield
    finally:
        _push(None)


def _push(suite: dict | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, FOLDER)
        folder.mkdir()
        if suite is not None:
            shutil.copy2(SOURCE / "dag.py", folder)
            (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
        dags.push(Path(temporary), "DAGs of the causes")


def _is_there(airflow: Airflow, name: str, revision: str) -> bool:
    found = airflow.dag(name)
    if found is not None and not found["is_stale"]:
        return revision in {tag["name"] for tag in found["tags"]}
    errors = airflow.call("GET", "importErrors?limit=100")["import_errors"]
    if mine := [one["stack_trace"] for one in errors if f"{FOLDER}/" in one["filename"]]:
        raise Problem(f"the DAGs were not imported:\n{mine[0]}", f"Mend {SOURCE}/dag.py.")
    return False
