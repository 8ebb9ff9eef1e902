"""The scheduler: ``python -m airflow_platform.scheduler``, Airflow's own, which also looks after its pools."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airflow.jobs import scheduler_job_runner
from airflow.utils.event_scheduler import EventScheduler

from airflow_platform import airflow_pools, config, leaked_slots

#: Seconds between two looks at the pools.
PERIOD = 60


class Timers(EventScheduler):
    """What the scheduler does at regular times (airflow.jobs.scheduler_job_runner), with two things more."""

    def __init__(self) -> None:
        super().__init__()
        # A database that is away for a moment is the scheduler's own to notice.
        self.call_regular_interval(PERIOD, write_pools, non_fatal=True)
        self.call_regular_interval(PERIOD, airflow_pools.tell_exceeded, non_fatal=True)


def write_pools() -> None:
    """Set back what was changed of the node pools' pools."""
    # Read anew, past the cache: the file is a newer release's already while this scheduler waits for its successor.
    if path := os.environ.get(config.ENVIRONMENT_VARIABLE):
        airflow_pools.write(config.read.__wrapped__(Path(path)).node_pools)


def look_after_pools() -> None:
    """Have the scheduler of this process look after the pools; a second call changes nothing."""
    scheduler_job_runner.EventScheduler = Timers


def main() -> None:
    """Run the scheduler in this process."""
    look_after_pools()
    leaked_slots.watch()
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", "scheduler", *sys.argv[1:]]
    airflow()


if __name__ == "__main__":
    main()
