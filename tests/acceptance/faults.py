"""Real things that break under a run: each must leave it to succeed, with the same outputs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

from local.cluster import settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, say
from local.cluster.kind import kubectl
from tests.faults import components

#: Seconds between two looks at the run's pods.
EVERY = 0.5
#: What is killed, one after the other.
KILLED = ("triggerer", "scheduler")
#: Labels by which a pod says which try of which task it is.
OF_TASK, OF_INDEX = "task_id", "map_index"


class Faults(threading.Thread):
    """Breaks things while a run goes on; a context, at whose end everything is well again.

    A running pod of a task is evicted, as a drain does, again and again until one was taken before it had ended. Then,
    while one runs, the triggerer is killed with its pod, and the scheduler, in whose pod the launcher may be.

    :raises Problem: at the context's end, where the run was over before all of that was done.
    """

    def __init__(self, airflow: Airflow, dag_id: str, run_id: str) -> None:
        super().__init__(daemon=True)
        self._airflow, self._dag_id, self._run_id = airflow, dag_id, run_id
        self._over = threading.Event()
        self._done: list[str] = []
        self._error: Exception | None = None

    def __enter__(self) -> Faults:
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._over.set()
        self.join()
        components.wait_well(self._airflow)
        if kind is None and self._error:
            raise self._error
        if kind is None and len(self._done) < 1 + len(KILLED):
            done = ", ".join(self._done) or "nothing was broken"
            raise Problem(f"the run was over too soon: {done}", "Run it again; its tasks may be too short for this.")

    def run(self) -> None:
        """Do it, in a thread of its own."""
        try:
            if self._evict():
                for component in KILLED:
                    self._kill(component)
        except Exception as error:
            self._error = error

    def _evict(self) -> bool:
        evicted: dict[str, tuple[str, str]] = {}
        for pods in self._looks():
            for pod in pods:
                # By their ids: a task's next pod has the name of the first.
                uid, task = pod["metadata"]["uid"], _task(pod)
                if any(one != uid and there == task for one, there in evicted.items()):
                    # A second pod: the first was taken before it had done its work.
                    self._tell(f"a pod of task {task[0]} was evicted")
                    return True
            for pod in pods:
                if _runs(pod) and pod["metadata"]["uid"] not in evicted:
                    evicted[pod["metadata"]["uid"]] = _task(pod)
                    evict(pod)
                    break
        return False

    def _kill(self, component: str) -> None:
        for pods in self._looks():
            if any(_runs(pod) for pod in pods):
                components.kill(component, whole_pod=True)
                self._tell(f"the {component} was killed")
                return

    def _looks(self) -> Iterator[list[dict]]:
        """The run's pods, again and again until it is over."""
        selector = f"dag_id={self._dag_id},run_id={self._run_id}"
        while not self._over.wait(EVERY):
            words = ["get", "pods", "-n", settings.TASK_NAMESPACE, "-l", selector, "-o", "json"]
            yield json.loads(kubectl(*words))["items"]

    def _tell(self, what: str) -> None:
        self._done.append(what)
        say(f"      fault: {what}")


def evict(pod: dict) -> None:
    """Ask for a pod's eviction, as a drain of its node does."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    try:
        kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))
    except Problem as problem:
        # It has ended, and is gone.
        if "not found" not in str(problem):
            raise


def _task(pod: dict) -> tuple[str, str]:
    labels = pod["metadata"]["labels"]
    return labels[OF_TASK], labels.get(OF_INDEX, "")


def _runs(pod: dict) -> bool:
    states = [one["state"] for one in pod.get("status", {}).get("containerStatuses", [])]
    return "deletionTimestamp" not in pod["metadata"] and any("running" in state for state in states)
