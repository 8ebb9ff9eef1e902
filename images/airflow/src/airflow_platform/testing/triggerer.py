"""A triggerer of one process, whose event loop stands in simulated time.

It runs until nothing more happens without time passing; whoever runs it lets time pass then. Triggers, the watch of
pods, logs and whatever else they bring are the real ones, and so is their way into Airflow's database.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import psutil
import structlog
from airflow._shared.module_loading import import_string
from airflow.executors.workloads import TaskInstanceDTO
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.sdk.execution_time.supervisor import (
    InProcessSupervisorComms,
    InProcessTestSupervisor,
    set_supervisor_comms,
)
from airflow.serialization.decoders import smart_decode_trigger_kwargs
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from airflow_platform.testing.clock import Clock
from airflow_platform.testing.kubernetes_api import KubernetesApi

#: The task instance whose work goes on, by which lines find its log: DAG, run, task, map index.
log_of: ContextVar[tuple[str, str, str, int] | None] = ContextVar("log_of", default=None)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: where it would, it stops."""

    def __init__(self, clock: Clock, api: KubernetesApi) -> None:
        self._clock, self._api = clock, api
        self._in_threads = 0
        #: Set when it is to come to its end: then it does wait.
        self.ends = False
        super().__init__(_Selector(self))
        # Seconds since the epoch, as a float, are no finer than some tenths of a microsecond: a timer to which the
        # clock has jumped is due.
        self._clock_resolution = 1e-5

    def time(self) -> float:
        """Simulated seconds."""
        return self._clock.monotonic()

    def run_in_executor(self, executor: Any, func: Callable, *args: Any) -> asyncio.Future:
        """As asyncio's; what is in a thread is waited for in real time."""
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._is_back)
        return future

    @property
    def next_moment(self) -> float | None:
        """Seconds since the epoch when a timer is due next."""
        timers = [one.when() for one in self._scheduled if not one.cancelled()]
        return self._clock.now + max(0.0, min(timers) - self.time()) if timers else None

    def is_idle(self) -> bool:
        """Whether nothing more comes without time passing."""
        return not self.ends and not self._in_threads and not self._api.settle()

    def _is_back(self, _: asyncio.Future) -> None:
        self._in_threads -= 1


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._of = loop

    def select(self, timeout: float | None = None) -> list:
        found = super().select(0)
        while not found and (timeout is None or timeout > 0):
            if self._of.is_idle():
                if not (found := super().select(0)):
                    self._of.stop()
                    return []
            else:
                # Something is in a thread, or on its way from the API server.
                found = super().select(0.001)
        return found


class _Comms(InProcessSupervisorComms):
    """What triggers ask Airflow by."""

    async def asend(self, message: Any) -> Any:
        return self.send(message)


class Triggerer:
    """Runs the triggers of tasks that are deferred.

    Args:
        clock, api: of the simulation.
    """

    def __init__(self, clock: Clock, api: KubernetesApi) -> None:
        self._clock, self._api = clock, api
        supervisor = InProcessTestSupervisor(
            id="00000000-0000-0000-0000-000000000000",
            pid=os.getpid(),
            process=psutil.Process(),
            process_log=structlog.get_logger(logger_name="task").bind(),
            client=InProcessTestSupervisor._api_client(),
        )
        supervisor.comms = self._comms = _Comms(supervisor=supervisor)
        self._triggers: dict[int, asyncio.Task] = {}
        self._events: list[tuple[int, TriggerEvent | BaseException | None]] = []
        self.loop = SimulatedLoop(clock, api)

    def close(self) -> None:
        """End, as a triggerer that is killed."""
        self.loop.ends = True
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        with self._running():
            if tasks:
                self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def step(self) -> bool:
        """Start new triggers, run until nothing happens, tell Airflow of events; whether there were any."""
        self._begin_and_cancel()
        with self._running():
            self.loop.run_forever()
        events, self._events = self._events, []
        for trigger_id, event in events:
            self._triggers.pop(trigger_id, None)
            if isinstance(event, TriggerEvent):
                Trigger.submit_event(trigger_id, event)
            else:
                Trigger.submit_failure(trigger_id, event)
        return bool(events)

    def _begin_and_cancel(self) -> None:
        with create_session() as session:
            deferred = TaskInstance.state == TaskInstanceState.DEFERRED
            wanted = set(session.scalars(select(TaskInstance.trigger_id).where(deferred)))
            if new := wanted - self._triggers.keys():
                query = select(TaskInstance).where(deferred, TaskInstance.trigger_id.in_(new))
                query = query.options(joinedload(TaskInstance.trigger)).order_by(TaskInstance.trigger_id)
                for instance in session.scalars(query):
                    whose = TaskInstanceDTO.model_validate(instance, from_attributes=True)
                    work = self._follow(instance.trigger, whose)
                    self._triggers[instance.trigger_id] = self.loop.create_task(work)
        for trigger_id in self._triggers.keys() - wanted:
            self._triggers.pop(trigger_id).cancel()

    async def _follow(self, stored: Trigger, whose: TaskInstanceDTO) -> None:
        log_of.set((whose.dag_id, whose.run_id, whose.task_id, whose.map_index))
        event: TriggerEvent | BaseException | None
        try:
            kwargs = {name: smart_decode_trigger_kwargs(value) for name, value in stored.kwargs.items()}
            trigger = import_string(stored.classpath)(**kwargs)
            trigger.trigger_id, trigger.task_instance = stored.id, whose
            event = await anext(trigger.run(), None)
        except Exception as error:
            event = error
        self._events.append((stored.id, event))

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        with set_supervisor_comms(self._comms):
            yield
