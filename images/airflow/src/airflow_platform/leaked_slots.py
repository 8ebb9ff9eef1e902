"""Finds slots of executors that are held for no task, which each make the scheduler start one less at a time.

An executor counts a task as running until it hears of its end. Where it never does (a watch that lost an event, a
worker that died in the wrong moment), the slot is held until the scheduler starts anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.observability import stats
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

from airflow_platform import metrics

#: Seconds between two looks. A slot has to be held at both: an end takes its time to be heard of.
PERIOD = 60

#: States of a task that is an executor's to run.
_HELD = (TaskInstanceState.QUEUED, TaskInstanceState.RUNNING, TaskInstanceState.RESTARTING)

_EMIT = SchedulerJobRunner._emit_pool_metrics


class _Looks:
    """The looks of one scheduler."""

    def __init__(self) -> None:
        self._due = 0.0
        self._before: dict[int, set[Any]] = {}

    def look(self, executors: Sequence[Any]) -> None:
        """Send how many slots each executor holds for no task, where a look is due."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + PERIOD
        for executor in executors:
            stray = unheld(executor.running)
            leaked = stray & self._before.get(id(executor), set())
            self._before[id(executor)] = stray
            tags = {"executor_class_name": type(executor).__name__, "pod": metrics.pod()}
            stats.gauge(metrics.LEAKED, len(leaked), tags=tags)


def unheld(keys: Iterable[Any]) -> set[Any]:
    """Those of an executor's running keys whose task is not an executor's to run, or is at another try by now."""
    keys = set(keys)
    # Of other workloads, such as callbacks, there are other keys.
    of_tasks = {one for one in keys if isinstance(one, TaskInstanceKey)}
    if not of_tasks:
        return set()
    with create_session() as session:
        columns = (getattr(TaskInstance, name) for name in TaskInstanceKey._fields)
        query = select(*columns).where(TaskInstance.filter_for_tis(of_tasks), TaskInstance.state.in_(_HELD))
        held = {TaskInstanceKey(*row) for row in session.execute(query)}
    return of_tasks - held


def watch() -> None:
    """Have the scheduler of this process look for them; a second call changes nothing."""
    looks = _Looks()

    def emit(self: SchedulerJobRunner, **kwargs: Any) -> None:
        _EMIT(self, **kwargs)
        looks.look(self.executors)

    SchedulerJobRunner._emit_pool_metrics = emit
