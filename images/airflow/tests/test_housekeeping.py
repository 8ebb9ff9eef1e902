"""What is deleted of the database, and what is not, with all of Airflow's foreign keys."""

import uuid
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from airflow.models.base import Base
from airflow.models.callback import Callback
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils import db_cleanup
from airflow.utils.session import create_session
from sqlalchemy.exc import OperationalError

from airflow_platform import housekeeping

NOW = datetime.now(timezone.utc)
OLD = NOW - timedelta(days=100)


@pytest.fixture
def session(metadata_database, monkeypatch):
    """Of a database whose one row of the past is one of the audit log."""
    monkeypatch.setattr(db_cleanup, "config_dict", dict(db_cleanup.config_dict))
    with create_session() as session:
        for table in (TaskInstance, DagRun, DagVersion, DagModel, DagBundleModel, Callback, Trigger, Log):
            session.execute(sa.delete(table).execution_options(synchronize_session=False))
        session.add(DagBundleModel(name="dags"))
        session.execute(sa.insert(Log.__table__).values(dttm=OLD, event="old"))
        session.commit()
        yield session


def have_dag(session, dag_id, parsed, stale, **starts):
    """A DAG and its last scheduled run, with tasks that started then."""
    limits = {"max_active_tasks": 4, "max_active_runs": 1, "max_consecutive_failed_dag_runs": 0}
    file = {"bundle_name": "dags", "relative_fileloc": f"{dag_id}.py", "has_task_concurrency_limits": False}
    session.add(DagModel(dag_id=dag_id, is_stale=stale, is_paused=False, last_parsed_time=parsed, **limits, **file))
    session.flush()
    version = DagVersion(dag_id=dag_id, version_number=1, bundle_name="dags")
    run = DagRun(dag_id=dag_id, run_id="r", run_type="scheduled", state="running")
    run.start_date = run.run_after = run.logical_date = OLD
    session.add_all([version, run])
    session.flush()
    for task_id, start in starts.items():
        row = {"id": uuid.uuid4(), "dag_id": dag_id, "run_id": "r", "task_id": task_id, "start_date": start}
        more = {"map_index": -1, "pool": "default_pool", "pool_slots": 1, "priority_weight": 1, "span_status": "ended"}
        row |= {"dag_version_id": version.id, "try_number": 1, "max_tries": 1, **more}
        session.execute(sa.insert(TaskInstance.__table__).values(row))
    session.commit()


def clean():
    housekeeping.main(["--days=90", "--batch-size=10"])


def kept(session, column):
    return set(session.scalars(sa.select(column)))


def test_a_dag_that_is_gone_goes_with_its_tasks_that_never_started(session):
    have_dag(session, "gone", OLD, True, ran=OLD, never=None)
    clean()
    assert kept(session, DagModel.dag_id) == kept(session, TaskInstance.task_id) == set()
    assert kept(session, DagRun.dag_id) == {"gone"}, "the schedule goes on from there, should it come back"
    assert kept(session, Log.event) == set(), "and all other tables have their turn"


@pytest.mark.parametrize(("parsed", "stale"), [(NOW, False), (NOW, True), (OLD, False)])
def test_a_task_that_has_yet_to_start_stays_with_its_dag(session, parsed, stale):
    have_dag(session, "there", parsed, stale, ran=OLD, never=None)
    clean()
    assert kept(session, DagModel.dag_id) == {"there"}
    assert kept(session, TaskInstance.task_id) == {"never"}
    assert kept(session, Log.event) == set()


def test_a_dag_that_is_gone_stays_while_it_has_a_task_that_is_young(session):
    have_dag(session, "gone", OLD, True, marked=NOW, never=None)
    clean()
    assert kept(session, DagModel.dag_id) == {"gone"}
    assert kept(session, TaskInstance.task_id) == {"marked"}
    assert kept(session, Log.event) == set()


def test_a_trigger_stays_while_a_callback_waits_for_it(session):
    triggers = [Trigger("a.Held", {}), Trigger("a.Free", {})]
    for one in triggers:
        one.created_date = OLD
    session.add_all(triggers)
    session.flush()
    row = {"id": uuid.uuid4(), "type": "triggerer", "fetch_method": "import_path", "data": {}, "priority_weight": 1}
    row |= {"state": "running", "created_at": OLD, "trigger_id": triggers[0].id}
    session.execute(sa.insert(Callback.__table__).values(row))
    session.commit()
    clean()
    assert kept(session, Trigger.classpath) == {"a.Held"}
    assert kept(session, Log.event) == set()


def test_nothing_else_holds_a_row_that_is_to_go(metadata_database):
    held = {
        (table.name, key.referred_table.name)
        for table in Base.metadata.tables.values()
        for key in table.foreign_key_constraints
        if (key.ondelete or "NO ACTION").upper() in ("NO ACTION", "RESTRICT") and not table.name.startswith("ab_")
    }
    never_go = {("dag", "dag_bundle"), ("dag_run", "backfill"), ("dag_run", "log_template")}
    # Those of dag_version go with their DAG; by themselves, Airflow asks.
    assert held - never_go == {("task_instance", "dag_version"), ("callback", "trigger")}


@pytest.fixture
def tables(session):
    """Two tables that are archives by their names, and what there is of such."""
    names = ["_airflow_deleted__log__20260101000000__b12", "_airflow_deleted__log__20260101000000"]
    for name in names:
        session.execute(sa.text(f"CREATE TABLE {name} (id INTEGER)"))
    session.commit()
    yield lambda: [name for name in names if name in sa.inspect(session.connection()).get_table_names()]
    for name in names:
        session.execute(sa.text(f"DROP TABLE IF EXISTS {name}"))
    session.commit()


def test_the_copy_of_rows_that_a_killed_run_has_left_is_dropped_and_no_archive(tables):
    clean()
    assert tables() == ["_airflow_deleted__log__20260101000000"]


def test_a_copy_that_somebody_reads_is_left_and_told_and_all_else_is_done(session, tables, monkeypatch, capsys):
    def refuse(statement):
        raise OperationalError(statement, {}, Exception("lock timeout"))

    # As a dump has it refused, after a minute.
    monkeypatch.setattr(housekeeping, "text", refuse)
    with pytest.raises(SystemExit, match="left for the next time: _airflow_deleted__log__20260101000000__b12"):
        clean()
    assert "_airflow_deleted__log__20260101000000__b12 stays: lock timeout" in capsys.readouterr().out
    assert len(tables()) == 2
    assert kept(session, Log.event) == set()
