"""The pod of a task instance as Kubernetes has it now, with the verdict of its diagnosis."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import aiohttp

from airflow_platform import crowd, masks, pod_status
from airflow_platform.cluster import DEFAULT_CONNECTION, ApiError, Cluster, ClusterConfigError, ClusterRef
from airflow_platform.diagnosis.quota import Quota
from airflow_platform.evidence import Evidence
from airflow_platform.why.facts import Pod

log = logging.getLogger(__name__)

#: Events of a pod at most.
_EVENTS = 10
#: Pods of one try at most: it has one, and another where that was lost.
_PODS = 10
#: The container of a KubernetesExecutor's worker pod.
_WORKER = "base"

_NO_ANSWER = (ApiError, ClusterConfigError, aiohttp.ClientError, OSError)


async def of_trigger(arguments: Mapping[str, Any]) -> Pod:
    """The pod that a trigger follows: the platform's, or the stock operator's.

    Args:
        arguments: the trigger's, as the database has them.
    """
    name = arguments.get("name") or arguments.get("pod_name") or ""
    namespace = arguments.get("namespace") or arguments.get("pod_namespace") or ""
    base = arguments.get("base") or arguments.get("base_container_name") or "base"
    try:
        cluster = await Cluster.get(_ref(arguments))
        pod = await cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
    except ApiError as error:
        if error.status == 404:
            return Pod(name=name, namespace=namespace, gone=True)
        return Pod(name=name, namespace=namespace, unreadable=str(error))
    except Exception as error:  # whatever a connection may raise: it is somebody else's
        return Pod(name=name, namespace=namespace, unreadable=str(error))
    return await _seen(cluster, pod, base)


async def quota_of_trigger(arguments: Mapping[str, Any], readable: Collection[str] | None) -> Quota | None:
    """The quota that a launch waits for, as it is now; None where it waits for none, or nothing can be read.

    Args:
        arguments: the trigger's, as the database has them.
        readable: the DAGs that may be named; None: all.
    """
    name, namespace = arguments.get("quota"), arguments.get("namespace")
    if not name:
        return None
    try:
        cluster = await Cluster.get(_ref(arguments))
        quotas = await cluster.items(f"/api/v1/namespaces/{namespace}/resourcequotas")
        found = next((one for one in quotas if one["metadata"]["name"] == name), None)
        return found and Quota.of(found, await crowd.listed(cluster, namespace), readable)
    except Exception as error:  # whatever a connection may raise: it is somebody else's
        log.debug("The quota %s of namespace %s cannot be read: %s", name, namespace, error)
        return None


def _ref(arguments: Mapping[str, Any]) -> ClusterRef:
    given = arguments.get("cluster")
    if isinstance(given, Mapping):
        return ClusterRef(**given)
    if isinstance(given, ClusterRef):
        return given
    return ClusterRef(
        arguments.get("kubernetes_conn_id"), arguments.get("in_cluster"), arguments.get("cluster_context")
    )


async def of_worker(labels: Mapping[str, str], namespace: str) -> Pod | None:
    """The worker pod of a task instance of KubernetesExecutor; None where there is none, or it cannot be read."""
    return await _found({**labels, "kubernetes_executor": "True"}, namespace, worker=True)


async def of_operator(labels: Mapping[str, str], namespaces: tuple[str, ...]) -> Pod | None:
    """The pod that a task of KubernetesPodOperator has made in its worker pod; None where there is none yet."""
    for namespace in namespaces:
        if pod := await _found({**labels, "kubernetes_pod_operator": "True"}, namespace, worker=False):
            return pod
    return None


async def _found(labels: Mapping[str, str], namespace: str, *, worker: bool) -> Pod | None:
    query = {"labelSelector": ",".join(f"{name}={value}" for name, value in labels.items()), "limit": _PODS}
    try:
        cluster = await Cluster.get(ClusterRef(DEFAULT_CONNECTION))
        pods = (await cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods", query=query))["items"]
        if not pods:
            return None
        newest = max(pods, key=lambda one: one["metadata"]["creationTimestamp"])
        return await _seen(cluster, newest, _WORKER, worker=worker)
    except _NO_ANSWER:
        return None


async def _seen(cluster: Cluster, pod: dict[str, Any], base: str, *, worker: bool = False) -> Pod:
    metadata = pod["metadata"]
    mask = masks.of(pod)
    known = Evidence(cluster, metadata["namespace"], base, mask)
    await known.gather(pod)
    verdict = known.diagnose(masks.masked(pod, mask))
    return Pod(
        name=metadata["name"],
        namespace=metadata["namespace"],
        worker=worker,
        phase=pod_status.phase(pod),
        node=pod["spec"].get("nodeName") or "",
        since=pod_status.created_at(pod),
        verdict=verdict.as_dict() if verdict else None,
        events=known.events.items[-_EVENTS:],
    )
