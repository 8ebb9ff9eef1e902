import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.executors.base_executor import BaseExecutor
from airflow.executors.local_executor import LocalExecutor
from airflow.models.callback import CallbackKey
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.sdk.exceptions import TaskAlreadyRunningError
from airflow.utils.state import CallbackState, TaskInstanceState
from sqlalchemy.exc import OperationalError

from airflow_platform import launcher, limits
from airflow_platform.launcher import LocalLauncher
from airflow_platform.relaunch import NoAnswer, Relaunch

KEY = TaskInstanceKey("dag", "task", "run", 1, -1)
SUCCESS, FAILED = TaskInstanceState.SUCCESS, TaskInstanceState.FAILED


class Again:
    """In place of `airflow_platform.relaunch.Relaunch`: what it was told, and what it is to answer."""

    def __init__(self):
        self.cut, self.errors, self.forgotten, self.given_up, self.given_back = [], [], [], set(), set()
        self.later, self.here, self.killed = set(), None, False

    def cut_off(self, keys, error=None, *, killed=False):
        self.killed = killed
        self.cut.append(set(keys))
        self.errors.append(error)
        return self.given_up & set(keys)

    def look_again(self, here):
        self.here = here
        return self.later

    def forget(self, key):
        self.forgotten.append(key)

    def adopted(self, instances):
        self.lost = [one.key for one in instances]
        return []

    def give_back(self, keys):
        self.given_back |= set(keys)
        return set(keys)


@pytest.fixture
def again(monkeypatch):
    made = Again()
    monkeypatch.setattr(launcher, "Relaunch", lambda: made)
    return made


@pytest.fixture
def made(monkeypatch, write_config, again):
    """A launcher that has not started."""
    write_config("launcher: {kind: local, slots: 3}")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a-secret-of-the-tests-that-is-long-enough")
    monkeypatch.setattr(launcher, "preload", lambda further: None)
    monkeypatch.setattr(limits, "count_deferred", lambda: None)
    return LocalLauncher()


@pytest.fixture
def executor(monkeypatch, made):
    """A launcher that has started, and whose processes are the test."""
    monkeypatch.setattr(LocalExecutor, "_spawn_workers_with_gc_freeze", lambda self, number: None)
    made.start()
    return made


@pytest.fixture
def forked(monkeypatch, made):
    """A launcher with processes of its own, whose phases take as many seconds as their workload says."""
    monkeypatch.setattr(BaseExecutor, "run_workload", lambda workload, **_: time.sleep(workload.seconds))
    made.start()
    yield made
    for process in made.workers.values():
        process.kill()
        process.join()


def queue(executor, key=KEY):
    """A phase is queued, as by the scheduler, and given to a process."""
    executor.queued_tasks[key] = SimpleNamespace(key=key)
    executor._process_workloads([executor.queued_tasks[key]])


def end(executor, state=SUCCESS, key=KEY):
    """A process says that it has ended a phase; what the scheduler is told then."""
    executor.result_queue.put((key, state, None))
    executor._read_results()
    return {key: state for key, (state, _) in executor.get_event_buffer().items()}


def has(executor, key=KEY):
    return executor.has_task(SimpleNamespace(id="id", key=key))


def test_a_scheduler_that_takes_itself_for_gone_goes_on_with_what_it_has(executor, again):
    """Airflow marks any whose heartbeat is old, its own too, and hands over what that had."""
    other = KEY._replace(task_id="other")
    queue(executor)
    tis = [SimpleNamespace(id=key.task_id, key=key) for key in (KEY, other)]
    assert executor.try_adopt_task_instances(tis) == []
    assert again.lost == [other]
    assert end(executor) == {KEY: SUCCESS}


def test_the_number_of_processes_is_the_platforms_and_the_scheduler_hands_over_more(forked):
    assert len(forked.workers) == 3
    assert forked.slots_available == 3 * launcher.AHEAD
    forked._spawn_workers_with_gc_freeze(9)
    assert len(forked.workers) == 3


