"""The triggerer's other process, which writes for the triggers: their logs to S3, their events to Airflow's database.

Where 1,000 tasks end at once, Airflow's does nothing else for more than a minute: it uploads one log after another.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from airflow.jobs.triggerer_job_runner import TriggerLoggingFactory, TriggerRunnerSupervisor, messages

from airflow_platform import evidence

_UPLOAD = TriggerLoggingFactory.upload_to_remote
_HANDLE_EVENTS = TriggerRunnerSupervisor.handle_events
_HANDLE_REQUEST = TriggerRunnerSupervisor._handle_request
_SERVICE = TriggerRunnerSupervisor._service_subprocess
_START = TriggerRunnerSupervisor.start.__func__

#: By how much this process is nicer than that of the triggers, which takes little and is wanted at once: where all
#: processors are busy it has one as soon as it asks, at the cost of this process.
_NICER = 10
#: Events that are handled at once; between two lots come the heartbeat and what else is due.
_LOT = 16
#: Logs that are uploaded at once: fewer than the connections that boto3 keeps open to S3 (10).
_UPLOADS = ThreadPoolExecutor(8, thread_name_prefix="log upload")
#: Seconds between two looks whether they are, in which the triggers are heard.
_LOOK = 0.02
#: Seconds for which all that comes is read, before anything else is looked at.
_READ = 0.25

log = logging.getLogger(__name__)


def send_logs_first() -> None:
    """Have the log of a trigger, with its evidence, uploaded before its event is stored; a second call changes nothing.

    Airflow does it a while after (airflow.jobs.triggerer_job_runner, ``_handle_request``), and a triggerer that dies in
    between takes the log along: the task has ended, so no other follows its pod.
    """
    TriggerRunnerSupervisor._handle_request = _handle_request
    TriggerRunnerSupervisor.handle_events = _handle_events
    TriggerLoggingFactory.upload_to_remote = _upload_to_remote


def keep_reading() -> None:
    """Have all read that the triggers have said, before anything else is done; a second call changes nothing.

    Airflow reads 4 KiB of their logs, and looks into its database then: of a log of 100 MB, 25,000 times.
    """
    TriggerRunnerSupervisor._service_subprocess = _service_subprocess


def let_triggers_go_first() -> None:
    """Have the event loop wait for no processor that this process uses; a second call changes nothing.

    Both share what the pod gets. A burst of ends keeps this process at work for a minute, and its loop stood still for
    up to two seconds, most of which it waited.
    """
    TriggerRunnerSupervisor.start = classmethod(_start)


def _start(cls: type[TriggerRunnerSupervisor], *args: Any, **kwargs: Any) -> TriggerRunnerSupervisor:
    started = _START(cls, *args, **kwargs)
    # Of this thread, and of those that it starts from now on.
    os.nice(_NICER)
    return started


def _handle_request(self: TriggerRunnerSupervisor, msg: Any, *args: Any, **kwargs: Any) -> None:
    ended = {}
    if isinstance(msg, messages.TriggerStateChanges):
        ended = {one: self.logger_cache.pop(one) for one in msg.finished or () if one in self.logger_cache}
    _HANDLE_REQUEST(self, msg, *args, **kwargs)
    if ended:
        with_event = {entry.trigger_id for entry in self.events} & ended.keys()
        self.logger_cache.update((one, ended.pop(one)) for one in with_event)
        _send(ended.values())


def _handle_events(self: TriggerRunnerSupervisor) -> None:
    lot = deque(self.events.popleft() for _ in range(min(_LOT, len(self.events))))
    logs = [self.logger_cache.pop(entry.trigger_id, None) for entry in lot]
    sent = _send(one for one in logs if one)
    while not all(one.done() for one in sent):
        _SERVICE(self, _LOOK)
        # S3 may let them wait for a minute: another triggerer would take over what this one follows.
        self.heartbeat()
    later, self.events = self.events, lot
    try:
        _HANDLE_EVENTS(self)
    finally:
        self.events.extend(later)


def _send(logs: Iterable[TriggerLoggingFactory]) -> list[Future]:
    return [_UPLOADS.submit(_send_one, one) for one in logs]


def _send_one(factory: TriggerLoggingFactory) -> None:
    try:
        factory.upload_to_remote()
    except Exception:
        log.exception("The log %s could not be uploaded", factory.log_path)
    finally:
        factory.close()


def _upload_to_remote(self: TriggerLoggingFactory) -> None:
    _UPLOAD(self)
    evidence.upload(str(self.ti.id), self.log_path, self.ti)


def _service_subprocess(self: TriggerRunnerSupervisor, max_wait_time: float, *args: Any, **kwargs: Any) -> int | None:
    # Events that wait for their turn are not to wait for more to come.
    code = _SERVICE(self, 0 if self.events else max_wait_time, *args, **kwargs)
    until = time.monotonic() + _READ
    while code is None and time.monotonic() < until and self.selector.select(timeout=0):
        code = _SERVICE(self, 0, *args, **kwargs)
    return code
