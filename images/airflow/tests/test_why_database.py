"""What the database knows, on a database with all of Airflow's tables."""

import json
import uuid
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from airflow.jobs.job import Job
from airflow.models import import_all_models
from airflow.models.backfill import Backfill
from airflow.models.base import Base
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.errors import ParseImportError
from airflow.models.log import Log
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.trigger import Trigger
from sqlalchemy.orm import Session

from airflow_platform.why import database
from airflow_platform.why.answer import answer
from airflow_platform.why.database import NotFoundError, Request, look

NOW = datetime.now(timezone.utc).replace(microsecond=0)


def ago(**words):
    return NOW - timedelta(**words)


class Airflow:
    """A database with one DAG, its serialized form, and what a test adds."""

    def __init__(self, session, dags):
        self.session, self._dags = session, dags
        session.add(DagBundleModel(name="dags"))
        for pool, slots in (("default_pool", 128), ("gpu", 2)):
            session.add(Pool(pool=pool, slots=slots, include_deferred=pool != "default_pool"))
        for job_type in ("SchedulerJob", "TriggererJob", "DagProcessorJob"):
            self.job(job_type)
        self.dag("d", "a", "t", upstream={"t": ["a"]})

    def dag(self, dag_id, *task_ids, upstream=None, **model):
        self.session.add(
            DagModel(**{"dag_id": dag_id, "bundle_name": "dags", "relative_fileloc": f"{dag_id}.py", "is_stale": False,
                        "is_paused": False, "max_active_tasks": 4, "max_active_runs": 1,
                        "max_consecutive_failed_dag_runs": 0, "has_task_concurrency_limits": False, **model})
        )  # fmt: skip
        self._dags[dag_id] = Dag(task_ids, upstream or {})
        self.session.flush()

    def run(self, run_id, state="running", dag_id="d", **more):
        given = {"run_after": ago(minutes=10), "start_date": ago(minutes=10), **more}
        given.setdefault("logical_date", given["run_after"])
        run = DagRun(dag_id=dag_id, run_id=run_id, run_type="manual", state=state)
        for name, value in given.items():
            setattr(run, name, value)
        self.session.add(run)
        self.session.flush()
        return run

    def instance(self, task_id, state=None, run_id="r", dag_id="d", map_index=-1, **more):
        values = {
            "task_id": task_id, "state": state, "run_id": run_id, "dag_id": dag_id, "map_index": map_index,
            "pool": "gpu", "pool_slots": 1, "priority_weight": 1, "try_number": 1, "max_tries": 2, **more,
        }  # fmt: skip
        table = TaskInstance.__table__
        values["id"] = uuid.uuid4()
        values.setdefault("span_status", "not_started")
        self.session.execute(sa.insert(table).values(values))
        self.session.flush()
        return values["id"]

    def job(self, job_type, seconds=1, **more):
        job = Job(**more)
        # Airflow judges it by the clock.
        job.latest_heartbeat = datetime.now(timezone.utc) - timedelta(seconds=seconds)
        job.job_type, job.state = job_type, "running"
        self.session.add(job)
        self.session.flush()
        return job

    def look(self, task_id="t", **words):
        return look(Request("d", task_id, **words), self.session, NOW.timestamp())

    def sentence(self, task_id="t", **words):
        return answer(self.look(task_id, **words).facts).sentence


class Dag:
    """A serialized DAG, as far as it is asked."""

    def __init__(self, task_ids, upstream):
        self.task_dict = {task_id: Task(self, task_id, set(upstream.get(task_id, ()))) for task_id in task_ids}

    def get_task(self, task_id):
        from airflow.exceptions import TaskNotFound

        if task_id not in self.task_dict:
            raise TaskNotFound(task_id)
        return self.task_dict[task_id]


class Task:
    trigger_rule = "all_success"
    is_mapped = False
    deps = frozenset()
    retry_delay = timedelta(minutes=5)
    retry_exponential_backoff = 0
    max_retry_delay = None
    max_active_tis_per_dag = None
    max_active_tis_per_dagrun = None

    def __init__(self, dag, task_id, upstream):
        self.dag, self.task_id, self.upstream_task_ids = dag, task_id, upstream
        self.owner = "team"

    def iter_mapped_task_groups(self):
        return iter(())

    def get_flat_relative_ids(self, *, upstream):
        found = set(self.upstream_task_ids)
        for task_id in self.upstream_task_ids:
            found |= self.dag.task_dict[task_id].get_flat_relative_ids(upstream=True)
        return found


