"""The scheduler looks again soon while tasks move.

Airflow's sleeps a second when a look has found nothing to queue (airflow.jobs.scheduler_job_runner,
``_run_scheduler_loop``), and what ends meanwhile waits for the next: a run of short tasks is over a while after the
last of them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

#: Seconds between two looks while tasks move, and for how long that is after the start or end of a phase: a task that
#: is shorter is over as soon, and for one that is longer a second is nothing.
SOON, BUSY = 0.25, 10.0

#: What `SchedulerJobRunner` reads each time before it sleeps.
_SLEEP = "_scheduler_idle_sleep_time"
_last_move = float("-inf")


def look_soon() -> None:
    """Have the scheduler of this process sleep less while tasks move; a second call changes nothing."""
    # Here, not above: the api-server imports the launcher too, and none of the scheduler.
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    setattr(SchedulerJobRunner, _SLEEP, property(_sleep, _set_sleep))


def moved() -> None:
    """Note that a phase of a task starts or has ended."""
    global _last_move
    _last_move = time.monotonic()


def _sleep(self: SchedulerJobRunner) -> float:
    configured = vars(self)[_SLEEP]
    return min(configured, SOON) if time.monotonic() - _last_move < BUSY else configured


def _set_sleep(self: SchedulerJobRunner, seconds: float) -> None:
    vars(self)[_SLEEP] = seconds
