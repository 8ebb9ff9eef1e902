"""What Airflow's database knows of one task instance, and of what it depends on.

For processes that hold the database's URL: the api-server, or a command in its pod.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import cache
from typing import Any

from airflow.api_fastapi.common.dagbag import create_dag_bag
from airflow.configuration import conf
from airflow.exceptions import TaskNotFound
from airflow.jobs.job import Job, JobState, most_recent_job
from airflow.models.backfill import Backfill
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.errors import ParseImportError
from airflow.models.log import Log
from airflow.models.pool import Pool as PoolModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.trigger import Trigger as TriggerModel
from airflow.ti_deps.dep_context import DepContext
from airflow.ti_deps.dependencies_states import ACTIVE_STATES, EXECUTION_STATES
from airflow.utils.log.file_task_handler import FileTaskHandler
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from airflow_platform import config
from airflow_platform.launch import EXECUTOR
from airflow_platform.launcher import AHEAD
from airflow_platform.why import facts
from airflow_platform.why.answer import UNFINISHED

#: The triggers of tasks that have a pod; the platform's others are of tasks whose launch is tried again.
_POD_TRIGGERS = ("airflow_platform.trigger.PodTrigger", "airflow.providers.cncf.kubernetes.triggers.pod.")
_OURS = "airflow_platform."
#: Which instance of a mapped task is asked about where nobody says: the first that has one of these states.
_URGENT = (
    "failed", "up_for_retry", "running", "deferred", "queued", "scheduled", "up_for_reschedule", "upstream_failed",
)  # fmt: skip
#: What Airflow says of a task that waits, which is said better elsewhere, or does not hold it up.
_SAID_ELSEWHERE = {
    "Trigger Rule", "Mapped dependencies have succeeded", "Task has been mapped", "Not In Retry Period",
    "Ready To Reschedule", "Dag Not Paused", "Dagrun Running", "Pool Slots Available", "Task Concurrency",
    "Task Instance Slots Available", "Task Instance State", "Task Instance Not Running",
}  # fmt: skip
#: What Airflow notes of a try that it ends (airflow.jobs.scheduler_job_runner), or skips (airflow.models.taskinstance).
_SCHEDULER_EVENTS = ("state mismatch", "stuck in queued tries exceeded", "heartbeat timeout", "skip task")
#: What the api-server notes of states that people set (airflow.api_fastapi.core_api.routes.public).
_BY_HAND = ("patch_task_instance", "patch_task_group_instances", "bulk_task_instances", "patch_dag_run")
#: Names that are proposed for one that is not known.
_NEAR = 5


class NotFoundError(LookupError):
    """There is no such DAG, task, run or instance; the message names those that are near."""


@dataclass(frozen=True)
class Request:
    """What is asked about.

    ``run_id`` None means: the latest run; ``map_index`` None: the task's only instance, or that of a mapped one which
    is most in need of an answer. ``readable``: the DAGs whose names may be told; None: all.
    """

    dag_id: str
    task_id: str
    run_id: str | None = None
    map_index: int | None = None
    readable: Collection[str] | None = None


@dataclass(frozen=True)
class Found:
    """What the database knows, and what is to be asked elsewhere by it.

    ``log_path`` is the log's key below the remote base, ``trigger`` the class path and arguments of its trigger.
    """

    facts: facts.Facts
    log_path: str | None = None
    operator: str = ""
    trigger: tuple[str, Mapping[str, Any]] | None = None


@cache
def _dags() -> Any:
    return create_dag_bag()


def look(request: Request, session: Session, now: float) -> Found:
    """All that the database knows.

    Raises:
        NotFoundError: there is no such DAG, task, run or instance.
    """
    dag_model = session.get(DagModel, request.dag_id)
    if dag_model is None:
        raise NotFoundError(_unknown_dag(request, session))
    run = _run(request, session)
    definition = _definition(request, run, session)
    instances = _instances(request, run, session)
    instance = _choose(request, instances)
    if definition is None and instance is None and _definition(request, None, session) is None:
        raise NotFoundError(_unknown_task(request, run, session))
    found = facts.Facts(
        now=now,
        dag=_dag(dag_model, session),
        task_id=request.task_id,
        run=_run_facts(run, dag_model, session) if run else None,
        scheduler=_process("SchedulerJob", session),
        triggerer=_process("TriggererJob", session),
        dag_processor=_process("DagProcessorJob", session),
        heartbeat_timeout=conf.getfloat("scheduler", "task_instance_heartbeat_timeout"),
        known_pools=sorted(pool.pool for pool in PoolModel.get_pools(session=session)),
        expands=_expands(definition),
        trigger_rule=str(getattr(definition, "trigger_rule", "all_success")),
        upstream=_upstream(definition, run, session),
        failed_before=_failed_before(definition, run, session),
    )
    if instance is None:
        return Found(found)
    trigger = session.get(TriggerModel, instance.trigger_id) if instance.trigger_id else None
    state = instance.state and str(instance.state)
    more = {
        "instance": _instance(instance, definition, trigger, session),
        "counts": Counter(one.state and str(one.state) for one in instances),
        "unmet": _unmet(instance, definition, run, session) if state is None else (),
        "pool": _pool(instance, run, request, session),
        "executor": _executor(instance, session),
        "end": _end(instance, state, session),
    }
    return Found(
        facts=facts.Facts(**{**vars(found), **more}),
        log_path=_log_path(instance, session),
        operator=instance.operator or "",
        trigger=(trigger.classpath, trigger.kwargs) if trigger else None,
    )


# Names.


def _unknown_dag(request: Request, session: Session) -> str:
    known = session.scalars(select(DagModel.dag_id).where(DagModel.is_stale.is_(False))).all()
    names = [name for name in known if request.readable is None or name in request.readable]
    message = f"There is no DAG {request.dag_id!r}.{_near(request.dag_id, names)}"
    if not names:
        message += " There is no DAG at all yet: is the dag-processor at work?"
    broken = session.scalar(select(func.count()).select_from(ParseImportError))
    if broken:
        message += f" Files that cannot be read: {broken}; the UI's home page shows their errors."
    return message


def _unknown_task(request: Request, run: DagRun | None, session: Session) -> str:
    dag = _dags().get_latest_version_of_dag(request.dag_id, session=session)
    names = list(dag.task_dict) if dag else []
    if run:
        query = select(TaskInstance.task_id).where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
        names = sorted({*names, *session.scalars(query)})
    return f"DAG {request.dag_id} has no task {request.task_id!r}.{_near(request.task_id, names)}"


def _near(name: str, known: Sequence[str]) -> str:
    by_lower = {one.lower(): one for one in known}
    close = [by_lower[one] for one in get_close_matches(name.lower(), by_lower, n=_NEAR, cutoff=0.5)]
    close += [one for one in known if name.lower() in one.lower() and one not in close]
    if not close and len(known) > _NEAR:
        return ""
    return f" Known: {', '.join(close[:_NEAR] or sorted(known))}." if known else ""


# The DAG and its run.


def _dag(model: DagModel, session: Session) -> facts.Dag:
    error = None
    if model.has_import_errors or model.is_stale:
        trace = session.scalar(
            select(ParseImportError.stacktrace)
            .where(
                ParseImportError.bundle_name == model.bundle_name,
                ParseImportError.filename == model.relative_fileloc,
            )
            .limit(1)
        )
        error = trace.strip().splitlines()[-1] if trace and trace.strip() else None
    return facts.Dag(
        id=model.dag_id,
        file=model.relative_fileloc or model.fileloc or "",
        paused=bool(model.is_paused),
        stale=bool(model.is_stale),
        import_error=error,
        max_active_tasks=model.max_active_tasks,
        next_run=_seconds(model.next_dagrun_create_after),
        schedule=model.timetable_summary or "",
    )


def _run(request: Request, session: Session) -> DagRun | None:
    """The run that is meant; the latest that has the task, where none is named."""
    of_dag = select(DagRun).where(DagRun.dag_id == request.dag_id)
    if request.run_id is None:
        having = of_dag.join(
            TaskInstance, and_(TaskInstance.dag_id == DagRun.dag_id, TaskInstance.run_id == DagRun.run_id)
        ).where(TaskInstance.task_id == request.task_id)
        latest = DagRun.run_after.desc(), DagRun.id.desc()
        return session.scalar(having.order_by(*latest).limit(1)) or session.scalar(of_dag.order_by(*latest).limit(1))
    found = session.scalar(of_dag.where(DagRun.run_id == request.run_id))
    if found is None:
        query = select(DagRun.run_id).where(DagRun.dag_id == request.dag_id).order_by(DagRun.run_after.desc())
        names = session.scalars(query.limit(200)).all()
        near = _near(request.run_id, names) or (f" The latest: {', '.join(names[:_NEAR])}." if names else "")
        raise NotFoundError(f"DAG {request.dag_id} has no run {request.run_id!r}.{near}")
    return found


def _run_facts(run: DagRun, dag: DagModel, session: Session) -> facts.Run:
    backfill = session.get(Backfill, run.backfill_id) if run.backfill_id is not None else None
    running = session.scalars(
        select(DagRun.run_id)
        .where(
            DagRun.dag_id == run.dag_id,
            DagRun.state == DagRunState.RUNNING,
            DagRun.backfill_id.is_(None) if backfill is None else DagRun.backfill_id == backfill.id,
        )
        .order_by(DagRun.start_date)
    ).all()
    # The launcher has the scheduler count deferred tasks too (airflow_platform.limits).
    states = {*EXECUTION_STATES}
    if config.load().launcher.kind != "none":
        states.add(TaskInstanceState.DEFERRED)
    return facts.Run(
        id=run.run_id,
        state=str(run.state),
        run_after=run.run_after.timestamp(),
        ended=_seconds(run.end_date),
        backfill=run.backfill_id,
        backfill_paused=bool(backfill and backfill.is_paused),
        max_active=backfill.max_active_runs if backfill else dag.max_active_runs or 16,
        running=running,
        active_tasks=_how_many(session, *_of_run(run), TaskInstance.state.in_(states)),
    )


def _of_run(run: DagRun) -> tuple[Any, ...]:
    return TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id


def _how_many(session: Session, *conditions: Any) -> int:
    return session.scalar(select(func.count()).select_from(TaskInstance).where(*conditions)) or 0


# The task and its instances.


def _definition(request: Request, run: DagRun | None, session: Session) -> Any:
    """The task as the run has it, or without one the DAG's latest version; None where there is no such task."""
    dag = _dags().get_dag_for_run(run, session=session) if run else None
    dag = dag or _dags().get_latest_version_of_dag(request.dag_id, session=session)
    try:
        return dag.get_task(request.task_id) if dag else None
    except TaskNotFound:
        return None


