"""How long a task that waits has no trigger: from the kill of its triggerer to the start of its trigger in another.

Airflow's triggerer writes a line into the task's log when a trigger starts. It is read in the triggerers themselves
while the faults go on, as one that is killed takes its files with it, and in S3 for the triggers that have ended.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

from local.cluster import settings
from local.cluster.console import Problem
from local.cluster.kind import kubectl
from tests.faults import components
from tests.faults.work import Run

#: ``trigger faults_platform_20/faults-1a2b/hold/3/1 (ID 12) starting``
STARTING = re.compile(r"trigger [^/ ]+/(?P<run_id>[^/ ]+)/[^/ ]+/(?P<map_index>\d+)/\d+ \(ID \d+\) starting")
LOGS = "/opt/airflow/logs"

#: A task: its run and its map index.
Task = tuple[str, int]


class Starts:
    """When triggers of tasks were started, in seconds since the epoch."""

    def __init__(self) -> None:
        self._times: dict[Task, set[float]] = defaultdict(set)

    def look(self, runs: Iterable[Run]) -> None:
        """Take in what the triggerers that run now have written."""
        folders = " ".join(f"{LOGS}/dag_id={run.dag_id}/run_id={run.run_id}" for run in runs)
        for pod in components.pods("triggerer"):
            words = ["exec", "-n", settings.NAMESPACE, pod["metadata"]["name"], "-c", "triggerer", "--", "sh", "-c"]
            # It may go while it is asked, and a folder is not there before a trigger has written into it.
            with suppress(Problem):
                self.read(kubectl(*words, f"grep -rhE ' starting\"' {folders} 2>/dev/null || true").splitlines())

    def read(self, lines: Iterable[str]) -> None:
        """Take in lines of logs, as Airflow writes them (JSON)."""
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                record = json.loads(line)
                self.note(record["event"], components.seconds(record["timestamp"]))

    def note(self, event: str, time: float) -> None:
        """Take in one event of a log where it is a trigger's start."""
        if found := STARTING.match(event):
            self._times[found["run_id"], int(found["map_index"])].add(time)

    def after(self, task: Task, time: float) -> float | None:
        """The first start of the task's trigger after a time; None where there was none."""
        times = sorted(self._times[task])
        place = bisect_right(times, time)
        return times[place] if place < len(times) else None


def seconds(starts: Starts, kills: Iterable[tuple[float, Iterable[Task]]], ended: dict[Task, float]) -> list[float]:
    """For each kill and each task that waited then: seconds until its trigger started elsewhere.

    A task that ended before any start was seen counts to its end; one of which nothing was seen any more, as endless.

    :param ended: when tasks ended, in seconds since the epoch.
    """
    found = []
    for time, tasks in kills:
        for task in tasks:
            if ended.get(task, time + 1) <= time:
                # It was waiting when it was asked, and had ended when the kill came.
                continue
            signs = [sign for sign in (starts.after(task, time), ended.get(task)) if sign is not None]
            found.append(min(signs) - time if signs else float("inf"))
    return found
