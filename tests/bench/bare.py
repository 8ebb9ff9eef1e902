"""The floor: the same pods, created by a client that needs nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kubernetes.client import CoreV1Api
from local.cluster import settings
from local.cluster.console import wait_for
from tests.bench import work
from tests.observe.pods import Pod, PodRecord

LABEL = "airflow-platform/bench"
#: Threads that create pods: a client that waits for each answer would be the limit.
CREATORS = 4
#: Seconds for the pods to end, and for each.
AT_MOST, AT_MOST_A_POD = 120, 10


@dataclass(frozen=True)
class Batch:
    """Pods that were created at once, with the label ``name``, and ended; ``began`` in seconds since the epoch."""

    name: str
    began: float
    pods: list[Pod]

    @property
    def ended(self) -> float:
        """When the last was seen to have ended, in seconds since the epoch."""
        return max(pod.terminated or 0.0 for pod in self.pods)

    @property
    def failed(self) -> int:
        """Pods that did not succeed."""
        return sum(pod.phase != "Succeeded" for pod in self.pods)


def run(api: CoreV1Api, record: PodRecord, n: int, note: Callable[[str], None]) -> Batch:
    """Create ``n`` pods and wait until all have ended; they stay. :raises Problem: they do not end in time."""
    name = f"bench-{time.time_ns() // 10**6:x}"
    began = time.time()

    def create(number: int) -> None:
        api.create_namespaced_pod(settings.TASK_NAMESPACE, work.pod(f"{name}-{number}", {LABEL: name}))

    def ended() -> list[Pod] | None:
        pods = record.pods(lambda pod: pod.terminated is not None, **{LABEL: name})
        note(f"{len(pods)} of {n} ended")
        return pods if len(pods) == n else None

    with ThreadPoolExecutor(CREATORS) as pool:
        list(pool.map(create, range(n)))
    # The record has its own clock: how often it is looked at takes nothing from it.
    pods = wait_for("the end of the bare pods", ended, seconds=AT_MOST + n * AT_MOST_A_POD, every=0.2)
    return Batch(name, began, pods)  # type: ignore[arg-type]


def remove(api: CoreV1Api, record: PodRecord) -> None:
    """Delete all such pods, and wait until they are gone."""
    api.delete_collection_namespaced_pod(settings.TASK_NAMESPACE, label_selector=LABEL)
    left = "the removal of the bare pods"
    wait_for(left, lambda: not record.pods(lambda pod: LABEL in pod.labels and not pod.deleted), seconds=300)