def _expands(definition: Any) -> bool:
    if definition is None:
        return False
    return definition.is_mapped or any(True for _ in definition.iter_mapped_task_groups())


def _instances(request: Request, run: DagRun | None, session: Session) -> list[TaskInstance]:
    if run is None:
        return []
    query = select(TaskInstance).where(*_of_run(run), TaskInstance.task_id == request.task_id)
    return list(session.scalars(query.order_by(TaskInstance.map_index)))


def _choose(request: Request, instances: list[TaskInstance]) -> TaskInstance | None:
    if request.map_index is None:
        ranked = (one for state in _URGENT for one in instances if str(one.state) == state)
        return next(ranked, instances[0] if instances else None)
    found = next((one for one in instances if one.map_index == request.map_index), None)
    if found is None and instances:
        indexes = [one.map_index for one in instances]
        known = "it is not mapped" if indexes == [-1] else f"it has {min(indexes)} to {max(indexes)}"
        raise NotFoundError(f"Task {request.task_id} has no map index {request.map_index} in this run: {known}.")
    return found


def _instance(
    instance: TaskInstance, definition: Any, trigger: TriggerModel | None, session: Session
) -> facts.Instance:
    state = instance.state and str(instance.state)
    since = {
        None: None,
        "scheduled": instance.scheduled_dttm,
        "queued": instance.queued_dttm,
        "running": instance.start_date,
        "deferred": trigger.created_date if trigger else instance.updated_at,
    }.get(state, instance.end_date)
    of_task = TaskInstance.dag_id == instance.dag_id, TaskInstance.task_id == instance.task_id
    active = TaskInstance.state.in_(ACTIVE_STATES)
    return facts.Instance(
        state=state,
        map_index=instance.map_index,
        try_number=instance.try_number,
        tries=instance.max_tries + 1,
        pool=instance.pool,
        pool_slots=instance.pool_slots,
        since=_seconds(since),
        started=_seconds(instance.start_date),
        ended=_seconds(instance.end_date),
        heartbeat=_seconds(instance.last_heartbeat_at),
        hostname=instance.hostname or "",
        next_try=_next_try(instance, state, definition, session),
        trigger=_trigger(instance, trigger, session),
        max_active_in_dag=getattr(definition, "max_active_tis_per_dag", None),
        active_in_dag=_how_many(session, *of_task, active),
        max_active_in_run=getattr(definition, "max_active_tis_per_dagrun", None),
        active_in_run=_how_many(session, *of_task, TaskInstance.run_id == instance.run_id, active),
    )


