"""Phases that were cut off, on a database."""

import contextlib
import uuid
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from airflow.models import import_all_models
from airflow.models.callback import CallbackKey
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancekey import TaskInstanceKey
from sqlalchemy.orm import Session

from airflow_platform import relaunch
from airflow_platform.relaunch import AT_MOST, NoAnswer, Relaunch

NOW = datetime.now(timezone.utc)


@pytest.fixture
def session(monkeypatch):
    """The database, as Airflow's own sessions see it too."""
    # Of the tables that it refers to.
    import_all_models()
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    TaskInstance.__table__.create(engine)
    Log.__table__.create(engine)

    @contextlib.contextmanager
    def create_session():
        with Session(engine) as session, session.begin():
            yield session

    monkeypatch.setattr(relaunch, "create_session", create_session)
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def add(session):
    """Store a task instance; its key."""

    def add(task="task", state="running", **values):
        table = TaskInstance.__table__
        needed = {
            column.name: "x" if isinstance(column.type, sa.String) else 0
            for column in table.columns
            if not column.nullable and column.default is None and column.server_default is None
        }
        row = {"id": uuid.uuid4(), "dag_id": "dag", "run_id": "run", "task_id": task, "map_index": -1, "try_number": 1}
        session.execute(sa.insert(table).values({**needed, **row, "state": state, "executor": "launcher", **values}))
        session.commit()
        return TaskInstanceKey("dag", task, "run", values.get("try_number", 1), values.get("map_index", -1))

    return add


@pytest.fixture
def states(session):
    """The states of the task instances by name."""
    table = TaskInstance.__table__

    def states():
        session.rollback()
        return dict(map(tuple, session.execute(sa.select(table.c.task_id, table.c.state))))

    return states


@pytest.mark.parametrize("state", ["queued", "running"])
def test_what_was_cut_off_is_scheduled_again(add, states, state):
    assert Relaunch().cut_off([add(state=state)]) == set()
    assert states() == {"task": "scheduled"}


def test_the_try_and_what_it_resumes_with_stay(add, session):
    key = add(try_number=3, next_method="trigger_reentry", next_kwargs={"event": {"status": "success"}})
    Relaunch().cut_off([key])
    found = session.execute(sa.select(TaskInstance.try_number, TaskInstance.next_method, TaskInstance.next_kwargs))
    assert found.one() == (3, "trigger_reentry", {"event": {"status": "success"}})


@pytest.mark.parametrize("state", ["deferred", "scheduled", "success", "failed", "up_for_retry", None])
def test_where_airflow_knows_more_nothing_is_repeated_and_nothing_told(add, states, state):
    assert Relaunch().cut_off([add(state=state)]) == set()
    assert states() == {"task": state}


@pytest.mark.parametrize("killed", [False, True])
def test_of_a_task_that_was_cleared_meanwhile_the_end_is_told(add, states, killed):
    """Airflow then gives it its new try; it would wait for that for ever."""
    key, again = add(state="restarting"), Relaunch()
    assert again.cut_off([key], NoAnswer("ConnectError"), killed=killed) == {key}
    assert states() == {"task": "restarting"}


def test_the_same_where_its_row_is_locked(add, states, locked):
    key, again = add(state="restarting"), Relaunch()
    assert again.cut_off([key]) == set()
    locked()
    assert again.look_again(set()) == {key}
    assert states() == {"task": "restarting"}


def test_only_the_task_and_the_try_that_were_cut_off_are_repeated(add, states):
    add("other")
    key = add("task", try_number=2)
    Relaunch().cut_off([key._replace(try_number=1)])
    assert states() == {"other": "running", "task": "running"}
    Relaunch().cut_off([key, key._replace(run_id="another")])
    assert states() == {"other": "running", "task": "scheduled"}


def test_a_phase_that_kills_its_process_each_time_is_given_up(add, session, states):
    key, again = add(), Relaunch()

    def cut_off():
        session.execute(sa.update(TaskInstance).values(state="running"))
        session.commit()
        return again.cut_off([key])

    for _ in range(AT_MOST):
        assert cut_off() == set()
    assert cut_off() == {key}
    assert states() == {"task": "running"}
    again.forget(key)
    assert cut_off() == set()


