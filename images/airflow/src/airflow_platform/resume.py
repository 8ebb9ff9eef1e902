"""A task that resumes is queued before all that begin: the slot that it takes is the one that it had.

While its pod runs, a task is deferred, and its pool and its DAG's limits count it. When it resumes it is scheduled, as
those are that begin, and no limit counts it: one of a higher priority would take the slot, and the end of a pod that is
long over would wait for that of another pod (apache/airflow #69187). So what makes it scheduled also raises its weight,
in one transaction, and what queues it takes that back.
"""

from __future__ import annotations

from typing import Any

from airflow.models.taskinstance import TaskInstance

#: What a weight is raised by; the sum fits into the database's integer.
_FIRST = 2**30
#: Weights that are not below this, nor above its negative, stay as they are: who has them is first anyhow, or last.
_USUAL = 2**28


def put_first(instance: Any) -> None:
    """Raise the weight of a task instance that is scheduled to resume."""
    weight = instance.priority_weight or 0
    if abs(weight) < _USUAL:
        instance.priority_weight = weight + _FIRST


def put_back(workload: Any, session: Any) -> None:
    """Give the task instance of a workload that is queued its own weight again; the workload keeps the raised one."""
    instance = session.get(TaskInstance, workload.ti.id) if hasattr(workload, "ti") else None
    if instance is not None and abs((instance.priority_weight or 0) - _FIRST) < _USUAL:
        instance.priority_weight -= _FIRST
