"""The scheduler's own counting, on a database."""

import uuid

import pytest
import sqlalchemy as sa
from airflow.jobs import scheduler_job_runner
from airflow.models.taskinstance import TaskInstance
from sqlalchemy.orm import Session

from airflow_platform import limits


@pytest.fixture
def scheduler(monkeypatch):
    """The scheduler's module, as it was before and is again after the test."""
    for owner, name in (
        (scheduler_job_runner, "EXECUTION_STATES"),
        (scheduler_job_runner.ConcurrencyMap, "load"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    return scheduler_job_runner


@pytest.fixture
def session():
    """A database with task instances: (run, task, state)."""
    rows = [
        ("one", "running", "running"),
        ("one", "queued", "queued"),
        ("one", "deferred", "deferred"),
        ("one", "another", "deferred"),
        ("one", "waits", "scheduled"),
        ("one", "input", "awaiting_input"),
        ("one", "done", "success"),
        ("two", "deferred", "deferred"),
    ]
    engine = sa.create_engine("sqlite://")
    table = TaskInstance.__table__
    table.create(engine)
    with Session(engine) as session:
        for run, task, state in rows:
            values = {"id": uuid.uuid4(), "dag_id": "dag", "run_id": run, "task_id": task, "state": state}
            needed = {
                column.name: "x" if isinstance(column.type, sa.String) else 0
                for column in table.columns
                if not column.nullable and column.default is None and column.server_default is None
            }
            session.execute(sa.insert(table).values({**needed, **values, "map_index": -1}))
        yield session
    engine.dispose()


def runs_of_dag(scheduler, session):
    """Tasks that the scheduler counts for each run, by its query and by its map."""
    counted = scheduler._get_current_dr_task_concurrency(states=scheduler.EXECUTION_STATES)
    by_query = {row.run_id: row.task_per_dr_count for row in session.execute(sa.select(counted))}
    by_map = scheduler.ConcurrencyMap()
    by_map.load(session=session)
    return by_query, {run: count for (_, run), count in by_map.dag_run_active_tasks_map.items()}


def test_the_scheduler_leaves_deferred_tasks_out(scheduler, session):
    assert runs_of_dag(scheduler, session) == ({"one": 2}, {"one": 2})


def test_deferred_tasks_count_for_max_active_tasks(scheduler, session):
    limits.count_deferred()
    assert runs_of_dag(scheduler, session) == ({"one": 4, "two": 1}, {"one": 4, "two": 1})


def test_a_second_call_changes_nothing(scheduler, session):
    limits.count_deferred()
    limits.count_deferred()
    assert runs_of_dag(scheduler, session) == ({"one": 4, "two": 1}, {"one": 4, "two": 1})


def test_what_a_load_has_counted_is_forgotten_by_the_next(scheduler, session):
    limits.count_deferred()
    counted = scheduler.ConcurrencyMap()
    counted.load(session=session)
    counted.load(session=session)
    assert counted.dag_run_active_tasks_map["dag", "one"] == 4


def test_limits_of_single_tasks_count_what_they_counted(scheduler, session):
    limits.count_deferred()
    counted = scheduler.ConcurrencyMap()
    counted.load(session=session)
    assert counted.task_concurrency_map["dag", "deferred"] == 2
    assert counted.task_dagrun_concurrency_map["dag", "one", "deferred"] == 1


def test_the_scheduler_still_counts_by_what_is_changed():
    names = scheduler_job_runner.SchedulerJobRunner._executable_task_instances_to_queued.__code__.co_names
    assert {"EXECUTION_STATES", "ConcurrencyMap", "_get_current_dr_task_concurrency"} <= set(names)