def test_a_phase_that_the_api_server_does_not_answer_is_repeated_for_any_time(add, session, states):
    key, again = add(), Relaunch()

    def cut_off(error):
        session.execute(sa.update(TaskInstance).values(state="queued"))
        session.commit()
        return again.cut_off([key], error)

    for _ in range(AT_MOST * 3):
        assert cut_off(NoAnswer("ConnectError")) == set()
        assert states() == {"task": "scheduled"}
    for _ in range(AT_MOST):
        assert cut_off(RuntimeError("something else")) == set()
    assert cut_off(NoAnswer("ConnectError")) == set()
    assert cut_off(None) == {key}


def test_of_what_was_killed_only_what_had_begun_is_counted(add, session, states):
    waits, runs, again = add("waits", "queued"), add("runs"), Relaunch()
    for number in range(AT_MOST * 2):
        given_up = again.cut_off([waits, runs], killed=True)
        assert given_up == (set() if number < AT_MOST else {runs})
        session.execute(sa.update(TaskInstance).where(TaskInstance.task_id == "waits").values(state="queued"))
        session.execute(sa.update(TaskInstance).where(TaskInstance.task_id == "runs").values(state="running"))
        session.commit()


def test_a_phase_that_kills_its_scheduler_each_time_is_given_up(add, session, states):
    """By a scheduler that has just started, and knows of no other."""
    kills = add("kills")
    add("waits", "queued")

    def adopt(scheduler=None):
        session.execute(sa.update(TaskInstance).where(TaskInstance.task_id == "kills").values(state="running"))
        session.execute(sa.update(TaskInstance).where(TaskInstance.task_id == "waits").values(state="queued"))
        session.commit()
        left = (scheduler or Relaunch()).adopted(
            session.scalars(sa.select(TaskInstance).options(sa.orm.lazyload("*"))).all()
        )
        session.commit()
        assert left == [], "what is left is reset, and runs again"
        return states()

    for _ in range(AT_MOST):
        assert adopt() == {"kills": "scheduled", "waits": "scheduled"}
    last = Relaunch()
    assert adopt(last) == {"kills": "running", "waits": "scheduled"}
    # Airflow misses its heartbeats, and says so.
    assert last.cut_off([kills]) == {kills}
    assert states()["kills"] == "running"
    # That of another try, or of long ago, is not held against it.
    session.execute(sa.update(Log).values(dttm=NOW - timedelta(hours=2)))
    assert adopt() == {"kills": "scheduled", "waits": "scheduled"}
    session.execute(sa.update(TaskInstance).values(try_number=2))
    for _ in range(AT_MOST):
        assert adopt()["kills"] == "scheduled"


@pytest.fixture
def locked(monkeypatch):
    """All rows are locked by somebody else; what unlocks them."""
    original = relaunch._locked
    monkeypatch.setattr(relaunch, "_locked", lambda query, session: [])
    return lambda: monkeypatch.setattr(relaunch, "_locked", original)


@pytest.mark.parametrize(("meanwhile", "then"), [("running", "scheduled"), ("deferred", "deferred")])
def test_one_whose_row_is_locked_is_looked_at_again(add, session, states, locked, meanwhile, then):
    """Of the two requests of a phase that the API server may still be at, one starts it, and one ends it."""
    key, again = add(state="queued" if meanwhile == "running" else "running"), Relaunch()
    assert again.cut_off([key]) == again.look_again(set()) == set()
    session.execute(sa.update(TaskInstance).values(state=meanwhile))
    session.commit()
    locked()
    assert again.look_again(set()) == set()
    assert states() == {"task": then}
    session.execute(sa.update(TaskInstance).values(state="running"))
    session.commit()
    assert again.look_again(set()) == set()
    assert states() == {"task": "running"}


def test_those_that_are_locked_are_counted_like_all(add, session, states, locked):
    one, other, again = add("one"), add("other"), Relaunch()
    again._times.update({one: AT_MOST, other: AT_MOST})
    assert again.cut_off([one]) == again.cut_off([other], NoAnswer()) == set()
    locked()
    assert again.look_again(set()) == {one}
    assert states() == {"one": "running", "other": "scheduled"}
    assert again.look_again(set()) == set()


def test_one_of_which_a_later_phase_is_here_is_not_looked_at(add, states, locked):
    key, again = add(), Relaunch()
    again.cut_off([key])
    locked()
    assert again.look_again({key}) == again.look_again(set()) == set()
    assert states() == {"task": "running"}


