"""One run of a DAG on the cluster, and the pods that it made."""

from __future__ import annotations

import itertools
from urllib.parse import quote

from local.cluster.airflow import ENDED, Airflow
from local.cluster.console import wait_for
from tests.observe.pods import Pod, PodRecord

#: Seconds for a run to end, on two cores and in company.
LONG = 900


class Run:
    """A run that was started, by its DAG's id and its own."""

    def __init__(self, airflow: Airflow, record: PodRecord, dag_id: str, run_id: str) -> None:
        self._airflow = airflow
        self._record = record
        self.dag_id = dag_id
        self.run_id = run_id

    @property
    def path(self) -> str:
        """Of the run, in the API."""
        return f"dags/{self.dag_id}/dagRuns/{quote(self.run_id, safe='')}"

    def ended(self, seconds: float = LONG) -> str:
        """Wait for the end; the state."""

        def state() -> str | None:
            found = self._airflow.run(self.dag_id, self.run_id)["state"]
            return found if found in ENDED else None

        return wait_for(f"the end of {self.dag_id}", state, seconds=seconds)

    def instances(self) -> list[dict]:
        """All task instances, mapped ones each."""
        return self._airflow.task_instances(self.dag_id, self.run_id)

    def instance(self, task_id: str) -> dict:
        """The one task instance of a task that is not mapped."""
        return self._airflow.call("GET", f"{self.path}/taskInstances/{task_id}")

    def states(self) -> dict[str, str]:
        """{task id: state}, of tasks that are not mapped."""
        return {one["task_id"]: one["state"] for one in self.instances()}

    def ended_task(self, task_id: str, seconds: float = LONG) -> dict:
        """Wait for the end of a task, whatever becomes of the run; its instance."""

        def found() -> dict | None:
            instance = self.instance(task_id)
            return instance if instance["state"] in ("success", "failed", "skipped", "upstream_failed") else None

        return wait_for(f"the end of {self.dag_id}.{task_id}", found, seconds=seconds, every=0.5)

    def tries(self, task_id: str) -> list[dict]:
        """The tries of a task, the first one first."""
        found = self._airflow.call("GET", f"{self.path}/taskInstances/{task_id}/tries")["task_instances"]
        return sorted(found, key=lambda one: one["try_number"])

    def log(self, task_id: str, try_number: int | None = None) -> list[str]:
        """The lines of a task's try, the last one if none is named, once the log in S3 grows no more."""
        instance = self.instance(task_id)
        instance["try_number"] = try_number or instance["try_number"]
        before: list[str] = []

        def whole() -> bool:
            nonlocal before
            last, before = before, self._airflow.stored_log(instance)[1]
            return last == before

        wait_for(f"the log of {self.dag_id}.{task_id} in S3", whole, seconds=60)
        return self._airflow.log(instance)

    def pods(self, task_id: str | None = None) -> list[Pod]:
        """Pods that the run's tasks made, in the order of their creation."""
        labels = {"dag_id": self.dag_id, "run_id": self.run_id} | ({"task_id": task_id} if task_id else {})
        return self._record.pods(**labels)

    def running_pod(self, task_id: str, seconds: float = LONG) -> Pod:
        """Wait until the last pod of a task runs; it."""

        def found() -> Pod | None:
            last = self.pods(task_id)[-1:]
            return last[0] if last and last[0].phase == "Running" else None

        return wait_for(f"a running pod of {self.dag_id}.{task_id}", found, seconds=seconds, every=0.2)


def gone(pod: Pod, seconds: float = 30) -> float:
    """Wait until a pod is gone; when, in seconds since the epoch. :raises Problem: it is still there."""
    return wait_for(f"the end of pod {pod.name}", lambda: pod.deleted, seconds=seconds, every=0.2)


def never_two_at_once(pods: list[Pod]) -> None:
    """No pod was created before the one before it had stopped. :raises AssertionError: one was."""
    for before, after in itertools.pairwise(pods):
        assert before.terminated <= after.first_seen
