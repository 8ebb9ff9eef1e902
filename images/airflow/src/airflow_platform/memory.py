"""More memory for a try that follows one which ran out of it, as far as the task's node pool gives it.

What a try had is read from its pod, which stays until the next try has begun: nothing else has to be kept.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_platform import pod_status
from airflow_platform.config import NodePool
from airflow_platform.diagnosis.quantity import parse

if TYPE_CHECKING:
    from kubernetes.client import models as k8s

#: The annotation of a pod that has more memory than its task asks for: bytes.
RAISED = "airflow-platform/memory"

_MEBIBYTE = 2**20


def is_remembered(pod: dict[str, Any], base: str) -> bool:
    """Whether the pod of a try that failed says how much memory the next one is to have."""
    return RAISED in (pod["metadata"].get("annotations") or {}) or _ran_out(pod, base)


def for_next(pods: Sequence[dict[str, Any]], base: str, pool: NodePool | None) -> int:
    """Bytes that the next try's base container may use, by what became of the last one; 0: what its task says.

    Args:
        pods: of the tries before, the newest first, as the API gives them.
        base: the container whose memory it is.
        pool: the task's node pool.
    """
    if pool is None or pool.out_of_memory_factor <= 1 or not pods:
        return 0
    last = pods[0]
    had = _limit(last, base)
    if not had or not is_remembered(last, base):
        return 0
    if not _ran_out(last, base):
        return int(had)
    wanted = had * Decimal(str(pool.out_of_memory_factor))
    if largest := pool.largest.get("memory"):
        wanted = max(min(wanted, parse(largest)), had)
    return math.ceil(wanted / _MEBIBYTE) * _MEBIBYTE


def give(pod: k8s.V1Pod, base: str, memory: int) -> str | None:
    """Raise the limit of a pod's base container to so many bytes, and its request by as much; where it has a limit.

    Returns:
        What it had, as a quantity; None where it has enough, or no limit.
    """
    container = next((one for one in pod.spec.containers if one.name == base), None)
    limits, requests = (_part(container, name) for name in ("limits", "requests"))
    had = limits.get("memory")
    if not had or parse(had) >= memory:
        return None
    raised = {"limits": {**limits, "memory": quantity(memory)}}
    if "memory" in requests:
        wanted = math.ceil(parse(requests["memory"]) * memory / parse(had))
        raised["requests"] = {**requests, "memory": quantity(wanted)}
    container.resources = copy.copy(container.resources)
    for name, amounts in raised.items():
        if isinstance(container.resources, dict):
            container.resources[name] = amounts
        else:
            setattr(container.resources, name, amounts)
    pod.metadata.annotations = {**(pod.metadata.annotations or {}), RAISED: str(memory)}
    return had


def _part(container: k8s.V1Container | None, name: str) -> Mapping[str, Any]:
    """Of a container's resources; these are a dict where the DAG's author wrote one."""
    resources = container.resources if container else None
    return (resources.get(name) if isinstance(resources, dict) else getattr(resources, name, None)) or {}


def quantity(amount: int) -> str:
    """Bytes as Kubernetes writes them, in mebibytes, rounded up."""
    return f"{math.ceil(amount / _MEBIBYTE)}Mi"


def _ran_out(pod: dict[str, Any], base: str) -> bool:
    """Whether the base container, or a process in it, was killed for lack of memory."""
    return any(
        status["name"] == base and ((status.get("state") or {}).get("terminated") or {}).get("reason") == "OOMKilled"
        for status in pod_status.statuses(pod)
    )


def _limit(pod: Mapping[str, Any], base: str) -> Decimal | None:
    containers = (pod.get("spec") or {}).get("containers") or []
    found = next((one for one in containers if one.get("name") == base), {})
    limit = ((found.get("resources") or {}).get("limits") or {}).get("memory")
    return parse(limit) if limit else None
