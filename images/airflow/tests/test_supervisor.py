import pickle
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import MagicMock
from uuid import uuid4

import httpx
import psutil
import pytest
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import TaskAlreadyRunningError
from airflow.sdk.execution_time import supervisor as airflow
from airflow.sdk.execution_time.comms import GetVariable, SucceedTask, TaskState, _RequestFrame
from airflow.sdk.execution_time.supervisor import ActivitySubprocess

from airflow_platform import evidence, supervisor
from airflow_platform.relaunch import NoAnswer

SEND = ActivitySubprocess._send_terminal_state_msg


def raise_(error):
    raise error


@pytest.fixture
def notice(monkeypatch):
    monkeypatch.setattr(ActivitySubprocess, "_service_subprocess", supervisor._SERVICE)
    monkeypatch.setattr(ActivitySubprocess, "_send_heartbeat_if_needed", lambda self: None)
    monkeypatch.setattr(airflow, "MIN_HEARTBEAT_INTERVAL", 30)
    supervisor.notice_ends()
    supervisor.notice_ends()


def watched(code):
    """A phase's process that has closed all its sockets, and exits a while later."""
    process = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep(0.2); raise SystemExit({code})"])
    return ActivitySubprocess(
        id=uuid4(),
        pid=process.pid,
        process=airflow.PsutilTracker(psutil.Process(process.pid)),
        process_log=MagicMock(),
        stdin=MagicMock(),
        client=MagicMock(),
    )


@pytest.mark.parametrize("code", [0, 3])
def test_the_end_of_a_process_is_noticed_at_once(notice, code):
    began = time.monotonic()
    phase = watched(code)
    phase._monitor_subprocess()
    assert phase._exit_code == code
    assert time.monotonic() - began < 15


def test_one_that_may_still_say_something_is_waited_for_as_ever(notice, monkeypatch):
    waits = []
    monkeypatch.setattr(supervisor, "_SERVICE", lambda self, wait: waits.append(wait))
    phase = watched(0)
    with socket.socket() as logs:
        phase._open_sockets[logs] = "logs"
        phase._service_subprocess(5)
        del phase._open_sockets[logs]
        phase._service_subprocess(5)
    assert waits == [5, supervisor._LOOK]


def test_the_start_of_a_task_counts_as_a_heartbeat(monkeypatch):
    """The API server notes it as one (airflow.api_fastapi.execution_api.routes.task_instances, ``ti_run``)."""
    sent = []
    monkeypatch.setattr(ActivitySubprocess, "_on_child_started", supervisor._STARTED)
    monkeypatch.setattr(supervisor, "_STARTED", lambda self, **started: sent.append(started))
    supervisor.spare_first_heartbeat()
    phase = watched(0)
    phase.client.task_instances.heartbeat = lambda *words, **more: sent.append("heartbeat")
    phase._on_child_started(ti=1)
    phase._send_heartbeat_if_needed()
    assert sent == [{"ti": 1}]
    phase._last_heartbeat_attempt -= 60
    phase._send_heartbeat_if_needed()
    assert sent == [{"ti": 1}, "heartbeat"]


@pytest.mark.parametrize("found", [{"reason": "It failed."}, {"reason": ""}, {"version": 1}, None])
def test_the_log_of_a_phase_that_failed_ends_with_the_reason(monkeypatch, tmp_path, found):
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_LOGGING", "True")
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    monkeypatch.setattr(ActivitySubprocess, "_upload_logs", supervisor._UPLOAD)
    phase = watched(0)
    said = phase.process_log.error
    monkeypatch.setattr(supervisor, "_UPLOAD", lambda self: said("upload"))
    monkeypatch.setattr(supervisor, "relative_path_from_logger", lambda logger: None)
    if found:
        evidence.save(str(phase.id), found)
    supervisor.send_evidence()
    phase._upload_logs()
    expected = ["It failed."] if found and found.get("reason") else []
    assert [call.args[0] for call in said.call_args_list] == [*expected, "upload"]


@pytest.mark.parametrize("fails", [False, True])
def test_evidence_is_uploaded_with_the_log_of_a_phase(monkeypatch, tmp_path, fails):
    task_log = pytest.importorskip("airflow_platform.task_log")
    happened = []

    def taken(instance_id, path):
        if fails:
            raise OSError("no space")
        return [f"{path} of {instance_id}"]

    monkeypatch.setattr(ActivitySubprocess, "_upload_logs", supervisor._UPLOAD)
    monkeypatch.setattr(supervisor, "_UPLOAD", lambda self: happened.append("log"))
    monkeypatch.setattr(supervisor, "relative_path_from_logger", lambda logger: Path("a.log"))
    monkeypatch.setattr(evidence, "taken", taken)
    monkeypatch.setattr(task_log.REMOTE_TASK_LOG, "upload", lambda path, instance: happened.append(path))
    supervisor.send_evidence()
    phase = watched(0)
    phase._upload_logs()
    assert happened == (["log"] if fails else ["log", f"a.log of {phase.id}"])


@pytest.fixture
def unheard(monkeypatch):
    """What the API server says to whatever it is told, raised by the client."""
    said = []

    def say(*_, **__):
        raise said[0]

    original = ActivitySubprocess._replay_pending_terminal_state_msg
    monkeypatch.setattr(ActivitySubprocess, "_replay_pending_terminal_state_msg", original)
    monkeypatch.setattr(ActivitySubprocess, "_send_terminal_state_msg", say)
    monkeypatch.setattr(airflow, "supervise_task", supervisor._SUPERVISE)
    monkeypatch.setattr(supervisor, "_SUPERVISE", say)
    supervisor.fail_unheard()
    supervisor.fail_unheard()
    return said


