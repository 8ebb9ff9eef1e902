"""Whether Kueue keeps the quotas of the node pools: what ``helm test`` asks of it.

A queue that does not work holds its tasks without end, and without fair sharing Kueue takes no pod from a namespace
that has more than its share; neither is an error anywhere.
"""

from __future__ import annotations

from typing import Any

from airflow_platform.config import NodePool, PlatformConfig
from airflow_platform.in_cluster import Api

_KUEUE = "/apis/kueue.x-k8s.io/v1beta2"


def problems(platform: PlatformConfig, api: Api) -> list[str]:
    """A sentence for each queue that does not do what the platform's configuration wants of it."""
    pools = [one for one in platform.node_pools if one.local_queue]
    found = [_problem(pool, namespace, api) for pool in pools for namespace in platform.tasks.namespaces]
    return [sentence for sentence in found if sentence]


def _problem(pool: NodePool, namespace: str, api: Api) -> str:
    name = f"Pool {pool.name}: queue {pool.local_queue} of namespace {namespace}"
    local, wrong = _read(api, f"{_KUEUE}/namespaces/{namespace}/localqueues/{pool.local_queue}")
    if wrong:
        return f"{name} cannot be read: {wrong}"
    active = _active(local)
    if not active:
        return f"{name} is new to Kueue; see whether its controller runs (kubectl get pods --namespace kueue-system)"
    if active["status"] != "True":
        return f"{name} admits nothing: {active.get('message') or active.get('reason')}"
    of_cluster, wrong = _read(api, f"{_KUEUE}/clusterqueues/{local['spec']['clusterQueue']}")
    if wrong:
        return f"{name} has a ClusterQueue that cannot be read: {wrong}"
    if "fairSharing" not in (of_cluster.get("status") or {}):
        return f"{name} never gets its share back from others; set fairSharing in Kueue's configuration"
    return ""


def _read(api: Api, path: str) -> tuple[dict[str, Any], str]:
    """The object, and why it cannot be had; one of them is empty."""
    status, answer = api("GET", path, None, "application/json")
    return (answer, "") if status == 200 else ({}, f"{status}: {answer.get('message', 'no message')}")


def _active(queue: dict[str, Any]) -> dict[str, Any]:
    conditions = (queue.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == "Active"), {})
