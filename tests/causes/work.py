"""The DAGs with the faults, pushed as an author would, and a run of one."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from local.cluster.airflow import ENDED, Airflow
from local.cluster.console import step, wait_for
from tests import suites

SOURCE = Path(__file__).parent / "dags" / "causes"
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
        suites.push(SOURCE, suite | {"revision": revision})
        for launch in launches:
            dag_id = f"causes_{launch}"
            wait_for(f"DAG {dag_id}", lambda one=dag_id: suites.is_parsed(airflow, SOURCE, one, revision), seconds=180)
    try:
        yield
    finally:
        suites.push(SOURCE, None)