def test_it_imports_before_it_forks(monkeypatch, executor):
    order = []
    monkeypatch.setattr(launcher, "preload", lambda further: order.append("import"))
    monkeypatch.setattr(limits, "count_deferred", lambda: order.append("limits"))
    monkeypatch.setattr(
        LocalExecutor, "_spawn_workers_with_gc_freeze", lambda self, number: order.append(f"fork {number}")
    )
    executor.start()
    assert order == ["import", "limits", "fork 3"]


def test_no_more_is_handed_over_than_there_is_room_for(executor):
    """What is handed over cannot be overtaken, and a pipe that is full would hold the scheduler."""
    room = 3 * launcher.AHEAD
    for number in range(room + 5):
        key = KEY._replace(task_id=f"task_{number}")
        executor.queued_tasks[key] = SimpleNamespace(key=key)
    executor._get_workloads_to_schedule = lambda slots: list(executor.queued_tasks.items())[:slots]
    for _ in range(3):
        executor.trigger_tasks(room)
    assert (executor._phases.total(), len(executor.queued_tasks)) == (room, 5)
    assert executor.slots_available == 1
    end(executor, key=KEY._replace(task_id="task_0"))
    executor.trigger_tasks(room)
    assert (executor._phases.total(), len(executor.queued_tasks)) == (room, 4)


def test_a_phase_that_another_scheduler_runs_is_its(executor, again):
    queue(executor)
    executor.result_queue.put((KEY, FAILED, TaskAlreadyRunningError("Task instance is already running")))
    executor._read_results()
    assert (again.cut, executor.get_event_buffer(), has(executor)) == ([], {}, False)


@pytest.mark.parametrize("group", [None, "0", "1"])
def test_where_memory_ends_its_processes_go_before_the_scheduler(monkeypatch, tmp_path, group):
    """But where all go at once it would only be the first of the node."""
    own = Path("/proc/self/oom_score_adj").read_text()
    monkeypatch.setattr(launcher, "_OOM_GROUP", tmp_path / "group")
    if group:
        (tmp_path / "group").write_text(f"{group}\n")
    answer, send = multiprocessing.Pipe(duplex=False)
    monkeypatch.setattr(launcher, "_RUN_WORKER", lambda: send.send(Path("/proc/self/oom_score_adj").read_text()))
    process = multiprocessing.get_context("fork").Process(target=launcher._run_worker)
    process.start()
    process.join(10)
    assert answer.recv() == (own if group == "1" else "1000\n")
    assert Path("/proc/self/oom_score_adj").read_text() == own


def test_its_processes_are_started_so(monkeypatch, executor):
    assert launcher.local_executor._run_worker is launcher._run_worker


def test_the_end_of_a_phase_is_told(executor):
    queue(executor)
    assert has(executor)
    assert end(executor) == {KEY: SUCCESS}
    assert not has(executor)


def test_an_end_is_not_told_while_a_later_phase_is_here(executor):
    queue(executor)
    queue(executor)
    assert end(executor) == {}
    assert has(executor)
    assert end(executor) == {KEY: SUCCESS}
    assert not has(executor)


def test_an_end_is_not_told_while_a_later_phase_is_queued(executor):
    queue(executor)
    executor.queued_tasks[KEY] = SimpleNamespace(key=KEY)
    assert end(executor) == {}


def test_a_phase_that_failed_is_launched_again(executor, again):
    queue(executor)
    executor.running.add(KEY)
    assert end(executor, FAILED) == {}
    assert again.cut == [{KEY}]
    assert not executor.running
    assert not has(executor)


def test_what_a_phase_has_failed_with_is_heard(executor, again):
    queue(executor)
    executor.result_queue.put((KEY, FAILED, NoAnswer("ConnectError")))
    executor._read_results()
    [error] = again.errors
    assert isinstance(error, NoAnswer)
    assert str(error) == "ConnectError"