@pytest.fixture
def airflow(monkeypatch):
    engine = sa.create_engine("sqlite://")
    import_all_models()
    Base.metadata.create_all(engine)
    dags = {}
    bag = SimpleNamespace(
        get_dag_for_run=lambda run, session: dags.get(run.dag_id),
        get_latest_version_of_dag=lambda dag_id, session: dags.get(dag_id),
    )
    monkeypatch.setattr(database, "_dags", lambda: bag)
    monkeypatch.setattr(database, "_log_path", lambda instance, session: "log")
    with Session(engine) as session:
        yield Airflow(session, dags)
    engine.dispose()


# Names.


def test_a_dag_that_does_not_exist_names_those_that_are_near(airflow):
    airflow.dag("reports_daily")
    with pytest.raises(NotFoundError, match=r"^There is no DAG 'report_daily'\. Known: reports_daily\.$"):
        look(Request("report_daily", "t"), airflow.session, 0)


def test_the_names_of_dags_that_the_user_may_not_read_are_not_told(airflow):
    airflow.dag("reports_daily")
    with pytest.raises(NotFoundError) as raised:
        look(Request("report_daily", "t", readable={"d"}), airflow.session, 0)
    assert "reports_daily" not in str(raised.value)


def test_a_dag_whose_file_may_be_broken_says_so(airflow):
    airflow.session.add(ParseImportError(filename="x.py", bundle_name="dags", stacktrace="Error: x"))
    with pytest.raises(NotFoundError, match="Files that cannot be read: 1; the UI's home page shows their errors"):
        look(Request("x", "t"), airflow.session, 0)


def test_a_task_that_does_not_exist_names_those_that_are_near(airflow):
    with pytest.raises(NotFoundError, match=r"^DAG d has no task 'T1'\. Known: t\.$"):
        airflow.look("T1")
    airflow.run("r")
    airflow.instance("removed_one", "removed")
    with pytest.raises(NotFoundError, match=r"Known: removed_one\."):
        airflow.look("remove_one")


@pytest.mark.parametrize("state", ["running", "success"])
def test_a_task_that_is_newer_than_its_run_is_not_in_it(airflow, monkeypatch, state):
    monkeypatch.setattr(database._dags(), "get_dag_for_run", lambda run, session: Dag(["a"], {}))
    airflow.run("r", state)
    airflow.instance("a", state)
    assert airflow.sentence().startswith("Run r has no task t: it came into DAG d after the run began.")
    with pytest.raises(NotFoundError, match=r"^DAG d has no task 'x'\. Known: a, t\.$"):
        airflow.look("x")


def test_a_run_that_does_not_exist_names_those_that_are_near(airflow):
    airflow.run("manual__2026-01-01")
    with pytest.raises(NotFoundError, match=r"^DAG d has no run 'manual__2026-01-02'\. Known: manual__2026-01-01\.$"):
        airflow.look(run_id="manual__2026-01-02")


def test_an_index_that_does_not_exist_names_those_that_do(airflow):
    airflow.run("r")
    airflow.instance("t", "success", map_index=0)
    airflow.instance("t", "failed", map_index=1)
    airflow.instance("a", "success")
    with pytest.raises(NotFoundError, match="no map index 7 in this run: it has 0 to 1"):
        airflow.look(map_index=7)
    with pytest.raises(NotFoundError, match="no map index 0 in this run: it is not mapped"):
        airflow.look("a", map_index=0)


# Which one.


def test_the_latest_run_that_has_the_task_is_meant(airflow):
    airflow.run("old", "success", run_after=ago(days=2))
    airflow.instance("t", "success", run_id="old")
    airflow.run("r", run_after=ago(days=1))
    airflow.instance("t", "running", run_id="r", start_date=ago(minutes=2))
    airflow.run("newest", "queued", run_after=ago(days=0))
    found = airflow.look().facts
    assert (found.run.id, found.instance.state) == ("r", "running")
    assert airflow.look(run_id="old").facts.instance.state == "success"
    assert airflow.look(run_id="newest").facts.instance is None


def test_of_a_mapped_task_the_one_that_needs_an_answer_is_meant(airflow):
    airflow.run("r")
    for index, state in enumerate(["success", "running", "failed", "failed"]):
        airflow.instance("t", state, map_index=index, end_date=ago(minutes=1))
    found = airflow.look().facts
    assert found.instance.map_index == 2
    assert found.counts == {"success": 1, "running": 1, "failed": 2}
    assert airflow.look(map_index=1).facts.instance.state == "running"


# What holds it up.


