"""The pods of tasks, counted once for all of them: what they ask of each node, and in which order they wait for one."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from airflow_platform.diagnosis.case import Json
from airflow_platform.diagnosis.quantity import Amounts, add, asked

#: The annotation of a task's pod that names its pool.
POOL_ANNOTATION = "airflow-platform/pool"
#: Airflow's pool of tasks that name none, which is no pool of nodes.
DEFAULT_POOL = "default_pool"

#: Phases of a pod that holds nothing of its node any more.
_ENDED = ("Succeeded", "Failed")


class Crowd:
    """Pods at one time; a question takes no longer the more of them there are.

    Args:
        pods: of tasks, as the API gives them; spec and status may lack what neither size nor order depends on.

    Raises:
        ValueError: a quantity is none.
    """

    def __init__(self, pods: Iterable[Json]) -> None:
        self._on: dict[str, Amounts] = defaultdict(dict)
        self._lines: dict[object, list[tuple]] = defaultdict(list)
        for pod in pods:
            spec, status = pod.get("spec") or {}, pod.get("status") or {}
            if status.get("phase") in _ENDED:
                continue
            if node := spec.get("nodeName"):
                add(self._on[node], asked(pod))
            elif _is_unscheduled(status):
                self._lines[_line(pod)].append(_place(pod))
        for line in self._lines.values():
            line.sort()

    def on(self, nodes: Iterable[str]) -> Amounts:
        """What the pods on these nodes ask for."""
        found: Amounts = {}
        for node in nodes:
            add(found, self._on.get(node, {}))
        return found

    def ahead(self, pod: Json) -> int:
        """How many of them wait for a node of the same pool and go first: by priority, then by age.

        As the scheduler sorts its queue (pkg/scheduler/framework/plugins/queuesort), but that for it a pod's age begins
        anew with each of its tries.
        """
        return bisect_left(self._lines.get(_line(pod), []), _place(pod))


def pool_of(pod: Json) -> str:
    """The node pool that a task's pod belongs to; empty: none, as of a pod in another cluster."""
    metadata = pod.get("metadata") or {}
    name = (metadata.get("annotations") or {}).get(POOL_ANNOTATION) or DEFAULT_POOL
    elsewhere = (metadata.get("labels") or {}).get("airflow_kpo_in_cluster") == "False"
    return "" if elsewhere or name == DEFAULT_POOL else name


def _line(pod: Json) -> object:
    return pool_of(pod) or tuple(sorted(((pod.get("spec") or {}).get("nodeSelector") or {}).items()))


def _place(pod: Json) -> tuple:
    metadata = pod.get("metadata") or {}
    priority = (pod.get("spec") or {}).get("priority") or 0
    return (
        -priority,
        metadata.get("creationTimestamp") or "",
        metadata.get("namespace") or "",
        metadata.get("name") or "",
    )


def _is_unscheduled(status: Json) -> bool:
    """Whether the scheduler has looked for a node; one that a queue holds back is in no one's way."""
    condition = next((one for one in status.get("conditions") or [] if one.get("type") == "PodScheduled"), {})
    return condition.get("status") == "False" and condition.get("reason") != "SchedulingGated"
