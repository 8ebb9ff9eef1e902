import os
import socket
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from selectors import EVENT_READ, DefaultSelector
from types import SimpleNamespace

import pytest
from airflow.jobs.triggerer_job_runner import (
    TriggerEventEntry,
    TriggerLoggingFactory,
    TriggerRunnerSupervisor,
    messages,
)
from airflow.triggers.base import TriggerEvent

from airflow_platform import evidence, trigger_supervisor


@pytest.fixture
def happened(monkeypatch):
    """What was uploaded, closed, stored and read, in order."""
    happened = []

    def store(self):
        while self.events:
            happened.append(f"stored {self.events.popleft().trigger_id}")

    monkeypatch.setattr(trigger_supervisor, "_HANDLE_EVENTS", store)
    monkeypatch.setattr(trigger_supervisor, "_HANDLE_REQUEST", lambda self, msg, log, req_id: self.events.extend(msg))
    monkeypatch.setattr(trigger_supervisor, "_SERVICE", lambda self, wait: happened.append("read"))
    for name in ("_handle_request", "handle_events", "_service_subprocess"):
        monkeypatch.setattr(TriggerRunnerSupervisor, name, None)
    monkeypatch.setattr(TriggerLoggingFactory, "upload_to_remote", None)
    trigger_supervisor.send_logs_first()
    trigger_supervisor.send_logs_first()
    return happened


class Log:
    """Of a trigger; `upload` is what its upload does."""

    def __init__(self, happened, name, upload=lambda: None):
        self._happened, self.log_path, self._upload = happened, name, upload

    def upload_to_remote(self):
        self._upload()
        self._happened.append(f"uploaded {self.log_path}")

    def close(self):
        self._happened.append(f"closed {self.log_path}")


def supervisor(logs, events=()):
    events = deque(TriggerEventEntry(one, TriggerEvent({}), None) for one in events)
    return SimpleNamespace(logger_cache=dict(logs), events=events, heartbeat=lambda: None)


def away():
    raise OSError("away")


@pytest.mark.parametrize(("upload", "uploaded"), [(lambda: None, ["uploaded a"]), (away, [])])
def test_a_log_is_uploaded_before_the_event_is_stored(happened, upload, uploaded):
    one = supervisor({7: Log(happened, "a", upload)}, events=[7, 8])
    TriggerRunnerSupervisor.handle_events(one)
    assert [what for what in happened if what != "read"] == [*uploaded, "closed a", "stored 7", "stored 8"]
    assert one.logger_cache == {}
    assert not one.events


def test_the_triggers_are_heard_while_logs_are_uploaded(happened, monkeypatch):
    """Both logs are on their way at once, and neither arrives before the triggers were heard."""
    both, heard = threading.Barrier(3, timeout=10), threading.Event()
    monkeypatch.setattr(trigger_supervisor, "_SERVICE", lambda self, wait: heard.is_set() or (both.wait(), heard.set()))
    logs = {number: Log(happened, number, lambda: (both.wait(), heard.wait(10))) for number in (7, 8)}
    TriggerRunnerSupervisor.handle_events(supervisor(logs, events=[7, 8]))
    assert happened[-2:] == ["stored 7", "stored 8"]


def test_its_heartbeat_goes_on_while_s3_hangs(happened):
    uploading, beats = threading.Event(), []
    one = supervisor({1: Log(happened, "log", lambda: uploading.wait(30))}, [1])

    def heartbeat():
        beats.append(1)
        if len(beats) == 3:
            uploading.set()

    one.heartbeat = heartbeat
    TriggerRunnerSupervisor.handle_events(one)
    assert len(beats) >= 3
    assert happened[-1] == "stored 1"


def test_many_events_are_handled_lot_by_lot(happened):
    """Between two lots comes the heartbeat."""
    one = supervisor({}, events=range(40))
    TriggerRunnerSupervisor.handle_events(one)
    assert len(happened) == trigger_supervisor._LOT
    while one.events:
        TriggerRunnerSupervisor.handle_events(one)
    assert happened == [f"stored {number}" for number in range(40)]


def test_an_event_that_cannot_be_stored_does_not_take_others_along(happened, monkeypatch):
    def fails(self):
        self.events.popleft()
        raise RuntimeError("the database is away")

    monkeypatch.setattr(trigger_supervisor, "_HANDLE_EVENTS", fails)
    one = supervisor({}, events=range(20))
    with pytest.raises(RuntimeError, match="away"):
        TriggerRunnerSupervisor.handle_events(one)
    assert [entry.trigger_id for entry in one.events] == list(range(1, 20))