def test_a_dag_without_a_run(airflow):
    assert airflow.sentence() == "DAG d has no run in which task t could be; it has no schedule: trigger one."


def test_a_paused_dag(airflow):
    airflow.session.get(DagModel, "d").is_paused = True
    assert airflow.sentence() == "DAG d is paused, so task t does not go on. Unpause the DAG."


def test_a_file_with_an_error(airflow):
    airflow.session.get(DagModel, "d").is_stale = True
    trace = "Traceback (most recent call last):\n  File ...\nNameError: name 'x' is not defined\n"
    airflow.session.add(ParseImportError(filename="d.py", bundle_name="dags", stacktrace=trace))
    airflow.run("r")
    airflow.instance("t")
    assert airflow.sentence() == (
        "DAG d cannot be read: its file d.py has an error, NameError: name 'x' is not defined. Mend the file and push "
        "it."
    )


def test_a_scheduler_whose_heartbeat_is_old(airflow):
    airflow.session.execute(sa.delete(Job).where(Job.job_type == "SchedulerJob"))
    airflow.job("SchedulerJob", seconds=240)
    airflow.run("r")
    airflow.instance("t", "scheduled")
    assert airflow.sentence().startswith("No scheduler is alive (the last heartbeat was ")


def test_a_run_that_waits_for_others(airflow):
    airflow.run("r0", run_after=ago(days=1))
    airflow.run("r", "queued")
    airflow.instance("t")
    assert airflow.sentence(run_id="r").startswith(
        "Run r waits: 1 of 1 runs of DAG d are running (max_active_runs), r0."
    )


def test_a_run_of_a_backfill_that_is_paused(airflow):
    backfill = Backfill(dag_id="d", from_date=NOW, to_date=NOW, is_paused=True, max_active_runs=3, dag_run_conf={})
    airflow.session.add(backfill)
    airflow.session.flush()
    airflow.run("r", "queued", backfill_id=backfill.id)
    airflow.instance("t")
    assert airflow.sentence() == f"Run r is of backfill {backfill.id}, which is paused. Unpause the backfill."


def test_what_comes_before_it(airflow):
    airflow.run("r")
    airflow.instance("a", "running")
    airflow.instance("t")
    assert airflow.sentence() == "Task t waits for what comes before it: a (running). Ask why of that one."


def test_a_full_pool_says_who_has_it_and_how_many_are_ahead(airflow):
    airflow.dag("e", "score")
    airflow.run("r")
    airflow.run("e1", dag_id="e")
    airflow.instance("a", "deferred", map_index=0)
    airflow.instance("score", "running", run_id="e1", dag_id="e")
    airflow.instance("t", "scheduled", scheduled_dttm=ago(minutes=3))
    for index in range(2):
        airflow.instance("score", "scheduled", run_id="e1", dag_id="e", map_index=index, priority_weight=5)
    airflow.instance("score", "scheduled", run_id="e1", dag_id="e", map_index=9, priority_weight=0)
    sentence = (
        "Task t waits for a slot of pool gpu: 2 of 2 are taken, by d.a (1) and {}; 2 tasks are ahead of it. "
        "It goes on when others end, or when the pool gets more slots."
    )
    assert airflow.sentence() == sentence.format("e.score (1)")
    assert airflow.sentence(readable={"d"}) == sentence.format("tasks of other teams (1)")
    assert airflow.look().facts.instance.since == ago(minutes=3).timestamp()


def test_a_pool_that_does_not_exist(airflow):
    airflow.run("r")
    airflow.instance("t", "scheduled", pool="gqu")
    assert airflow.sentence().startswith("Task t names pool gqu, which does not exist. Name one of default_pool, gpu,")


@pytest.mark.parametrize(("kind", "waits"), [("local", True), ("none", False)])
def test_deferred_tasks_count_for_max_active_tasks_where_there_is_a_launcher(airflow, write_config, kind, waits):
    write_config(f"launcher: {{kind: {kind}}}")
    airflow.run("r")
    for index in range(4):
        airflow.instance("a", "deferred", map_index=index, pool="default_pool")
    airflow.instance("t", "scheduled")
    assert ("4 of 4 tasks of run r are at work (max_active_tasks)" in airflow.sentence()) is waits


def test_limits_of_the_task_alone(airflow):
    airflow.run("r")
    airflow.run("r2", run_after=ago(days=1))
    airflow.instance("t", "deferred", run_id="r2", pool="default_pool")
    airflow.instance("t", "scheduled")
    task = database._dags().get_latest_version_of_dag("d", session=None).get_task("t")
    task.max_active_tis_per_dag = 1
    assert "1 of 1 instances of task t in all runs are at work" in airflow.sentence(run_id="r")
    task.max_active_tis_per_dag, task.max_active_tis_per_dagrun = None, 1
    assert airflow.sentence(run_id="r").startswith("Task t is ready")


