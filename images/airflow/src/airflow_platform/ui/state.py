"""Gathers what the page of the node pools shows: from Airflow's database, and from the cluster."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import aiohttp
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from airflow_platform import config, crowd, nodes, pod_status, workloads
from airflow_platform.cluster import DEFAULT_CONNECTION, ApiError, Cluster, ClusterConfigError, ClusterRef
from airflow_platform.ui.node_pools import AirflowPool, Waiting, describe

log = logging.getLogger(__name__)

#: States in which a task holds slots of its pool, or waits for one.
_STATES = ("running", "queued", "deferred", "scheduled")
#: Task instances that wait, of all pools, that are read.
_MOST = 500
#: States of a task instance that waits, and has no pod yet.
_WAITING = ("scheduled", "queued")
#: The trigger of a task that has no pod yet, as its launch was refused.
_REFUSED = "airflow_platform.waiting.WaitTrigger"


async def node_pools(readable: Collection[str] | None) -> dict[str, Any]:
    """What `airflow_platform.ui.node_pools.describe` makes of the present.

    Args:
        readable: the DAGs whose names may be told; None: all.
    """
    (pools, waiting), (found_nodes, pods, queued) = await asyncio.gather(asyncio.to_thread(_of_airflow), _of_cluster())
    platform = config.load()
    return describe(platform.node_pools, pools, found_nodes, pods, waiting, queued, readable=readable, now=time.time())


def _of_airflow() -> tuple[list[AirflowPool], list[Waiting]]:
    with create_session() as session:
        return airflow_pools(session), waiting_tasks(session)


def airflow_pools(session: Session) -> list[AirflowPool]:
    """Airflow's pools, by name."""
    states: dict[str, dict[str, int]] = defaultdict(dict)
    counted = (
        select(TaskInstance.pool, TaskInstance.state, func.sum(TaskInstance.pool_slots))
        .where(TaskInstance.state.in_(_STATES))
        .group_by(TaskInstance.pool, TaskInstance.state)
    )
    for pool, state, slots in session.execute(counted):
        states[pool][str(state)] = int(slots)
    return [
        AirflowPool(
            name=pool.pool,
            slots=None if pool.slots == -1 else pool.slots,
            include_deferred=pool.include_deferred,
            states=states[pool.pool],
        )
        for pool in session.scalars(select(Pool).order_by(Pool.pool))
    ]


def waiting_tasks(session: Session) -> list[Waiting]:
    """Task instances that have no pod yet, those that wait longest first; of those whose launch was refused, why."""
    query = (
        select(
            TaskInstance.dag_id,
            TaskInstance.task_id,
            TaskInstance.run_id,
            TaskInstance.map_index,
            TaskInstance.state,
            TaskInstance.pool,
            func.coalesce(TaskInstance.queued_dttm, TaskInstance.scheduled_dttm),
            Trigger,
        )
        .outerjoin(Trigger, Trigger.id == TaskInstance.trigger_id)
        .where(or_(TaskInstance.state.in_(_WAITING), Trigger.classpath == _REFUSED))
        .order_by(TaskInstance.scheduled_dttm)
        .limit(_MOST)
    )
    return [
        Waiting(
            dag_id=dag_id,
            task_id=task_id,
            run_id=run_id,
            map_index=map_index,
            state=str(state),
            pool=pool,
            since=since.timestamp() if since else None,
            why=trigger.kwargs.get("reason", "") if trigger else "",
        )
        for dag_id, task_id, run_id, map_index, state, pool, since, trigger in session.execute(query)
    ]


async def _of_cluster() -> tuple[list[nodes.Node] | None, list[dict[str, Any]], dict[str, workloads.Workload]]:
    """All nodes, the task pods in the namespaces of tasks, and Kueue's Workloads where it holds one of them.

    What cannot be read is left out.
    """
    try:
        cluster = await Cluster.get(ClusterRef(DEFAULT_CONNECTION))
        found, *of_namespaces = await asyncio.gather(
            nodes.of(cluster), *(_pods(cluster, namespace) for namespace in config.load().tasks.namespaces)
        )
    except ClusterConfigError as error:
        log.warning("The cluster of the node pools cannot be read: %s", error)
        return None, [], {}
    pods = [pod for pods in of_namespaces for pod in pods]
    holding = {pod["metadata"]["namespace"] for pod in pods if pod_status.held(pod)}
    queued: dict[str, workloads.Workload] = {}
    for namespace in holding:
        queued |= await workloads.of(cluster, namespace) or {}
    return found or None, pods, queued


async def _pods(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    try:
        return await crowd.listed(cluster, namespace, dict)
    except (ApiError, aiohttp.ClientError, OSError) as error:
        log.warning("Pods of namespace %s cannot be listed: %s", namespace, error)
        return []
