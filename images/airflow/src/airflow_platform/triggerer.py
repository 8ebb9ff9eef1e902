"""The triggerer: ``python -m airflow_platform.triggerer``, Airflow's own in all but what is here."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.callbacks.database_callback_sink import DatabaseCallbackSink
from airflow.models.trigger import handle_event_submit
from airflow.triggers.base import BaseTaskEndEvent

#: The trigger that ends a task only where no callback is to run (`airflow_platform.operator.PodTask._needs_phase`).
POD_TRIGGER = "airflow_platform.trigger.PodTrigger"

_SUBMIT = handle_event_submit.dispatch(BaseTaskEndEvent)


def quiet_ends() -> None:
    """Have no callback requested for what a pod trigger ends; a second call changes nothing.

    Airflow has the DAG processor load the DAG file for each task that a trigger ends, to look whether it has a callback
    (airflow.models.trigger, ``handle_event_submit``). That costs more than the rest of such a task's end.
    """
    handle_event_submit.register(BaseTaskEndEvent, _submit)


def _submit(event: BaseTaskEndEvent, *, task_instance: Any, session: Any) -> None:
    trigger = task_instance.trigger
    if trigger is None or trigger.classpath != POD_TRIGGER:
        _SUBMIT(event, task_instance=task_instance, session=session)
        return
    with _no_callbacks():
        _SUBMIT(event, task_instance=task_instance, session=session)


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
    quiet_ends()
    # The process of the triggers is forked, and shares what is imported here.
    importlib.import_module(POD_TRIGGER.rpartition(".")[0])
    gc.freeze()
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", "triggerer", *sys.argv[1:]]
    airflow()


if __name__ == "__main__":
    main()
