"""The Airflow pools of the node pools, in a database, and the scheduler that looks after them."""

import logging
import uuid

import pytest
import sqlalchemy as sa
from airflow.jobs import scheduler_job_runner
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from sqlalchemy.orm import Session

from airflow_platform import airflow_pools, scheduler


@pytest.fixture
def session():
    engine = sa.create_engine("sqlite://")
    for table in (Pool.__table__, TaskInstance.__table__):
        table.create(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def pools(session):
    session.flush()
    return {pool.pool: (pool.slots, pool.include_deferred) for pool in session.scalars(sa.select(Pool))}


def task(session, pool, state, **more):
    table = TaskInstance.__table__
    needed = {
        column.name: "x" if isinstance(column.type, sa.String) else 0
        for column in table.columns
        if not column.nullable and column.default is None and column.server_default is None
    }
    session.execute(sa.insert(table).values({**needed, "id": uuid.uuid4(), "pool": pool, "state": state, **more}))


def test_each_node_pool_has_a_pool_that_counts_deferred_tasks(platform, session):
    airflow_pools.write(platform.node_pools, session=session)
    assert pools(session) == {"light": (32, True), "gpu": (4, True)}


def test_what_a_person_changed_is_set_back_and_said(platform, session, caplog):
    airflow_pools.write(platform.node_pools, session=session)
    session.execute(sa.update(Pool).where(Pool.pool == "gpu").values(slots=9, include_deferred=False))
    session.execute(sa.delete(Pool).where(Pool.pool == "light"))
    session.expire_all()
    with caplog.at_level(logging.INFO):
        airflow_pools.write(platform.node_pools, session=session)
    assert pools(session) == {"light": (32, True), "gpu": (4, True)}
    assert "Pool gpu has 9 slots, and is set to 4" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        airflow_pools.write(platform.node_pools, session=session)
    assert caplog.text == ""


def test_a_pool_of_a_persons_own_is_left_alone(platform, session):
    session.add(Pool(pool="mine", slots=1, description="Node pool", include_deferred=False))
    airflow_pools.write(platform.node_pools, session=session)
    airflow_pools.remove_others(platform.node_pools, session=session)
    assert pools(session)["mine"] == (1, False)


def test_a_pool_of_that_name_that_was_there_becomes_the_node_pools(platform, session):
    session.add(Pool(pool="gpu", slots=4, description="by hand", include_deferred=True))
    airflow_pools.write(platform.node_pools, session=session)
    assert session.scalar(sa.select(Pool.description).where(Pool.pool == "gpu")) == airflow_pools.DESCRIPTION


@pytest.mark.parametrize("state", [None, "scheduled", "deferred", "up_for_retry"])
def test_a_pool_that_is_no_node_pools_any_more_goes_once_nothing_waits_in_it(platform, session, caplog, state):
    airflow_pools.write(platform.node_pools, session=session)
    task(session, "gpu", state)
    rest = [pool for pool in platform.node_pools if pool.name == "light"]
    airflow_pools.remove_others(rest, session=session)
    assert set(pools(session)) == {"light", "gpu"}
    assert "Pool gpu is none of nodePools, and stays: 1 tasks" in caplog.text
    session.execute(sa.update(TaskInstance).values(state="success"))
    airflow_pools.remove_others(rest, session=session)
    assert set(pools(session)) == {"light"}


@pytest.mark.parametrize(
    ("include_deferred", "executor", "tasks", "said"),
    [(False, "launcher", 3, 1), (False, "launcher", 2, 0), (False, None, 3, 0), (True, "launcher", 3, 0)],
)
def test_a_pool_that_bounds_no_pods_is_told_once(
    session, caplog, monkeypatch, write_config, include_deferred, executor, tasks, said
):
    write_config("launcher: {kind: local}")
    monkeypatch.setattr(airflow_pools, "_said", set())
    session.add(Pool(pool="api", slots=2, include_deferred=include_deferred))
    session.flush()
    for number in range(tasks):
        task(session, "api", "deferred", executor=executor, pool_slots=1, map_index=number)
    for _ in range(2):
        airflow_pools.tell_exceeded(session=session)
    assert caplog.text.count(f"Pool api has 2 slots, and tasks whose pods run have {tasks}") == said


def test_the_scheduler_looks_at_the_pools_each_minute(monkeypatch):
    """Its timers are made where it runs: a newer Airflow that makes them elsewhere fails here."""
    monkeypatch.setattr(scheduler_job_runner, "EventScheduler", scheduler_job_runner.EventScheduler)
    scheduler.look_after_pools()
    made = []
    monkeypatch.setattr(scheduler.Timers, "call_regular_interval", lambda self, *given, **more: made.append(given))
    monkeypatch.setattr(SchedulerJobRunner, "adopt_or_reset_orphaned_tasks", lambda self: None)
    runner = SchedulerJobRunner.__new__(SchedulerJobRunner)
    with pytest.raises(AttributeError):
        # A runner of nothing gets as far as its timers.
        runner._run_scheduler_loop()
    assert (60, scheduler.write_pools) in made
    assert (60, airflow_pools.tell_exceeded) in made


def test_the_scheduler_reads_the_file_of_the_release_anew(write_config, monkeypatch):
    written = []
    monkeypatch.setattr(airflow_pools, "write", lambda pools: written.append([pool.slots for pool in pools]))
    path = write_config("nodePools: [{name: gpu, slots: 4}]")
    scheduler.write_pools()
    path.write_text("nodePools: [{name: gpu, slots: 5}]")
    scheduler.write_pools()
    assert written == [[4], [5]]


def test_without_a_file_there_is_nothing_to_look_after(monkeypatch):
    monkeypatch.delenv("AIRFLOW_PLATFORM_CONFIG", raising=False)
    monkeypatch.setattr(airflow_pools, "write", lambda pools: pytest.fail("written"))
    scheduler.write_pools()


def test_a_failure_does_not_end_the_scheduler(write_config, capsys):
    path = write_config("nodePools: [{name: gpu, slots: 4}]")
    path.write_text("nodePools: [{name: gpu}]")
    timers = scheduler.Timers()
    event = timers.queue[0]
    event.action(*event.argument, **event.kwargs)
    assert "nodePools[0].slots: is missing" in capsys.readouterr().out
    assert len(timers.queue) == 3
