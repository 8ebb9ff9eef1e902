"""Phases that were cut off are queued again, under the same try.

A phase (create the pod and defer; finish) is cut off where its launcher's process is killed, or could not tell Airflow
how it ended. Airflow would see the task as running until its heartbeats are missed for five minutes, and then count a
failed try. But a launch that is repeated finds the pod that it created before, so it is simply repeated.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from airflow._shared.timezones import timezone
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import with_row_locks
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select
from sqlalchemy.orm import lazyload

from airflow_platform import resume
from airflow_platform.launch import EXECUTOR

log = logging.getLogger(__name__)

#: How often one task instance's phases are repeated in one try, by one scheduler: a phase that kills its process each
#: time is then left to Airflow, which fails the try.
AT_MOST = 3
#: A phase is given up for lost after this long without a heartbeat; it has one every few seconds.
SILENT = timedelta(seconds=60)

#: States of a task whose phase is under way.
_UNDER_WAY = (TaskInstanceState.QUEUED, TaskInstanceState.RUNNING)


class Relaunch:
    """Repeats phases, each key's a few times."""

    def __init__(self) -> None:
        self._times: Counter[TaskInstanceKey] = Counter()

    def cut_off(self, keys: Iterable[TaskInstanceKey]) -> set[TaskInstanceKey]:
        """Queue phases again that have ended without Airflow being told; those that were repeated often enough.

        Where Airflow knows more of a task than that its phase is under way, there is nothing to repeat.
        """
        keys = {key for key in keys if isinstance(key, TaskInstanceKey)}
        if not keys:
            return set()
        with create_session() as session:
            query = select(TaskInstance).where(TaskInstance.filter_for_tis(keys), TaskInstance.state.in_(_UNDER_WAY))
            found = [one for one in _locked(query, session) if one.key in keys]
            return {one.key for one in found if not self._repeat(one, "was cut off")}

    def silent(self) -> set[TaskInstanceKey]:
        """Queue phases again, of any launcher, that have sent no heartbeat for `SILENT`; those that are."""
        with create_session() as session:
            query = select(TaskInstance).where(
                TaskInstance.executor == EXECUTOR,
                TaskInstance.state == TaskInstanceState.RUNNING,
                TaskInstance.last_heartbeat_at < timezone.utcnow() - SILENT,
            )
            return {one.key for one in _locked(query, session) if self._repeat(one, "has sent no heartbeat")}

    def adopted(self, instances: Iterable[TaskInstance]) -> list[TaskInstance]:
        """Queue phases again whose scheduler is gone; those that are not.

        Args:
            instances: in the session of the caller, who stores them.
        """
        return [
            one for one in instances if one.state not in _UNDER_WAY or not self._repeat(one, "has lost its scheduler")
        ]

    def give_back(self, keys: Iterable[TaskInstanceKey]) -> int:
        """Leave phases that have not begun to whichever scheduler is there next; how many they are."""
        keys = {key for key in keys if isinstance(key, TaskInstanceKey)}
        if not keys:
            return 0
        with create_session() as session:
            queued = TaskInstance.state == TaskInstanceState.QUEUED
            query = select(TaskInstance).where(TaskInstance.filter_for_tis(keys), queued)
            found = [one for one in _locked(query, session) if one.key in keys]
            for instance in found:
                _schedule(instance)
        return len(found)

    def forget(self, key: TaskInstanceKey) -> None:
        """The phase has ended as it should."""
        self._times.pop(key, None)

    def _repeat(self, instance: TaskInstance, why: str) -> bool:
        key = instance.key
        if self._times[key] >= AT_MOST:
            return False
        self._times[key] += 1
        _schedule(instance)
        log.warning("A phase of %s %s, and is launched again", key, why)
        return True


def _schedule(instance: TaskInstance) -> None:
    """As a task whose trigger has fired: it is queued next, with its try, and what it is to resume with."""
    instance.state = TaskInstanceState.SCHEDULED
    instance.queued_dttm = None
    resume.put_first(instance)


def _locked(query: Any, session: Any) -> Any:
    """The task instances; of two schedulers one has them."""
    query = query.options(lazyload("*"))
    return session.scalars(with_row_locks(query, of=TaskInstance, session=session, skip_locked=True))