def test_one_that_is_given_up_at_a_later_look_is_told(executor, again):
    again.later = {KEY}
    runs, waits = KEY._replace(task_id="runs"), KEY._replace(task_id="waits")
    queue(executor, runs)
    executor.queued_tasks[waits] = SimpleNamespace(key=waits)
    executor.sync()
    assert again.here == {runs, waits}
    assert executor.get_event_buffer() == {KEY: (FAILED, None)}


def test_the_failure_of_a_callback_is_told(executor):
    """Its states are equal to those of a task: they are texts."""
    key, executor._relaunch = CallbackKey("00000000-0000-0000-0000-000000000000"), Relaunch()
    queue(executor, key)
    assert end(executor, CallbackState.FAILED, key) == {key: CallbackState.FAILED}
    queue(executor, key)
    executor._begin_anew([1])
    assert executor.get_event_buffer() == {key: (CallbackState.FAILED, None)}


def test_a_phase_that_ended_well_starts_to_count_anew(executor, again):
    queue(executor)
    end(executor)
    assert again.forgotten == [KEY]


def test_a_failure_that_is_given_up_is_told_whatever_comes_later(executor, again):
    again.given_up = {KEY}
    queue(executor)
    queue(executor)
    assert end(executor, FAILED) == {KEY: FAILED}
    assert has(executor)
    assert end(executor) == {KEY: SUCCESS}


def test_tasks_tries_and_map_indexes_are_counted_apart(executor):
    others = [KEY._replace(try_number=2), KEY._replace(map_index=3), KEY._replace(task_id="other")]
    for key in (KEY, *others):
        queue(executor, key)
    assert end(executor) == {KEY: SUCCESS}
    assert all(has(executor, key) for key in others)


def test_nothing_is_kept_of_what_has_ended(executor):
    for _ in range(3):
        queue(executor)
    for _ in range(3):
        end(executor)
    assert not executor._phases


def test_a_phase_whose_process_was_killed_before_it_began_can_be_queued_again(executor):
    queue(executor)
    executor.activity_queue.get()
    executor.revoke_task(ti=SimpleNamespace(key=KEY))
    assert not has(executor)
    queue(executor)
    assert end(executor) == {KEY: SUCCESS}


def test_a_phase_that_may_wait_for_a_process_is_not_queued_twice(executor):
    queue(executor)
    with pytest.raises(NotImplementedError):
        executor.revoke_task(ti=SimpleNamespace(key=KEY))
    assert has(executor)


def fork(executor, seconds, **key):
    """A phase of so many seconds is given to the processes."""
    workload = SimpleNamespace(
        key=KEY._replace(**key),
        seconds=seconds,
        running_state=None,
        success_state=SUCCESS,
        failure_state=FAILED,
        display_name="a phase",
    )
    executor.queued_tasks[workload.key] = workload
    executor.running.add(workload.key)
    executor._process_workloads([workload])
    return workload.key


def until(what, executor, seconds=20):
    """Heartbeats of the scheduler until something is so."""
    deadline = time.monotonic() + seconds
    while not what():
        executor.sync()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_after_a_process_was_killed_all_phases_are_launched_again_and_new_ones_run(forked, again):
    keys = {fork(forked, 60, task_id="one"), fork(forked, 60, task_id="two")}
    until(forked.activity_queue.empty, forked)
    # One that waits holds the lock of the queue, and so it does for ever.
    before = set(forked.workers)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: again.cut, forked)
    assert again.cut == [keys]
    assert again.killed
    assert not forked.running
    assert len(forked.workers) == 3
    assert not before & set(forked.workers)
    ended = fork(forked, 0, task_id="three")
    until(lambda: ended in forked.event_buffer, forked)
    assert forked.event_buffer[ended] == (SUCCESS, None)