def status(code, kind=ServerResponseError):
    request = httpx.Request("PATCH", "http://api-server/execution/task-instances/id/state")
    return kind("refused", request=request, response=httpx.Response(code, request=request, json={"detail": "refused"}))


@pytest.mark.parametrize("error", [httpx.ConnectError("away"), status(500), status(403), status(503)])
def test_a_phase_whose_end_was_not_stored_fails(unheard, error):
    unheard.append(error)
    phase = watched(0)
    phase._pending_terminal_state_msg = "the end"
    with pytest.raises(type(error)):
        phase.update_task_state_if_needed()


@pytest.fixture
def asking(unheard, monkeypatch):
    """A phase whose process asks the API server for something, and would go on whatever it is told."""
    monkeypatch.setattr(ActivitySubprocess, "_handle_request", supervisor._HANDLE)
    monkeypatch.setattr(ActivitySubprocess, "update_task_state_if_needed", supervisor._UPDATE)
    supervisor.fail_unheard()
    supervisor.fail_unheard()
    # `unheard` stands in for it.
    monkeypatch.setattr(ActivitySubprocess, "_send_terminal_state_msg", SEND)
    phase = watched(0)
    for call in ("succeed", "finish"):
        getattr(phase.client.task_instances, call).side_effect = lambda **_: unheard and raise_(unheard[0])
    phase.client.variables.get = MagicMock(side_effect=lambda name: raise_(unheard[0]))
    requests = phase.handle_requests(MagicMock())
    next(requests)
    return phase, lambda msg: requests.send(_RequestFrame(id=1, body=msg.model_dump()))


PROXY = ServerResponseError("away", request=None, response=httpx.Response(503, text="<html>away</html>"))


@pytest.mark.parametrize("error", [httpx.ConnectError("away"), PROXY])
def test_a_phase_that_has_asked_in_vain_is_ended_and_fails(unheard, asking, error):
    phase, ask = asking
    unheard.append(error)
    ask(GetVariable(key="a"))
    phase._monitor_subprocess()
    assert phase._exit_code == -signal.SIGKILL
    with pytest.raises(type(error)):
        phase.update_task_state_if_needed()
    assert phase.client.task_instances.finish.call_count == 0


def test_one_that_is_refused_what_it_asks_for_goes_on(unheard, asking):
    phase, ask = asking
    unheard.append(status(403))
    ask(GetVariable(key="a"))
    phase._monitor_subprocess()
    assert phase._exit_code == 0
    phase.update_task_state_if_needed()


NOW = datetime(2026, 1, 1, tzinfo=UTC)
SUCCEEDED, FAILED = SucceedTask(end_date=NOW), TaskState(state="failed", end_date=NOW)


@pytest.mark.parametrize("end", [SUCCEEDED, FAILED], ids=["success", "failed"])
@pytest.mark.parametrize("error", [httpx.ConnectError("away"), PROXY], ids=["refused", "proxy"])
def test_a_phase_whose_end_is_not_stored_calls_no_callbacks(unheard, asking, end, error):
    phase, ask = asking
    unheard.append(error)
    ask(end)
    phase._monitor_subprocess()
    assert phase._exit_code == -signal.SIGKILL
    with pytest.raises(type(error)):
        phase.update_task_state_if_needed()


@pytest.mark.parametrize("end", [SUCCEEDED, FAILED], ids=["success", "failed"])
def test_one_whose_end_may_be_stored_calls_them_and_tells_it_again(unheard, asking, end):
    phase, ask = asking
    unheard.append(httpx.ReadTimeout("no answer"))
    ask(end)
    # A callback's own.
    unheard[0] = httpx.ConnectError("away")
    ask(GetVariable(key="a"))
    unheard[0] = httpx.ReadTimeout("no answer")
    phase._monitor_subprocess()
    assert phase._exit_code == 0
    with pytest.raises(httpx.ReadTimeout):
        phase.update_task_state_if_needed()


def test_a_callback_that_asks_in_vain_is_told_so(unheard, asking):
    phase, ask = asking
    ask(SUCCEEDED)
    unheard.append(httpx.ConnectError("away"))
    ask(GetVariable(key="a"))
    phase._monitor_subprocess()
    assert phase._exit_code == 0
    phase.update_task_state_if_needed()


def test_a_failure_is_stored_once_before_callbacks_are_called(asking):
    phase, ask = asking
    ask(FAILED)
    assert phase.client.task_instances.finish.call_count == 1
    assert phase.client.task_instances.finish.call_args.kwargs["state"] == "failed"
    phase._monitor_subprocess()
    phase.update_task_state_if_needed()
    assert phase.client.task_instances.finish.call_count == 1


@pytest.mark.parametrize("code", [404, 409, 410])
def test_one_that_is_no_longer_its_tasks_does_not(unheard, code):
    unheard.append(status(code))
    phase = watched(0)
    phase._pending_terminal_state_msg = "the end"
    phase.update_task_state_if_needed()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("away"), NoAnswer),
        (httpx.ReadTimeout("away"), NoAnswer),
        (status(503, httpx.HTTPStatusError), NoAnswer),
        (status(502), NoAnswer),
        # It does answer, and may answer so to this phase alone.
        (status(500), RuntimeError),
        (status(403, httpx.HTTPStatusError), RuntimeError),
        (TaskAlreadyRunningError("by another"), TaskAlreadyRunningError),
    ],
)
def test_a_phase_says_whether_the_api_server_answered_it_and_the_scheduler_can_read_it(unheard, error, expected):
    unheard.append(error)
    with pytest.raises(expected) as raised:
        airflow.supervise_task(ti="a task instance")
    carried = pickle.loads(pickle.dumps(raised.value))
    assert type(carried) is expected
    assert str(error) in str(carried)