def _next_try(instance: TaskInstance, state: str | None, definition: Any, session: Session) -> float | None:
    if state == "up_for_retry" and definition is not None and instance.end_date:
        instance.task = definition
        return instance.next_retry_datetime().timestamp()
    if state == "up_for_reschedule":
        query = select(TaskReschedule.reschedule_date).where(TaskReschedule.ti_id == instance.id)
        return _seconds(session.scalar(query.order_by(TaskReschedule.id.desc()).limit(1)))
    return None


def _trigger(instance: TaskInstance, trigger: TriggerModel | None, session: Session) -> facts.Trigger | None:
    if trigger is None:
        return None
    job = session.get(Job, trigger.triggerer_id) if trigger.triggerer_id else None
    is_pod, is_ours = trigger.classpath.startswith(_POD_TRIGGERS), trigger.classpath.startswith(_OURS)
    kind = "pod" if is_pod else "again" if is_ours else "other"
    return facts.Trigger(
        name=trigger.classpath.rpartition(".")[2],
        kind=kind,
        reason=trigger.kwargs.get("reason", "") if kind == "again" else "",
        quota=(trigger.kwargs.get("quota") or "") if kind == "again" else "",
        before=_refused_before(instance, trigger, session) if kind == "again" else 0,
        created=_seconds(trigger.created_date),
        taken=bool(job and job.is_alive()),
        times_out=_seconds(instance.trigger_timeout),
    )