def test_a_busy_launcher(airflow, write_config):
    write_config("launcher: {kind: local, slots: 2}")
    airflow.run("r")
    for index in range(2):
        airflow.instance("a", "running", map_index=index, executor="launcher", pool="default_pool")
    airflow.instance("a", "queued", map_index=2, executor="launcher", queued_dttm=ago(seconds=9), pool="default_pool")
    airflow.instance("t", "queued", executor="launcher", queued_dttm=ago(seconds=5))
    assert airflow.sentence().startswith(
        "Task t waits for a process of the launcher: all 2 are at work, and 1 task was queued before it."
    )


def test_a_worker_of_kubernetes_executor_is_one_of_its_own(airflow, write_config, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor,launcher:airflow_platform.launcher.LocalLauncher")
    write_config("launcher: {kind: local, slots: 2}")
    airflow.run("r")
    airflow.instance("a", "queued", executor="launcher", pool="default_pool")
    airflow.instance("t", "queued", queued_dttm=ago(seconds=5))
    executor = airflow.look().facts.executor
    assert (executor.name, executor.kind, executor.queued, executor.slots) == (
        "KubernetesExecutor",
        "kubernetes",
        1,
        None,
    )


def put_off(airflow, classpath, arguments, **more):
    trigger = Trigger(classpath=classpath, kwargs=arguments)
    trigger.created_date = ago(minutes=4)
    trigger.triggerer_id = more.pop("triggerer_id", None)
    airflow.session.add(trigger)
    airflow.session.flush()
    airflow.run("r")
    airflow.instance("t", "deferred", trigger_id=trigger.id, **more)


@pytest.fixture
def fernet(monkeypatch):
    from airflow.models import crypto

    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "X2xkVHk1ekVpTzJ6R2p6bmN5b0c2MmJvR2ZRb0s0ZHg=")
    crypto.get_fernet.cache_clear()
    yield
    crypto.get_fernet.cache_clear()


def test_the_pod_that_a_trigger_follows(airflow, fernet):
    arguments = {"name": "p", "namespace": "team", "cluster": {"conn_id": "kubernetes_default"}}
    triggerer = airflow.job("TriggererJob")
    put_off(airflow, "airflow_platform.trigger.PodTrigger", arguments, triggerer_id=triggerer.id)
    found = airflow.look()
    assert (found.facts.instance.trigger.kind, found.facts.instance.trigger.taken) == ("pod", True)
    assert found.facts.instance.since == ago(minutes=4).timestamp()
    assert found.trigger[1]["name"] == "p"


def test_a_trigger_that_nobody_runs(airflow, fernet):
    lost = airflow.job("TriggererJob", seconds=600)
    put_off(airflow, "airflow_platform.trigger.PodTrigger", {"name": "p"}, triggerer_id=lost.id)
    assert airflow.sentence().startswith("No triggerer has taken up task t for 4 min")


def test_a_launch_that_is_tried_again_says_why(airflow, fernet):
    reason = "Quota q of namespace team is full"
    triggerer = airflow.job("TriggererJob")
    put_off(
        airflow,
        "airflow_platform.waiting.WaitTrigger",
        {"seconds": 15, "reason": reason, "quota": "q"},
        triggerer_id=triggerer.id,
    )
    assert airflow.sentence() == f"{reason}. The launch of task t is tried again by itself."
    assert answer(airflow.look().facts).cause == "quota-full"


def test_how_many_launches_were_refused_that_go_first(airflow, fernet):
    mine = {"priority_weight": 2, "start_date": ago(minutes=3)}
    put_off(airflow, "airflow_platform.waiting.WaitTrigger", {"reason": "full"}, **mine)

    def another(task_id, classpath="airflow_platform.waiting.WaitTrigger", **more):
        trigger = Trigger(classpath=classpath, kwargs={})
        airflow.session.add(trigger)
        airflow.session.flush()
        airflow.instance(task_id, "deferred", trigger_id=trigger.id, **{**mine, **more})

    another("earlier", start_date=ago(minutes=4))
    another("higher", priority_weight=3, start_date=ago(minutes=1))
    another("later", start_date=ago(minutes=2))
    another("lower", priority_weight=1, start_date=ago(minutes=4))
    another("elsewhere", pool="light", start_date=ago(minutes=4))
    another("has-a-pod", "airflow_platform.trigger.PodTrigger", start_date=ago(minutes=4))
    assert airflow.look().facts.instance.trigger.before == 2