def test_what_is_no_phase_of_a_task_is_to_be_told_as_failed(add, states):
    key, callback = add(), CallbackKey("00000000-0000-0000-0000-000000000000")
    assert Relaunch().cut_off([key, callback]) == {callback}
    assert states() == {"task": "scheduled"}


def test_what_has_not_begun_is_given_back_and_what_has_is_not(add, session, states):
    keys = [add("waits", "queued", try_number=2, next_method="trigger_reentry"), add("runs", "running")]
    add("another", "queued")
    assert Relaunch().give_back(keys) == {keys[0]}
    assert states() == {"waits": "scheduled", "runs": "running", "another": "queued"}
    found = session.execute(
        sa.select(TaskInstance.try_number, TaskInstance.next_method).where(TaskInstance.task_id == "waits")
    )
    assert found.one() == (2, "trigger_reentry")


@pytest.mark.parametrize("state", ["queued", "running", "restarting"])
def test_a_failure_is_that_of_its_own_message_alone(add, states, state):
    """A later phase of the key may be another scheduler's by now."""
    key, again = add(state=state, external_executor_id="later"), Relaunch()
    assert again.cut_off([key], message="earlier") == again.look_again(set()) == set()
    assert states() == {"task": state}
    assert again.cut_off([key], message="later") == ({key} if state == "restarting" else set())
    assert states() == {"task": "restarting" if state == "restarting" else "scheduled"}


def test_it_is_also_where_its_row_was_locked(add, session, states, locked):
    key, again = add(external_executor_id="earlier"), Relaunch()
    again.cut_off([key], message="earlier")
    session.execute(sa.update(TaskInstance).values(external_executor_id="later"))
    session.commit()
    locked()
    assert again.look_again(set()) == set()
    assert states() == {"task": "running"}


def test_what_another_scheduler_has_sent_since_is_not_given_back(add, states):
    keys = [add("mine", "queued", external_executor_id="1"), add("another's", "queued", external_executor_id="3")]
    assert Relaunch().give_back(keys, dict(zip(keys, ["1", "2"], strict=True))) == {keys[0]}
    assert states() == {"mine": "scheduled", "another's": "queued"}


def test_a_phase_that_neither_runs_nor_waits_is_over(add):
    states = ("queued", "running", "restarting", "success", "deferred")
    keys = {add(state, state, external_executor_id="its own") for state in states}
    gone = TaskInstanceKey("dag", "gone", "run", 1, -1)

    def over(message):
        asked = {*keys, gone, "the key of a callback"}
        return {key.task_id for key in Relaunch().over(asked, dict.fromkeys(asked, message))}

    assert over("its own") == {"success", "deferred", "gone"}
    assert over("an earlier one") == {"queued", "success", "deferred", "gone"}
    assert Relaunch().over(["the key of a callback"], {}) == set()


def test_nothing_is_asked_where_nothing_was_cut_off():
    assert Relaunch().cut_off([]) == set()
    assert Relaunch().give_back([]) == set()
    assert Relaunch().look_again(set()) == set()
    assert Relaunch().cut_off(["the key of a callback"]) == {"the key of a callback"}
    assert Relaunch().give_back(["the key of a callback"]) == set()


def test_phases_without_a_heartbeat_are_repeated(add, states):
    silent = add("silent", last_heartbeat_at=NOW - timedelta(minutes=2))
    add("beats", last_heartbeat_at=datetime.now(timezone.utc))
    add("worker", last_heartbeat_at=NOW - timedelta(minutes=2), executor=None)
    add("deferred", "deferred", last_heartbeat_at=NOW - timedelta(minutes=2))
    assert Relaunch().silent() == {silent}
    assert states() == {"silent": "scheduled", "beats": "running", "worker": "running", "deferred": "deferred"}


def test_what_a_scheduler_leaves_behind_goes_on_with_its_try(add, session, states):
    add("queued", "queued")
    add("running")
    add("cleared", "restarting")
    found = session.scalars(sa.select(TaskInstance).options(sa.orm.lazyload("*"))).all()
    assert [one.task_id for one in Relaunch().adopted(found)] == ["cleared"]
    session.commit()
    assert states() == {"queued": "scheduled", "running": "scheduled", "cleared": "restarting"}
