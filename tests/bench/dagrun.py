"""A case on Airflow: one run of a DAG, from its trigger to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from local.cluster.airflow import ENDED, Airflow
from local.cluster.console import Problem

#: Seconds that a run may take at most, and for each of its tasks.
AT_MOST, AT_MOST_A_TASK = 300, 30
#: Of the REST API: task instances on a page.
PAGE = 100


@dataclass(frozen=True)
class Run:
    """What the API says of a run that has ended. Times are seconds since the epoch.

    ``began`` is when it was triggered, ``scheduled`` when the scheduler took it up: in the same loop it schedules all
    tasks that wait for nothing. (A task instance's own ``scheduled_when`` is overwritten when a deferred task resumes.)
    """

    run_id: str
    began: float
    scheduled: float
    ended: float
    seen_ended: float
    instances: list[dict]

    @property
    def failed(self) -> int:
        """Tasks that did not succeed."""
        return sum(one["state"] != "success" for one in self.instances)


def trigger(airflow: Airflow, dag_id: str) -> str:
    """Start a run; its id."""
    return airflow.call("POST", f"dags/{dag_id}/dagRuns", logical_date=None)["dag_run_id"]


def run(airflow: Airflow, dag_id: str, n: int, note: Callable[[str], None]) -> Run:
    """Trigger the DAG, of ``n`` tasks, and wait for the end of the run; one that takes too long is marked failed."""
    began = time.time()
    run_id = trigger(airflow, dag_id)
    deadline = began + AT_MOST + n * AT_MOST_A_TASK
    while (found := airflow.run(dag_id, run_id))["state"] not in ENDED:
        note(f"{time.time() - began:.0f} s")
        if time.time() > deadline:
            stop(airflow, dag_id, run_id)
            deadline = float("inf")
        time.sleep(0.5 if n == 1 else 1)
    seen_ended = time.time()
    return Run(
        run_id=run_id,
        began=began,
        scheduled=seconds(found["start_date"]),
        ended=seconds(found["end_date"]),
        seen_ended=seen_ended,
        instances=instances(airflow, dag_id, run_id),
    )


def stop(airflow: Airflow, dag_id: str, run_id: str) -> None:
    """Mark the run failed, and with it the tasks that have not ended."""
    airflow.call("PATCH", _path(dag_id, run_id), state="failed")


def instances(airflow: Airflow, dag_id: str, run_id: str) -> list[dict]:
    """All task instances of the run, page by page."""
    found: list[dict] = []
    while True:
        page = airflow.call("GET", f"{_path(dag_id, run_id)}/taskInstances?limit={PAGE}&offset={len(found)}")
        found += page["task_instances"]
        if len(found) >= page["total_entries"] or not page["task_instances"]:
            return found


def check_executor(found: Run, wanted: str) -> None:
    """The tasks were launched as the case says. :raises Problem: another executor had one."""
    others = {one["executor"] for one in found.instances} - {wanted}
    if others:
        raise Problem(
            f"run {found.run_id}: launched by {', '.join(map(str, others))}, not by {wanted}",
            "Does the release have the launcher that is to be measured (launcher.kind)?",
        )


def seconds(text: str) -> float:
    """A time of the API, in seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _path(dag_id: str, run_id: str) -> str:
    return f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"