def test_when_a_try_follows(airflow):
    airflow.run("r")
    airflow.instance("t", "up_for_retry", end_date=ago(minutes=1))
    assert airflow.look().facts.instance.next_try == (ago(minutes=1) + timedelta(minutes=5)).timestamp()
    assert "Try 2 begins in 4 min" in airflow.sentence()


def test_when_a_sensor_looks_again(airflow):
    airflow.run("r")
    instance = airflow.instance("t", "up_for_reschedule")
    again = NOW + timedelta(seconds=40)
    airflow.session.add(TaskReschedule(instance, ago(seconds=20), ago(seconds=10), again))
    airflow.session.flush()
    assert "it looks again in 40 s" in airflow.sentence()


# How it ended.


def note(airflow, event, owner=None, when=NOW, **fields):
    row = Log(event=event, owner=owner, dag_id="d", run_id="r", **fields)
    row.dttm = when
    airflow.session.add(row)
    airflow.session.flush()


@pytest.mark.parametrize(
    ("state", "when", "extra", "expected"),
    [
        ("failed", NOW, {"new_state": "failed"}, "alice"),
        ("failed", ago(hours=1), {"new_state": "failed"}, ""),
        ("failed", NOW, {"new_state": "success"}, ""),
        ("failed", NOW, {"new_state": "failed", "map_index": 3}, ""),
        ("success", NOW, {"new_state": "success"}, "alice"),
    ],
)
def test_who_set_the_state_by_hand(airflow, state, when, extra, expected):
    airflow.run("r")
    airflow.instance("t", state, end_date=ago(seconds=2))
    note(airflow, "patch_task_instance", "alice", when, task_id="t", extra=json.dumps(extra))
    assert airflow.look().facts.end.marked_by == expected


@pytest.mark.parametrize("to", ["failed", "success"])
def test_who_ended_the_run_of_a_task_that_was_skipped(airflow, to):
    airflow.run("r", to)
    airflow.instance("t", "skipped", try_number=0, end_date=ago(seconds=2))
    note(airflow, "patch_dag_run", "alice", extra=json.dumps({"note": "x"}))
    assert airflow.look().facts.end.marked_by == ""
    note(airflow, "patch_dag_run", "alice", extra=json.dumps({"state": to}))
    assert airflow.sentence() == "Task t was skipped: alice ended its run by hand."


def test_a_task_that_fail_fast_skipped(airflow):
    airflow.run("r", "failed")
    airflow.instance("t", "skipped", try_number=0, end_date=ago(seconds=2))
    said = "Skipping task due to dag's `fail_fast` setting."
    note(airflow, "skip task", task_id="t", try_number=0, map_index=-1, extra=said)
    assert airflow.sentence() == "Task t was skipped: another task of its run failed, and the DAG has fail_fast."


def test_a_task_that_has_nothing_to_be_expanded_over(airflow, monkeypatch):
    monkeypatch.setattr(Task, "is_mapped", True)
    airflow.run("r", "success")
    airflow.instance("t", "skipped", try_number=0)
    assert airflow.sentence() == "Task t was skipped: the list over which it is expanded is empty."


def test_what_the_scheduler_said(airflow):
    airflow.run("r")
    airflow.instance("t", "failed", end_date=ago(minutes=2))
    said = "Task did not emit heartbeat within time limit (300 seconds) and will be terminated."
    note(airflow, "heartbeat timeout", task_id="t", try_number=1, map_index=-1, extra=said)
    assert "The scheduler says: Task did not emit heartbeat" in airflow.sentence()


def test_the_tasks_before_it_that_failed_themselves(airflow):
    airflow.dag("c", "first", "second", "third", upstream={"third": ["second"], "second": ["first"]})
    airflow.run("r", dag_id="c")
    airflow.instance("first", "failed", dag_id="c")
    airflow.instance("second", "upstream_failed", dag_id="c")
    airflow.instance("third", "upstream_failed", dag_id="c")
    found = look(Request("c", "third"), airflow.session, 0).facts
    assert answer(found).sentence.startswith("Task third did not run, as first failed.")


def test_looking_changes_nothing(airflow):
    airflow.run("r")
    airflow.instance("a", "success")
    airflow.instance("t")
    airflow.session.commit()
    airflow.look()
    assert not airflow.session.dirty
    assert airflow.session.scalar(sa.select(TaskInstance.state).where(TaskInstance.task_id == "t")) is None