def test_the_log_of_a_trigger_that_ends_waits_for_its_event(happened, monkeypatch):
    """One whose event is not stored yet, one whose task was taken from it, and one that goes on."""
    sent = []
    monkeypatch.setattr(trigger_supervisor, "_send", lambda logs: sent.extend(logs))
    monkeypatch.setattr(
        trigger_supervisor, "_HANDLE_REQUEST", lambda self, msg, log, req_id: self.events.extend(msg.events)
    )
    told, taken, running = (Log(happened, name) for name in ("told", "taken", "running"))
    one = supervisor({7: told, 8: taken, 9: running})
    msg = messages.TriggerStateChanges(
        events=[TriggerEventEntry(7, TriggerEvent({}), None)], finished=[7, 8], failures=None
    )
    TriggerRunnerSupervisor._handle_request(one, msg, None, 1)
    assert one.logger_cache == {7: told, 9: running}
    assert sent == [taken]


def test_a_log_that_nothing_waits_for_is_uploaded_aside(happened):
    (one,) = trigger_supervisor._send([Log(happened, "a")])
    wait([one], timeout=10)
    assert happened == ["uploaded a", "closed a"]


def test_other_requests_are_answered_as_before(happened):
    one = supervisor({7: Log(happened, "a")})
    TriggerRunnerSupervisor._handle_request(one, ["anything"], None, 1)
    assert list(one.events) == ["anything"]
    assert list(one.logger_cache) == [7]


def test_evidence_is_uploaded_with_the_log(happened, monkeypatch):
    """Airflow itself uploads the log where event and end of a trigger come at once."""
    task_log = pytest.importorskip("airflow_platform.task_log")
    monkeypatch.setattr(trigger_supervisor, "_UPLOAD", lambda self: happened.append("log"))
    monkeypatch.setattr(evidence, "taken", lambda instance_id, path: [f"{path} of {instance_id}"])
    monkeypatch.setattr(task_log.REMOTE_TASK_LOG, "upload", lambda path, instance: happened.append(path))
    TriggerLoggingFactory(log_path="a.log", ti=SimpleNamespace(id=7)).upload_to_remote()
    assert happened == ["log", "a.log of 7"]


@pytest.fixture
def channel(monkeypatch):
    """A supervisor with a socket that it reads, its other end, how long it waited, and what it read."""
    monkeypatch.setattr(TriggerRunnerSupervisor, "_service_subprocess", None)
    here, there = socket.socketpair()
    selector = DefaultSelector()
    selector.register(here, EVENT_READ)
    waited, read = [], []

    def service(self, max_wait_time, code=None):
        waited.append(max_wait_time)
        read.extend(here.recv(4) for _ in selector.select(timeout=0))
        return code

    monkeypatch.setattr(trigger_supervisor, "_SERVICE", service)
    trigger_supervisor.keep_reading()
    with here, there, selector:
        yield SimpleNamespace(events=deque(), selector=selector), there, waited, read


def test_all_that_came_is_read_at_once(channel):
    one, there, waited, read = channel
    there.sendall(b"0123456789")
    TriggerRunnerSupervisor._service_subprocess(one, 1)
    assert read == [b"0123", b"4567", b"89"]
    assert waited == [1, 0, 0]


def test_what_never_stops_coming_is_left_for_a_moment(channel, monkeypatch):
    one, there, _, read = channel
    monkeypatch.setattr(trigger_supervisor, "_READ", 0)
    there.sendall(b"0123456789")
    TriggerRunnerSupervisor._service_subprocess(one, 1)
    assert read == [b"0123"]


def test_nothing_is_waited_for_while_events_are_to_be_handled(channel):
    one, _, waited, _ = channel
    one.events.append("any")
    TriggerRunnerSupervisor._service_subprocess(one, 1)
    assert waited == [0]


def test_a_process_that_has_ended_is_not_read_further(channel):
    one, there, _, read = channel
    there.sendall(b"0123456789")
    assert TriggerRunnerSupervisor._service_subprocess(one, 1, code=3) == 3
    assert read == [b"0123"]


def test_the_triggers_go_before_their_supervisor(monkeypatch):
    """Of the fork, which is made as Airflow does, and of the threads that this process starts."""
    channel = os.pipe()

    def start(cls):
        if os.fork() == 0:
            os.write(channel[1], str(os.nice(0)).encode())
            os._exit(0)
        return "started"

    monkeypatch.setattr(trigger_supervisor, "_START", start)
    monkeypatch.setattr(TriggerRunnerSupervisor, "start", None)
    trigger_supervisor.let_triggers_go_first()
    found, before = [], os.nice(0)

    def supervise():
        assert TriggerRunnerSupervisor.start() == "started"
        found.append(os.nice(0))
        with ThreadPoolExecutor(1) as uploads:
            found.append(uploads.submit(os.nice, 0).result())

    # A thread's own, which this one could not take back.
    thread = threading.Thread(target=supervise)
    thread.start()
    thread.join(10)
    assert int(os.read(channel[0], 9)) == before
    assert found == [before + 10, before + 10]
