"""The triggerer: ``python -m airflow_platform.triggerer``, Airflow's own in all but what is here."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import gc
import importlib
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from airflow._shared.observability.metrics import stats
from airflow.callbacks.database_callback_sink import DatabaseCallbackSink
from airflow.jobs import triggerer_job_runner
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.models.log import Log
from airflow.models.trigger import handle_event_submit
from airflow.triggers.base import BaseTaskEndEvent, BaseTrigger, TriggerEvent
from airflow.utils.state import TaskInstanceState
from sqlalchemy.orm import Session

from airflow_platform import (
    config,
    finisher,
    log_channel,
    metrics,
    resume,
    short_rounds,
    trigger_supervisor,
    unsent,
    waits,
)
from airflow_platform.ui import warm

#: The trigger that ends a task only where no callback is to run (`airflow_platform.operator.PodTask._needs_phase`).
POD_TRIGGER = "airflow_platform.trigger.PodTrigger"
#: Triggers of tasks that the launcher resumes.
_OF_LAUNCHER = (POD_TRIGGER, "airflow_platform.waiting.WaitTrigger")

#: How Airflow counts the end of a try, by the state after it.
_COUNTED = {"success": "successes", "failed": "failures", "up_for_retry": "failures"}

_END = handle_event_submit.dispatch(BaseTaskEndEvent)
_RESUME = handle_event_submit.dispatch(TriggerEvent)
_INIT_COMMS = TriggerRunner.init_comms
_CLASS_OF = TriggerRunner.get_trigger_by_classpath


def change_events() -> None:
    """Change what becomes of the events of the platform's triggers; a second call changes nothing.

    A task that resumes goes first (`airflow_platform.resume`). And no callback is requested for what a pod trigger
    ends: Airflow has the DAG processor load the DAG file for each such task, to look whether it has a callback
    (airflow.models.trigger, ``handle_event_submit``), which costs more than the rest of such a task's end.
    """
    handle_event_submit.register(BaseTaskEndEvent, _end)
    handle_event_submit.register(TriggerEvent, _resume)


def _end(event: BaseTaskEndEvent, *, task_instance: Any, session: Any) -> None:
    if _classpath(task_instance) != POD_TRIGGER:
        _END(event, task_instance=task_instance, session=session)
        return
    try_number, began = task_instance.try_number, task_instance.start_date
    with _no_callbacks():
        _END(event, task_instance=task_instance, session=session)
    _tell(task_instance, try_number, began, session)


def _tell(task_instance: Any, try_number: int, began: datetime | None, session: Session) -> None:
    """Count the end of a try, and note it in the audit log.

    Of other tasks, their own process does the one (airflow.sdk.execution_time.task_runner, ``run`` and ``finalize``),
    and the Execution API the other (``ti_update_state``).
    """
    state, tags = str(task_instance.state), task_instance.stats_tags
    stats.incr("ti.finish", tags={**tags, "state": state})
    if kind := _COUNTED.get(state):
        stats.incr(f"operator_{kind}", tags={**tags, "operator_name": task_instance.operator})
        stats.incr(f"ti_{kind}", tags=tags)
    if began and task_instance.end_date:
        stats.timing("task.duration", (task_instance.end_date - began).total_seconds() * 1000, tags=tags)
    names = ("dag_id", "task_id", "run_id", "map_index")
    whose = {name: getattr(task_instance, name) for name in names}
    session.add(Log(state, try_number=try_number, **whose))


def _resume(event: TriggerEvent, *, task_instance: Any, session: Any) -> None:
    ours = _classpath(task_instance) in _OF_LAUNCHER
    _RESUME(event, task_instance=task_instance, session=session)
    if ours and task_instance.state == TaskInstanceState.SCHEDULED:
        resume.put_first(task_instance)


def prepare_runner() -> None:
    """Have events told soon, and pods whose tasks are over looked for from the start; a second call changes nothing.

    A task that a person ends before its trigger has begun has none that could see to its pod: Airflow takes the trigger
    out of its table (airflow.models.trigger, ``clean_unused``).
    """
    TriggerRunner.init_comms = _init_comms


async def _init_comms(self: TriggerRunner) -> None:
    log_channel.attend()
    metrics.initialize()
    await _INIT_COMMS(self)
    self.events = _Events(self)
    self._garbage = asyncio.create_task(_collect_garbage(self))
    finisher.look_after_home(config.load().tasks.namespaces)
    waits.start()


def refuse_others() -> None:
    """Have triggers made of classes of triggers alone; a second call changes nothing.

    A task says by a path what it waits for, and Airflow calls whatever has that path.
    """
    TriggerRunner.get_trigger_by_classpath = _class_of


def _class_of(self: TriggerRunner, classpath: str) -> type[BaseTrigger]:
    found = _CLASS_OF(self, classpath)
    if not (isinstance(found, type) and issubclass(found, BaseTrigger)):
        raise TypeError(f"The task is deferred to {classpath}, which is no trigger: a subclass of BaseTrigger.")
    return found


def prepare_api() -> None:
    """Make the API by which triggers ask Airflow's database, and have it answer once; a second call changes nothing.

    Airflow makes it at the first question (airflow.jobs.triggerer_job_runner, ``make_client``), in the process that
    also starts triggers and tells their ends: for four seconds of processor time it would do neither.
    """
    api = triggerer_job_runner.in_process_api_server()
    triggerer_job_runner.in_process_api_server = lambda: api
    asyncio.run(warm.build(api.app))


#: Seconds in which events are gathered before they are told: one look serves a burst.
_GATHER = 0.1


class _Events(deque):
    """The events of a `TriggerRunner`, which tells its supervisor when they come, not each second."""

    def __init__(self, runner: TriggerRunner) -> None:
        super().__init__(runner.events)
        self._runner = runner
        self._due: asyncio.TimerHandle | None = None

    def append(self, event: Any) -> None:
        super().append(event)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_GATHER, self._wake)

    def _wake(self) -> None:
        self._due = None
        # The runner waits for this or for a second to pass (``TriggerRunner.arun``). It does not end unless ``stop`` is
        # set too, and goes round.
        wait = self._runner._stop_event
        if wait is not None and not self._runner.stop:
            wait._event.set()
            wait._event.clear()


#: Bytes that a TLS connection reads at once: two records.
_TLS_BUFFER = 2**15
#: When garbage is looked for: after so many new objects; in what outlived that, and then in all, after so many times.
_GARBAGE = (10_000, 20, 1_000)
#: In all that there is it is looked for while there are at most so many triggers, each so many seconds.
_FEW, _OFTEN = 50, 60


def hold_many() -> None:
    """Prepare this process and its fork for thousands of triggers; a second call changes nothing.

    Each has a connection for the log of its pod, and asyncio gives a TLS connection a buffer of 256 KiB, which is more
    than all else of a task (asyncio.sslproto, ``SSLProtocol.max_size``). And a look for garbage in all that they hold
    takes the loop a second, or five where the processor is wanted by others: what ends with a task is freed without,
    so the look is taken when there is little to look at (`_collect_garbage`).
    """
    asyncio.sslproto.SSLProtocol.max_size = _TLS_BUFFER
    gc.set_threshold(*_GARBAGE)
    short_rounds.use()


async def _collect_garbage(runner: TriggerRunner) -> None:
    while True:
        await asyncio.sleep(_OFTEN)
        if len(runner.triggers) <= _FEW:
            gc.collect()


def _classpath(task_instance: Any) -> str | None:
    return task_instance.trigger.classpath if task_instance.trigger else None


@contextmanager
def _no_callbacks() -> Iterator[None]:
    # One thread handles all events.
    send = DatabaseCallbackSink.send
    DatabaseCallbackSink.send = lambda self, callback, session: None
    try:
        yield
    finally:
        DatabaseCallbackSink.send = send


def main() -> None:
    """Run the triggerer in this process."""
    change_events()
    trigger_supervisor.send_logs_first()
    trigger_supervisor.keep_reading()
    trigger_supervisor.let_triggers_go_first()
    log_channel.use()
    prepare_runner()
    refuse_others()
    hold_many()
    unsent.start()
    # The process of the triggers is forked, and shares what is imported here.
    for name in _OF_LAUNCHER:
        importlib.import_module(name.rpartition(".")[0])
    prepare_api()
    gc.freeze()
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", "triggerer", *sys.argv[1:]]
    airflow()


if __name__ == "__main__":
    main()
