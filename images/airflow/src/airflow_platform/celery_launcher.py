"""The launcher as Celery workers: the executor of the scheduler, and ``python -m airflow_platform.celery_launcher``.

The worker imports what task phases need, and its prefork pool then has it in every process: see
`airflow_platform.launcher`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.celery.executors.celery_executor import CeleryExecutor
from airflow.utils.state import TaskInstanceState
from celery.backends.redis import RedisBackend
from celery.states import PENDING, STARTED

from airflow_platform import broker, celery_heartbeat, config, launcher, pace, resume, unsent
from airflow_platform.relaunch import Relaunch

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance

#: Seconds between two looks for phases that nobody runs any more.
_LOOK = 15


class CeleryLauncher(CeleryExecutor):
    """Airflow's CeleryExecutor, of one queue, that lives through an outage of its broker.

    It needs no counting of phases, as `airflow_platform.launcher.LocalLauncher` does: it asks for the result of a key's
    last phase alone, and knows which keys it holds.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._relaunch = Relaunch()
        self._looked = time.monotonic()
        #: Ids of Celery's tasks that were nowhere at the last look.
        self._missing: set[str] = set()

    def start(self) -> None:
        """Have the scheduler count deferred tasks, and look again soon while tasks move."""
        from airflow_platform import limits

        limits.count_deferred()
        pace.look_soon()
        # Results are asked for: each phase would leave a subscription to its own, here and in the broker.
        RedisBackend.on_task_call = lambda *_: None
        super().start()

    def queue_workload(self, workload: Any, session: Any) -> None:
        """Queue a phase."""
        pace.moved()
        resume.put_back(workload, session)
        super().queue_workload(workload, session=session)

    def sync(self) -> None:
        """Read results; while the broker is away they are read later. Airflow's own would end the scheduler."""
        look, lost = time.monotonic() > self._looked + _LOOK, {}
        try:
            super().sync()
            if look:
                lost = self._lost()
        except Exception as error:
            self.log.warning("Results of the launcher could not be read, which is tried again: %s", error)
        for key in self._relaunch.look_again({*self.queued_tasks, *self.running}):
            super().change_state(key, TaskInstanceState.FAILED)
        if look:
            self._looked = time.monotonic()
            # The broker would give what a killed pod ran to another one after a day.
            for key in self._relaunch.silent() | self._send_again(lost):
                self._forget(key)

    def _lost(self) -> dict[Any, str]:
        """Phases, with their messages' ids, that have not ended, and whose message was nowhere in two looks.

        Some may have begun.

        Their scheduler was killed before it had sent them, their worker before it began, or the broker has lost what it
        had: one that was replaced by its replica, say. Airflow waits for them until ``scheduler.task_queued_timeout``.
        """
        there = broker.ids(self.celery_app, self._queue) if self.workloads else None
        if there is None:
            self._missing.clear()
            return {}
        absent = {one.task_id: (key, one) for key, one in self.workloads.items() if one.task_id not in there}
        # Read after the broker: what was acknowledged before that look has a state.
        states = self.bulk_state_fetcher.get_many([one for _, one in absent.values()])
        missing = {task_id for task_id, (state, _) in states.items() if state in (PENDING, STARTED)}
        lost, self._missing = missing & self._missing, missing - self._missing
        return {key: task_id for task_id in lost if (key := absent[task_id][0]) not in self.queued_tasks}

    def _send_again(self, lost: dict[Any, str]) -> set[Any]:
        """Have those of these phases queued again that have not begun; all whose result need not be waited for.

        Another scheduler may have had one repeated, which has ended since.
        """
        if again := self._relaunch.give_back(lost, lost):
            self.log.warning("The messages of %s phases are not with the broker; they are sent again", len(again))
        return again | self._relaunch.over(lost, lost)

    def try_adopt_task_instances(self, tis: Sequence[TaskInstance]) -> Sequence[TaskInstance]:
        """Wait for what a scheduler that is gone has sent.

        While the broker is away, Airflow's own would end this one, too.
        """
        try:
            return super().try_adopt_task_instances(tis)
        except Exception as error:
            self.log.warning("What became of phases of another scheduler is asked later: %s", error)
        for instance in tis:
            if instance.external_executor_id:
                self.workloads[instance.key] = self.celery_app.AsyncResult(instance.external_executor_id)
                self.running.add(instance.key)
        return [one for one in tis if not one.external_executor_id]

    def change_state(self, key: Any, state: Any, info: Any = None, remove_running: bool = True) -> None:
        """Tell the scheduler of a phase's end; one that was cut off is launched again instead."""
        pace.moved()
        if state == TaskInstanceState.FAILED:
            sent = self.workloads.get(key)
            # Airflow's own hands over none where it asks the backend for many results at once.
            info = info or getattr(sent, "result", None)
            if not self._relaunch.cut_off([key], info, message=getattr(sent, "task_id", None)):
                self._forget(key)
                return
        if state == TaskInstanceState.SUCCESS:
            self._relaunch.forget(key)
        super().change_state(key, state, info, remove_running)

    def end(self, synchronous: bool = False) -> None:
        """Leave what was not sent to the next scheduler, which would take it for sent, and wait half an hour for it.

        Raises:
            SQLAlchemyError: the database is away.
        """
        super().end(synchronous)
        left = self._relaunch.give_back(self.queued_tasks)
        self.log.info("%s phases that were not sent are left to the next scheduler", len(left))

    def _forget(self, key: Any) -> None:
        self.running.discard(key)
        self.workloads.pop(key, None)

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        if self._broker_answers():
            super()._process_workloads(workload_items)

    def _broker_answers(self) -> bool:
        """Airflow's own would fail every task that it cannot send; here they stay queued."""
        try:
            with self.celery_app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=2)
        except Exception as error:
            self.log.warning("The launcher's broker is away, tasks stay queued: %s", error)
            return False
        return True

    def _send_workloads(self, workload_tuples_to_send: Sequence[tuple]) -> None:
        super()._send_workloads(
            [(key, workload, self._queue, team) for key, workload, _, team in workload_tuples_to_send]
        )

    @property
    def _queue(self) -> str:
        """The one that the workers read; a task's own one is for executors that have several."""
        return self.conf.get_mandatory_value("operators", "default_queue")

    def _send_workloads_to_celery(self, workload_tuples_to_send: Sequence[tuple]) -> list[tuple]:
        """Send workloads, up to one that the broker does not take: Airflow's own would fail it, here it stays queued.

        Where it was taken, and only the answer was lost, it is sent twice, by one id. It begins once: the API server
        refuses the second.
        """
        from airflow.providers.celery.executors.celery_executor_utils import ExceptionWithTraceback

        sent: list[tuple] = []
        # One by one: a broker that hangs would keep the scheduler waiting for each of them.
        for workload_tuple in workload_tuples_to_send:
            [(key, arguments, result)] = super()._send_workloads_to_celery([workload_tuple])
            if isinstance(result, ExceptionWithTraceback):
                self.log.warning("The launcher's broker takes nothing, tasks stay queued: %s", result.exception)
                break
            sent.append((key, arguments, result))
        return sent


def main() -> None:
    """Import first, then run Airflow's Celery worker in this process."""
    launcher.prepare()
    celery_heartbeat.keep()
    unsent.start()
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", "celery", "worker", "--concurrency", str(config.load().launcher.slots), *sys.argv[1:]]
    airflow()


if __name__ == "__main__":
    main()
