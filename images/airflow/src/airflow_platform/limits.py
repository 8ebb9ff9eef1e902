"""Makes ``max_active_tasks`` of a DAG count tasks whose pods run while they are deferred.

Airflow's scheduler counts running and queued tasks only (apache/airflow #40528), since a deferred one holds no worker.
Here a deferred task has a pod, and an author who writes ``max_active_tasks=3`` means three pods. Pools count deferred
tasks by their own setting, ``max_active_tis_per_dag`` and ``max_active_tis_per_dagrun`` always.
"""

from __future__ import annotations

from typing import Any

from airflow.jobs import scheduler_job_runner
from airflow.utils.state import TaskInstanceState
from sqlalchemy import func, select

_LOAD = scheduler_job_runner.ConcurrencyMap.load


def count_deferred() -> None:
    """Change what the scheduler of this process counts; a second call changes nothing.

    Both places where it counts (airflow.jobs.scheduler_job_runner): the query that leaves out runs which have reached
    their limit, and the map by which it takes one task after the other.
    """
    scheduler_job_runner.EXECUTION_STATES = {
        *scheduler_job_runner.EXECUTION_STATES,
        TaskInstanceState.DEFERRED,
    }
    scheduler_job_runner.ConcurrencyMap.load = _load


def _load(self: scheduler_job_runner.ConcurrencyMap, session: Any) -> None:
    _LOAD(self, session)
    task_instance = scheduler_job_runner.TI
    deferred = session.execute(
        select(task_instance.dag_id, task_instance.run_id, func.count("*"))
        .where(task_instance.state == TaskInstanceState.DEFERRED)
        .group_by(task_instance.dag_id, task_instance.run_id)
    )
    for dag_id, run_id, count in deferred:
        self.dag_run_active_tasks_map[dag_id, run_id] += count