def _refused_before(instance: TaskInstance, trigger: TriggerModel, session: Session) -> int:
    """Tasks of the same pool whose launch was refused too, and that go first (`airflow_platform.waiting`)."""
    weight, start = instance.priority_weight or 0, instance.start_date
    earlier = and_(TaskInstance.priority_weight == weight, TaskInstance.start_date < start) if start else False
    query = (
        select(func.count())
        .select_from(TaskInstance)
        .join(TriggerModel, TriggerModel.id == TaskInstance.trigger_id)
        .where(
            TaskInstance.pool == instance.pool,
            TriggerModel.classpath == trigger.classpath,
            or_(TaskInstance.priority_weight > weight, earlier),
        )
    )
    return session.scalar(query) or 0


def _upstream(definition: Any, run: DagRun | None, session: Session) -> tuple[facts.Upstream, ...]:
    if definition is None or run is None or not definition.upstream_task_ids:
        return ()
    query = (
        select(TaskInstance.task_id, TaskInstance.state, func.count())
        .where(*_of_run(run), TaskInstance.task_id.in_(definition.upstream_task_ids))
        .group_by(TaskInstance.task_id, TaskInstance.state)
    )
    states: dict[str, dict[str | None, int]] = {task_id: {} for task_id in sorted(definition.upstream_task_ids)}
    for task_id, state, count in session.execute(query):
        states[task_id][state and str(state)] = count
    return tuple(facts.Upstream(task_id=task_id, states=found) for task_id, found in states.items())


