"""The launcher: task phases in processes that are forked from one that has imported everything.

A phase of a task (create its pod and defer; finish) takes a fraction of a second, and nearly all that a fresh process
spends on it is imports. So `LocalLauncher` imports first and forks then. In all else it is Airflow's LocalExecutor.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.executors import local_executor
from airflow.executors.local_executor import LocalExecutor
from airflow.sdk.exceptions import TaskAlreadyRunningError
from airflow.utils.state import TaskInstanceState
from sqlalchemy.exc import SQLAlchemyError

from airflow_platform import config, pace, resume, unsent
from airflow_platform.relaunch import Relaunch

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance

log = logging.getLogger(__name__)

_RUN_WORKER = local_executor._run_worker
_OOM_GROUP = Path("/sys/fs/cgroup/memory.oom.group")

#: What a task phase imports: the supervisor and the runner of Airflow's task SDK, the DAG bag, the operator with its
#: decorators and their Kubernetes client, and the upload of the log.
MODULES = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "jinja2.ext",
    "airflow.dag_processing.dagbag",
    "airflow.dag_processing.bundles.local",
    "airflow.providers.cncf.kubernetes.operators.pod",
    "airflow.providers.cncf.kubernetes.decorators.kubernetes",
    "airflow.providers.cncf.kubernetes.decorators.kubernetes_cmd",
    "airflow.providers.standard.operators.empty",
    "airflow.providers.standard.operators.python",
    "airflow_platform.operator",
    "airflow_platform.task_log",
    "airflow_platform.task_pod",
)


#: Phases that the scheduler hands over for each process: one that is done begins with the next at once, and does not
#: wait for the scheduler to come round.
AHEAD = 4


def preload(further: Iterable[str] = ()) -> None:
    """Import what task phases need.

    A module of ``further`` that cannot be imported is a warning: the tasks that need it say so themselves.

    Raises:
        ImportError: one of `MODULES` is not there: the image is broken.
    """
    for name in MODULES:
        importlib.import_module(name)
    for name in further:
        try:
            importlib.import_module(name)
        except Exception as error:
            log.warning("launcher.preload names %s, which cannot be imported: %s", name, error)


def prepare() -> None:
    """What is done once, for all processes that phases are forked from; a second call changes nothing.

    Raises:
        ImportError: as `preload`.
    """
    from airflow_platform import supervisor, validators

    preload(config.load().launcher.preload)
    supervisor.notice_ends()
    supervisor.spare_first_heartbeat()
    supervisor.send_evidence()
    supervisor.fail_unheard()
    validators.build()


#: Bytes of phases that wait for a process and have not been read by one; Linux gives an account that much unasked. A
#: scheduler that had to wait for room would notice nothing else, not even that a process was killed.
PIPE = 2**20


#: Seconds for which a process may read a phase from the queue.
_LOCK = 1.0


def _run_worker(**kwargs: Any) -> None:
    """A process of the launcher: where its container has no memory left, it goes before the scheduler does.

    Unless all of its processes go at once, as Kubernetes has it with cgroup v2 (``singleProcessOOMKill``).
    """
    with contextlib.suppress(OSError):
        if not _OOM_GROUP.exists() or _OOM_GROUP.read_text().strip() == "0":
            Path("/proc/self/oom_score_adj").write_text("1000")
    _RUN_WORKER(**kwargs)


class _Uncounted:
    """In place of LocalExecutor's number of phases that no process has read: by it, more processes are started.

    All of ours are there from the beginning. And that number has a lock, which a process that is killed may take along:
    the scheduler would wait for it for ever.
    """

    value = 0

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class LocalLauncher(LocalExecutor):
    """Airflow's LocalExecutor, with as many processes as the platform's configuration says, forked warm.

    A task that defers and resumes runs twice under one key. Where its pod ends soon, the second phase is queued before
    the end of the first is read, and the scheduler would take this end for the second's and fail the task
    (apache/airflow #71580). So phases are counted, and an end is told only where no later phase is there.
    """

    #: What LocalExecutor sets is left alone.
    _unread_messages = property(lambda self: self._uncounted, lambda self, _: None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._uncounted = _Uncounted()
        self._slots = config.load().launcher.slots
        super().__init__(*args, **{**kwargs, "parallelism": self._slots * AHEAD})
        self._phases: Counter = Counter()
        self._relaunch = Relaunch()

    def start(self) -> None:
        """Import, then fork."""
        # Here, not above: the api-server imports this module too, and none of the scheduler's.
        from airflow_platform import limits

        prepare()
        limits.count_deferred()
        pace.look_soon()
        unsent.start()
        local_executor._run_worker = _run_worker
        self._start()

    def _start(self) -> None:
        super().start()
        fcntl.fcntl(self.activity_queue._writer.fileno(), fcntl.F_SETPIPE_SZ, PIPE)

    def _spawn_workers_with_gc_freeze(self, spawn_number: int) -> None:
        """Fork processes, never more than there are slots; what is queued ahead waits for one of them."""
        if (wanted := min(spawn_number, self._slots - len(self.workers))) > 0:
            super()._spawn_workers_with_gc_freeze(wanted)

    def queue_workload(self, workload: Any, session: Any) -> None:
        """Queue a phase."""
        pace.moved()
        resume.put_back(workload, session)
        super().queue_workload(workload, session=session)

    @property
    def slots_available(self) -> int:
        """How many phases it would take: Airflow's own counts none that a process has, or that waits for one.

        At least one: for an executor that takes none the scheduler looks through all that is scheduled, each time, in
        search of what another one takes.
        """
        return max(1, super().slots_available - self._phases.total())

    def trigger_tasks(self, open_slots: int) -> None:
        """Hand over what is queued, as far as there is room: what has been is in order of time, not of priority."""
        super().trigger_tasks(max(0, min(open_slots, self.parallelism - self._phases.total())))

    def _process_workloads(self, workload_list: list) -> None:
        for workload in workload_list:
            self._phases[workload.key] += 1
        super()._process_workloads(workload_list)

    def has_task(self, task_instance: Any) -> bool:
        """Whether a phase of the task is queued or running here."""
        return self._phases[task_instance.key] > 0 or super().has_task(task_instance)

    def revoke_task(self, *, ti: Any) -> None:
        """Forget a phase that was queued long ago and has not begun, as its process was killed; it is queued again.

        Raises:
            NotImplementedError: phases wait for a process, and this may be one of them.
        """
        if not self.activity_queue.empty():
            raise NotImplementedError
        self.queued_tasks.pop(ti.key, None)
        del self._phases[ti.key]

    def change_state(self, key: Any, state: Any, info: Any = None, remove_running: bool = True) -> None:
        """Tell the scheduler of a phase's end, unless it is stale."""
        pace.moved()
        if state in (TaskInstanceState.SUCCESS, TaskInstanceState.FAILED) and key in self._phases:
            self._phases[key] -= 1
            if self._phases[key] <= 0:
                del self._phases[key]
            if state == TaskInstanceState.SUCCESS and (key in self._phases or key in self.queued_tasks):
                self.log.debug("The end of an earlier phase of %s is not told", key)
                return
        if state == TaskInstanceState.FAILED:
            # Another scheduler has it, and tells its end.
            elsewhere = isinstance(info, TaskAlreadyRunningError)
            if elsewhere or not self._relaunch.cut_off([key], info):
                self.running.discard(key)
                return
        if state == TaskInstanceState.SUCCESS:
            self._relaunch.forget(key)
        super().change_state(key, state, info, remove_running)

    def sync(self) -> None:
        """Read results, and look after processes and phases that were cut off."""
        super().sync()
        for key in self._relaunch.look_again({*self.queued_tasks, *self._phases}):
            super().change_state(key, TaskInstanceState.FAILED)

    def _read_results(self) -> None:
        # Airflow's own drops what a process has failed with.
        while not self.result_queue.empty():
            self.change_state(*self.result_queue.get())

    def end(self) -> None:
        """End the processes, each with the phase that it has begun; the others are the next scheduler's."""
        keys = {*self.queued_tasks, *(workload.key for workload in self._take_back())}
        try:
            left = self._relaunch.give_back(keys)
            self.log.info("%s phases that had not begun are left to the next scheduler", len(left))
        except SQLAlchemyError:
            # It adopts them, minutes later.
            self.log.warning("Phases that had not begun could not be given back", exc_info=True)
        super().end()

    def _take_back(self) -> list[Any]:
        """The phases that no process has begun."""
        queue, taken = self.activity_queue, []
        # A process that waits for a phase holds the lock, and then there is none.
        if queue._rlock.acquire(timeout=_LOCK):
            try:
                while not queue.empty():
                    taken.append(queue._reader.recv())
            finally:
                queue._rlock.release()
        return taken

    def try_adopt_task_instances(self, tis: Sequence[TaskInstance]) -> Sequence[TaskInstance]:
        """Queue again what was under way in a scheduler that is gone; the others, which Airflow resets.

        A scheduler that was held up for half a minute takes itself for gone, too: its phases go on.
        """
        return self._relaunch.adopted(one for one in tis if not self.has_task(one))

    def _check_workers(self) -> None:
        killed = [process.pid for process in self.workers.values() if process.exitcode]
        if killed:
            self._begin_anew(killed)
        super()._check_workers()

    def _begin_anew(self, killed: list[int | None]) -> None:
        """Start all processes again, with new queues: a process that is killed may take the lock of its queue along."""
        self.log.warning("Processes of the launcher were killed (pid %s); all of them start anew", killed)
        for process in self.workers.values():
            # Not asked to end: that signal is the scheduler's, which they are forks of, and they ignore it.
            process.kill()
            process.join()
        self._read_results()
        cut_off = set(self._phases)
        self._phases.clear()
        self.running -= cut_off
        self._start()
        for key in self._relaunch.cut_off(cut_off, killed=True):
            super().change_state(key, TaskInstanceState.FAILED)
