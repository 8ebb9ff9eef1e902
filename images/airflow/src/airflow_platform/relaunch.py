"""Phases that were cut off are queued again, under the same try.

A phase (create the pod and defer; finish) is cut off where its launcher's process is killed, or could not tell Airflow
how it ended. Airflow would see the task as running until its heartbeats are missed for five minutes, and then count a
failed try. But a launch that is repeated finds the pod that it created before, so it is simply repeated.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from airflow._shared.timezones import timezone
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import with_row_locks
from airflow.utils.state import TaskInstanceState
from sqlalchemy import func, select
from sqlalchemy.orm import lazyload, object_session

from airflow_platform import resume
from airflow_platform.launch import EXECUTOR

log = logging.getLogger(__name__)

#: How often one task instance's phases are repeated in one try: a phase that kills its process each time, or its
#: scheduler within `_LATELY`, is then left to Airflow, which fails the try. One that had not begun, or that the API
#: server has not answered, is not counted.
AT_MOST = 3
#: How long a scheduler that was lost counts, as a row of Airflow's audit log: what counts otherwise is lost with it.
_LATELY, _LOST = timedelta(hours=1), "phase lost with its scheduler"
#: A phase is given up for lost after this long without a heartbeat; it has one every few seconds, but while its client
#: tries an API server again that is away: the chart's `execution_api_retries` take 90 s at most.
SILENT = timedelta(seconds=120)

#: States of a task whose phase is under way.
_UNDER_WAY = (TaskInstanceState.QUEUED, TaskInstanceState.RUNNING)
#: A person has cleared the task meanwhile: Airflow gives it a new try once it is told that the phase has failed.
_CLEARED = TaskInstanceState.RESTARTING


class NoAnswer(Exception):
    """A phase has failed as the API server did not answer it. A text is all that it has: it travels as a result."""


class _Phase(NamedTuple):
    """How a phase was cut off."""

    #: Whether its repetition is counted; None: where it has begun.
    counted: bool | None
    #: Its id with Celery, where it is known.
    message: str | None = None

    def is_last(self, instance: TaskInstance) -> bool:
        """Whether no later phase of its key, of another scheduler perhaps, has taken its place."""
        return self.message in (None, instance.external_executor_id)


class Relaunch:
    """Repeats phases, each key's a few times."""

    def __init__(self) -> None:
        self._times: Counter[TaskInstanceKey] = Counter()
        #: Phases whose rows were locked.
        self._later: dict[TaskInstanceKey, _Phase] = {}

    def cut_off(
        self, keys: Iterable[Any], error: Any = None, *, killed: bool = False, message: str | None = None
    ) -> set[Any]:
        """Queue phases again that have ended without Airflow being told; what is to be told as failed instead.

        That is a phase that was repeated often enough, one whose task was cleared meanwhile, and what is no task's
        phase, such as a callback. Where Airflow knows more of a task, there is nothing to repeat.

        Args:
            keys: of anything that an executor runs.
            error: what they have failed with; the server may be away for any time, so `NoAnswer` is not counted.
            killed: their processes were, and what had not begun has not caused it.
            message: the id with Celery of the one phase that it is.
        """
        keys = set(keys)
        phase = _Phase(None if killed else not isinstance(error, NoAnswer), message)
        phases = {key: phase for key in keys if isinstance(key, TaskInstanceKey)}
        return (keys - phases.keys()) | self._look(phases)

    def look_again(self, here: set[Any]) -> set[TaskInstanceKey]:
        """`cut_off` of those whose rows were locked then, unless a later phase is queued or running here."""
        self._later = {key: phase for key, phase in self._later.items() if key not in here}
        return self._look(self._later)

    def _look(self, phases: dict[TaskInstanceKey, _Phase]) -> set[TaskInstanceKey]:
        if not phases:
            return set()
        names = [getattr(TaskInstance, name) for name in TaskInstanceKey._fields]
        with create_session() as session:
            ended = TaskInstance.filter_for_tis(phases), TaskInstance.state.in_((*_UNDER_WAY, _CLEARED))
            query = select(TaskInstance).where(*ended)
            found = {one.key: one for one in _locked(query, session) if one.key in phases}
            given_up = {
                key
                for key, one in found.items()
                if phases[key].is_last(one)
                and (one.state == _CLEARED or not self._repeat(one, "was cut off", phases[key].counted))
            }
            # Locked by the API server, which may still be at what its client has given up, or by who adopts tasks. The
            # scheduler waits for neither.
            left = {TaskInstanceKey(*row) for row in session.execute(select(*names).where(*ended))} - found.keys()
        looked = {**self._later, **phases}
        self._later = {key: phase for key, phase in looked.items() if key in left or key not in phases}
        return given_up

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
        return [one for one in instances if one.state not in _UNDER_WAY or not self._adopt(one)]

    def _adopt(self, instance: TaskInstance) -> bool:
        if instance.state == TaskInstanceState.RUNNING:
            session = object_session(instance)
            # Its own words, not `task_instance`, of which Airflow's log asks for its run.
            whose = {name: getattr(instance, name) for name in TaskInstanceKey._fields}
            query = select(func.count()).where(
                *(getattr(Log, name) == value for name, value in whose.items()),
                Log.event == _LOST,
                Log.dttm > timezone.utcnow() - _LATELY,
            )
            if session.scalar(query) >= AT_MOST:
                # It is taken for running, and sends no heartbeat: Airflow fails its try, which is then told.
                self._times[instance.key] = AT_MOST
                log.error(
                    "A phase of %s has been lost with its scheduler %s times, and is given up", instance.key, AT_MOST
                )
                return True
            session.add(Log(_LOST, **whose))
        return self._repeat(instance, "has lost its scheduler", counted=False)

    def over(self, keys: Iterable[Any], messages: Mapping[Any, str]) -> set[TaskInstanceKey]:
        """Those of which no phase runs, nor waits by the id with Celery that is given for it."""
        keys = {key for key in keys if isinstance(key, TaskInstanceKey)}
        if not keys:
            return set()
        names = [getattr(TaskInstance, name) for name in TaskInstanceKey._fields]
        under_way = TaskInstance.filter_for_tis(keys), TaskInstance.state.in_((*_UNDER_WAY, _CLEARED))
        with create_session() as session:
            rows = session.execute(
                select(TaskInstance.state, TaskInstance.external_executor_id, *names).where(*under_way)
            )
            found = {TaskInstanceKey(*names): (state, message) for state, message, *names in rows}
        waits = TaskInstanceState.QUEUED
        return keys - {key for key, (state, one) in found.items() if state != waits or one == messages.get(key)}

    def give_back(self, keys: Iterable[Any], messages: Mapping[Any, str] | None = None) -> set[TaskInstanceKey]:
        """Have phases that have not begun queued again, by whichever scheduler comes round to it; those that are.

        Args:
            keys: of anything that an executor runs.
            messages: the phases' ids with Celery: one that was sent since by another scheduler is left to it.
        """
        keys = {key for key in keys if isinstance(key, TaskInstanceKey)}
        if not keys:
            return set()
        with create_session() as session:
            queued = TaskInstance.state == TaskInstanceState.QUEUED
            query = select(TaskInstance).where(TaskInstance.filter_for_tis(keys), queued)
            phases = {key: _Phase(None, (messages or {}).get(key)) for key in keys}
            found = [one for one in _locked(query, session) if one.key in keys and phases[one.key].is_last(one)]
            for instance in found:
                _schedule(instance)
            return {one.key for one in found}

    def forget(self, key: TaskInstanceKey) -> None:
        """The phase has ended as it should."""
        self._times.pop(key, None)

    def _repeat(self, instance: TaskInstance, why: str, counted: bool | None = True) -> bool:
        key = instance.key
        if counted is None:
            counted = instance.state == TaskInstanceState.RUNNING
        if counted:
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