def _failed_before(definition: Any, run: DagRun | None, session: Session) -> tuple[str, ...]:
    """The tasks anywhere before this one that have failed themselves."""
    if definition is None or run is None:
        return ()
    before = definition.get_flat_relative_ids(upstream=True)
    if not before:
        return ()
    query = select(TaskInstance.task_id).where(
        *_of_run(run), TaskInstance.task_id.in_(before), TaskInstance.state == TaskInstanceState.FAILED
    )
    return tuple(sorted(set(session.scalars(query))))


def _unmet(instance: TaskInstance, definition: Any, run: DagRun, session: Session) -> tuple[str, ...]:
    """What Airflow's own conditions say, as far as nothing better is said of them."""
    if definition is None:
        return ()
    instance.task = definition
    # A condition may note something on the instance, which is the scheduler's to do.
    with session.begin_nested() as aside:
        statuses = instance.get_failed_dep_statuses(DepContext(), session=session)
        found = tuple(one.reason for one in statuses if one.dep_name not in _SAID_ELSEWHERE)
        aside.rollback()
    return found


# What bounds it.


def _pool(instance: TaskInstance, run: DagRun, request: Request, session: Session) -> facts.Pool | None:
    pool = PoolModel.get_pool(instance.pool, session=session)
    if pool is None:
        return None
    query = (
        select(TaskInstance.dag_id, TaskInstance.task_id, func.sum(TaskInstance.pool_slots))
        .where(TaskInstance.pool == pool.pool, TaskInstance.state.in_(pool.get_occupied_states()))
        .group_by(TaskInstance.dag_id, TaskInstance.task_id)
        .order_by(func.sum(TaskInstance.pool_slots).desc(), TaskInstance.dag_id, TaskInstance.task_id)
    )
    holders = [(dag, task, int(slots)) for dag, task, slots in session.execute(query)]
    used = sum(slots for _, _, slots in holders)
    if request.readable is not None:
        holders = [(dag, task, slots) if dag in request.readable else ("", "", slots) for dag, task, slots in holders]
    return facts.Pool(
        name=pool.pool,
        slots=None if pool.slots == -1 else pool.slots,
        used=used,
        holders=holders,
        ahead=_ahead(instance, run, session) if str(instance.state) == "scheduled" else 0,
    )


def _ahead(instance: TaskInstance, run: DagRun, session: Session) -> int:
    """Tasks that wait for the same pool and that the scheduler takes first, by its own order."""
    weight, date = instance.priority_weight or 0, run.logical_date
    same = TaskInstance.priority_weight == weight
    # Runs without a logical date come last.
    earlier = DagRun.logical_date < date if date is not None else DagRun.logical_date.is_not(None)
    tied = and_(
        DagRun.logical_date == date if date is not None else DagRun.id == run.id,
        TaskInstance.map_index < instance.map_index,
    )
    query = (
        select(func.count())
        .select_from(TaskInstance)
        .join(DagRun, and_(DagRun.dag_id == TaskInstance.dag_id, DagRun.run_id == TaskInstance.run_id))
        .join(DagModel, DagModel.dag_id == TaskInstance.dag_id)
        .where(
            TaskInstance.pool == instance.pool,
            TaskInstance.state == TaskInstanceState.SCHEDULED,
            DagRun.state == DagRunState.RUNNING,
            DagModel.is_paused.is_(False),
            or_(TaskInstance.priority_weight > weight, and_(same, earlier), and_(same, tied)),
        )
    )
    return session.scalar(query) or 0


