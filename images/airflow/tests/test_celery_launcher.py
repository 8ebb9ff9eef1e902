from types import SimpleNamespace

import pytest
from airflow.models.callback import CallbackKey
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import CallbackState, TaskInstanceState

celery_executor = pytest.importorskip("airflow.providers.celery.executors.celery_executor")

from airflow.providers.celery.executors import celery_executor_utils  # noqa: E402

from airflow_platform import broker, celery_launcher  # noqa: E402
from airflow_platform.relaunch import NoAnswer, Relaunch  # noqa: E402

KEY = TaskInstanceKey("dag", "task", "run", 1, -1)
SUCCESS, FAILED = TaskInstanceState.SUCCESS, TaskInstanceState.FAILED


class Again:
    """In place of `airflow_platform.relaunch.Relaunch`."""

    def __init__(self):
        self.given_up, self.without_heartbeat, self.forgotten = set(), set(), []
        self.errors, self.later, self.here, self.given_back, self.begun = [], set(), None, set(), set()
        self.of_another, self.messages = set(), []

    def cut_off(self, keys, error=None, *, message=None):
        self.errors.append(error)
        self.messages.append(message)
        return self.given_up & set(keys)

    def look_again(self, here):
        self.here = here
        return self.later

    def give_back(self, keys, messages=None):
        self.messages.append(messages)
        self.given_back |= set(keys) - self.of_another
        return set(keys) - self.begun - self.of_another

    def over(self, keys, messages):
        return set(keys) - self.begun

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


def test_a_phase_that_was_cut_off_is_launched_again_and_not_told(executor, again):
    executor.change_state(KEY, FAILED)
    assert again.messages == ["id"]
    assert executor.get_event_buffer() == {}
    assert not executor.running
    assert not executor.workloads


def test_one_that_is_given_up_is_told(executor, again):
    again.given_up = {KEY}
    executor.change_state(KEY, FAILED)
    assert executor.get_event_buffer() == {KEY: (FAILED, None)}


def test_what_a_phase_has_failed_with_is_heard(executor, again, tmp_path):
    executor.celery_app.conf.result_backend = f"db+sqlite:///{tmp_path}/results.db"
    executor.celery_app.backend.mark_as_failure("id", NoAnswer("ConnectError"))
    executor.workloads[KEY] = executor.celery_app.AsyncResult("id")
    executor.sync()
    [error] = again.errors
    assert isinstance(error, NoAnswer)
    assert str(error) == "ConnectError"
    assert not executor.workloads


def test_one_that_is_given_up_at_a_later_look_is_told(executor, again, monkeypatch):
    monkeypatch.setattr(celery_executor.CeleryExecutor, "sync", lambda self: None)
    again.later = {KEY}
    waits = KEY._replace(task_id="waits")
    executor.queued_tasks[waits] = SimpleNamespace(key=waits)
    executor.sync()
    assert again.here == {KEY, waits}
    assert executor.get_event_buffer() == {KEY: (FAILED, None)}


def test_the_failure_of_a_callback_is_told(executor):
    key, executor._relaunch = CallbackKey("00000000-0000-0000-0000-000000000000"), Relaunch()
    executor.fail(key)
    assert executor.get_event_buffer() == {key: (CallbackState.FAILED, None)}


def test_at_its_end_what_was_not_sent_is_given_back(executor, again, monkeypatch):
    monkeypatch.setattr(celery_executor.CeleryExecutor, "sync", lambda self: None)
    waits = KEY._replace(task_id="waits")
    executor.queued_tasks[waits] = SimpleNamespace(key=waits)
    executor.end()
    assert again.given_back == {waits}


def test_a_phase_without_heartbeat_is_no_longer_waited_for(executor, again, monkeypatch):
    monkeypatch.setattr(celery_executor.CeleryExecutor, "sync", lambda self: None)
    again.without_heartbeat = {KEY}
    executor.sync()
    assert KEY in executor.running
    executor._looked -= celery_launcher._LOOK
    executor.sync()
    assert not executor.running
    assert not executor.workloads


@pytest.fixture
def look(executor, again, monkeypatch, tmp_path):
    """Look at what the broker holds; what was given back since the look before."""
    monkeypatch.setattr(celery_executor.CeleryExecutor, "sync", lambda self: None)
    executor.celery_app.conf.result_backend = f"db+sqlite:///{tmp_path}/results.db"
    executor.workloads[KEY] = executor.celery_app.AsyncResult("id")

    def look(there):
        monkeypatch.setattr(broker, "ids", lambda app, queue: there)
        again.given_back.clear()
        executor._looked -= celery_launcher._LOOK
        executor.sync()
        return set(again.given_back)

    return look


