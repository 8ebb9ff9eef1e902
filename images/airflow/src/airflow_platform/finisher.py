"""Deletes the pods of tasks that have ended, once Airflow's database knows that they have.

A trigger's event is stored a moment after it was fired. Were the pod deleted with the event, a triggerer that dies in
that moment would leave a task whose pod is gone and whose end nobody knows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from airflow_platform.cluster import ApiError, Cluster

log = logging.getLogger(__name__)

#: Seconds between two looks.
_PERIOD = 2
#: Seconds after which a task that is still not over is left alone, with its pod.
_PATIENCE = 600

Key = tuple[str, str, str, int]


class _Pending(NamedTuple):
    cluster: Cluster
    pod: dict[str, Any]
    instance: Any
    grace_period: int | None
    since: float


_pending: list[_Pending] = []
_task: asyncio.Task | None = None


def key(instance: Any) -> Key:
    """What names a task instance over its tries."""
    return instance.dag_id, instance.run_id, instance.task_id, instance.map_index


async def states(instances: Iterable[Any]) -> dict[Key, str]:
    """The states of task instances, as Airflow's database has them now; what cannot be asked is left out.

    A task without a state (cleared, not scheduled yet) has the state ``none``.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetTaskStates

    by_dag = defaultdict(list)
    for instance in instances:
        by_dag[instance.dag_id].append(instance)
    found: dict[Key, str] = {}
    for dag_id, of_dag in by_dag.items():
        request = GetTaskStates(
            dag_id=dag_id,
            task_ids=sorted({one.task_id for one in of_dag}),
            run_ids=sorted({one.run_id for one in of_dag}),
        )
        try:
            runs = (await task_runner.SUPERVISOR_COMMS.asend(request)).task_states
        except Exception as error:
            log.warning("States of tasks of DAG %s could not be read: %s", dag_id, error)
            continue
        for one in of_dag:
            name = one.task_id if one.map_index < 0 else f"{one.task_id}_{one.map_index}"
            states_of_run = runs.get(one.run_id, {})
            if name in states_of_run:
                found[key(one)] = str(states_of_run[name] or "none")
    return found


def delete_when_stored(cluster: Cluster, pod: dict[str, Any], instance: Any, grace_period: int | None) -> None:
    """Delete the pod of a task instance as soon as the database has the end that was fired for it."""
    global _task
    _pending.append(_Pending(cluster, pod, instance, grace_period, time.monotonic()))
    if _task is None or _task.done():
        _task = asyncio.create_task(_run(), name="finisher")


async def delete(cluster: Cluster, pod: dict[str, Any], grace_period: int | None = None) -> None:
    """Delete this pod, and none that has its name by now. Errors are logged."""
    metadata = pod["metadata"]
    body: dict[str, Any] = {"preconditions": {"uid": metadata["uid"]}}
    if grace_period is not None:
        body["gracePeriodSeconds"] = grace_period
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
    try:
        await cluster.request("DELETE", path, body=body)
    except ApiError as error:
        # 409: another pod has the name.
        if error.status not in (404, 409):
            log.warning("Pod %s could not be deleted: %s", metadata["name"], error)
    except (OSError, TimeoutError) as error:
        log.warning("Pod %s could not be deleted: %s", metadata["name"], error)


async def _run() -> None:
    while _pending:
        await asyncio.sleep(_PERIOD)
        looked_at, _pending[:] = list(_pending), []
        known = await states(one.instance for one in looked_at)
        done = []
        for one in looked_at:
            state = known.get(key(one.instance))
            if state is not None and state != "deferred":
                done.append(delete(one.cluster, one.pod, one.grace_period))
            elif time.monotonic() - one.since < _PATIENCE:
                _pending.append(one)
        for start in range(0, len(done), 20):
            await asyncio.gather(*done[start : start + 20])
