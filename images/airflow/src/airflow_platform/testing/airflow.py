"""An Airflow of one process: its own scheduler, database and execution API, made for a test session and empty.

What decides when a task runs is Airflow's `SchedulerJobRunner`, step by step: dependencies, trigger rules, mapped
tasks, retries, pools, limits. Only what it waits for is simulated.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import logging
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog
import yaml

from airflow_platform import config
from airflow_platform.testing.clock import real_time

#: Slots of a pool of which the platform's configuration says nothing.
SLOTS = 128

#: The day of a run where neither test nor DAG name one.
EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)

#: Airflow's own name of the folder of DAGs.
_BUNDLE = "dags-folder"

#: Seconds after which a moment is over.
_OVER = 0.001

_numbers = itertools.count(1)
_PHASES = "airflow_platform.testing.phases"

#: What is not to be decided by the environment of whoever runs the tests.
_OPTIONS = {
    "AIRFLOW__CORE__EXECUTOR": f"KubernetesExecutor:{_PHASES}.Workers,launcher:{_PHASES}.Launcher",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PARALLELISM": "1000",
    "AIRFLOW__API_AUTH__JWT_SECRET": "of a test session, whose execution API no other process can reach",
    "AIRFLOW__LOGGING__REMOTE_LOGGING": "False",
    "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
}


class DagError(Exception):
    """A DAG cannot be loaded, or cannot be run."""


class Logs:
    """Lines of the logs of task instances, by what names these."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str, str, int], list[str]] = defaultdict(list)

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        """Gather what is logged, by either of Airflow's ways."""
        processors = structlog.get_config()["processors"]
        processors.insert(0, self._take)
        handler = _Handler(self)
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
            processors.remove(self._take)

    def add(self, text: str) -> None:
        """Add a line, where the work of a task instance goes on."""
        from airflow_platform.testing.triggerer import log_of

        if whose := log_of.get():
            self.lines[whose].append(text)

    def _take(self, _: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        text, arguments = str(event.get("event")), event.get("positional_args")
        if arguments:
            with contextlib.suppress(TypeError, ValueError):
                text = text % arguments
        self.add(text)
        if method in ("debug", "info"):
            raise structlog.DropEvent
        return event


class _Handler(logging.Handler):
    def __init__(self, logs: Logs) -> None:
        super().__init__(logging.INFO)
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        self._logs.add(record.getMessage())


class Airflow:
    """Airflow's database and scheduler; a context, outside of which the process's Airflow is what it was.

    Args:
        folder: for the database and the files of configuration.
        dags: the folder of DAG files, or one of them.
        kubeconfig: of the cluster that every task's pod runs in.
        platform: the platform's configuration, in the words of its chart's values.
    """

    def __init__(self, folder: Path, dags: Path, kubeconfig: Path, platform: Mapping[str, Any]) -> None:
        self.logs = Logs()
        self._folder, self._path = folder, dags
        self._platform = {"launcher": {"kind": "local"}, **platform}
        self._environment = self._write(kubeconfig)
        self._dags: dict[str, Any] = {}
        self.scheduler: Any = None

    def __enter__(self) -> Airflow:
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

        from airflow_platform.testing import phases

        with contextlib.ExitStack() as stack:
            # Called last: when the environment is what it was.
            stack.callback(_connect)
            stack.enter_context(patch.dict(os.environ, self._environment))
            _connect()
            _as_scheduler_and_triggerer(stack)
            if self.scheduler is None:
                self._make()
            stack.enter_context(patch.object(phases, "dags", self._dags))
            # What the launcher keeps in files is of a simulated time, and so of one test.
            files = stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder))
            stack.enter_context(patch.object(tempfile, "tempdir", files))
            # It is the platform's own, of whose pods the policy takes care.
            stack.enter_context(patch.object(KubernetesHook, "is_in_cluster", property(lambda _: True)))
            stack.enter_context(self.logs.gathered())
            self.forget_runs()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def dag(self, dag_id: str) -> Any:
        """The DAG as the scheduler has it.

        Raises:
            DagError: there is none.
        """
        from airflow.utils.session import create_session

        if dag_id not in self._dags:
            errors = "".join(f"\n{path}: {error}" for path, error in self._errors.items())
            known = ", ".join(sorted(self._dags)) or "none"
            raise DagError(f"There is no DAG {dag_id!r} in {self._path}. Known: {known}.{errors}")
        with create_session() as session:
            return self.scheduler.scheduler_dag_bag.get_latest_version_of_dag(dag_id, session=session)

    def forget_runs(self) -> None:
        """Forget all runs."""
        from airflow.models.dagrun import DagRun
        from airflow.models.trigger import Trigger
        from airflow.utils.session import create_session
        from sqlalchemy import delete

        with create_session() as session:
            session.execute(delete(DagRun))
            session.execute(delete(Trigger))
        for executor in self.scheduler.executors:
            executor.event_buffer.clear()
            executor.running.clear()
        self.logs.lines.clear()

    def create_run(
        self, dag_id: str, logical_date: datetime | None, conf: dict[str, Any] | None
    ) -> tuple[str, datetime]:
        """Create the DAG's next run: of its schedule, not before the date; one by hand where it has no schedule.

        Returns:
            Its id, and when it is due.

        Raises:
            DagError: the DAG has no run then.
        """
        from airflow._shared.timezones import timezone as airflow_timezone
        from airflow.models.dagrun import DagRun
        from airflow.timetables.base import DataInterval, TimeRestriction
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType
        from sqlalchemy import select

        dag = self.dag(dag_id)
        earliest = airflow_timezone.coerce_datetime(logical_date or dag.start_date or EPOCH)
        restriction = TimeRestriction(earliest=earliest, latest=dag.end_date, catchup=True)
        with create_session() as session:
            query = select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc())
            last = None if logical_date else session.scalar(query.limit(1))
            if logical_date and session.scalar(query.where(DagRun.logical_date == earliest)):
                raise DagError(f"DAG {dag_id} has run at {earliest} already. Name another date, or none for the next.")
        before = DataInterval(last.data_interval_start, last.data_interval_end) if last else None
        info = dag.timetable.next_dagrun_info(last_automated_data_interval=before, restriction=restriction)
        if info is None and dag.timetable.can_be_scheduled:
            raise DagError(f"DAG {dag_id} has no run at {earliest} or later: it ends at {dag.end_date}.")
        kind = DagRunType.SCHEDULED if info else DagRunType.MANUAL
        by_hand = last.logical_date + timedelta(days=1) if last else earliest
        date, due = (info.logical_date, info.run_after) if info else (by_hand, by_hand)
        if due.timestamp() > real_time():
            # A query of the scheduler's compares with the clock of the database (models/dagrun.py, ``func.now``).
            raise DagError(f"The next run of DAG {dag_id} is due at {due}, which is yet to come. Name an earlier date.")
        interval = info.data_interval if info else dag.timetable.infer_manual_data_interval(run_after=by_hand)
        with create_session() as session:
            run = dag.create_dagrun(
                run_id=f"{kind.value}__{date.isoformat()}__{next(_numbers)}",
                logical_date=date,
                data_interval=interval,
                run_after=due,
                conf=conf,
                run_type=kind,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.QUEUED,
                session=session,
            )
            return run.run_id, due

    def schedule(self) -> bool:
        """One round of the scheduler's loop, phases included; whether it has done anything."""
        from airflow.utils.session import create_session

        before = self._all_states()
        with create_session() as session:
            queued = self.scheduler._do_scheduling(session)
            session.expunge_all()
        for executor in self.scheduler.executors:
            executor.heartbeat()
        with create_session() as session:
            for executor in self.scheduler.executors:
                self.scheduler._process_executor_events(executor=executor, session=session)
        self.scheduler.check_trigger_timeouts()
        return bool(queued) or self._all_states() != before

    def state_of(self, dag_id: str, run_id: str) -> str:
        """The state of a run."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            query = select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
            return str(session.scalar(query))

    def next_moment(self) -> float | None:
        """When the scheduler has something to do next by the clock alone, in seconds since the epoch: retries, tasks
        that look again, timeouts of triggers.
        """
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.taskreschedule import TaskReschedule
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState, TaskInstanceState
        from sqlalchemy import func, select

        moments = []
        with create_session() as session:
            waiting = select(TaskInstance).where(
                TaskInstance.state.in_([TaskInstanceState.UP_FOR_RETRY, TaskInstanceState.UP_FOR_RESCHEDULE])
            )
            for one in session.scalars(waiting):
                if one.state == TaskInstanceState.UP_FOR_RETRY:
                    one.task = self.dag(one.dag_id).get_task(one.task_id)
                    moments.append(one.next_retry_datetime())
                else:
                    query = select(func.max(TaskReschedule.reschedule_date)).where(TaskReschedule.ti_id == one.id)
                    moments.append(session.scalar(query))
            timeouts = select(func.min(TaskInstance.trigger_timeout)).where(
                TaskInstance.state == TaskInstanceState.DEFERRED
            )
            moments.append(session.scalar(timeouts))
            for run in session.scalars(select(DagRun).where(DagRun.state == DagRunState.RUNNING)):
                limit = self.dag(run.dag_id).dagrun_timeout
                moments.append(run.start_date + limit if limit and run.start_date else None)
        # Airflow asks whether the moment is over, not whether it has come.
        return min((_utc(one).timestamp() + _OVER for one in moments if one), default=None)

    def instances(self, dag_id: str, run_id: str) -> Iterator[dict[str, Any]]:
        """The task instances of a run, in the DAG's order: task_id, map_index, state, tries, pool, xcoms, times."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        order = [task.task_id for task in self._dags[dag_id].topological_sort()]
        with create_session() as session:
            query = select(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
            found = sorted(session.scalars(query), key=lambda one: (order.index(one.task_id), one.map_index))
            for one in found:
                stored = session.scalars(
                    select(XComModel).where(
                        XComModel.dag_id == dag_id,
                        XComModel.run_id == run_id,
                        XComModel.task_id == one.task_id,
                        XComModel.map_index == one.map_index,
                    )
                )
                yield {
                    "task_id": one.task_id,
                    "map_index": one.map_index,
                    "state": str(one.state) if one.state else None,
                    "tries": one.try_number,
                    "pool": one.pool,
                    "xcoms": {value.key: XComModel.deserialize_value(value) for value in stored},
                    "started": one.start_date,
                    "ended": one.end_date,
                }

    def _all_states(self) -> list[Any]:
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            tasks = session.execute(select(TaskInstance.id, TaskInstance.state, TaskInstance.try_number))
            runs = session.execute(select(DagRun.id, DagRun.state))
            return [*map(tuple, tasks), *map(tuple, runs)]

    def _write(self, kubeconfig: Path) -> dict[str, str]:
        platform = self._folder / "platform.yaml"
        platform.write_text(yaml.safe_dump(self._platform))
        connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(kubeconfig)}}
        return {
            **_OPTIONS,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._folder}/airflow.db",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self._folder / "logs"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._path),
            "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(connection),
            config.ENVIRONMENT_VARIABLE: str(platform),
        }

    def _make(self) -> None:
        from airflow.executors.executor_loader import ExecutorLoader
        from airflow.jobs.job import Job
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
        from airflow.utils.db import initdb
        from airflow.utils.session import create_session

        initdb()
        job = Job()
        job.job_type = SchedulerJobRunner.job_type
        with create_session() as session:
            session.add(job)
        self._load()
        self.scheduler = SchedulerJobRunner(job=job, executors=ExecutorLoader.init_executors())
        # All that was imported stays: looking through it for garbage would take a third of each run.
        gc.freeze()

    def _load(self) -> None:
        """Parse the DAGs, under the platform's policies, and store them as a DAG processor does."""
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
        from airflow.models.dag import DagModel
        from airflow.models.pool import Pool
        from airflow.utils.session import create_session
        from sqlalchemy import update

        bag = DagBag(self._path, bundle_path=self._path, bundle_name=_BUNDLE, load_op_links=False)
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, _BUNDLE, None)
        self._dags, self._errors = dict(bag.dags), dict(bag.import_errors)
        node_pools = self._platform.get("nodePools") or ()
        declared = (self._platform.get("declared") or {}).get("pools") or ()
        known = {pool["name"]: pool["slots"] for pool in (*node_pools, *declared)}
        # Where no node pools are known, the policy lets a task name any.
        named = {} if node_pools else {task.pool: SLOTS for dag in bag.dags.values() for task in dag.tasks}
        with create_session() as session:
            session.execute(update(DagModel).values(is_paused=False))
            for name, slots in {**named, **known}.items():
                Pool.create_or_update_pool(name, slots, "", include_deferred=True, session=session)


def _as_scheduler_and_triggerer(stack: contextlib.ExitStack) -> None:
    """Change of Airflow what the launcher and the triggerer change of it, until the stack is closed."""
    from airflow.jobs import scheduler_job_runner
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import BaseTaskEndEvent, TriggerEvent

    from airflow_platform import limits, triggerer

    for owner, name in ((scheduler_job_runner, "EXECUTION_STATES"), (scheduler_job_runner.ConcurrencyMap, "load")):
        stack.enter_context(patch.object(owner, name, getattr(owner, name)))
    for event in (BaseTaskEndEvent, TriggerEvent):
        stack.callback(handle_event_submit.register, event, handle_event_submit.dispatch(event))
    limits.count_deferred()
    triggerer.change_events()


def _connect() -> None:
    """Have Airflow read its settings from the environment as it is now."""
    from airflow import settings
    from airflow.executors import executor_loader

    settings.configure_vars()
    settings.configure_orm()
    for known in (
        executor_loader._alias_to_executors_per_team,
        executor_loader._module_to_executors_per_team,
        executor_loader._classname_to_executors_per_team,
        executor_loader._team_name_to_executors,
        executor_loader._executor_names,
    ):
        known.clear()


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