def test_a_phase_whose_message_is_lost_is_sent_again(executor, look):
    """Its scheduler was killed before it had sent it, or the broker has lost it."""
    assert look(set()) == set()
    assert look({"of another"}) == {KEY}
    assert not executor.running
    assert not executor.workloads


def test_a_phase_that_another_scheduler_has_had_repeated_is_left_to_it(executor, look, again):
    again.of_another = {KEY}
    assert [look(set()), look(set())] == [set()] * 2
    assert again.messages[-1] == {KEY: "id"}
    assert not executor.running
    assert not executor.workloads


def test_a_message_that_was_being_taken_is_not_lost(executor, look):
    assert [look(set()), look({"id"}), look(set())] == [set()] * 3
    assert KEY in executor.running


def test_a_phase_whose_process_was_killed_before_it_began_is_sent_again(executor, look):
    executor.celery_app.backend.mark_as_started("id")
    assert [look(set()), look(set())] == [set(), {KEY}]
    assert not executor.running


def test_a_phase_that_has_begun_is_waited_for(executor, look, again, caplog):
    again.begun = {KEY}
    executor.celery_app.backend.mark_as_started("id")
    assert [look(set()), look(set())] == [set(), {KEY}]
    assert KEY in executor.running
    assert "sent again" not in caplog.text


def test_a_phase_that_has_ended_is_not_lost(executor, look):
    executor.celery_app.backend.mark_as_done("id", None)
    assert [look(set()), look(set())] == [set()] * 2


def test_what_another_scheduler_has_sent_is_kept_while_the_broker_is_away(executor, monkeypatch, tmp_path):
    executor.celery_app.conf.result_backend = f"db+sqlite:///{tmp_path}/results.db"

    def away(*_):
        raise ConnectionError("away")

    monkeypatch.setattr(executor.bulk_state_fetcher, "get_many", away)
    sent = SimpleNamespace(key=KEY._replace(task_id="sent"), external_executor_id="another")
    old = SimpleNamespace(key=KEY._replace(task_id="old"), external_executor_id=None)
    assert executor.try_adopt_task_instances([sent, old]) == [old]
    assert executor.workloads[sent.key].task_id == "another"
    assert sent.key in executor.running


def test_what_too_long_a_queue_lacks_is_not_told(executor, look):
    assert [look(set()), look(None), look(set())] == [set()] * 3


def test_a_phase_that_follows_is_not_given_back_for_the_one_before(executor, look):
    executor.queued_tasks[KEY] = SimpleNamespace(key=KEY)
    assert [look(set()), look(set())] == [set()] * 2


def test_the_messages_of_a_broker_that_is_away_are_not_lost(executor, look, monkeypatch):
    look(set())

    def away(app, queue):
        raise ConnectionError("away")

    monkeypatch.setattr(broker, "ids", away)
    executor._looked -= celery_launcher._LOOK
    executor.sync()
    assert KEY in executor.running


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


def test_what_the_broker_does_not_take_stays_queued(executor, monkeypatch):
    """One that hangs is asked once."""
    keys = [KEY._replace(task_id=name) for name in ("taken", "refused", "not-sent")]
    executor.queued_tasks.update(dict.fromkeys(keys, "workload"))
    asked = []

    def send(workload_tuple):
        asked.append(workload_tuple[0])
        refused = celery_executor_utils.ExceptionWithTraceback(Exception("READONLY"), "where")
        result = SimpleNamespace(task_id="id") if workload_tuple[0] == keys[0] else refused
        return workload_tuple[0], workload_tuple[1], result

    executor.celery_app.conf.result_backend = "cache+memory://"
    monkeypatch.setattr(celery_executor_utils, "send_workload_to_executor", send)
    executor._send_workloads([(key, "workload", "default", None) for key in keys])
    assert executor.get_event_buffer() == {keys[0]: (TaskInstanceState.QUEUED, "id")}
    assert list(executor.queued_tasks) == keys[1:]
    assert asked == keys[:2]


def test_every_task_goes_to_the_one_queue_that_is_read(executor, monkeypatch):
    sent = []
    monkeypatch.setattr(celery_executor.CeleryExecutor, "_send_workloads", lambda self, items: sent.extend(items))
    executor._send_workloads([(KEY, "workload", "a-queue-of-its-own", None)])
    assert sent == [(KEY, "workload", "default", None)]
