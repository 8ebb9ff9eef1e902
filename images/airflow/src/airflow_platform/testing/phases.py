"""The phases of tasks, in this process: in place of the launcher's processes and of worker pods."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

from airflow.executors.base_executor import BaseExecutor
from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor
from airflow.utils.state import TaskInstanceState

from airflow_platform import resume
from airflow_platform.testing.triggerer import log_of

#: The DAGs as they were parsed. A phase renders its task's templates in place, so it has a copy of the task.
dags: dict[str, DAG] = {}


class _Supervisor(InProcessTestSupervisor):
    """Airflow's, without the socket for processes that a task starts: its thread would go on after the phase."""

    @contextlib.contextmanager
    def _setup_subprocess_socket(self) -> Iterator[None]:
        yield


class _InProcess(BaseExecutor):
    """Runs each phase as Airflow's task runner does, against Airflow's own execution API."""

    jwt_generator = None

    def queue_workload(self, workload: Any, session: Any) -> None:
        """Queue a phase."""
        resume.put_back(workload, session)
        super().queue_workload(workload, session=session)

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        for workload in workload_items:
            key = workload.ti.key
            self.queued_tasks.pop(key)
            try:
                self._run(workload.ti)
            except Exception as error:
                self.log.exception("A phase of %s failed", key)
                self.change_state(key, TaskInstanceState.FAILED, str(error))
            else:
                self.change_state(key, TaskInstanceState.SUCCESS)

    def _run(self, instance: Any) -> None:
        names = ("id", "task_id", "dag_id", "run_id", "try_number", "map_index", "dag_version_id")
        what = TaskInstance(**{name: getattr(instance, name) for name in names})
        task = _fresh(dags[instance.dag_id], instance.task_id)
        token = log_of.set((what.dag_id, what.run_id, what.task_id, what.map_index))
        try:
            _Supervisor.start(what=what, task=task)
        finally:
            log_of.reset(token)


def _fresh(dag: DAG, task_id: str) -> Any:
    """A copy of a task, as a process has one that has parsed the DAG."""
    shared = (dag, *dag.task_group.get_task_group_dict().values())
    return copy.deepcopy(dag.get_task(task_id), {id(one): one for one in shared})


class Launcher(_InProcess):
    """The executor ``launcher``."""


class Workers(_InProcess):
    """The executor of all other tasks."""
