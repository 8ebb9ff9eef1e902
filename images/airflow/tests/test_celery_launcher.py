from types import SimpleNamespace

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState

celery_executor = pytest.importorskip("airflow.providers.celery.executors.celery_executor")

from airflow_platform import celery_launcher  # noqa: E402

KEY = TaskInstanceKey("dag", "task", "run", 1, -1)
SUCCESS, FAILED = TaskInstanceState.SUCCESS, TaskInstanceState.FAILED


class Again:
    """In place of `airflow_platform.relaunch.Relaunch`."""

    def __init__(self):
        self.given_up, self.without_heartbeat, self.forgotten = set(), set(), []

    def cut_off(self, keys):
        return self.given_up & set(keys)

    def silent(self):
        return self.without_heartbeat

    def forget(self, key):
        self.forgotten.append(key)


@pytest.fixture
def again(monkeypatch):
    made = Again()
    monkeypatch.setattr(celery_launcher, "Relaunch", lambda: made)
    return made


@pytest.fixture
def executor(again):
    """An executor that holds a phase."""
    made = celery_launcher.CeleryLauncher()
    made.running.add(KEY)
    made.workloads[KEY] = SimpleNamespace(task_id="id")
    return made


def test_an_end_is_told(executor, again):
    executor.change_state(KEY, SUCCESS)
    assert executor.get_event_buffer() == {KEY: (SUCCESS, None)}
    assert again.forgotten == [KEY]


def test_a_phase_that_was_cut_off_is_launched_again_and_not_told(executor):
    executor.change_state(KEY, FAILED)
    assert executor.get_event_buffer() == {}
    assert not executor.running
    assert not executor.workloads


def test_one_that_is_given_up_is_told(executor, again):
    again.given_up = {KEY}
    executor.change_state(KEY, FAILED)
    assert executor.get_event_buffer() == {KEY: (FAILED, None)}


def test_a_phase_without_heartbeat_is_no_longer_waited_for(executor, again, monkeypatch):
    monkeypatch.setattr(celery_executor.CeleryExecutor, "sync", lambda self: None)
    again.without_heartbeat = {KEY}
    executor.sync()
    assert KEY in executor.running
    executor._looked -= celery_launcher._LOOK
    executor.sync()
    assert not executor.running
    assert not executor.workloads


def test_a_broker_that_is_away_does_not_end_the_scheduler(executor, monkeypatch, caplog):
    def away(self):
        raise ConnectionError("away")

    monkeypatch.setattr(celery_executor.CeleryExecutor, "sync", away)
    executor.sync()
    assert KEY in executor.running


def test_while_the_broker_is_away_tasks_stay_queued(executor, monkeypatch):
    sent = []
    monkeypatch.setattr(celery_executor.CeleryExecutor, "_process_workloads", lambda self, items: sent.extend(items))
    monkeypatch.setattr(executor, "_broker_answers", lambda: False)
    executor._process_workloads(["workload"])
    assert not sent
    monkeypatch.setattr(executor, "_broker_answers", lambda: True)
    executor._process_workloads(["workload"])
    assert sent == ["workload"]


def test_every_task_goes_to_the_one_queue_that_is_read(executor, monkeypatch):
    sent = []
    monkeypatch.setattr(celery_executor.CeleryExecutor, "_send_workloads", lambda self, items: sent.extend(items))
    executor._send_workloads([(KEY, "workload", "a-queue-of-its-own", None)])
    assert sent == [(KEY, "workload", "default", None)]