def _executor(instance: TaskInstance, session: Session) -> facts.Executor:
    launcher = config.load().launcher
    default = conf.get_mandatory_value("core", "executor").split(",")[0].partition(":")[0]
    name = instance.executor or default
    launched = name == EXECUTOR and launcher.kind != "none"
    kind = launcher.kind if launched else "kubernetes" if "KubernetesExecutor" in name else "other"
    mine = TaskInstance.executor == name
    if name == default:
        mine = or_(mine, TaskInstance.executor.is_(None))
    schedulers = max(1, _alive("SchedulerJob", session))
    earlier = instance.queued_dttm
    return facts.Executor(
        name=name,
        kind=kind,
        room=schedulers * (launcher.slots * AHEAD if kind == "local" else conf.getint("core", "parallelism")),
        # How many of Celery's pods there are is not known here.
        slots=schedulers * launcher.slots if kind == "local" else None,
        queued=_how_many(session, mine, TaskInstance.state == TaskInstanceState.QUEUED),
        running=_how_many(session, mine, TaskInstance.state == TaskInstanceState.RUNNING),
        before=_how_many(
            session, mine, TaskInstance.state == TaskInstanceState.QUEUED, TaskInstance.queued_dttm < earlier
        )
        if earlier
        else 0,
    )


# Airflow's processes.


def _process(job_type: str, session: Session) -> facts.Process:
    job = most_recent_job(job_type, session=session)
    if job is None:
        return facts.Process(alive=False)
    return facts.Process(alive=job.is_alive(), heartbeat=_seconds(job.latest_heartbeat))


def _alive(job_type: str, session: Session) -> int:
    jobs = session.scalars(select(Job).where(Job.job_type == job_type, Job.state == JobState.RUNNING))
    return sum(job.is_alive() for job in jobs)


# The end of a try.


def _end(instance: TaskInstance, state: str | None, session: Session) -> facts.End:
    if state in UNFINISHED and state != "up_for_retry":
        return facts.End()
    marked_by, marked_run = _marked(instance, state, session)
    return facts.End(marked_by=marked_by, marked_run=marked_run, scheduler_said=_scheduler_said(instance, session))


def _scheduler_said(instance: TaskInstance, session: Session) -> str:
    query = select(Log.extra).where(
        *_log_of(instance), Log.event.in_(_SCHEDULER_EVENTS), Log.try_number == instance.try_number
    )
    return session.scalar(query.order_by(Log.id.desc()).limit(1)) or ""


def _marked(instance: TaskInstance, state: str | None, session: Session) -> tuple[str, bool]:
    """Who set the state by hand, where the end of the task instance is that of such a request; whether the run's."""
    if instance.end_date is None:
        return "", False
    moment = timedelta(seconds=30)
    query = select(Log.owner, Log.event, Log.task_id, Log.extra).where(
        Log.dag_id == instance.dag_id,
        Log.run_id == instance.run_id,
        Log.event.in_(_BY_HAND),
        Log.dttm.between(instance.end_date - moment, instance.end_date + moment),
    )
    for owner, event, task_id, extra in session.execute(query.order_by(Log.id.desc())):
        if task_id not in (None, instance.task_id):
            continue
        said = _json(extra)
        index, of_run = said.get("map_index"), event == "patch_dag_run"
        to = [said.get("new_state"), said.get("state")]
        if of_run and ("success" in to or "failed" in to):
            # What has not begun when a run is ended so is skipped, in either case.
            to.append("skipped")
        if state in to and index in (None, instance.map_index, "-1", -1):
            return owner or "somebody", of_run
    return "", False


def _log_of(instance: TaskInstance) -> tuple[Any, ...]:
    return (
        Log.dag_id == instance.dag_id,
        Log.run_id == instance.run_id,
        Log.task_id == instance.task_id,
        Log.map_index == instance.map_index,
    )


def _log_path(instance: TaskInstance, session: Session) -> str | None:
    """The key of the log of the last try, as Airflow names it."""
    if not instance.try_number:
        return None
    handler = FileTaskHandler(base_log_folder="")
    return handler._render_filename(instance, instance.try_number, session=session)


def _json(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(when: datetime | None) -> float | None:
    return when.timestamp() if when else None