def test_more_phases_may_wait_than_a_pipe_holds_by_itself(executor):
    """None is read here, as where the processes were killed; the scheduler must not wait for them."""
    for number in range(launcher.AHEAD * 16):
        key = TaskInstanceKey("dag", f"task_{number}", "run", 1, -1)
        executor.queued_tasks[key] = SimpleNamespace(key=key, more="x" * 4_000)
        executor._process_workloads([executor.queued_tasks[key]])
    assert not executor.activity_queue.empty()


def test_a_process_that_is_killed_takes_no_lock_along_that_the_scheduler_waits_for(forked):
    assert not hasattr(forked._unread_messages, "get_lock")
    with forked._unread_messages, forked._unread_messages:
        forked._check_workers()


def test_what_ended_before_its_process_was_killed_is_told(forked, again):
    ended = fork(forked, 0)
    deadline = time.monotonic() + 20
    while forked.result_queue.empty() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(next(iter(forked.workers)), signal.SIGKILL)
    until(lambda: again.cut, forked)
    assert again.cut == [set()]
    assert forked.event_buffer[ended] == (SUCCESS, None)


def test_a_phase_that_is_given_up_with_its_process_is_told(forked, again):
    key = fork(forked, 60)
    again.given_up = {key}
    until(forked.activity_queue.empty, forked)
    for pid in forked.workers:
        os.kill(pid, signal.SIGKILL)
    until(lambda: again.cut, forked)
    assert forked.event_buffer[key] == (FAILED, None)


def test_at_its_end_what_has_begun_is_ended_and_the_rest_is_given_back(forked, again):
    begun = {fork(forked, 1, task_id=f"begun_{number}") for number in range(3)}
    until(forked.activity_queue.empty, forked)
    waiting = {fork(forked, 60, task_id=f"waits_{number}") for number in range(4)}
    forked.queued_tasks[KEY] = SimpleNamespace(key=KEY)
    began = time.monotonic()
    forked.end()
    forked.workers.clear()
    assert time.monotonic() - began < 30
    assert again.given_back == {*waiting, KEY}
    assert {key: forked.event_buffer[key] for key in begun} == dict.fromkeys(begun, (SUCCESS, None))


def test_at_its_end_idle_processes_end(forked, again):
    forked.end()
    forked.workers.clear()
    assert again.given_back == set()


def test_a_database_that_is_away_does_not_keep_it_from_its_end(forked, again, monkeypatch):
    def give_back(keys):
        raise OperationalError("UPDATE", {}, Exception("away"))

    monkeypatch.setattr(again, "give_back", give_back)
    forked.end()
    forked.workers.clear()
    assert not multiprocessing.active_children()


def test_preload_imports_what_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(launcher, "MODULES", ("json",))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_module_of_the_team.py").write_text("")
    launcher.preload(["a_module_of_the_team"])
    assert sys.modules.pop("a_module_of_the_team")


@pytest.mark.parametrize("content", [None, "1 / 0", "import nothing_of_that_name"])
def test_a_module_that_cannot_be_imported_is_a_warning_and_the_rest_is(monkeypatch, tmp_path, caplog, content):
    monkeypatch.setattr(launcher, "MODULES", ())
    monkeypatch.syspath_prepend(tmp_path)
    if content:
        (tmp_path / "broken_module.py").write_text(content)
    (tmp_path / "next_module.py").write_text("")
    launcher.preload(["broken_module", "next_module"])
    assert "launcher.preload names broken_module, which cannot be imported" in caplog.text
    assert sys.modules.pop("next_module")


def test_an_image_without_what_phases_need_does_not_start(monkeypatch):
    monkeypatch.setattr(launcher, "MODULES", ("nothing_of_that_name",))
    with pytest.raises(ImportError):
        launcher.preload()


def test_all_that_phases_need_is_there():
    pytest.importorskip("airflow.providers.amazon")
    launcher.preload()
    assert set(launcher.MODULES) <= set(sys.modules)
