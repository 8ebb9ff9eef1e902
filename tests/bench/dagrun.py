"""A case on Airflow: one run of a DAG, from its trigger to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import requests
from local.cluster.airflow import ENDED, Airflow
from local.cluster.console import Problem

#: Of the REST API: task instances on a page.
PAGE = 100


@dataclass(frozen=True)
class Run:
    """What the API says of a run that has ended. Times are seconds since the epoch.

    ``began`` is when it was triggered, ``taken_up`` when the scheduler began with it.
    """

    run_id: str
    began: float
    taken_up: float
    ended: float
    seen_ended: float
    instances: list[dict]

    def scheduled(self, instance: dict, before: float) -> float:
        """When a task instance was scheduled, which was before its container started.

        A deferred task that resumes is scheduled again, and only that is kept. Then it is when the run was taken up: in
        the same loop the scheduler schedules all tasks that wait for nothing.
        """
        last = instance["scheduled_when"]
        return timestamp(last) if last and timestamp(last) < before else self.taken_up

    @property
    def failed(self) -> int:
        """Tasks that did not succeed."""
        return sum(one["state"] != "success" for one in self.instances)


@dataclass(frozen=True)
class Triggered:
    """A run that was triggered at ``began``, in seconds since the epoch."""

    dag_id: str
    run_id: str
    began: float


def trigger(airflow: Airflow, dag_id: str) -> Triggered:
    """Start a run."""
    began = time.time()
    found = airflow.call("POST", f"dags/{dag_id}/dagRuns", logical_date=None)
    return Triggered(dag_id, found["dag_run_id"], began)


def wait(airflow: Airflow, run: Triggered, seconds: float, note: Callable[[str], None], every: float = 1.0) -> Run:
    """Wait for the end of a run; after ``seconds`` it is marked failed, and ends by that."""
    deadline = time.time() + seconds
    while (found := _state(airflow, run))["state"] not in ENDED:
        note(f"{time.time() - run.began:.0f} s")
        if time.time() > deadline:
            stop(airflow, run)
            deadline = float("inf")
        time.sleep(every)
    seen_ended = time.time()
    return Run(
        run_id=run.run_id,
        began=run.began,
        taken_up=timestamp(found["start_date"]),
        ended=timestamp(found["end_date"]),
        seen_ended=seen_ended,
        instances=_instances(airflow, run),
    )


def _state(airflow: Airflow, run: Triggered) -> dict:
    """The run; without an end where the api-server is too busy to answer."""
    try:
        return airflow.run(run.dag_id, run.run_id)
    except requests.RequestException:
        return {"state": None}


def stop(airflow: Airflow, run: Triggered) -> None:
    """Mark the run failed, and with it the tasks that have not ended."""
    airflow.call("PATCH", _path(run), state="failed")


def deferred(airflow: Airflow, run: Triggered) -> int:
    """How many of its tasks wait in a triggerer."""
    return airflow.call("GET", f"{_path(run)}/taskInstances?state=deferred&limit=1")["total_entries"]


def check_executor(found: Run, wanted: str) -> None:
    """The tasks were launched as the case says. :raises Problem: another executor had one."""
    others = {one["executor"] for one in found.instances} - {wanted}
    if others:
        raise Problem(
            f"run {found.run_id}: launched by {', '.join(map(str, others))}, not by {wanted}",
            "Does the release have the launcher that is to be measured (launcher.kind)?",
        )


def timestamp(text: str) -> float:
    """A time of the API, in seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _instances(airflow: Airflow, run: Triggered) -> list[dict]:
    """All task instances of the run, page by page."""
    found: list[dict] = []
    while True:
        page = airflow.call("GET", f"{_path(run)}/taskInstances?limit={PAGE}&offset={len(found)}")
        found += page["task_instances"]
        if len(found) >= page["total_entries"] or not page["task_instances"]:
            return found


def _path(run: Triggered) -> str:
    return f"dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}"
