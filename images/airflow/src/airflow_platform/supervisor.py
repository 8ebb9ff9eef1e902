"""Airflow's supervisor of a task's process, for phases that take a fraction of a second."""

from __future__ import annotations

import logging
import signal
import time
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any
from uuid import UUID

import httpx
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.execution_time import supervisor as airflow
from airflow.sdk.execution_time.comms import TaskState
from airflow.sdk.execution_time.supervisor import ActivitySubprocess
from airflow.sdk.log import relative_path_from_logger

from airflow_platform import evidence
from airflow_platform.client import AWAY
from airflow_platform.relaunch import NoAnswer

log = logging.getLogger(__name__)

_UPLOAD = ActivitySubprocess._upload_logs
_SERVICE = ActivitySubprocess._service_subprocess
_STARTED = ActivitySubprocess._on_child_started
_SUPERVISE = airflow.supervise_task
_HANDLE = ActivitySubprocess._handle_request
_UPDATE = ActivitySubprocess.update_task_state_if_needed

#: Answers by which a phase is no longer its task's: Airflow ends a process whose heartbeat has one.
_NOT_ITS_TASK = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE)

#: By task instance, what a phase was ended for, as the API server did not answer it.
_unanswered: dict[UUID, httpx.HTTPError] = {}
#: Task instances whose failure or skip the API server has stored, before their processes ended.
_stored: set[UUID] = set()

#: Seconds between two looks for the end of a process that has closed its sockets.
_LOOK = 0.02


def notice_ends() -> None:
    """Look often for the end of a process that has nothing more to say; a second call changes nothing.

    A process that exits closes its sockets a moment before it can be waited for. Airflow looks once when it sees the
    last of them close, and in about half of all cases again only after 5 s (airflow.sdk.execution_time.supervisor,
    ``_monitor_subprocess``): so long the phase held its slot, and the task waited for what comes next.
    """
    ActivitySubprocess._service_subprocess = _service_subprocess


def spare_first_heartbeat() -> None:
    """Have the start of a task count as its first heartbeat; a second call changes nothing.

    Airflow sends one as soon as the process runs (airflow.sdk.execution_time.supervisor,
    ``_send_heartbeat_if_needed``), though it has just told the API server of the start, which notes it as one.
    """
    ActivitySubprocess._on_child_started = _on_child_started


def send_evidence() -> None:
    """Have the log of a phase that failed end with the reason, where there is evidence, which is uploaded with it.

    A second call changes nothing. Airflow's own last words are a stack trace, and what it does afterwards.
    """
    ActivitySubprocess._upload_logs = _upload_logs


def fail_unheard() -> None:
    """Have a phase fail whose end was not stored, and fail with `NoAnswer` where the API server gave none.

    A second call changes nothing. Airflow lets a phase whose end was not stored end well
    (airflow.sdk.execution_time.supervisor, ``_replay_pending_terminal_state_msg``): its task is still running then, and
    the scheduler fails the try. Whatever else a phase has asked for in vain (``handle_requests``) is an error in the
    task's process, which fails the try too. A phase that fails is repeated instead (`airflow_platform.relaunch`).

    So that it calls no callback twice, its process ends before it calls any where it is certain that its end was not
    stored; and a failure or a skip, which Airflow stores when all have been called, is stored before, as a success is.
    """
    ActivitySubprocess._replay_pending_terminal_state_msg = _replay
    ActivitySubprocess._handle_request = _handle_request
    ActivitySubprocess.update_task_state_if_needed = _update_task_state_if_needed
    airflow.supervise_task = _supervise_task


def _replay(self: ActivitySubprocess) -> None:
    try:
        self._send_terminal_state_msg(self._pending_terminal_state_msg)
    except ServerResponseError as error:
        if error.response.status_code not in _NOT_ITS_TASK:
            raise
        log.warning("The API server refuses the end of a phase of task instance %s: %s", self.id, error)


def _supervise_task(**kwargs: object) -> int:
    try:
        return _SUPERVISE(**kwargs)
    except httpx.HTTPError as error:
        # Not httpx's own: a result that is one cannot be read (encode/httpx#3108), and has the task's token with it.
        raise (RuntimeError if _is_answer(error) else NoAnswer)(f"{type(error).__name__}: {error}") from error


def _is_answer(error: httpx.HTTPError) -> bool:
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in AWAY


def _has_not_arrived(error: httpx.HTTPError) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)


def _handle_request(self: ActivitySubprocess, msg: Any, *more: Any) -> None:
    # Of an end that is stored, or may be, what is left is the callbacks' own; it is told again at the end.
    may_be_stored = self._terminal_state or self._pending_terminal_state_msg
    try:
        if isinstance(msg, TaskState):
            _store_end(self, msg)
        _HANDLE(self, msg, *more)
    except httpx.HTTPError as error:
        told = self._pending_terminal_state_msg and not _has_not_arrived(error)
        if _is_answer(error) or may_be_stored or told:
            raise
        _unanswered[self.id] = error
        self.process_log.warning("The API server does not answer; what was begun is begun anew", error=str(error))
        # Without its on_kill, by which the pod would go.
        self._signal_subprocess(signal.SIGKILL)
        # Not httpx's own: Airflow would read JSON in it, which a proxy's words are not.
        raise ConnectionError(str(error)) from error


def _store_end(self: ActivitySubprocess, msg: TaskState) -> None:
    when, index = msg.end_date or datetime.now(timezone.utc), msg.rendered_map_index
    try:
        self.client.task_instances.finish(id=self.id, state=msg.state, when=when, rendered_map_index=index)
    except httpx.HTTPError as error:
        if _has_not_arrived(error):
            raise
        # It is told again at the end, as Airflow does.
        log.warning("The end of a phase of task instance %s may not be stored: %s", self.id, error)
    else:
        _stored.add(self.id)


def _update_task_state_if_needed(self: ActivitySubprocess) -> None:
    if error := _unanswered.pop(self.id, None):
        raise error
    if self.id in _stored:
        _stored.discard(self.id)
    else:
        _UPDATE(self)


def _upload_logs(self: ActivitySubprocess) -> None:
    if why := evidence.reason(str(self.id)):
        self.process_log.error(why)
    _UPLOAD(self)
    try:
        if path := relative_path_from_logger(self.process_log._logger):
            evidence.upload(str(self.id), path.as_posix(), self.ti)
    except Exception:
        log.exception("The evidence of task instance %s could not be uploaded", self.id)


def _on_child_started(self: ActivitySubprocess, **kwargs: object) -> None:
    _STARTED(self, **kwargs)
    self._last_heartbeat_attempt = time.monotonic()


def _service_subprocess(self: ActivitySubprocess, max_wait_time: float, *args: object, **kwargs: object) -> int | None:
    return _SERVICE(self, max_wait_time if self._open_sockets else min(max_wait_time, _LOOK), *args, **kwargs)
